// Numbers of about 48 bits as the sum of two floats, for devices without double.
//
// u = 2^-48. The low part is at most half a unit in the last place of the high one. Everything here
// needs additions that are neither reassociated nor fused with a product. V is as in rowmath.h, and
// brings product(a, b), rounded on its own, and lost_product(a, b, p) = a b - p for p = product(a,
// b).
#pragma once

#include "rowmath.h"

namespace isf {

ISF_FN float lost_product(float a, float b, float p) { return fused(a, b, 0.0f - p); }

template <class V>
struct Two {
  V high, low;
};

template <class V>
ISF_FN Two<V> two_of(V x) {
  const Two<V> result = {x, V(0.0f)};
  return result;
}

#if !defined(__METAL_VERSION__)
template <class V>
ISF_FN Two<V> two_of(double x) {
  const float high = static_cast<float>(x);
  const Two<V> result = {V(high), V(static_cast<float>(x - static_cast<double>(high)))};
  return result;
}
#endif

// a + b, exactly (Knuth).
template <class V>
ISF_FN Two<V> exact_sum(V a, V b) {
  const V high = a + b, back = high - a;
  const Two<V> result = {high, (a - (high - back)) + (b - back)};
  return result;
}

// The same where b is not larger than a (Dekker).
template <class V>
ISF_FN Two<V> exact_sum_of_ordered(V a, V b) {
  const V high = a + b;
  const Two<V> result = {high, b - (high - a)};
  return result;
}

template <class V>
ISF_FN Two<V> exact_product(V a, V b) {
  const V high = product(a, b);
  const Two<V> result = {high, lost_product(a, b, high)};
  return result;
}

// Off by at most 3 u (|a| + |b|).
template <class V>
ISF_FN Two<V> operator+(Two<V> a, Two<V> b) {
  const Two<V> s = exact_sum(a.high, b.high);
  return exact_sum_of_ordered(s.high, s.low + (a.low + b.low));
}

template <class V>
ISF_FN Two<V> operator-(Two<V> a, Two<V> b) {
  const Two<V> minus = {V(0.0f) - b.high, V(0.0f) - b.low};
  return a + minus;
}

// Relative error at most 8 u, as that of a quotient.
template <class V>
ISF_FN Two<V> operator*(Two<V> a, Two<V> b) {
  const Two<V> p = exact_product(a.high, b.high);
  return exact_sum_of_ordered(p.high, p.low + fused(a.high, b.low, product(a.low, b.high)));
}

template <class V>
ISF_FN Two<V> operator*(Two<V> a, V b) {
  const Two<V> p = exact_product(a.high, b);
  return exact_sum_of_ordered(p.high, fused(a.low, b, p.low));
}

template <class V>
ISF_FN Two<V> operator/(Two<V> a, Two<V> b) {
  const V first = a.high / b.high;
  const Two<V> rest = a - b * first;
  return exact_sum_of_ordered(first, rest.high / b.high);
}

// By a power of two.
template <class V>
ISF_FN Two<V> scaled(Two<V> a, V power) {
  const Two<V> result = {a.high * power, a.low * power};
  return result;
}

// A sum of many: what an addition to the first part loses goes to the second, and so on.
template <class V>
struct LongSum {
  V high, middle, low;

  ISF_MEMBER void add(Two<V> x) {
    const Two<V> first = exact_sum(high, x.high);
    const Two<V> second = exact_sum(middle, first.low);
    const Two<V> third = exact_sum(second.high, x.low);
    high = first.high;
    middle = third.high;
    low = low + (second.low + third.low);
  }

  ISF_MEMBER Two<V> total() const {
    const Two<V> s = exact_sum(high, middle);
    return exact_sum_of_ordered(s.high, s.low + low);
  }
};

// e^d as mantissa * 2^exponent, relative error 2^-44 + 2^-48 |d| for -180 <= d <= 0; e^-180 for
// what is below. Taylor's series in the high part of d's remainder, at most (ln 2) / 2, the terms
// from the seventh on in one float; the low part is so small that its exponential is linear.
template <class V>
struct Exponential {
  Two<V> mantissa;
  V exponent;

  // Times 2^by, at least 2^-126 of it.
  ISF_MEMBER Two<V> times_power_of_two(V by) const {
    return scaled(mantissa, power_of_two(larger(V(-126.0f), exponent + by) + V(kShifter)));
  }
};

// s h + high + low, where `high` is the largest of them.
template <class V>
ISF_FN Two<V> next_term(Two<V> s, V h, V high, V low) {
  const Two<V> p = exact_product(s.high, h);
  const Two<V> sum = exact_sum_of_ordered(high, p.high);
  const Two<V> result = {sum.high, sum.low + (fused(s.low, h, p.low) + low)};
  return result;
}

template <class V>
ISF_FN Exponential<V> exponential(Two<V> d) {
  const V least = V(-180.0f);
  const V low = choose(d.high > least, d.low, V(0.0f)), high = larger(least, d.high);
  const V k = fused(high, V(kLog2e), V(kShifter)) - V(kShifter);
  // Less k ln 2, with ln 2 in three parts: the products with the first two are exact.
  const V near = high - product(k, V(0.693359375f));
  Two<V> r = exact_sum(near, product(k, V(2.121925354e-4f)));
  r = exact_sum_of_ordered(r.high, r.low + fused(k, V(1.904654213e-9f), low));
  const V h = r.high;
  V tail = fused(V(1.0f / 479001600.0f), h, V(1.0f / 39916800.0f));
  tail = fused(tail, h, V(1.0f / 3628800.0f));
  tail = fused(tail, h, V(1.0f / 362880.0f));
  tail = fused(tail, h, V(1.0f / 40320.0f));
  tail = fused(tail, h, V(1.0f / 5040.0f));
  Two<V> s = exact_sum_of_ordered(V(1.0f / 720.0f), product(tail, h));
  s.low = s.low + V(-3.363109444e-11f);
  s = next_term(s, h, V(1.0f / 120.0f), V(-4.346172033e-10f));
  s = next_term(s, h, V(1.0f / 24.0f), V(-1.241763470e-09f));
  s = next_term(s, h, V(1.0f / 6.0f), V(-4.967053879e-09f));
  s = next_term(s, h, V(0.5f), V(0.0f));
  s = next_term(s, h, V(1.0f), V(0.0f));
  s = next_term(s, h, V(1.0f), V(0.0f));
  s = exact_sum_of_ordered(s.high, fused(s.high, r.low, s.low));
  const Exponential<V> result = {s, k};
  return result;
}

}  // namespace isf
