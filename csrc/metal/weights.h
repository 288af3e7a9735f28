// What rows are drawn by, and what becomes of the probabilities of drawn rows.
#pragma once

#include "../correction.h"
#include "rows.h"
#include "team.h"

namespace isf {
namespace mps {

// How a method finds its rows: at points of the cumulative sum, as the first of an order, or in
// proportion to their size.
enum Way { kPoints, kOrder, kSize };

// What is stored for a drawn row.
enum class Outcome { kProb, kOne, kUnbiased, kNormalized, kPower };

// Where it is said which rows are no candidates.
enum class Ignored { kNowhere, kTarget, kMask };

// In the order of impsamp_fast/ops/_metal_draw.py.
struct DrawPlan {
  int64_t rows, n, method, kind, outcome, has_tau;
  int64_t ignored, target_is_int64, target_stride, ignore_index;
  int64_t seed_words, seed;  // words of the seed in its buffer; if none, the seed itself
  int64_t power_mantissa, power_exponent, power_is_negative;
  int64_t stripe;     // rows of a thread
  float keep, share;  // 1 - a and a of smoothing
};

ISF_FN bool is_rescaled(Outcome outcome) {
  return outcome == Outcome::kNormalized || outcome == Outcome::kPower;
}

// From the probabilities of drawn rows to weights that depend on all of them. `DrawnBy` tells what
// row i was drawn by.
template <class DrawnBy>
class Rescaling {
 public:
  ISF_MEMBER Rescaling(constant DrawPlan& plan, device float* weight, DrawnBy drawn_by,
                       thread Team& team)
      : plan_(plan), weight_(weight), drawn_by_(drawn_by), team_(team) {
    numerator_ = unbiased_numerator<float>(static_cast<DrawKind>(plan.kind), plan.n, plan.rows);
  }

  ISF_MEMBER void run() {
    if (static_cast<Outcome>(plan_.outcome) == Outcome::kNormalized) {
      normalize();
    } else {
      raise();
    }
  }

 private:
  ISF_MEMBER float unbiased(int64_t i) const { return numerator_ / weight_[i]; }
  ISF_MEMBER uint64_t count() const { return static_cast<uint64_t>(plan_.n); }

  ISF_MEMBER void normalize() {
    float largest = 0.0f;
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      largest = unbiased(i) > largest ? unbiased(i) : largest;
    }
    largest = team_.reduce(largest, Maximum(), 0.0f);
    const int shift = fixed_point_shift(largest, count());
    uint64_t sum = 0;
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      sum += to_fixed_point(unbiased(i), shift);
    }
    const float mean =
        mean_of(team_.reduce(sum, Sum(), static_cast<uint64_t>(0)), count(), shift, largest);
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      weight_[i] = unbiased(i) / mean;
    }
  }

  ISF_MEMBER Decomposed kept(int64_t i) const {
    return product(decompose_long(unbiased(i)), drawn_by_.of(i));
  }
  ISF_MEMBER Decomposed power(PowerOf power_of, int64_t i) const {
    return power_of(scaled_log2(decompose(unbiased(i))));
  }
  ISF_MEMBER Decomposed raised(PowerOf power_of, int64_t i) const {
    return product(power(power_of, i), drawn_by_.of(i));
  }

  ISF_MEMBER void raise() {
    WeightExtremes<float> extremes = WeightExtremes<float>::nothing();
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      const WeightExtremes<float> one = {unbiased(i), unbiased(i), kept(i).top()};
      extremes.merge(one);
    }
    extremes = team_.merge(extremes);
    const Exponent exponent = {static_cast<uint64_t>(plan_.power_mantissa),
                               static_cast<int>(plan_.power_exponent),
                               plan_.power_is_negative != 0};
    const PowerOf power_of = PowerOf::of(extremes, exponent);
    const int lowest_top = -(1 << 20);
    int top = lowest_top;
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      const int found = raised(power_of, i).top();
      top = found > top ? found : top;
    }
    top = team_.reduce(top, Maximum(), lowest_top);
    const int kept_shift = shift_for(extremes.kept_top, count());
    const int raised_shift = shift_for(top, count());
    PowerSums sums = PowerSums::nothing();
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      sums.kept += to_fixed_point(kept(i), kept_shift);
      sums.raised += to_fixed_point(raised(power_of, i), raised_shift);
    }
    sums = team_.merge(sums);
    const PowerFactor<float> factor = PowerFactor<float>::of(sums, kept_shift, raised_shift);
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      weight_[i] = factor(power(power_of, i));
    }
  }

  constant DrawPlan& plan_;
  device float* weight_;
  DrawnBy drawn_by_;
  thread Team& team_;
  float numerator_;
};

// The weights that rows are drawn by.
struct Weights {
  constant DrawPlan& plan;
  device const float* scores;
  device const int32_t* target;
  Sampling<float> sampling;

  ISF_MEMBER bool is_candidate(int64_t row) const {
    const Ignored ignored = static_cast<Ignored>(plan.ignored);
    if (ignored == Ignored::kNowhere) return true;
    if (ignored == Ignored::kMask) return !reinterpret_cast<device const uint8_t*>(target)[row];
    return class_index(target, plan.target_is_int64 != 0, row * plan.target_stride) !=
           plan.ignore_index;
  }
  // An ignored row's is 0.
  ISF_MEMBER float score(int64_t row) const { return is_candidate(row) ? scores[row] : 0.0f; }

  ISF_MEMBER float weight(int64_t row) const {
    return sampling.weight(score(row), is_candidate(row));
  }
  ISF_MEMBER uint64_t fixed(int64_t row) const {
    return to_fixed_point(weight(row), sampling.shift);
  }

  // What scores become, as all threads of the team see it.
  ISF_MEMBER void sample(thread Team& team) {
    const DrawRules rules = {static_cast<int32_t>(plan.rows), static_cast<int32_t>(plan.n),
                             static_cast<Method>(plan.method)};
    const Mixture<float> mixture = {plan.keep, plan.share};
    ScoreScan<float> scan = ScoreScan<float>::nothing();
    for (int row = team.thread_index(); row < plan.rows; row += team.size) {
      scan.add(score(row), row, is_candidate(row));
    }
    sampling = Sampling<float>::of(team.merge(scan), rules, mixture);
    if (!sampling.needs_mean()) return;
    uint64_t sum = 0;
    for (int row = team.thread_index(); row < plan.rows; row += team.size) {
      sum += to_fixed_point(score(row), sampling.shift);
    }
    sampling.smooth(team.reduce(sum, Sum(), static_cast<uint64_t>(0)), rules, mixture);
  }

  // Of what rows are drawn by.
  ISF_MEMBER float tau(thread Team& team) const {
    const int row_bits = bits_for(static_cast<uint64_t>(plan.rows));
    TauSums sums = TauSums::nothing();
    for (int row = team.thread_index(); row < plan.rows; row += team.size) {
      const uint64_t here = fixed(row);
      sums.sum += here;
      sums.squares += square_of(here, row_bits, 0.0f);
    }
    return tau_of<float>(team.merge(sums), static_cast<uint64_t>(plan.rows));
  }
};

// What drawn rows were drawn by.
struct DrawnRows {
  const thread Weights& weights;
  device const int64_t* index;
  ISF_MEMBER float of(int64_t i) const { return weights.weight(index[i]); }
};

}  // namespace mps
}  // namespace isf
