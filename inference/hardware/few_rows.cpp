// Products of a few rows with a matrix of weights, float32: what a step of running answers consists of.
//
// A BLAS copies the weights into blocks before it multiplies, which pays when many rows share the copy. Here
// each weight is fetched from memory once and meets all rows while it is in a register. What a row comes to
// does not depend on how many others there are: it is added up in the same order for all of them.
//
// Takes the place of cblas_sgemm for the process that loads this library before MLX. Everything else that is
// asked of it goes on to the BLAS that `few_rows_begin` was given, or, when this one is preloaded, to the next.

#include "vectors.hpp"

#include <cstddef>
#include <dlfcn.h>

namespace {

// A matrix whose rows lie `stride` numbers apart.
template <typename Number> struct Matrix {
    Number *begin;
    std::size_t stride;
    Number *row(int number) const { return begin + number * stride; }
    Matrix from_row(int number) const { return {row(number), stride}; }
};
using Read = Matrix<const float>;
using Written = Matrix<float>;

// found = alpha * rows x weights^T + beta * found, with `depth` numbers in each row and each weight.
struct Product {
    int depth;
    float alpha, beta;
};

// `height` rows with the `width` weights from `first` on; meanwhile those behind them are fetched.
template <int height, int width>
inline void multiply(const Product &product, Read rows, Read weights, Written found, int first) {
    Vector sums[height][width] = {};
    weights = weights.from_row(first);
    int place = 0;
    for (; place + lanes <= product.depth; place += lanes) {
        Vector weight[width];
        for (int w = 0; w < width; ++w) {
            weight[w] = load(weights.row(w) + place);
            __builtin_prefetch(weights.row(w + width) + place);
        }
        for (int r = 0; r < height; ++r) {
            Vector row = load(rows.row(r) + place);
            for (int w = 0; w < width; ++w)
                sums[r][w] += row * weight[w];
        }
    }
    for (int r = 0; r < height; ++r)
        for (int w = 0; w < width; ++w) {
            float sum = total(sums[r][w]);
            for (int rest = place; rest < product.depth; ++rest)
                sum += rows.row(r)[rest] * weights.row(w)[rest];
            float &here = found.row(r)[first + w];
            here = product.alpha * sum + (product.beta == 0 ? 0 : product.beta * here);
        }
}

template <int height>
void multiply_all(const Product &product, Read rows, Read weights, Written found, int first, int end) {
    // As many sums as there are registers for besides the numbers that they are made of.
    constexpr int width = height <= 4 ? 4 : has_32_registers ? 3 : 1;
    for (; first + width <= end; first += width)
        multiply<height, width>(product, rows, weights, found, first);
    for (; first < end; ++first)
        multiply<height, 1>(product, rows, weights, found, first);
}

void multiply_share(const Product &product, int height, Read rows, Read weights, Written found, int first, int end) {
    switch (height) {
    case 1: return multiply_all<1>(product, rows, weights, found, first, end);
    case 2: return multiply_all<2>(product, rows, weights, found, first, end);
    case 3: return multiply_all<3>(product, rows, weights, found, first, end);
    case 4: return multiply_all<4>(product, rows, weights, found, first, end);
    case 5: return multiply_all<5>(product, rows, weights, found, first, end);
    case 6: return multiply_all<6>(product, rows, weights, found, first, end);
    case 7: return multiply_all<7>(product, rows, weights, found, first, end);
    case 8: return multiply_all<8>(product, rows, weights, found, first, end);
    }
}

constexpr int most_rows = 8; // with more, a BLAS is as fast

// The names and numbers of <cblas.h>.
enum { RowMajor = 101, NoTrans = 111, Trans = 112 };
using Sgemm = void (*)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

Sgemm usual = reinterpret_cast<Sgemm>(dlsym(RTLD_NEXT, "cblas_sgemm"));
int threads = 1;
constexpr long worth_sharing = 1 << 18; // so many numbers of weights: fewer are read while threads wake

} // namespace

extern "C" void few_rows_begin(Sgemm blas, int most_threads) {
    usual = blas;
    threads = most_threads;
}

extern "C" void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                            int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    if (m < 1 || m > most_rows || order != RowMajor || trans_a != NoTrans || trans_b != Trans)
        return usual(order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    const Product product{k, alpha, beta};
    const Read rows{a, std::size_t(lda)}, weights{b, std::size_t(ldb)};
    const Written found{c, std::size_t(ldc)};
    if (threads == 1 || long(n) * k < worth_sharing)
        return multiply_share(product, m, rows, weights, found, 0, n);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int share = 0; share < threads; ++share)
        multiply_share(product, m, rows, weights, found, int(long(n) * share / threads),
                       int(long(n) * (share + 1) / threads));
}
