// Reading elements of any type as numbers of the result type: one by one, or 16 bytes at a time.
#pragma once

#include "device.h"

namespace isf {
namespace cuda {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// The type of the statistics: double for double logits, float for all others.
template <class Element>
struct ResultType {
  typedef float Type;
};
template <>
struct ResultType<double> {
  typedef double Type;
};
template <class Element>
using ResultOf = typename ResultType<Element>::Type;

__device__ __forceinline__ float to_number(float x) { return x; }
__device__ __forceinline__ double to_number(double x) { return x; }
__device__ __forceinline__ float to_number(BFloat16 x) {
  return float_from(static_cast<uint32_t>(x.bits) << 16);
}
__device__ __forceinline__ float to_number(Half x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
#else
  // The exponent moves by 2^112 in one multiplication, which also normalises subnormal halves; 31
  // stands for inf and NaN.
  const float moved = float_from((x.bits & 0x7fffu) << 13) * 0x1p112f;
  const uint32_t special = (x.bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
  return float_from(bits_of(moved) | special | (x.bits & 0x8000u) << 16);
#endif
}

__device__ __forceinline__ float minus_infinity(float) { return -HUGE_VALF; }
__device__ __forceinline__ double minus_infinity(double) { return -HUGE_VAL; }
__device__ __forceinline__ Half minus_infinity(Half) { return {0xfc00u}; }
__device__ __forceinline__ BFloat16 minus_infinity(BFloat16) { return {0xff80u}; }

// The larger number; a NaN gives way to the other.
__device__ __forceinline__ float largest_of(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double largest_of(double a, double b) { return fmax(a, b); }

// Elements that are loaded by one instruction, from an address that is a multiple of 16 bytes.
template <class Element>
struct alignas(16) Vector {
  static constexpr int kCount = 16 / sizeof(Element);
  uint32_t word[4];

  __device__ __forceinline__ void load(const Element* p) {
#if defined(__CUDA_ARCH__)
    // Every logit is read once: nothing is gained by keeping it near.
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3])
        : "l"(p));
#else
    *this = *reinterpret_cast<const Vector*>(p);
#endif
  }

  // `i` is known when this is compiled, once loops are unrolled: a vector stays in registers.
  __device__ __forceinline__ ResultOf<Element> operator[](int i) const { return get(i, Element()); }

  __device__ __forceinline__ void fill(Element x) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) set(i, x);
  }

  __device__ __forceinline__ void set(int i, float x) { word[i] = bits_of(x); }
  __device__ __forceinline__ void set(int i, double x) {
    const uint64_t bits = bits_of(x);
    word[2 * i] = static_cast<uint32_t>(bits);
    word[2 * i + 1] = static_cast<uint32_t>(bits >> 32);
  }
  template <class Short>
  __device__ __forceinline__ void set(int i, Short x) {
    const uint32_t bits = x.bits;
    word[i / 2] = i % 2 ? (word[i / 2] & 0xffffu) | bits << 16 : (word[i / 2] & 0xffff0000u) | bits;
  }

 private:
  __device__ __forceinline__ float get(int i, float) const { return float_from(word[i]); }
  __device__ __forceinline__ double get(int i, double) const {
    const uint64_t bits = word[2 * i] | static_cast<uint64_t>(word[2 * i + 1]) << 32;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
  }
  __device__ __forceinline__ float get(int i, BFloat16) const {
    // The upper half's number needs no shift, only the lower half cleared.
    return float_from(i % 2 ? word[i / 2] & 0xffff0000u : word[i / 2] << 16);
  }
  __device__ __forceinline__ float get(int i, Half) const {
    return to_number(Half{static_cast<uint16_t>(i % 2 ? word[i / 2] >> 16 : word[i / 2])});
  }
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define ISF_PAIRS
__device__ __forceinline__ uint32_t largest_pair(uint32_t a, uint32_t b, Half) {
  uint32_t c;
  asm("max.f16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
  return c;
}
__device__ __forceinline__ uint32_t largest_pair(uint32_t a, uint32_t b, BFloat16) {
  uint32_t c;
  asm("max.bf16x2 %0, %1, %2;" : "=r"(c) : "r"(a), "r"(b));
  return c;
}
#endif

// The largest number of several vectors: two numbers per instruction where they are short.
template <int kVectors, class Element>
__device__ __forceinline__ ResultOf<Element> largest_of(const Vector<Element> (&x)[kVectors]) {
#if defined(ISF_PAIRS)
  if constexpr (sizeof(Element) == 2) {
    Vector<Element> all;
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      all.word[w] = x[0].word[w];
#pragma unroll
      for (int i = 1; i < kVectors; ++i) {
        all.word[w] = largest_pair(all.word[w], x[i].word[w], Element());
      }
    }
    all.word[0] = largest_pair(largest_pair(all.word[0], all.word[1], Element()),
                               largest_pair(all.word[2], all.word[3], Element()), Element());
    return largest_of(all[0], all[1]);
  }
#endif
  ResultOf<Element> largest = minus_infinity(ResultOf<Element>());
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
#pragma unroll
    for (int j = 0; j < Vector<Element>::kCount; ++j) largest = largest_of(largest, x[i][j]);
  }
  return largest;
}

#undef ISF_PAIRS

}  // namespace cuda
}  // namespace isf
