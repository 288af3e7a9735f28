#include "select.h"

#include <algorithm>

namespace isf {
namespace cpu {

namespace {

template <class T>
void select_typed(const SelectTask& task, c10::function_ref<uint64_t()> seed) {
  const RowProblem& rows = task.scores.problem;
  const Choice& choice = task.choice;
  const DrawRules rules = {static_cast<int32_t>(rows.rows), static_cast<int32_t>(choice.n),
                           choice.method};
  const auto weights = weights_of(task.score.const_data_ptr<T>(), rules, choice.smoothing,
                                  ignored_of(rows), "score");
  int64_t* index = task.index.mutable_data_ptr<int64_t>();
  T* weight = task.weight.mutable_data_ptr<T>();
  draw(weights, rules, seed, index, weight, task.tau.mutable_data_ptr<T>());
  const auto drawn_by = [&](int64_t i) { return weights.weight[index[i]]; };
  correct<T>(correcting_of(choice, rows.rows), drawn_by, weight);
}

template <class T>
void smooth_typed(const SmoothTask& task) {
  const T* score = task.score.const_data_ptr<T>();
  const int64_t rows = task.score.size(0);
  T* weight = task.weights.mutable_data_ptr<T>();
  Ignored ignored = {};
  if (task.ignored.defined()) ignored.mask = task.ignored.const_data_ptr<bool>();
  for (int64_t i = 0; i < rows; ++i) weight[i] = is_ignored(ignored, i) ? T(0) : score[i];
  const DrawRules rules = {static_cast<int32_t>(rows), 1, Method::kMultinomial};
  const auto made = weights_of<T>(weight, rules, task.share, ignored, "scores");
  *task.tau.mutable_data_ptr<T>() = tau_of(made, rows);
  if (made.weight != weight) std::copy(made.weight, made.weight + rows, weight);
}

template <class T>
void correct_typed(const CorrectTask& task) {
  const T* by = task.drawn_by.const_data_ptr<T>();
  correct<T>(task.correcting, [by](int64_t i) { return by[i]; }, task.weight.mutable_data_ptr<T>());
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
    smooth_typed<double>(task);
  } else {
    smooth_typed<float>(task);
  }
}

void correct(const CorrectTask& task) {
  if (task.weight.scalar_type() == at::kDouble) {
    correct_typed<double>(task);
  } else {
    correct_typed<float>(task);
  }
}

}  // namespace cpu
}  // namespace isf
