// Weights -> 64-bit fixed point -> index: the arithmetic of an exact draw.
//
// Integer sums do not depend on the order of summation, so every device and every thread count gets
// the same cumulative distribution, and no weight is lost beside a large sum as it would be in
// floating point.
//
// Let 2^e <= largest weight < 2^(e+1) and K <= 2^B. With the shift s = 62 - B - e the fixed-point
// weight
//   f = max(1, floor(w * 2^s)) for w > 0, and 0 for w = 0
// is below 2^(63-B), so the sum of K of them is below 2^63. f comes from the bits of w: no
// rounding, no double.
#pragma once

#include "portable.h"

namespace isf {

// How many bits a number has, up to its highest one.
ISF_FN int bit_length(uint64_t x) {
#if defined(__METAL_VERSION__)
  const uint32_t high = static_cast<uint32_t>(x >> 32), low = static_cast<uint32_t>(x);
  return static_cast<int>(high ? 64 - metal::clz(high) : 32 - metal::clz(low));
#elif defined(__CUDA_ARCH__)
  return 64 - __clzll(static_cast<long long>(x));
#else
  return x ? 64 - __builtin_clzll(x) : 0;
#endif
}

// ceil(log2(count)) for count >= 1.
ISF_FN int bits_for(uint64_t count) { return bit_length(count - 1); }

// The nearest T of an integer below 2^63: processors convert signed integers without a branch.
template <class T>
ISF_FN T nearest(uint64_t x) {
  return static_cast<T>(static_cast<int64_t>(x));
}

// A positive finite number as mantissa * 2^exponent, with a mantissa below 2^63; zero has 0.
struct Decomposed {
  uint64_t mantissa;
  int exponent;

  // The t with 2^(t - 1) <= number < 2^t; far below any other for zero.
  ISF_MEMBER int top() const { return mantissa ? exponent + bit_length(mantissa) : -(1 << 20); }
};

ISF_FN Decomposed decompose(float w) {
  const uint32_t bits = bits_of(w);
  const int field = static_cast<int>(bits >> 23) & 0xff;
  const uint32_t fraction = bits & 0x7fffffu;
  // A subnormal number has the exponent of field 1 and no implicit leading bit.
  Decomposed d = {field ? (fraction | 0x800000u) : fraction, (field ? field : 1) - 150};
  return d;
}

#if !defined(__METAL_VERSION__)
ISF_FN Decomposed decompose(double w) {
  const uint64_t bits = bits_of(w);
  const int field = static_cast<int>(bits >> 52) & 0x7ff;
  const uint64_t fraction = bits & 0xfffffffffffffull;
  Decomposed d = {field ? (fraction | 0x10000000000000ull) : fraction, (field ? field : 1) - 1075};
  return d;
}
#endif

// The bits of a weight, with -0 as 0. Weights are compared by their bits, which order like they do:
// a processor that is told to flush subnormal numbers would take those for zero.
template <class T>
ISF_FN auto weight_bits(T w) -> decltype(bits_of(w)) {
  const auto bits = bits_of(w);
  return bits << 1 ? bits : 0;
}

// The shift s of `count` numbers, the largest of which has this top.
ISF_FN int shift_for(int top, uint64_t count) { return 63 - bits_for(count) - top; }

// The same for weights, the largest of which is `largest` > 0.
template <class T>
ISF_FN int fixed_point_shift(T largest, uint64_t count) {
  return shift_for(decompose(largest).top(), count);
}

ISF_FN uint64_t to_fixed_point(Decomposed d, int shift) {
  const int move = d.exponent + shift;
  const uint64_t left = d.mantissa << (move & 63);
  const uint64_t right = d.mantissa >> (-move & 63);
  const uint64_t f = move >= 0 ? left : (move > -64 ? right : 0);
  const uint64_t at_least = d.mantissa != 0;
  return f > at_least ? f : at_least;
}

template <class T>
ISF_FN uint64_t to_fixed_point(T w, int shift) {
  return to_fixed_point(decompose(w), shift);
}

// mantissa * 2^exponent as the nearest T; what is too small for a normal T may be rounded twice.
ISF_FN void compose(Decomposed d, ISF_THREAD float& x) {
  // 1 <= mantissa < 2^63 and 2^-149 <= float < 2^128, so that the first product is exact.
  const int e = d.exponent < -220 ? -220 : (d.exponent > 128 ? 128 : d.exponent), lower = e / 2;
  const float first = float_from(static_cast<uint32_t>(127 + lower) << 23),
              second = float_from(static_cast<uint32_t>(127 + e - lower) << 23);
  x = nearest<float>(d.mantissa) * first * second;
}

#if !defined(__METAL_VERSION__)
ISF_FN void compose(Decomposed d, double& x) {
  const int e = d.exponent < -1144 ? -1144 : (d.exponent > 1024 ? 1024 : d.exponent), lower = e / 2;
  const uint64_t parts[2] = {static_cast<uint64_t>(1023 + lower) << 52,
                             static_cast<uint64_t>(1023 + e - lower) << 52};
  double first, second;
  memcpy(&first, &parts[0], sizeof first);
  memcpy(&second, &parts[1], sizeof second);
  x = nearest<double>(d.mantissa) * first * second;
}
#endif

template <class T>
ISF_FN T composed(Decomposed d) {
  T x;
  compose(d, x);
  return x;
}

// Points in [0, total), from a uniform 64-bit number. A point x belongs to the row whose interval
// of the cumulative sum contains it. Their bias against exact proportions is below 2^-64 per unit
// of fixed point.

ISF_FN uint64_t uniform_point(uint64_t random, uint64_t total) {
  return high_product(random, total);
}

// `count` < 2^31 points at equal distances, floor((i * total + offset) / count) for an
// offset < 2^63, without the 128-bit product; the division that they share is done once. With
// offset 0, the i-th of `count` strata of equal size is [at(i), at(i + 1)).
struct SystematicPoints {
  uint64_t step, remainder, offset, count;

