#include "select.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace isf {
namespace cpu {

namespace {

// The weights that select() draws by: the scores, smoothed, with ignored rows at zero and all zero
// meaning uniform.
template <class T>
Tensor sampling_weights(const Rows& rows, const Tensor& score, double smoothing) {
  const T* s = score.const_data_ptr<T>();
  const int64_t count = rows.count();
  const bool all_zero = std::all_of(s, s + count, [](T x) { return x == 0; });
  if (!all_zero && smoothing == 0) return score;
  Tensor weights = backend_of(score.device()).empty({count}, rows.result_type, score.device());
  T* w = weights.mutable_data_ptr<T>();
  Tensor valid;
  if (rows.target.defined()) valid = rows.target.ne(rows.ignore_index);
  const int64_t valid_count = valid.defined() ? valid.sum().item<int64_t>() : count;
  TORCH_CHECK_VALUE(valid_count > 0, "target is ignore_index (", rows.ignore_index,
                    ") in every row, so none can be drawn");
  const double mean = moments(s, 1.0, count).sum / static_cast<double>(valid_count);
  const bool* is_valid = valid.defined() ? valid.const_data_ptr<bool>() : nullptr;
  for (int64_t i = 0; i < count; ++i) {
    const double smoothed =
        all_zero ? 1.0 : (1.0 - smoothing) * static_cast<double>(s[i]) + smoothing * mean;
    // At least the smallest number: a chance must not be rounded away.
    const T chance = std::max(static_cast<T>(smoothed), std::numeric_limits<T>::denorm_min());
    w[i] = is_valid && !is_valid[i] ? T(0) : chance;
  }
  return weights;
}

// prob [n] -> weight [n], in place, for the rows picked from `count`; `drawn_by` [count] are the
// weights they were drawn by.
template <class T>
void correct(const Choice& choice, int64_t count, const T* drawn_by, const int64_t* index,
             T* weight) {
  const int64_t n = choice.n;
  if (choice.correction == Correction::kNone || choice.method == Method::kTopk) {
    std::fill(weight, weight + n, T(1));
    return;
  }
  const double numerator =
      (with_replacement(choice.method) ? 1.0 : static_cast<double>(n)) / static_cast<double>(count);
  const auto unbiased_weight = [&](int64_t i) {
    return numerator / static_cast<double>(weight[i]);
  };
  if (choice.correction == Correction::kUnbiased) {
    for (int64_t i = 0; i < n; ++i) weight[i] = static_cast<T>(unbiased_weight(i));
    return;
  }
  std::vector<double> unbiased(n);
  for (int64_t i = 0; i < n; ++i) unbiased[i] = unbiased_weight(i);
  double rescale = 1.0;
  if (choice.correction == Correction::kNormalized) {
    double sum = 0;
    for (const double u : unbiased) sum += u;
    rescale = static_cast<double>(n) / sum;
  } else if (choice.correction == Correction::kPower) {
    // Relative to the weight that grows most, so that no power overflows.
    const auto [least, most] = std::minmax_element(unbiased.begin(), unbiased.end());
    const double reference = choice.exponent < 0 ? *least : *most;
    double kept = 0, raised = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double power = std::pow(unbiased[i] / reference, choice.exponent);
      kept += unbiased[i] * static_cast<double>(drawn_by[index[i]]);
      raised += power * static_cast<double>(drawn_by[index[i]]);
      unbiased[i] = power;
    }
    rescale = kept / raised;
  }
  for (int64_t i = 0; i < n; ++i) weight[i] = static_cast<T>(unbiased[i] * rescale);
}

template <class T>
void select_typed(const Rows& rows, const Choice& choice, c10::function_ref<uint64_t()> seed,
                  const Selected& selected) {
  const Tensor weights = sampling_weights<T>(rows, selected.score, choice.smoothing);
  const T* w = weights.const_data_ptr<T>();
  const int64_t count = rows.count();
  int64_t* index = selected.index.mutable_data_ptr<int64_t>();
  T* weight = selected.weight.mutable_data_ptr<T>();
  const T largest = draw(w, count, choice.n, choice.method, seed, index, weight, "score");
  correct(choice, count, w, index, weight);
  const double scale =
      std::min(1.0 / static_cast<double>(largest), std::numeric_limits<double>::max());
  const auto [sum, square] = moments(w, scale, count);
  *selected.tau.mutable_data_ptr<T>() =
      static_cast<T>(std::sqrt(static_cast<double>(count) * square) / sum);
}

}  // namespace

void select_rows(const Rows& rows, const Choice& choice, c10::function_ref<uint64_t()> seed,
                 const Selected& selected) {
  if (rows.result_type == at::kDouble) {
    select_typed<double>(rows, choice, seed, selected);
  } else {
    select_typed<float>(rows, choice, seed, selected);
  }
}

}  // namespace cpu
}  // namespace isf
