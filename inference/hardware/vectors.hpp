// Float32 numbers that a processor works on at once, as many as one of its registers holds.

#pragma once

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
constexpr bool has_32_registers = true;
#elif defined(__aarch64__)
constexpr int lanes = 4;
constexpr bool has_32_registers = true;
#else
constexpr int lanes = 8;
constexpr bool has_32_registers = false;
#endif

template <int width> struct Floats {
    typedef float vector __attribute__((vector_size(width * sizeof(float))));
    typedef float unaligned __attribute__((vector_size(width * sizeof(float)), aligned(alignof(float))));
};
using Vector = Floats<lanes>::vector;

inline Vector load(const float *from) {
    return *reinterpret_cast<const Floats<lanes>::unaligned *>(from);
}

inline float total(Floats<4>::vector v) {
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
    return v[0] + v[1];
}
#if !defined(__aarch64__)
inline float total(Floats<8>::vector v) {
    return total(__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7));
}
#endif
#if defined(__AVX512F__)
inline float total(Floats<16>::vector v) {
    return total(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                 __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
}
#endif

} // namespace