  static ISF_MEMBER SystematicPoints of(uint64_t offset, uint64_t total, uint64_t count) {
    const uint64_t step = total / count;
    const SystematicPoints points = {step, total - step * count, offset, count};
    return points;
  }

  ISF_MEMBER uint64_t at(uint64_t i) const { return i * step + (i * remainder + offset) / count; }

  // How many lie below x: what floats say, set right by exact comparisons. Each correction leaves
  // less than 2^-21 of the distance, so a few make it exact.
  ISF_MEMBER uint64_t below(uint64_t x) const {
    const float per_point = static_cast<float>(step ? step : 1);
    int64_t i = 0;
    for (int correction = 0; correction < 2; ++correction) {
      const int64_t distance = static_cast<int64_t>(x - at(static_cast<uint64_t>(i)));
      i += static_cast<int64_t>(static_cast<float>(distance) / per_point);
      i = i < 0 ? 0 : (i > static_cast<int64_t>(count) ? static_cast<int64_t>(count) : i);
    }
    uint64_t below = static_cast<uint64_t>(i);
    while (below < count && at(below) < x) ++below;
    while (below > 0 && at(below - 1) >= x) --below;
    return below;
  }
};

// A unit exponential, -log1p(-x) with x = random / 2^64, from additions, multiplications and
// divisions that every device rounds alike, so that races end alike everywhere.
//
// 1 - x = 2^-k m with m in (1/2, 1], and -log(m) = 2 atanh(t) with t = (1 - m) / (1 + m) <= 1/3;
// every term is positive, so the relative error stays below 1e-6 from the smallest arrival to the
// largest.
//
// In two steps, of which loops become vectors: x, or 1 - x where that is smaller, in units of
// 2^-64; and the rest from its float. All bits of `late` say whether x >= 1/2.
ISF_FN uint64_t from_nearer_end(uint64_t random) {
  const uint64_t late = 0 - (random >> 63);
  return (random ^ late) | (late & 1);
}
ISF_FN float unit_exponential(float distance, uint32_t late) {
  const uint32_t bits = bits_of(distance);  // 2^(field - 127) * [1, 2)
  const float exponent = 190.0f - static_cast<float>(static_cast<int32_t>(bits >> 23));
  const float k = float_from(bits_of(exponent) & late);
  const float m = float_from((bits & 0x7fffffu) | 0x3f000000u);
  const float early = product(distance, 5.421010862427522e-20f);  // 2^-64
  // 1 - m, exact
  const float lost = float_from((bits_of(1.0f - m) & late) | (bits_of(early) & ~late));
  const float t = lost / (2.0f - lost);
  const float t2 = product(t, t);
  float tail = 1.0f / 15.0f;
  tail = sum(product(tail, t2), 1.0f / 13.0f);
  tail = sum(product(tail, t2), 1.0f / 11.0f);
  tail = sum(product(tail, t2), 1.0f / 9.0f);
  tail = sum(product(tail, t2), 1.0f / 7.0f);
  tail = sum(product(tail, t2), 1.0f / 5.0f);
  tail = sum(product(tail, t2), 1.0f / 3.0f);
  const float twice = t + t;
  return sum(product(k, 0.6931471805599453f), sum(twice, product(twice, product(tail, t2))));
}

}  // namespace isf
