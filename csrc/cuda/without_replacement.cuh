// Draws without replacement: the keys of an order, and which rows are certain.
#pragma once

#include "block.cuh"
#include "sampling.cuh"

namespace isf {
namespace cuda {

// The key of a row in the order of a race or of the largest weights.
template <class T>
__device__ __forceinline__ BitsOf<T> order_key(const Weights<T>& weights, bool race, int64_t row,
                                               uint64_t seed) {
  if (!race) return topk_key(weights[row]);
  return race_key(weights.fixed(row), random_number(seed, static_cast<uint64_t>(row)));
}

// Its probability, given the time of the arrival after the drawn ones.
template <class T>
__device__ __forceinline__ T order_probability(const Weights<T>& weights, bool race, int64_t row,
                                               float time) {
  return race ? arrival_probability(weights.fixed(row), time, T()) : T(1);
}

}  // namespace cuda
}  // namespace isf
