#include "select.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace isf {
namespace cpu {

namespace {

// What rows are drawn by: (1 - share) score + share mean(score), equal where all scores are 0, and
// 0 for the rows that are ignored, of which there are not `count`. May be done in place.
template <class T>
void smooth_typed(const T* score, const bool* ignored, double share, int64_t count, T* weight) {
  int64_t counted = 0;
  bool all_zero = true;
  for (int64_t i = 0; i < count; ++i) {
    const bool counts = !ignored || !ignored[i];
    counted += counts;
    weight[i] = counts ? score[i] : T(0);
    all_zero = all_zero && weight[i] == 0;
  }
  if (!all_zero && share == 0) return;
  const double mean = moments(weight, 1.0, count).sum / static_cast<double>(counted);
  for (int64_t i = 0; i < count; ++i) {
    const double smoothed =
        all_zero ? 1.0 : (1.0 - share) * static_cast<double>(weight[i]) + share * mean;
    // At least the smallest number: a chance must not be rounded away.
    const T chance = std::max(static_cast<T>(smoothed), std::numeric_limits<T>::denorm_min());
    weight[i] = ignored && ignored[i] ? T(0) : chance;
  }
}

// The weights that select() draws by. Ignored rows have score 0.
template <class T>
Tensor sampling_weights(const Rows& rows, const Tensor& score, double smoothing) {
  const T* s = score.const_data_ptr<T>();
  const int64_t count = rows.count();
  const bool all_zero = std::all_of(s, s + count, [](T x) { return x == 0; });
  if (!all_zero && smoothing == 0) return score;
  Tensor weights = backend_of(score.device()).empty({count}, rows.result_type, score.device());
  Tensor ignored;
  if (rows.target.defined() && rows.ignore_index) {
    ignored = rows.target.eq(*rows.ignore_index);
  }
  TORCH_CHECK_VALUE(!ignored.defined() || !ignored.all().item<bool>(), "target is ignore_index (",
                    rows.ignore().index, ") in every row, so none can be drawn");
  smooth_typed(s, ignored.defined() ? ignored.const_data_ptr<bool>() : nullptr, smoothing, count,
               weights.mutable_data_ptr<T>());
  return weights;
}

// sqrt(K sum g^2) with g the normalised weights.
template <class T>
T tau_of(const T* weights, int64_t count, T largest) {
  const double scale =
      std::min(1.0 / static_cast<double>(largest), std::numeric_limits<double>::max());
  const auto [sum, square] = moments(weights, scale, count);
  return static_cast<T>(std::sqrt(static_cast<double>(count) * square) / sum);
}

// prob [n] -> weight [n], in place; drawn_by(i) is the weight that the i-th row was drawn by.
template <class T, class DrawnBy>
void correct_typed(const Correcting& correcting, const DrawnBy& drawn_by, T* weight) {
  const int64_t n = correcting.n;
  if (correcting.correction == Correction::kNone || correcting.kind == DrawKind::kDeterministic) {
    std::fill(weight, weight + n, T(1));
    return;
  }
  const double numerator = correcting.numerator();
  const auto unbiased_weight = [&](int64_t i) {
    return numerator / static_cast<double>(weight[i]);
  };
  if (correcting.correction == Correction::kUnbiased) {
    for (int64_t i = 0; i < n; ++i) weight[i] = static_cast<T>(unbiased_weight(i));
    return;
  }
  std::vector<double> unbiased(n);
  for (int64_t i = 0; i < n; ++i) unbiased[i] = unbiased_weight(i);
  double rescale = 1.0;
  if (correcting.correction == Correction::kNormalized) {
    double sum = 0;
    for (const double u : unbiased) sum += u;
    rescale = static_cast<double>(n) / sum;
  } else {
    // Relative to the weight that grows most, so that no power overflows.
    const auto [least, most] = std::minmax_element(unbiased.begin(), unbiased.end());
    const double reference = correcting.exponent < 0 ? *least : *most;
    double kept = 0, raised = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double power = std::pow(unbiased[i] / reference, correcting.exponent);
      kept += unbiased[i] * static_cast<double>(drawn_by(i));
      raised += power * static_cast<double>(drawn_by(i));
      unbiased[i] = power;
    }
    rescale = kept / raised;
  }
  for (int64_t i = 0; i < n; ++i) weight[i] = static_cast<T>(unbiased[i] * rescale);
}

template <class T>
void select_typed(const SelectTask& task, c10::function_ref<uint64_t()> seed) {
  const Rows& rows = task.scores.rows;
  const Choice& choice = task.choice;
  const Tensor weights = sampling_weights<T>(rows, task.score, choice.smoothing);
  const T* w = weights.const_data_ptr<T>();
  const int64_t count = rows.count();
  int64_t* index = task.index.mutable_data_ptr<int64_t>();
  T* weight = task.weight.mutable_data_ptr<T>();
  const T largest = draw(w, count, choice.n, choice.method, seed, index, weight, "score");
  correct_typed(correcting_of(choice, count), [&](int64_t i) { return w[index[i]]; }, weight);
  *task.tau.mutable_data_ptr<T>() = tau_of(w, count, largest);
}

template <class T>
void smooth_tensor(const SmoothTask& task) {
  const T* score = task.score.const_data_ptr<T>();
  const int64_t count = task.score.size(0);
  const bool* ignored = nullptr;
  if (task.ignored.defined()) {
    ignored = task.ignored.const_data_ptr<bool>();
    TORCH_CHECK_VALUE(!std::all_of(ignored, ignored + count, [](bool x) { return x; }),
                      "ignored is true in every row, so none can be drawn");
  }
  scan(score, count, "scores");
  T* weight = task.weights.mutable_data_ptr<T>();
  smooth_typed(score, ignored, task.share, count, weight);
  *task.tau.mutable_data_ptr<T>() =
      tau_of(weight, count, *std::max_element(weight, weight + count));
}

}  // namespace

void select_rows(const SelectTask& task, c10::function_ref<uint64_t()> seed) {
  if (task.scores.rows.result_type == at::kDouble) {
    select_typed<double>(task, seed);
  } else {
    select_typed<float>(task, seed);
  }
}

void smooth(const SmoothTask& task) {
  if (task.weights.scalar_type() == at::kDouble) {
    smooth_tensor<double>(task);
  } else {
    smooth_tensor<float>(task);
  }
}

void correct(const CorrectTask& task) {
  const auto correct_by = [&](const auto* by, auto* weight) {
    correct_typed(task.correcting, [by](int64_t i) { return by[i]; }, weight);
  };
  if (task.weight.scalar_type() == at::kDouble) {
    correct_by(task.drawn_by.const_data_ptr<double>(), task.weight.mutable_data_ptr<double>());
  } else {
    correct_by(task.drawn_by.const_data_ptr<float>(), task.weight.mutable_data_ptr<float>());
  }
}

}  // namespace cpu
}  // namespace isf
