// The sums of rowmath.h as the device gathers them: every thread some columns of a row, joined
// across the threads in the end.
//
// For float, terms are powers of two: e^(z - m) = 2^(z log2 e - m log2 e), one fused multiply-add
// and one instruction for the power. With c, m log2(e) rounded, that is 2^(delta) too large, where
//   delta = m log2(e) - c
// is the same for all terms, exact in one fused multiply-add, and divided out in the end. The peak
// m is this thread's own until then.
//
// From 2^29 on, floats are so far apart that every term but the peak's is zero, whatever multiple
// of z - m is its exponent. There the multiple 1 is taken, with which nothing is rounded (delta
// would leave the range) and nothing overflows up to the largest float.
#pragma once

#include "../cdf.h"
#include "load.cuh"
#include "real.cuh"
#include "reduce.cuh"

namespace isf {
namespace cuda {

// 2^d, relative error 2^-22; 0 below 2^-126.
__device__ __forceinline__ float power_of_2(float d) {
#if defined(__CUDA_ARCH__)
  float e;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(d));
  return e;
#else
  // As inexact as the instruction may be, up or down by chance.
  const float error = bits_of(d) & 1 ? 0x1p-22f : -0x1p-22f;
  return d < -126.0f ? 0.0f : exp2f(d) * (d == 0.0f ? 1.0f : 1.0f + error);
#endif
}

// A sum and what its additions lost to rounding (Dekker's Fast2Sum, exact for terms that are
// smaller than the sum): many small terms beside a large one would be rounded away one by one.
template <class T>
struct ExactSum {
  T high, low;

  __device__ __forceinline__ void add(T x) {
    const T next = high + x;
    low = low + (x - (next - high));
    high = next;
  }

  __device__ __forceinline__ void scale(T factor) {
    high *= factor;
    low *= factor;
  }

  // An infinite sum has lost nothing.
  __device__ __forceinline__ T total() const { return high < T(HUGE_VALF) ? high + low : high; }
};

// How terms depend on the peak.
template <class T>
struct Frame;

template <>
struct Frame<float> {
  static constexpr float kFar = -200.0f;  // 2^kFar is zero
  float peak, rate, offset;

  __device__ __forceinline__ explicit Frame(float peak) : peak(peak) {
    constexpr float kHuge = 536870912.0f;  // 2^29
    rate = fabsf(peak) < kHuge ? kLog2e : 1.0f;
    // Rounded, by all who use it: fused into the difference of two offsets it would be another
    // number there than in the exponents of the terms.
    offset = product(peak, rate);
  }

  __device__ __forceinline__ float exponent(float z) const { return fmaf(z, rate, -offset); }
  // What to add to the exponents of another frame's terms.
  __device__ __forceinline__ float exponent_of(const Frame& other) const {
    return other.rate == rate ? fmaxf(other.offset - offset, kFar) : kFar;
  }
  __device__ __forceinline__ static float power(float exponent) { return power_of_2(exponent); }

  // From sum(2^d), sum(4^d), sum(2^d d) to the sums of rowmath.h.
  __device__ __forceinline__ RowSums<float> sums(float sum, float square, float slope) const {
    constexpr float kLn2 = 0.693147181f;
    const float delta = fmaf(peak, rate, -offset), factor = power_of_2(-delta);
    return {peak, sum * factor, square * factor * factor, fmaf(delta, sum, -slope) * factor * kLn2};
  }
};

template <>
struct Frame<double> {
  static constexpr double kFar = -1000.0;  // e^kFar is zero
  double peak;

  __device__ __forceinline__ explicit Frame(double peak) : peak(peak) {}

  __device__ __forceinline__ double exponent(double z) const { return z - peak; }
  __device__ __forceinline__ double exponent_of(const Frame& other) const {
    return fmax(other.peak - peak, kFar);
  }
  __device__ __forceinline__ static double power(double exponent) { return exp(exponent); }

