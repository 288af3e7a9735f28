// The formulas of a row: one pass over its logits z gives the loss, its gradient's norm and the
// rest.
//
// Everything is written relative to the largest logit of the OTHER classes, m = max_{j != y} z_j:
//   r = sum_{j != y} e^(z_j - m)
//   q = sum_{j != y} e^(2 (z_j - m))
//   h = sum_{j != y} e^(z_j - m) (m - z_j)
// r and q hold a term that is exactly 1, so nothing underflows, and keeping the target class y out
// of them means that nothing cancels: with g = z_y - m, a = e^(-|g|) and p = softmax(z),
//   g >= 0:  x = r a,          loss = log1p(x),       u = a
//   g <  0:  x = (r - 1) + a,  loss = -g + log1p(x),  u = 1
//   1 + x = sum_j e^(z_j - max z)
//   |p - onehot(y)| = u sqrt(r^2 + q) / (1 + x)
//   1 - p_y = u r / (1 + x)
// All terms are positive: the relative error stays at a few units in the last place, however
// confident the row.
//
// V is float, or a vector of floats or doubles that brings the same operations (csrc/cpu/simd.h).
#pragma once

#include "portable.h"

namespace isf {

// Operations on one float; a vector type provides the same names.
#if defined(__METAL_VERSION__)
ISF_FN float fused(float a, float b, float c) { return metal::fma(a, b, c); }
ISF_FN float root(float a) { return metal::sqrt(a); }
#else
ISF_FN float fused(float a, float b, float c) { return fmaf(a, b, c); }
ISF_FN float root(float a) { return sqrtf(a); }
#endif
ISF_FN float lowest(float) { return -3.402823466e38f; }
ISF_FN float smallest(float) { return 1.175494351e-38f; }  // normal number
ISF_FN float choose(bool condition, float a, float b) { return condition ? a : b; }
ISF_FN float larger(float a, float b) { return a > b ? a : b; }  // a NaN in b wins
ISF_FN float magnitude(float a) { return float_from(bits_of(a) & 0x7fffffffu); }
// 2^k for an integer k in [-126, 127], given as 1.5 * 2^23 + k: the integer sits in the low bits.
ISF_FN float power_of_two(float shifted) {
  return float_from((bits_of(shifted) << 23) + 0x3f800000u);
}
// x = 2^exponent * result with the result in [2/3, 4/3), for a positive normal x.
ISF_FN float split(float x, ISF_THREAD float& exponent) {
  const uint32_t offset = bits_of(x) - 0x3f2aaaabu;
  exponent = static_cast<float>(static_cast<int32_t>(offset) >> 23);
  return float_from((offset & 0x7fffffu) + 0x3f2aaaabu);
}

ISF_CONSTANT float kShifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
ISF_CONSTANT float kLog2e = 1.442695041f;

// (2^f - 1) / f on [-1/2, 1/2], relative error 4.3e-7 (minimax).
template <class V>
ISF_FN V exp2_slope(V f) {
  V s = fused(V(0.0013333543f), f, V(0.0096662454f));
  s = fused(s, f, V(0.055505002f));
  s = fused(s, f, V(0.24022351f));
  return fused(s, f, V(0.69314714f));
}

// e^d for d <= 0, relative error 2e-7 + 1e-7 |d|, which is enough under a sum that holds a 1; at
// least e^-87.
template <class V>
ISF_FN V exp_term(V d) {
  const V t = larger(V(-87.0f), d);
  const V shifted = fused(t, V(kLog2e), V(kShifter));
  const V f = fused(t, V(kLog2e), V(kShifter) - shifted);
  return fused(exp2_slope(f), f, V(1.0f)) * power_of_two(shifted);
}

// e^-d = (1 + lost) * 2^exponent, not yet multiplied out, so that products with it underflow only
// where their value does.
template <class V>
struct Decay {
  V lost, exponent;

  ISF_MEMBER V times(V v) const {
    const V first = (fused(exponent, V(0.5f), V(kShifter)) - V(kShifter));
    return fused(lost, v, v) * power_of_two(first + V(kShifter)) *
           power_of_two((exponent - first) + V(kShifter));
  }

