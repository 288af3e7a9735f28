// A draw by one threadgroup, in one launch; of more rows than that sorts, the order is made by many
// threadgroups before it.
#pragma once

#include "stripes.h"
#include "weights.h"

namespace isf {
namespace mps {

struct DrawBuffers {
  device const float* scores;    // [rows]
  device const int32_t* target;  // [rows]: int32_t, int64_t, or one byte of a mask
  device const int64_t* seed;    // 16 bits of a number in each word, or one word with all 64
  device int64_t* index;         // [n]
  device float* result;          // [n]: prob, or weight
  device float* tau;             // []
  device int64_t* status;        // []
  device uint64_t* keys;         // [whole tiles]: the order of more rows than a tile has
};

#define ISF_DRAW_BUFFERS                                                                  \
  device const int32_t *targets_drawn, device const int64_t *seed, device int64_t *index, \
      device float *result, device float *tau, device int64_t *status, device uint64_t *keys

// Where drawn rows go, and what of their probabilities, as far as that depends on one row alone.
struct DrawnPlaces {
  device int64_t* index;
  device float* result;
  Outcome outcome;
  float numerator;

  ISF_MEMBER void store(int64_t i, int64_t row, float prob) const {
    index[i] = row;
    result[i] = outcome == Outcome::kUnbiased ? numerator / prob
                : outcome == Outcome::kOne    ? 1.0f
                                              : prob;
  }
};

class Draw {
 public:
  ISF_MEMBER Draw(constant DrawPlan& plan, DrawBuffers buffers, threadgroup uint64_t* memory,
                  thread Team& team)
      : plan_(plan),
        buffers_(buffers),
        memory_(memory),
        team_(team),
        weights_{plan, buffers.scores, buffers.target, Sampling<float>()},
        places_{buffers.index, buffers.result, static_cast<Outcome>(plan.outcome),
                unbiased_numerator<float>(static_cast<DrawKind>(plan.kind), plan.n, plan.rows)} {}

  // For all threads of a threadgroup; other threads' scores are visible to this one.
  template <int kWay>
  ISF_MEMBER void run() {
    weights_.sample(team_);
    const bool first = team_.thread_index() == 0;
    if (first) *buffers_.status = weights_.sampling.status;
    if (weights_.sampling.status) {
      store_failure();
      return;
    }
    if (plan_.has_tau) {
      const float tau = weights_.tau(team_);
      if (first) *buffers_.tau = tau;
    }
    if (kWay == kPoints) at_points();
    if (kWay == kOrder) first_of_order();
    if (kWay == kSize) proportional_to_size();
    if (is_rescaled(places_.outcome)) {
      threadgroup_barrier(metal::mem_flags::mem_device);
      const DrawnRows drawn = {weights_, buffers_.index};
      Rescaling<DrawnRows>(plan_, buffers_.result, drawn, team_).run();
    }
  }

  // Keys of the rows of some tiles, each sorted.
  ISF_MEMBER void sort_tiles(int64_t tile, int64_t end) {
    weights_.sample(team_);
    if (weights_.sampling.status) return;  // as run() will
    const bool race = method() == Method::kRace;
    const uint64_t number = race ? seed() : 0;
    for (; tile < end; ++tile) {
      const int64_t first = tile * kMostSorted;
      for (int i = team_.thread_index(); i < kMostSorted; i += team_.size) {
        memory_[i] = place_in_order(weights_, plan_.rows, first + i, race, number, 0);
      }
      sort(memory_, kMostSorted, static_cast<int>(first), team_);
      for (int i = team_.thread_index(); i < kMostSorted; i += team_.size) {
        buffers_.keys[first + i] = memory_[i];
      }
    }
  }

 private:
  ISF_MEMBER Method method() const { return static_cast<Method>(plan_.method); }

  ISF_MEMBER uint64_t seed() const {
    if (plan_.seed_words == 0) return static_cast<uint64_t>(plan_.seed);
    uint64_t seed = static_cast<uint64_t>(buffers_.seed[0]);
    for (int i = 1; i < plan_.seed_words; ++i) {
      seed |= static_cast<uint64_t>(buffers_.seed[i]) << (16 * i);
    }
    return seed;
  }

  ISF_MEMBER Stripes<Weights> stripes() const {
    const Stripes<Weights> stripes = {weights_, plan_.rows, plan_.stripe, memory_, team_};
    return stripes;
  }

  // What a draw that cannot be made leaves: see csrc/cuda/cuda.h.
  ISF_MEMBER void store_failure() const {
    const thread Sampling<float>& sampling = weights_.sampling;
    const bool avoids = sampling.status > 0 && sampling.fine < plan_.rows;
    const float nothing = places_.outcome == Outcome::kProb ? not_a_number(0.0f) : 0.0f;
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      buffers_.index[i] = avoids ? sampling.fine : i % plan_.rows;
      buffers_.result[i] = nothing;
    }
    if (team_.thread_index() == 0 && plan_.has_tau) *buffers_.tau = not_a_number(0.0f);
  }

  ISF_MEMBER void at_points() const {
    const Stripes<Weights> rows = stripes();
    const uint64_t total = rows.add_up(), number = seed(), n = static_cast<uint64_t>(plan_.n);
    const bool systematic = method() == Method::kSystematic;
    const DrawPoints points =
        DrawPoints::of(method(), systematic ? random_number(number, 0) : 0, total, n);
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      const uint64_t draw = static_cast<uint64_t>(i);
      int64_t row;
      const uint64_t random = systematic ? 0 : random_number(number, draw);
      const uint64_t here = rows.find(points.at(draw, random), row);
      places_.store(i, row, draw_probability<float>(here, total));
    }
  }

  // The race and the largest weights: the first n keys, in order.
  ISF_MEMBER void first_of_order() const {
    if (plan_.rows > kMostSorted) {
      store_first(buffers_.keys);
      return;
    }
    const bool race = method() == Method::kRace;
    order_rows(memory_, weights_, plan_.rows, race, race ? seed() : 0, 0, team_);
    store_first(memory_);
  }

  template <class Keys>
  ISF_MEMBER void store_first(Keys keys) const {
    const bool race = method() == Method::kRace;
    const uint64_t next = plan_.n < plan_.rows ? keys[plan_.n] : ~static_cast<uint64_t>(0);
    const float time = arrival_time(static_cast<uint32_t>(next >> 32));
    for (int64_t i = team_.thread_index(); i < plan_.n; i += team_.size) {
      const int64_t row = static_cast<int64_t>(static_cast<uint32_t>(keys[i]));
      const float prob = race ? arrival_probability(weights_.fixed(row), time, 0.0f) : 1.0f;
      places_.store(i, row, prob);
    }
  }

  ISF_MEMBER void proportional_to_size() const {
    CertainRows found = CertainRows::none();
    do {
      CertainPart part = CertainPart::nothing();
      for (int row = team_.thread_index(); row < plan_.rows; row += team_.size) {
        part.add(weights_.fixed(row), found.from);
      }
      team_.merge(part).store(found);
    } while (found.lower(plan_.n));
    store_by_size(stripes(), found, CertainPart::nothing(), seed(), plan_.n, places_);
  }

  constant DrawPlan& plan_;
  DrawBuffers buffers_;
  threadgroup uint64_t* memory_;
  thread Team& team_;
  Weights weights_;
  DrawnPlaces places_;
};

}  // namespace mps
}  // namespace isf