  __device__ __forceinline__ RowSums<Double> sums(double sum, double square, double slope) const {
    return {Double(peak), Double(sum), Double(square), Double(-slope)};
  }
};

template <class T, bool kWithSlope>
struct RunningSums {
  Frame<T> frame;
  ExactSum<T> sum, slope;
  T square;

  __device__ __forceinline__ RunningSums()
      : frame(plain(lowest(Real<T>(0.0f)))), sum{0, 0}, slope{0, 0}, square(0) {}

  // Moves to a peak that is at least the present one.
  __device__ __forceinline__ void raise_peak(T peak) {
    const Frame<T> next(peak);
    const T d = next.exponent_of(frame), factor = Frame<T>::power(d);
    if (kWithSlope) {
      slope.high += d * sum.high;
      slope.scale(factor);
    }
    sum.scale(factor);
    square *= factor * factor;
    frame = next;
  }

  // Adds numbers none of which exceeds `largest`; number(i) for i from 0 to kCount - 1. Their sums
  // are short, and join the running ones without loss. A NaN or +inf makes the sum NaN.
  template <int kCount, class Numbers>
  __device__ __forceinline__ void add(T largest, const Numbers& number) {
    constexpr int kAbreast = 4;
    raise_peak(largest_of(frame.peak, largest));
    T sums[kAbreast] = {}, squares[kAbreast] = {}, slopes[kAbreast] = {};
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const T d = frame.exponent(number(i)), e = Frame<T>::power(d);
      const int k = i % kAbreast;
      sums[k] = i < kAbreast ? e : sums[k] + e;
      squares[k] = i < kAbreast ? e * e : e * e + squares[k];
      if (kWithSlope) slopes[k] += e * largest_of(d, Frame<T>::kFar);
    }
    sum.add((sums[0] + sums[1]) + (sums[2] + sums[3]));
    square += (squares[0] + squares[1]) + (squares[2] + squares[3]);
    if (kWithSlope) slope.add((slopes[0] + slopes[1]) + (slopes[2] + slopes[3]));
  }

  // Adds up the sums of `lanes` neighbouring lanes; every lane gets all.
  __device__ __forceinline__ void join(int lanes) {
    raise_peak(group_reduce(frame.peak, lanes, Larger()));
    sum = {group_reduce(sum.total(), lanes, Sum()), 0};
    square = group_reduce(square, lanes, Sum());
    if (kWithSlope) slope = {group_reduce(slope.high + slope.low, lanes, Sum()), 0};
  }

  __device__ __forceinline__ RowSums<Real<T>> total() const {
    return frame.sums(sum.total(), square, slope.high + slope.low);
  }

 private:
  struct Larger {
    __device__ __forceinline__ T operator()(T a, T b) const { return largest_of(a, b); }
  };
};

// What the warps of a block hand each other to join their sums.
template <class T>
struct WarpSums {
  T peak[kWarp], sum[kWarp], square[kWarp], slope[kWarp];

  // Called by all threads, before a barrier.
  template <bool kWithSlope>
  __device__ __forceinline__ void put(RunningSums<T, kWithSlope>& sums) {
    sums.join(kWarp);
    if (lane_index() != 0) return;
    peak[warp_index()] = sums.frame.peak;
    sum[warp_index()] = sums.sum.high;
    square[warp_index()] = sums.square;
    slope[warp_index()] = sums.slope.high;
  }

  // Called by all threads of a warp, behind the barrier: the sums of the block.
  template <bool kWithSlope>
  __device__ __forceinline__ void join(RunningSums<T, kWithSlope>& sums) const {
    const int warp = lane_index();
    sums = RunningSums<T, kWithSlope>();
    if (warp < warp_count()) {
      sums.frame = Frame<T>(peak[warp]);
      sums.sum.high = sum[warp];
      sums.square = square[warp];
      sums.slope.high = slope[warp];
    }
    sums.join(kWarp);
  }
};

}  // namespace cuda
}  // namespace isf