  // 1 - e^-d, to full relative accuracy for a small d (where the exponent is 0).
  ISF_MEMBER V complement() const {
    return choose(exponent == V(0.0f), V(0.0f) - lost, V(1.0f) - times(V(1.0f)));
  }
};

// For the difference d + error >= 0, where d is the rounded difference and error what the rounding
// lost.
template <class V>
ISF_FN Decay<V> decay_of(V d, V error) {
  // Beyond 2^-250 every product is zero; the bound keeps the exponent within two powers of two.
  const V t = choose(d < V(173.0f), d, V(173.0f));
  const V exponent = fused(t, V(0.0f - kLog2e), V(kShifter)) - V(kShifter);
  // t + exponent ln 2, with ln 2 in two parts: the product with the first is exact.
  V rest = fused(exponent, V(0.693359375f), t);
  rest = fused(exponent, V(-2.12194440e-4f), rest) + error;
  const V f = V(0.0f) - rest * V(kLog2e);
  const Decay<V> result = {exp2_slope(f) * f, exponent};
  return result;
}

// log(1 + x) for x >= 0: 2 atanh(s) of the fraction of 1 + x. Where the exponent is 0 (x < 1/3) the
// fraction less 1 is x itself, as it was before 1 + x rounded; elsewhere that rounding is small
// beside the logarithm.
template <class V>
ISF_FN V log1p_of(V x) {
  V exponent;
  const V fraction = split(x + V(1.0f), exponent);
  const V f = choose(exponent == V(0.0f), x, fraction - V(1.0f));
  const V s = f / (f + V(2.0f));
  const V s2 = s * s;
  V tail = fused(V(1.0f / 9.0f), s2, V(1.0f / 7.0f));
  tail = fused(tail, s2, V(1.0f / 5.0f));
  tail = fused(tail, s2, V(1.0f / 3.0f));
  const V twice = s + s;
  const V low = fused(exponent, V(-2.12194440e-4f), twice * (tail * s2));
  return fused(exponent, V(0.693359375f), twice + low);
}

// What one pass over the other classes gathers.
template <class V>
struct RowSums {
  V peak, sum, square, slope;  // m, r, q, h
};

template <class V>
ISF_FN RowSums<V> empty_row_sums() {
  const RowSums<V> s = {lowest(V(0.0f)), V(0.0f), V(0.0f), V(0.0f)};
  return s;
}

// Moves the sums to a peak that is at least the old one.
template <class V>
ISF_FN void raise_peak(ISF_THREAD RowSums<V>& s, V peak) {
  const V d = s.peak - peak;
  const V e = exp_term(d);
  s.slope = e * fused(s.sum, V(0.0f) - larger(V(-87.0f), d), s.slope);
  s.sum = s.sum * e;
  s.square = s.square * (e * e);
  s.peak = peak;
}

// Adds logits that do not exceed the peak. A NaN or +inf makes the sum NaN.
template <bool kWithSlope, class V>
ISF_FN void add_logit(ISF_THREAD RowSums<V>& s, V z) {
  const V d = z - s.peak;
  const V e = exp_term(d);
  s.sum = s.sum + e;
  s.square = fused(e, e, s.square);
  if (kWithSlope) s.slope = fused(e, V(0.0f) - larger(V(-87.0f), d), s.slope);
}

template <class V>
ISF_FN void merge(ISF_THREAD RowSums<V>& s, RowSums<V> other) {
  const V peak = larger(s.peak, other.peak);
  raise_peak(s, peak);
  raise_peak(other, peak);
  s.sum = s.sum + other.sum;
  s.square = s.square + other.square;
  s.slope = s.slope + other.slope;
}

// The statistics of a row, each computed when it is asked for.
template <class V>
struct RowResult {
  RowSums<V> sums;
  V gap;           // g
  Decay<V> decay;  // a
  V excess;        // x
  V total;         // 1 + x

  // u v: brings a sum over the other classes to the scale of the largest of all logits.
  ISF_MEMBER V scaled(V v) const { return choose(gap >= V(0.0f), decay.times(v), v); }

  // log(sum_j e^(z_j)) - m.
  ISF_MEMBER V log_total() const { return choose(gap >= V(0.0f), gap, V(0.0f)) + log1p_of(excess); }

  ISF_MEMBER V loss() const {
    return choose(gap >= V(0.0f), V(0.0f), V(0.0f) - gap) + log1p_of(excess);
  }

  ISF_MEMBER V grad_norm() const {
    return scaled(root(fused(sums.sum, sums.sum, sums.square))) / total;
  }

  ISF_MEMBER V p_true() const {
    return choose(gap >= V(0.0f), V(1.0f), decay.times(V(1.0f))) / total;
  }

  ISF_MEMBER V p_wrong() const { return scaled(sums.sum) / total; }

  // p_y - max_{j != y} p_j, and one minus that.
  ISF_MEMBER V margin() const {
    const V m = decay.complement() / total;
    return choose(gap >= V(0.0f), m, V(0.0f) - m);
  }
  ISF_MEMBER V margin_lack() const { return scaled(sums.sum + V(1.0f)) / total; }

  // sum_j p_j (log(sum e^z) - z_j): the target's term, the others' common part and the rest, each
  // zero where its p is.
  ISF_MEMBER V entropy() const {
    const V p = p_true(), others = p_wrong();
    const V own = choose(p > V(0.0f), p * loss(), V(0.0f));
    const V common = choose(others > V(0.0f), others * log_total(), V(0.0f));
    return own + common + scaled(sums.slope) / total;
  }
};

template <class V>
ISF_FN RowResult<V> finish(RowSums<V> sums, V target) {
  const V gap = target - sums.peak;
  // What the difference lost to rounding (Knuth's TwoSum); of no weight where the decay is zero or
  // the gap is infinite.
  const V back = gap - target;
  const V lost = (target - (gap - back)) - (sums.peak + back);
  const V distance = magnitude(gap);
  const V error =
      choose(distance < V(173.0f), choose(gap >= V(0.0f), lost, V(0.0f) - lost), V(0.0f));
  RowResult<V> result;
  result.sums = sums;
  result.gap = gap;
  result.decay = decay_of(distance, error);
  const V behind = (sums.sum - V(1.0f)) + result.decay.times(V(1.0f));
  result.excess = choose(gap >= V(0.0f), result.decay.times(sums.sum), behind);
  result.total = result.excess + V(1.0f);
  return result;
}

}  // namespace isf
