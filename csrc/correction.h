// What becomes of the probabilities of drawn rows: their weights. One statement for every device,
// as choice.h is.
#pragma once

#include "choice.h"
#include "power.h"

namespace isf {

// The weight of a row drawn with probability p, among n of K:
//   none        1, as for any correction of a deterministic draw
//   unbiased    u = 1 / (K p) with replacement, n / (K p) without
//   normalized  u n / sum(u)
//   power       u^k sum(u w) / sum(u^k w), with w what rows are drawn by (Katharopoulos and Fleuret
//               2018: the biased variant)
enum class Correction { kNone, kUnbiased, kNormalized, kPower };

// The unbiased weight is this over the probability.
template <class T>
ISF_FN T unbiased_numerator(DrawKind kind, int64_t n, int64_t rows) {
  return (kind == DrawKind::kWithReplacement ? T(1) : static_cast<T>(n)) / static_cast<T>(rows);
}

// Weights that depend on all n drawn rows, in three looks at their unbiased weights u and at what
// they were drawn by w: for the extremes, for the sums and for the weights.
//
// Relative errors in float: below 2^-21 + 2^(2 B - 61) for n <= 2^B, and (|k| + 1) 2^-47 of powers.

template <class T>
struct WeightExtremes {
  T least, most;     // of u
  int32_t kept_top;  // of u w: its Decomposed::top()

  static ISF_MEMBER WeightExtremes nothing() {
    const WeightExtremes e = {number_from(static_cast<BitsOf<T>>(largest_finite_bits(T()))), T(0),
                              -(1 << 20)};
    return e;
  }
  ISF_MEMBER void merge(WeightExtremes other) {
    least = other.least < least ? other.least : least;
    most = other.most > most ? other.most : most;
    kept_top = other.kept_top > kept_top ? other.kept_top : kept_top;
  }
};

// u^k as v = (u / u_r)^k <= 1, with u_r the u whose power is the largest: none overflows.
struct PowerOf {
  Exponent exponent;
  int64_t log_of_largest;

  template <class T>
  static ISF_MEMBER PowerOf of(WeightExtremes<T> extremes, Exponent exponent) {
    const T largest = exponent.is_negative ? extremes.least : extremes.most;
    const PowerOf power = {exponent, scaled_log2(decompose(largest))};
    return power;
  }
  // From scaled_log2(u).
  ISF_MEMBER Decomposed operator()(int64_t log) const {
    return power_below(log, log_of_largest, exponent);
  }
};

// sum(u w) and sum(v w) in fixed point, each by a shift of its own.
struct PowerSums {
  uint64_t kept, raised;

  static ISF_MEMBER PowerSums nothing() {
    const PowerSums sums = {0, 0};
    return sums;
  }
  ISF_MEMBER void merge(PowerSums other) {
    kept += other.kept;
    raised += other.raised;
  }
};

// What a power becomes its row's weight by: sum(u w) / sum(v w), or 1 where w is zero in all rows.
template <class T>
struct PowerFactor {
  T ratio;
  int shift;

  static ISF_MEMBER PowerFactor of(PowerSums sums, int kept_shift, int raised_shift) {
    PowerFactor factor = {T(1), 0};
    if (sums.kept == 0 || sums.raised == 0) return factor;
    factor.ratio = nearest<T>(sums.kept) / nearest<T>(sums.raised);
    factor.shift = raised_shift - kept_shift;
    return factor;
  }
  ISF_MEMBER T operator()(Decomposed power) const {
    Decomposed weight = product(power, ratio);
    weight.exponent += shift;
    return composed<T>(weight);
  }
};

}  // namespace isf
