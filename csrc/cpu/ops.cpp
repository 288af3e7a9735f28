// The CPU's backend: what is wrong with the values raises.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>

#include <cstring>
#include <mutex>

#include "../backend.h"
#include "cpu.h"
#include "select.h"

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

void score(const Scoring& scoring) {
  const Rows& rows = scoring.rows;
  const int64_t fault =
      row_statistics(scoring.problem, element_of(rows.logits.scalar_type()), rows.soft_target());
  if (fault >= 0) rows.explain(fault);
  if (!scoring.features.defined()) return;
  void* score = scoring.problem.statistic[scoring.statistic];
  const int64_t bad = last_layer(features_of(scoring.features), score, rows.count());
  if (bad >= 0) rows.explain_features(scoring.features, bad);
}

void draw(const Drawing& drawing, const Seed& seed, const Tensor& index, const Tensor& prob) {
  const auto draw_by = [&](const auto* weights, auto* prob) {
    cpu::draw(
        weights, drawing.weights.size(0), drawing.n, drawing.method,
        [&] { return number_of(seed); }, index.mutable_data_ptr<int64_t>(), prob, "weights");
  };
  if (drawing.weights.scalar_type() == at::kDouble) {
    draw_by(drawing.weights.const_data_ptr<double>(), prob.mutable_data_ptr<double>());
  } else {
    draw_by(drawing.weights.const_data_ptr<float>(), prob.mutable_data_ptr<float>());
  }
}

void select(const Scoring& scoring, const Choice& choice, const Seed& seed,
            const Selected& selected) {
  score(scoring);
  if (scoring.statistic == kLoss) {
    std::memcpy(selected.score.mutable_data_ptr(), selected.loss.const_data_ptr(),
                selected.loss.nbytes());
  }
  select_rows(scoring.rows, choice, [&] { return number_of(seed); }, selected);
  *selected.status.mutable_data_ptr<int64_t>() = 0;
}

const Backend backend = {empty, score, draw, select, smooth, correct};
const AddBackend add(at::kCPU, backend);

}  // namespace

}  // namespace cpu
}  // namespace isf
