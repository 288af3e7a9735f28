// Powers of positive numbers in 64-bit integers: the same bits on every device, without a double,
// and to more digits than a float has.
//
// log2 has an absolute error below 2^-49, so that x^k relative to y^k has a relative error below
// (|k| + 1) 2^-48, of which products keep 61 bits.
#pragma once

#include "cdf.h"

namespace isf {

ISF_FN constexpr int digits_of(float) { return 24; }
#if !defined(__METAL_VERSION__)
ISF_FN constexpr int digits_of(double) { return 53; }
#endif

// A number with as long a mantissa as Decomposed has, and its product with another, cut to 61 bits:
// counting the bits of either would take longer. Subnormal numbers leave fewer.
template <class T>
ISF_FN Decomposed decompose_long(T x) {
  Decomposed d = decompose(x);
  d.mantissa <<= 63 - digits_of(x);
  d.exponent -= 63 - digits_of(x);
  return d;
}
template <class T>
ISF_FN Decomposed product(Decomposed a, T b) {
  const Decomposed d = decompose(b);
  const Decomposed result = {high_product(a.mantissa << 1, d.mantissa << (64 - digits_of(b))),
                             a.exponent + d.exponent + digits_of(b) - 1};
  return result;
}

ISF_CONSTANT int kLogBits = 51, kRootBits = 5;

// 2^(-i / 32) for i <= 32, in units of 2^-62.
ISF_FN uint64_t root_of_half(uint32_t i) {
  ISF_TABLE uint64_t root[] = {
      4611686018427387904ul, 4512867096753504463ul, 4416165660797809419ul, 4321536337207803251ul,
      4228934724888366668ul, 4138317374168289834ul, 4049641766413219908ul, 3962866294075461077ul,
      3877950241171266237ul, 3794853764176460055ul, 3713537873331429433ul, 3633964414346709481ul,
      3556096050500581047ul, 3479896245120279830ul, 3405329244438597040ul, 3332360060817827770ul,
      3260954456333195553ul, 3191078926708050276ul, 3122700685593301682ul, 3055787649183712190ul,
      2990308421163830843ul, 2926232277976504838ul, 2863529154407056491ul, 2802169629476361550ul,
      2742124912636209756ul, 2683366830260470360ul, 2625867812425724110ul, 2569600879975159024ul,
      2514539631859660218ul, 2460658232750154058ul, 2407931400915394245ul, 2356334396359501942ul,
      2305843009213693952ul};
  return root[i];
}

// log2(x) * 2^kLogBits for x > 0.
//
// x = 2^(e + i / 32) (1 + d) with |d| < 0.0166, and log2(1 + d) by its series, cut behind d^7 at
// 2^-49.8.
ISF_FN int64_t scaled_log2(Decomposed x) {
  const uint64_t mantissa = x.mantissa ? x.mantissa : 1;  // a shift by 64 has no meaning
  const int length = bit_length(mantissa);
  const uint64_t m = mantissa << (64 - length);  // [1, 2) in units of 2^-63
  // i is the nearest integer to 32 log2(m), but for a quarter: with the fraction t of m, in units
  // of 2^-15, log2(1 + t) is about t + 11/32 t (1 - t).
  const uint32_t t = static_cast<uint32_t>(m >> 48) - (1u << 15);
  const uint32_t bend = ((t * ((1u << 15) - t) >> 15) * 11) >> 5;
  const uint32_t i = (t + bend + (1u << 9)) >> (15 - kRootBits);
  const uint64_t one = static_cast<uint64_t>(1) << 61;
  const uint64_t signed_d = high_product(m, root_of_half(i)) - one;
  const uint64_t is_negative = 0 - (signed_d >> 63);                 // all bits
  const uint64_t d = ((signed_d ^ is_negative) - is_negative) << 3;  // |d| in units of 2^-64
  const uint64_t d2 = high_product(d, d);
  // 1 / (n ln 2) in units of 2^-62, of the odd powers and the even ones, which are subtracted.
  uint64_t odd = 950465221274594464ul;
  odd = high_product(odd, d2) + 1330651309784432249ul;
  odd = high_product(odd, d2) + 2217752182974053749ul;
  odd = high_product(odd, d2) + 6653256548922161246ul;
  odd = high_product(odd, d);
  uint64_t even = 1108876091487026874ul;
  even = high_product(even, d2) + 1663314137230540311ul;
  even = high_product(even, d2) + 3326628274461080623ul;
  even = high_product(even, d2);
  const int64_t log = static_cast<int64_t>(((odd ^ is_negative) - is_negative) - even);
  const int64_t roots = (x.exponent + length - 1) * 32 + static_cast<int>(i);
  return roots * (static_cast<int64_t>(1) << (kLogBits - kRootBits)) + (log >> (62 - kLogBits));
}

// 2^-(x / 2^kLogBits) for x < 2^63.
ISF_FN Decomposed power_of_half(uint64_t x) {
  const int whole = static_cast<int>(x >> kLogBits);
  const uint64_t root = root_of_half(static_cast<uint32_t>(x >> (kLogBits - kRootBits)) & 31);
  // 1 - 2^-f for the rest f < 1/32: the exponential series, cut behind (f ln 2)^6 at 2^-51, in
  // units of 2^-64.
  const uint64_t f = (x << (64 - kLogBits + kRootBits)) >> kRootBits;
  const uint64_t f2 = high_product(f, f);
  uint64_t odd = 24596073471909060ul;
  odd = high_product(odd, f2) + 1023870087579328454ul;
  odd = high_product(odd, f2) + 12786308645202655660ul;
  uint64_t even = 2841449829983172ul;
  even = high_product(even, f2) + 177423166116318949ul;
  even = high_product(even, f2) + 4431396893595737425ul;
  const uint64_t lost = high_product(odd, f) - high_product(even, f2);
  const Decomposed result = {root - high_product(root, lost), -62 - whole};
  return result;
}

// The k of x^k, in more digits than a float has: |k| = mantissa * 2^exponent, the highest bit of
// the mantissa set unless k is 0.
struct Exponent {
  uint64_t mantissa;
  int exponent;
  bool is_negative;
};

#if !defined(__METAL_VERSION__)
ISF_FN Exponent exponent_of(double k) {
  const Decomposed size = decompose(k < 0 ? -k : k);
  const int left = 64 - bit_length(size.mantissa | 1);
  const Exponent exponent = {size.mantissa << left, size.exponent - left, k < 0};
  return exponent;
}
#endif

// (x / y)^k from the scaled_log2 of x and y, where no x^k is larger than y^k; below 2^-4096 rounded
// up to that.
ISF_FN Decomposed power_below(int64_t log, int64_t log_of_largest, Exponent k) {
  const int64_t distance = k.is_negative ? log - log_of_largest : log_of_largest - log;
  // Below 2^63, as two doubles are less than 2^12 octaves apart.
  const uint64_t upper = high_product(static_cast<uint64_t>(distance) << 1, k.mantissa);
  const uint64_t most = ~static_cast<uint64_t>(0) >> 1;
  const int left = k.exponent + 63;
  if (left < 0) return power_of_half(left > -64 ? upper >> -left : 0);
  const bool fits = left < 64 && upper <= most >> left;
  return power_of_half(fits ? upper << left : (upper ? most : 0));
}

}  // namespace isf
