// Weights that depend on all drawn rows: normalised to mean 1, or raised to a power.
#pragma once

#include "block.cuh"
#include "sampling.cuh"

namespace isf {
namespace cuda {

ISF_FN bool is_rescaled(Outcome outcome) {
  return outcome == Outcome::kNormalized || outcome == Outcome::kPower;
}

template <class T>
class Rescaling {
 public:
  // By the threads of one block.
  __device__ __forceinline__ Rescaling(const DrawPlan& plan, Slots& slots)
      : plan_(plan),
        slots_(slots),
        weight_(static_cast<T*>(plan.result)),
        count_(static_cast<uint64_t>(plan.n)) {}

  // prob [n] -> weight [n], in place; drawn_by(i) is what row i was drawn by.
  template <class DrawnBy>
  __device__ __forceinline__ void run(const DrawnBy& drawn_by) {
    if (plan_.outcome == Outcome::kNormalized) {
      normalize();
    } else {
      raise(drawn_by);
    }
  }

 private:
  template <class Body>
  __device__ __forceinline__ void for_each(const Body& body) const {
#pragma unroll 1
    for (int64_t i = threadIdx.x; i < plan_.n; i += blockDim.x) body(i);
  }

  __device__ __forceinline__ T unbiased(int64_t i) const {
    return static_cast<T>(plan_.numerator) / weight_[i];
  }

  __device__ __forceinline__ void normalize() {
    T largest = 0;
    for_each([&](int64_t i) { largest = unbiased(i) > largest ? unbiased(i) : largest; });
    largest = number_from(block_max(bits_of(largest), slots_));
    const int shift = fixed_point_shift(largest, count_);
    PowerSums sums = PowerSums::nothing();
    for_each([&](int64_t i) { sums.kept += to_fixed_point(unbiased(i), shift); });
    const T mean = mean_of(block_merge(sums, slots_).kept, count_, shift, largest);
    for_each([&](int64_t i) { weight_[i] = unbiased(i) / mean; });
  }

  template <class DrawnBy>
  __device__ __forceinline__ void raise(const DrawnBy& drawn_by) {
    const auto kept = [&](int64_t i) { return product(decompose_long(unbiased(i)), drawn_by(i)); };
    WeightExtremes<T> extremes = WeightExtremes<T>::nothing();
    for_each([&](int64_t i) {
      const WeightExtremes<T> one = {unbiased(i), unbiased(i), kept(i).top()};
      extremes.merge(one);
    });
    extremes = block_merge(extremes, slots_);
    const PowerOf power_of = PowerOf::of(extremes, plan_.exponent);
    const auto power = [&](int64_t i) { return power_of(scaled_log2(decompose(unbiased(i)))); };
    const auto raised = [&](int64_t i) { return product(power(i), drawn_by(i)); };
    // Tops are compared as numbers without a sign.
    constexpr int kLowest = -(1 << 20);
    uint32_t top = 0;
    for_each([&](int64_t i) {
      const auto found = static_cast<uint32_t>(raised(i).top() - kLowest);
      top = found > top ? found : top;
    });
    top = block_max(top, slots_);
    const int kept_shift = shift_for(extremes.kept_top, count_),
              raised_shift = shift_for(static_cast<int>(top) + kLowest, count_);
    PowerSums sums = PowerSums::nothing();
    for_each([&](int64_t i) {
      sums.kept += to_fixed_point(kept(i), kept_shift);
      sums.raised += to_fixed_point(raised(i), raised_shift);
    });
    sums = block_merge(sums, slots_);
    const auto factor = PowerFactor<T>::of(sums, kept_shift, raised_shift);
    for_each([&](int64_t i) { weight_[i] = factor(power(i)); });
  }

  const DrawPlan& plan_;
  Slots& slots_;
  T* weight_;
  uint64_t count_;
};

}  // namespace cuda
}  // namespace isf
