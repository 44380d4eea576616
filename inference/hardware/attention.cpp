// Attention of many tokens of one text, float32: what reading a prompt consists of, besides products with weights.
//
// Scores are computed for as many tokens at a time as stay near the processor, and turned into weights there:
// MLX's operations on a processor each go through memory once more, and compute exponentials number by number.

#include "vectors.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

// Ours for few rows, which hands the others on.
extern "C" void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                            int lda, const float *b, int ldb, float beta, float *c, int ldc);

namespace {

enum { RowMajor = 101, NoTrans = 111, Trans = 112 }; // as in <cblas.h>

// Arrays [rows, heads, tokens, dimensions], of which the numbers of a token lie side by side.
template <typename Number> struct Heads {
    Number *begin;
    std::int64_t row, head, token; // how many numbers lie between two of them
    Number *of(std::int64_t r, std::int64_t h, std::int64_t t = 0) const { return begin + r * row + h * head + t * token; }
};

constexpr std::int64_t most_scores = 1 << 18; // a megabyte

using Bits = std::uint32_t __attribute__((vector_size(lanes * sizeof(float))));

// exp(x) of numbers that are no larger than 0; see on_cpu.py for the polynomial and its error.
inline Vector exponential(Vector x) {
    constexpr float log2_e = 1.4426950408889634f, rounder = 1.5f * (1 << 23);
    constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, lowest = -87.0f;
    x = x < lowest ? Vector{} + lowest : x; // what is no number stays none
    Vector rounded = x * log2_e + rounder;
    Vector whole = rounded - rounder;
    Vector rest = x - whole * ln2_high - whole * ln2_low;
    Vector series = rest * 1.9890980864e-4f + 1.3933641032e-3f;
    series = series * rest + 8.3333109345e-3f;
    series = series * rest + 4.1666465006e-2f;
    series = series * rest + 1.6666666682e-1f;
    series = series * rest + 5.0000000135e-1f;
    Bits power = (reinterpret_cast<Bits>(rounded) << 23) + (127u << 23);
    return (series * rest * rest + rest + 1.0f) * reinterpret_cast<Vector>(power);
}

// Turns one token's scores into weights, but for a factor, which it returns: the first `visible` of `count`, the
// others weigh nothing. Behind the last one there is room for the rest of a vector.
float weigh(float *scores, std::int64_t visible, std::int64_t count) {
    std::int64_t end = (visible + lanes - 1) / lanes * lanes;
    std::fill(scores + visible, scores + end, -std::numeric_limits<float>::infinity());
    Vector most = load(scores);
    for (std::int64_t place = lanes; place < end; place += lanes) {
        Vector here = load(scores + place);
        most = here > most ? here : most;
    }
    float highest = most[0];
    for (int lane = 1; lane < lanes; ++lane)
        highest = std::max(highest, most[lane]);
    Vector sums = {};
    for (std::int64_t place = 0; place < end; place += lanes) {
        Vector weights = exponential(load(scores + place) - highest);
        sums += weights;
        *reinterpret_cast<Floats<lanes>::unaligned *>(scores + place) = weights;
    }
    std::fill(scores + visible, scores + count, 0.0f);
    return 1.0f / total(sums);
}

// Numbers that are used again by the next attention of this thread.
struct Scratch {
    std::vector<float> scores, factors;
};
thread_local Scratch scratch;

} // namespace

// Of `heads`, so many share each one of keys and values. The last `tokens` of the `length` are those that ask;
// if it `is_causal`, each looks no further than to itself. Where there are `lengths`, only so many of each row are
// looked at, and it is not causal.
struct Attention {
    Heads<const float> queries, keys, values;
    Heads<float> found;
    const std::int64_t *lengths;
    std::int64_t rows, heads, shared_heads, tokens, length, dimensions, value_dimensions;
    float scale;
    std::int32_t is_causal, threads;
};

namespace {

// Of the tokens from `begin` to `end`, in one head.
void attend_some(const Attention &asked, std::int64_t row, std::int64_t head, std::int64_t begin, std::int64_t end) {
    const std::int64_t some = end - begin, shared = head / (asked.heads / asked.shared_heads);
    const std::int64_t hidden = asked.is_causal ? asked.tokens - end : 0; // from all of them
    const std::int64_t seen = asked.lengths ? asked.lengths[row] : asked.length - hidden;
    const std::int64_t width = (seen + lanes - 1) / lanes * lanes;
    scratch.scores.resize(std::max<std::size_t>(scratch.scores.size(), some * width));
    scratch.factors.resize(std::max<std::size_t>(scratch.factors.size(), some));
    float *const scores = scratch.scores.data(), *const factors = scratch.factors.data();
    float *const found = asked.found.of(row, head, begin);

    cblas_sgemm(RowMajor, NoTrans, Trans, int(some), int(seen), int(asked.dimensions), asked.scale,
                asked.queries.of(row, head, begin), int(asked.queries.token), asked.keys.of(row, shared),
                int(asked.keys.token), 0, scores, int(width));
#pragma omp parallel for num_threads(asked.threads) if (asked.threads > 1)
    for (std::int64_t token = 0; token < some; ++token) {
        const std::int64_t behind = asked.is_causal ? some - 1 - token : 0;
        factors[token] = weigh(scores + token * width, seen - behind, seen);
    }
    cblas_sgemm(RowMajor, NoTrans, NoTrans, int(some), int(asked.value_dimensions), int(seen), 1, scores, int(width),
                asked.values.of(row, shared), int(asked.values.token), 0, found, int(asked.found.token));
    for (std::int64_t token = 0; token < some; ++token)
        for (std::int64_t place = 0; place < asked.value_dimensions; ++place)
            found[token * asked.found.token + place] *= factors[token];
}

} // namespace

extern "C" void attend(const Attention *asked) {
    const std::int64_t at_once = std::max<std::int64_t>(most_scores / asked->length, 1);
    for (std::int64_t row = 0; row < asked->rows; ++row)
        for (std::int64_t head = 0; head < asked->heads; ++head)
            for (std::int64_t begin = 0; begin < asked->tokens; begin += at_once)
                attend_some(*asked, row, head, begin, std::min(begin + at_once, asked->tokens));
}
