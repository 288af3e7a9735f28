// From scores to the weights that rows are drawn by: as they are, smoothed, or equal where all
// scores are zero; and what keeps a draw from being made.
#pragma once

#include "device.h"
#include "draw_plan.h"

namespace isf {
namespace cuda {

// A seed's parts, read before they are needed: the reads go along with others.
struct SeedWords {
  uint64_t seed, offset;
  bool from_generator;

  __device__ __forceinline__ explicit SeedWords(const SeedSource& source)
      : seed(source.seed_at ? static_cast<uint64_t>(*source.seed_at) : source.seed),
        offset(source.offset +
               (source.offset_at ? static_cast<uint64_t>(*source.offset_at) : uint64_t{0})),
        from_generator(source.from_generator) {}

  __device__ __forceinline__ uint64_t value() const {
    return from_generator ? philox_block(seed, offset / 4).number[0] : seed;
  }
};

// The random numbers that points are made of, which need no weights: a thread has its first one
// ready while others still score rows.
struct Randoms {
  uint64_t seed, first;

  // `i` is the thread's first draw. All systematic draws share one number.
  static __device__ __forceinline__ Randoms of(Method method, uint64_t seed, uint64_t i) {
    return Randoms{seed, random_number(seed, method == Method::kSystematic ? 0 : i)};
  }
};

// The weights that rows are drawn by.
template <class T>
struct Weights {
  const T* scores;
  const Ignored* ignored;
  Sampling<T> sampling;

  __device__ __forceinline__ bool is_candidate(int64_t row) const {
    return !is_ignored(*ignored, row);
  }

  __device__ __forceinline__ T weight(T score, int64_t row) const {
    return sampling.weight(score, sampling.basis != Basis::kScores && is_candidate(row));
  }
  __device__ __forceinline__ T operator[](int64_t row) const { return weight(scores[row], row); }

  __device__ __forceinline__ uint64_t fixed_from(T score, int64_t row) const {
    return to_fixed_point(weight(score, row), sampling.shift);
  }
  __device__ __forceinline__ uint64_t fixed(int64_t row) const {
    return fixed_from(scores[row], row);
  }
};

// What is stored of a drawn row's probability, as far as that depends on this row alone.
template <class T>
__device__ __forceinline__ T weight_of(const DrawPlan& plan, T prob) {
  if (plan.outcome == Outcome::kUnbiased) {
    return static_cast<T>(plan.numerator) / prob;
  }
  return plan.outcome == Outcome::kOne ? T(1) : prob;
}

// Stores a drawn row.
template <class T>
__device__ __forceinline__ void store(const DrawPlan& plan, int64_t i, int64_t row, T prob) {
  plan.index[i] = row;
  static_cast<T*>(plan.result)[i] = weight_of(plan, prob);
}

// Stores what a draw that cannot be made leaves, for the draws from `first` in steps of `step`. A
// training step may be on its way that computes a loss of the drawn rows: no weight of 0 helps
// against a target that is no class, at which the device would stop, or against a NaN.
template <class T>
__device__ __forceinline__ void store_failure(const DrawPlan& plan, const Sampling<T>& sampling,
                                              int64_t first, int64_t step) {
  const T nan = not_a_number(T());
  const bool avoids = sampling.status > 0 && sampling.fine < plan.rows;
  for (int64_t i = first; i < plan.n; i += step) {
    plan.index[i] = avoids ? sampling.fine : i % plan.rows;
    static_cast<T*>(plan.result)[i] = plan.outcome == Outcome::kProb ? nan : T(0);
  }
  if (first == 0 && plan.tau) *static_cast<T*>(plan.tau) = nan;
}

}  // namespace cuda
}  // namespace isf
