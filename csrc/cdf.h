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
#if defined(__CUDA_ARCH__)
  return 64 - __clzll(static_cast<long long>(x));
#else
  int bits = 0;
  for (; x; x >>= 1) ++bits;
  return bits;
#endif
}

// ceil(log2(count)) for count >= 1.
ISF_FN int bits_for(uint64_t count) { return bit_length(count - 1); }

// A positive finite number as mantissa * 2^exponent; zero has mantissa 0.
struct Decomposed {
  uint64_t mantissa;
  int exponent;
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

// The shift s of the weights of `count` rows, the largest of which is `largest` > 0.
template <class T>
ISF_FN int fixed_point_shift(T largest, uint64_t count) {
  const Decomposed d = decompose(largest);
  const int e = d.exponent - 1 + bit_length(d.mantissa);
  return 62 - bits_for(count) - e;
}

template <class T>
ISF_FN uint64_t to_fixed_point(T w, int shift) {
  const Decomposed d = decompose(w);
  const int move = d.exponent + shift;
  const uint64_t left = d.mantissa << (move & 63);
  const uint64_t right = d.mantissa >> (-move & 63);
  const uint64_t f = move >= 0 ? left : (move > -64 ? right : 0);
  const uint64_t at_least = d.mantissa != 0;
  return f > at_least ? f : at_least;
}

// Points in [0, total), from a uniform 64-bit number. A point x belongs to the row whose interval
// of the cumulative sum contains it. Their bias against exact proportions is below 2^-64 per unit
// of fixed point.

ISF_FN uint64_t uniform_point(uint64_t random, uint64_t total) {
  return high_product(random, total);
}

// floor((i * total + offset) / n) for 0 <= i <= n < 2^31 and offset < 2^63, without the 128-bit
// product.
ISF_FN uint64_t systematic_point(uint64_t i, uint64_t offset, uint64_t total, uint64_t n) {
  return i * (total / n) + (i * (total % n) + offset) / n;
}

// The i-th of n strata of equal size is [systematic_point(i, 0), systematic_point(i + 1, 0)).
ISF_FN uint64_t stratified_point(uint64_t i, uint64_t random, uint64_t total, uint64_t n) {
  const uint64_t low = systematic_point(i, 0, total, n);
  const uint64_t high = systematic_point(i + 1, 0, total, n);
  return low + high_product(random, high - low);
}

// A unit exponential, -log1p(-x) with x = random / 2^64, from additions, multiplications and
// divisions that every device rounds alike, so that races end alike everywhere.
//
// 1 - x = 2^-k m with m in (1/2, 1], and -log(m) = 2 atanh(t) with t = (1 - m) / (1 + m) <= 1/3;
// every term is positive, so the relative error stays below 1e-6 from the smallest arrival to the
// largest.
ISF_FN float unit_exponential(uint64_t random) {
  float k = 0.0f, lost;  // lost = 1 - m, exact
  if (random < (static_cast<uint64_t>(1) << 63)) {
    lost = product(static_cast<float>(random), 5.421010862427522e-20f);  // 2^-64
  } else {
    const float rest = static_cast<float>(~random | 1);
    const uint32_t bits = bits_of(rest);
    k = 190.0f -
        static_cast<float>(bits >> 23);  // rest = 2^(field - 127) * [1, 2) and 1 - x = rest * 2^-64
    lost = 1.0f - float_from((bits & 0x7fffffu) | 0x3f000000u);
  }
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

// The arrival time of a row in the exponential race. Positive floats order like their bits, so
// (bits, row) is a sort key with ties to the lower row.
ISF_FN float arrival(uint64_t random, uint64_t fixed_point_weight) {
  return unit_exponential(random) / static_cast<float>(fixed_point_weight);
}

}  // namespace isf
