// Weights that depend on all drawn rows: normalised to mean 1, or raised to a power.
#pragma once

#include "block.cuh"
#include "sampling.cuh"

namespace isf {
namespace cuda {

ISF_FN bool is_rescaled(Outcome outcome) {
  return outcome == Outcome::kNormalized || outcome == Outcome::kPower;
}

struct Totals {
  double kept, raised;

  static __device__ __forceinline__ Totals nothing() { return Totals{0, 0}; }
  __device__ __forceinline__ void merge(const Totals& other) {
    kept += other.kept;
    raised += other.raised;
  }
};

struct Range {
  double least, most;

  static __device__ __forceinline__ Range nothing() {
    return Range{static_cast<double>(INFINITY), 0};
  }
  __device__ __forceinline__ void merge(const Range& other) {
    least = other.least < least ? other.least : least;
    most = other.most > most ? other.most : most;
  }
};

// prob [n] -> weight [n], in place, by the threads of one block:
//   normalized  n u / sum u                       with u = numerator / prob
//   power       u^k sum(u w) / sum(u^k w)         with w the weight that the row was drawn by
// Powers are taken of u relative to the one whose power is largest, so that none overflows.
// drawn_by(i) is that w of draw i.
template <class T, class DrawnBy>
__device__ __forceinline__ void rescale(const Drawing& drawing, const DrawnBy& drawn_by,
                                        Slots& slots) {
  T* const result = static_cast<T*>(drawing.result);
  const int64_t first = threadIdx.x, step = blockDim.x, n = drawing.n;
  const auto unbiased = [&](int64_t i) {
    return drawing.numerator / static_cast<double>(result[i]);
  };
  Totals totals = Totals::nothing();
  if (drawing.outcome == Outcome::kNormalized) {
    for (int64_t i = first; i < n; i += step) totals.kept += unbiased(i);
    totals = block_merge(totals, slots);
    const double factor = static_cast<double>(n) / totals.kept;
    for (int64_t i = first; i < n; i += step) result[i] = static_cast<T>(unbiased(i) * factor);
    return;
  }
  Range range = Range::nothing();
  for (int64_t i = first; i < n; i += step) range.merge(Range{unbiased(i), unbiased(i)});
  range = block_merge(range, slots);
  const double reference = drawing.exponent < 0 ? range.least : range.most;
  const auto power = [&](int64_t i) { return pow(unbiased(i) / reference, drawing.exponent); };
  for (int64_t i = first; i < n; i += step) {
    const double weight = static_cast<double>(drawn_by(i));
    totals.kept += unbiased(i) * weight;
    totals.raised += power(i) * weight;
  }
  totals = block_merge(totals, slots);
  const double factor = totals.kept / totals.raised;
  for (int64_t i = first; i < n; i += step) result[i] = static_cast<T>(power(i) * factor);
}

}  // namespace cuda
}  // namespace isf
