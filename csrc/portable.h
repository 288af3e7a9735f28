// What differs between the compilers that read the shared headers: a host C++ compiler, nvcc and
// Metal.
#pragma once

#if defined(__METAL_VERSION__)
#include <metal_stdlib>
// Results are the CPU's only where nothing is reassociated and no product fused with a sum.
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#define ISF_FN static inline
#define ISF_MEMBER inline
#define ISF_CONSTANT constant constexpr
#define ISF_TABLE const    // of constants in a function
#define ISF_THREAD thread  // memory of the thread's own, where a reference or pointer must say so
#else
#include <math.h>
#include <stdint.h>
#include <string.h>
#if !defined(INFINITY)  // as where macOS's float.h comes before its math.h
#define INFINITY HUGE_VALF
#endif
#define ISF_CONSTANT static constexpr
#define ISF_TABLE static const
#define ISF_THREAD
#if defined(__CUDACC__)
#define ISF_FN static __host__ __device__ __forceinline__
#define ISF_MEMBER __host__ __device__ __forceinline__
#else
#define ISF_FN static inline __attribute__((always_inline))
#define ISF_MEMBER inline __attribute__((always_inline))
#endif
#endif

namespace isf {

#if defined(__METAL_VERSION__)
ISF_FN uint32_t bits_of(float x) { return as_type<uint32_t>(x); }
ISF_FN float float_from(uint32_t x) { return as_type<float>(x); }

// The upper 64 bits of a 128-bit product, from the four products of 32-bit halves.
ISF_FN uint64_t high_product(uint64_t a, uint64_t b) {
  const uint64_t a0 = static_cast<uint32_t>(a), a1 = a >> 32;
  const uint64_t b0 = static_cast<uint32_t>(b), b1 = b >> 32;
  const uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
  const uint64_t crossed = a0 * b1 + static_cast<uint32_t>(middle);
  return a1 * b1 + (middle >> 32) + (crossed >> 32);
}
#else
ISF_FN uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

ISF_FN float float_from(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

ISF_FN uint64_t bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// The upper 64 bits of a 128-bit product.
ISF_FN uint64_t high_product(uint64_t a, uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<uint64_t>((static_cast<Wide>(a) * b) >> 64);
#endif
}
#endif

ISF_FN float not_a_number(float) { return float_from(0x7fc00000u); }
#if !defined(__METAL_VERSION__)
ISF_FN double not_a_number(double) { return static_cast<double>(not_a_number(0.0f)); }
#endif

// A product and a sum that are rounded one by one: fused into one operation they would round
// differently. A host's compiler is told so for all arithmetic (-ffp-contract=off).
#if defined(__CUDA_ARCH__)
ISF_FN float product(float a, float b) { return __fmul_rn(a, b); }
ISF_FN float sum(float a, float b) { return __fadd_rn(a, b); }
ISF_FN double product(double a, double b) { return __dmul_rn(a, b); }
ISF_FN double sum(double a, double b) { return __dadd_rn(a, b); }
#else
ISF_FN float product(float a, float b) { return a * b; }
ISF_FN float sum(float a, float b) { return a + b; }
#if !defined(__METAL_VERSION__)
ISF_FN double product(double a, double b) { return a * b; }
ISF_FN double sum(double a, double b) { return a + b; }
#endif
#endif

}  // namespace isf
