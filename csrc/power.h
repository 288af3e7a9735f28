// Powers of positive numbers in 64-bit integers: the same bits on every device, without a double,
// and to more digits than a float has.
//
// log2 has an absolute error below 2^-48, so that x^k relative to y^k has a relative error below
// (|k| + 1) 2^-48, of which Decomposed keeps 62 bits.
#pragma once

#include "cdf.h"

namespace isf {

// The product, cut to 62 bits or more.
ISF_FN Decomposed product(Decomposed a, Decomposed b) {
  Decomposed result = {0, 0};
  if (a.mantissa == 0 || b.mantissa == 0) return result;
  const int left_a = 64 - bit_length(a.mantissa), left_b = 63 - bit_length(b.mantissa);
  result.mantissa = high_product(a.mantissa << left_a, b.mantissa << left_b);
  result.exponent = a.exponent + b.exponent + 64 - left_a - left_b;
  return result;
}

ISF_CONSTANT int kLogBits = 51;

// log2(x) * 2^kLogBits for x > 0.
//
// x = 2^e m with m in [2/3, 4/3), and log2(m) = 2/ln 2 atanh(s) with s = (m - 1) / (m + 1), whose
// series in s^2 <= 1/25 is cut behind s^21, at 2^-54.
ISF_FN int64_t scaled_log2(Decomposed x) {
  const uint64_t mantissa = x.mantissa ? x.mantissa : 1;  // a shift by 64 has no meaning
  const int length = bit_length(mantissa);
  uint64_t e = static_cast<uint64_t>(static_cast<int64_t>(x.exponent + length - 1));
  const uint64_t one = static_cast<uint64_t>(1) << 63;
  const uint64_t m = mantissa << (64 - length);        // [1, 2) in units of 2^-63
  const bool halved = m >= 0xaaaaaaaaaaaaaaabull;      // from 4/3 on, m / 2 takes its place
  const uint64_t distance = halved ? 0 - m : m - one;  // |m - 1|, or |m - 2|
  // (m + 1) / 4, or (m + 2) / 4, in units of 2^-64, and its reciprocal in those of 2^-62: Newton's
  // steps double the 23 bits of a float.
  const uint64_t quarter = (m >> 1) + (halved ? one : one >> 1);
  uint64_t reciprocal = static_cast<uint64_t>(4.253529586511731e37f / nearest<float>(quarter >> 1));
  for (int step = 0; step < 2; ++step) {
    const uint64_t rest = one - high_product(quarter, reciprocal);
    reciprocal = high_product(reciprocal, rest << 1) << 1;
  }
  const uint64_t s = high_product(distance << 1, reciprocal);  // in units of 2^-64
  const uint64_t s2 = high_product(s, s);
  // 2/ln 2 / (2 i + 1) in units of 2^-61, by even and odd i: two chains go on side by side.
  const uint64_t s4 = high_product(s2, s2);
  uint64_t even = 316821740424864821ull;
  even = high_product(even, s4) + 391368032289538897ull;
  even = high_product(even, s4) + 511788965301704711ull;
  even = high_product(even, s4) + 739250727658017916ull;
  even = high_product(even, s4) + 1330651309784432249ull;
  even = high_product(even, s4) + 6653256548922161246ull;
  uint64_t odd = 350171397311692697ull;
  odd = high_product(odd, s4) + 443550436594810750ull;
  odd = high_product(odd, s4) + 604841504447469204ull;
  odd = high_product(odd, s4) + 950465221274594464ull;
  odd = high_product(odd, s4) + 2217752182974053749ull;
  const uint64_t log = high_product(even + high_product(odd, s2), s) >> (61 - kLogBits);
  e += halved;
  return static_cast<int64_t>((e << kLogBits) + (halved ? 0 - log : log));
}

// 2^-(x / 2^kLogBits), below 2^-4096 rounded up to that.
ISF_FN Decomposed power_of_half(uint64_t x) {
  const uint64_t most = static_cast<uint64_t>(4096) << kLogBits;
  const uint64_t bounded = x < most ? x : most;
  const uint64_t one = static_cast<uint64_t>(1) << kLogBits;
  const uint64_t whole = (bounded + one - 1) >> kLogBits;
  const uint64_t f = ((whole << kLogBits) - bounded) << (64 - kLogBits);
  // 2^f for f in [0, 1): the exponential series, cut behind (f ln 2)^16, in units of 2^-62.
  const uint64_t f2 = high_product(f, f);
  uint64_t even = 626ull;
  even = high_product(even, f2) + 312614ull;
  even = high_product(even, f2) + 118420884ull;
  even = high_product(even, f2) + 32535037283ull;
  even = high_product(even, f2) + 6094567565682ull;
  even = high_product(even, f2) + 710362457495793ull;
  even = high_product(even, f2) + 44355791529079737ull;
  even = high_product(even, f2) + 1107849223398934356ull;
  even = high_product(even, f2) + 4611686018427387904ull;
  uint64_t odd = 14446ull;
  odd = high_product(odd, f2) + 6314085ull;
  odd = high_product(odd, f2) + 2050142669ull;
  odd = high_product(odd, f2) + 469381369432ull;
  odd = high_product(odd, f2) + 70340819226978ull;
  odd = high_product(odd, f2) + 6149018367977265ull;
  odd = high_product(odd, f2) + 255967521894832113ull;
  odd = high_product(odd, f2) + 3196577161300663915ull;
  const Decomposed result = {even + high_product(odd, f), -62 - static_cast<int>(whole)};
  return result;
}

// The k of x^k, in more digits than a float has: |k| and its sign.
struct Exponent {
  Decomposed size;
  bool is_negative;
};

#if !defined(__METAL_VERSION__)
ISF_FN Exponent exponent_of(double k) {
  const Exponent exponent = {decompose(k < 0 ? -k : k), k < 0};
  return exponent;
}
#endif

// (x / y)^k from the scaled_log2 of x and y, where no x^k is larger than y^k.
ISF_FN Decomposed power_below(int64_t log, int64_t log_of_largest, Exponent k) {
  const int64_t difference = k.is_negative ? log - log_of_largest : log_of_largest - log;
  const Decomposed distance = {static_cast<uint64_t>(difference), -kLogBits};
  const Decomposed x = product(distance, k.size);
  if (x.top() > 12) return power_of_half(~static_cast<uint64_t>(0));
  return power_of_half(x.mantissa ? to_fixed_point(x, kLogBits) : 0);
}

}  // namespace isf
