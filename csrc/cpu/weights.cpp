// From scores to the weights that rows are drawn by, and from probabilities to the weights of
// losses.
#include <c10/util/Exception.h>

#include <algorithm>
#include <vector>

#include "../names.h"
#include "blocks.h"
#include "cpu.h"
#include "scratch.h"

namespace isf {
namespace cpu {

namespace {

template <class T>
constexpr int kType = sizeof(T) == sizeof(double);

bool may_be_ignored(const Ignored& ignored) { return ignored.target || ignored.mask; }

int32_t candidates_of(int64_t rows, const Ignored& ignored) {
  if (!may_be_ignored(ignored)) return static_cast<int32_t>(rows);
  int32_t candidates = 0;
  for (int64_t i = 0; i < rows; ++i) candidates += !is_ignored(ignored, i);
  return candidates;
}

[[noreturn]] void explain(int64_t status, const DrawRules& rules, const Ignored& ignored) {
  if (ignored.mask) {
    TORCH_CHECK_VALUE(status != -1, "ignored is true in every row, so none can be drawn");
  }
  TORCH_CHECK_VALUE(status != -1, "target is ignore_index (", ignored.index.index,
                    ") in every row, so none can be drawn");
  TORCH_CHECK_VALUE(false, "n is ", rules.n, ", but only ", -1 - status,
                    " weights are positive and method \"", name_of(rules.method),
                    "\" draws without replacement");
}

// The sum of scores in fixed point.
template <class T>
uint64_t sum_of(const T* scores, int64_t rows, int shift) {
  const Scratch<int64_t> fixed = scratch<int64_t>(rows);
  std::vector<uint64_t> part((rows + kBlock - 1) / kBlock);
  for_each_block(rows, [&](int64_t b, int64_t begin, int64_t end) {
    part[b] = kernels().to_fixed_point[kType<T>](scores, shift, fixed.get(), begin, end);
  });
  uint64_t sum = 0;
  for (const uint64_t p : part) sum += p;
  return sum;
}

}  // namespace

template <class T>
WeightScan scan_weights(const T* scores, int64_t rows) {
  std::vector<WeightScan> part((rows + kBlock - 1) / kBlock);
  for_each_block(rows, [&](int64_t b, int64_t begin, int64_t end) {
    part[b] = kernels().scan_weights[kType<T>](scores, begin, end);
  });
  WeightScan all = {0, 0, -1};
  for (const WeightScan& p : part) {
    all.largest = std::max(all.largest, p.largest);
    all.positive += p.positive;
    if (all.bad < 0) all.bad = p.bad;
  }
  return all;
}

template <class T>
DrawWeights<T> weights_of(const T* scores, int64_t rows, const Sampling<T>& sampling,
                          const Ignored& ignored) {
  DrawWeights<T> weights = {scores, sampling, nullptr};
  if (sampling.basis == Basis::kScores) return weights;
  weights.made = scratch<T>(rows);
  weights.weight = weights.made.get();
  for_each_block(rows, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      weights.made[i] = sampling.weight(scores[i], !is_ignored(ignored, i));
    }
  });
  return weights;
}

template <class T>
DrawWeights<T> weights_of(const T* scores, const DrawRules& rules, double smoothing,
                          const Ignored& ignored, const char* name) {
  const int64_t rows = rules.rows;
  const WeightScan found = scan_weights(scores, rows);
  TORCH_CHECK_VALUE(found.bad < 0, name, "[", found.bad, "] is ",
                    scores[std::max<int64_t>(found.bad, 0)], ", but ", name,
                    " must be finite and not negative");
  ScoreScan<T> all = ScoreScan<T>::nothing();
  all.largest = static_cast<BitsOf<T>>(found.largest);
  all.positive = static_cast<int32_t>(found.positive);
  const bool enough = with_replacement(rules.method) || rules.n <= all.positive;
  all.candidates = enough && smoothing == 0 && all.positive > 0 ? static_cast<int32_t>(rows)
                                                                : candidates_of(rows, ignored);
  const auto mixture = mixture_of<T>(smoothing);
  auto sampling = Sampling<T>::of(all, rules, mixture);
  if (sampling.status) explain(sampling.status, rules, ignored);
  if (sampling.needs_mean()) sampling.smooth(sum_of(scores, rows, sampling.shift), rules, mixture);
  return weights_of(scores, rows, sampling, ignored);
}

template <class T>
void correct(const Correcting& correcting, c10::function_ref<T(int64_t)> drawn_by, T* weight) {
  const int64_t n = correcting.n;
  if (correcting.is_one()) {
    std::fill(weight, weight + n, T(1));
    return;
  }
  const auto numerator = unbiased_numerator<T>(correcting.kind, n, correcting.rows);
  for (int64_t i = 0; i < n; ++i) weight[i] = numerator / weight[i];
  if (correcting.correction == Correction::kUnbiased) return;

  if (correcting.correction == Correction::kNormalized) {
    const auto count = static_cast<uint64_t>(n);
    const T largest = *std::max_element(weight, weight + n);
    const int shift = fixed_point_shift(largest, count);
    uint64_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += to_fixed_point(weight[i], shift);
    const T mean = mean_of(sum, count, shift, largest);
    for (int64_t i = 0; i < n; ++i) weight[i] = weight[i] / mean;
    return;
  }
  const Scratch<T> by = scratch<T>(n);
  for (int64_t i = 0; i < n; ++i) by[i] = drawn_by(i);
  const Scratch<RaisedRow> rows = scratch<RaisedRow>(n);
  kernels().raise[kType<T>](exponent_of(correcting.exponent), by.get(), n, rows.get(), weight);
}

template WeightScan scan_weights(const float*, int64_t);
template WeightScan scan_weights(const double*, int64_t);
template DrawWeights<float> weights_of(const float*, int64_t, const Sampling<float>&,
                                       const Ignored&);
template DrawWeights<double> weights_of(const double*, int64_t, const Sampling<double>&,
                                        const Ignored&);
template DrawWeights<float> weights_of(const float*, const DrawRules&, double, const Ignored&,
                                       const char*);
template DrawWeights<double> weights_of(const double*, const DrawRules&, double, const Ignored&,
                                        const char*);
template void correct(const Correcting&, c10::function_ref<float(int64_t)>, float*);
template void correct(const Correcting&, c10::function_ref<double(int64_t)>, double*);

}  // namespace cpu
}  // namespace isf
