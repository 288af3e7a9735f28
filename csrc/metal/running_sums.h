// The sums of rowmath.h as threads gather them: each some columns of a row, joined in the end.
#pragma once

#include "rows.h"
#include "team.h"

namespace isf {
namespace mps {

// A sum and what its additions lost to rounding: many small terms beside a large one would be
// rounded away one by one.
struct ExactSum {
  float high, low;

  ISF_MEMBER void add(float x) {
    const Two<float> s = exact_sum(high, x);
    high = s.high;
    low = low + s.low;
  }
  ISF_MEMBER void scale(float factor) {
    high = high * factor;
    low = low * factor;
  }
  // An infinite sum has lost nothing.
  ISF_MEMBER float total() const { return high < INFINITY ? high + low : high; }
};

template <bool kWithSlope>
struct RunningSums {
  float peak, square;
  ExactSum sum, slope;

  static ISF_MEMBER RunningSums empty() {
    const RunningSums sums = {lowest(0.0f), 0.0f, {0.0f, 0.0f}, {0.0f, 0.0f}};
    return sums;
  }

  // Moves to a peak that is at least the present one.
  ISF_MEMBER void raise(float to) {
    if (to == peak) return;
    const float d = peak - to, e = exp_term(d);
    if (kWithSlope) {
      slope.scale(e);
      slope.add(e * (sum.high * (0.0f - larger(-87.0f, d))));
    }
    sum.scale(e);
    square = square * (e * e);
    peak = to;
  }

  // The logits of one row that are numbered `first`, `first` + `step`, ... below `end`; not number
  // `skip`. A NaN or +inf makes the sum NaN.
  template <class Element>
  ISF_MEMBER void add(const thread Rows<Element>& rows, int64_t row, int first, int step, int end,
                      int skip) {
    constexpr int kAtOnce = 8;
    for (int64_t i = first; i < end; i += kAtOnce * step) {
      float z[kAtOnce];
      float largest = peak;
      for (int k = 0; k < kAtOnce; ++k) {
        const int64_t at = i + k * step;
        z[k] = at < end && at != skip ? rows.logit(row, static_cast<int>(at)) : -INFINITY;
        largest = larger(largest, z[k]);
      }
      raise(largest);
      RowSums<float> some = {peak, 0.0f, 0.0f, 0.0f};
      for (int k = 0; k < kAtOnce; ++k) add_logit<kWithSlope>(some, z[k]);
      sum.add(some.sum);
      square = square + some.square;
      if (kWithSlope) slope.add(some.slope);
    }
  }

  // Adds the sums of other columns of the row.
  ISF_MEMBER void merge(float other_peak, float other_sum, float other_square, float other_slope) {
    RunningSums other = {other_peak, other_square, {other_sum, 0.0f}, {other_slope, 0.0f}};
    const float to = larger(peak, other_peak);
    raise(to);
    other.raise(to);
    sum.add(other.sum.total());
    square = square + other.square;
    if (kWithSlope) slope.add(other.slope.total());
  }

  // The sums of the team; every thread gets them.
  ISF_MEMBER RowSums<float> joined(thread Team& team) {
    raise(team.reduce(peak, Maximum(), lowest(0.0f)));
    RowSums<float> all = empty_row_sums<float>();
    all.peak = peak;
    all.sum = team.reduce(sum.total(), Sum(), 0.0f);
    all.square = team.reduce(square, Sum(), 0.0f);
    if (kWithSlope) all.slope = team.reduce(slope.total(), Sum(), 0.0f);
    return all;
  }
};

}  // namespace mps
}  // namespace isf
