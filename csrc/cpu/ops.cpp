// The CPU's backend: what is wrong with the values raises.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>

#include <cstring>
#include <mutex>

#include "../backend.h"
#include "cpu.h"
#include "select.h"
#include "stages.h"

namespace isf {
namespace cpu {

namespace {

Tensor empty(at::IntArrayRef shape, at::ScalarType type, at::Device) {
  return Tensor(at::detail::empty_cpu(shape, type));
}

uint64_t number_of(const Seed& seed) {
  if (seed.number) return static_cast<uint64_t>(*seed.number);
  if (seed.tensor) return static_cast<uint64_t>(*seed.tensor->const_data_ptr<int64_t>());
  auto* source = at::get_generator_or_default<at::CPUGeneratorImpl>(
      seed.generator, at::detail::getDefaultCPUGenerator());
  const std::lock_guard<std::mutex> lock(source->mutex_);
  return source->random64();
}

void score(const RowTask& task) {
  const Rows& rows = task.rows;
  const int64_t fault = row_statistics(task.problem, element_of(rows.logits.scalar_type()));
  if (fault >= 0) rows.explain(fault);
  if (!task.features.defined()) return;
  void* score = task.problem.statistic[task.statistic];
  const int64_t bad = last_layer(features_of(task.features), score, rows.count());
  if (bad >= 0) rows.explain_features(task.features, bad);
}

template <class T>
void draw_typed(const DrawTask& task) {
  const DrawRules rules = {static_cast<int32_t>(task.weights.size(0)), static_cast<int32_t>(task.n),
                           task.method};
  const auto weights =
      weights_of(task.weights.const_data_ptr<T>(), rules, 0.0, Ignored{}, "weights");
  cpu::draw<T>(
      weights, rules, [&] { return number_of(task.seed); }, task.index.mutable_data_ptr<int64_t>(),
      task.prob.mutable_data_ptr<T>(), nullptr);
}

void draw(const DrawTask& task) {
  if (task.weights.scalar_type() == at::kDouble) {
    draw_typed<double>(task);
  } else {
    draw_typed<float>(task);
  }
}

void select(const SelectTask& task) {
  score(task.scores);
  if (task.scores.statistic == kLoss) {
    std::memcpy(task.score.mutable_data_ptr(), task.loss.const_data_ptr(), task.loss.nbytes());
  }
  select_rows(task, [&] { return number_of(task.seed); });
  *task.status.mutable_data_ptr<int64_t>() = 0;
}

const Backend backend = {empty,
                         score,
                         draw,
                         select,
                         smooth,
                         correct,
                         draw_scan,
                         draw_total,
                         draw_part,
                         draw_first,
                         draw_arrival_prob,
                         draw_certain,
                         draw_by_size};
const AddBackend add(at::kCPU, backend);

}  // namespace

}  // namespace cpu
}  // namespace isf
