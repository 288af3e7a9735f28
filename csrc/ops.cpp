#include "ops.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <vector>

#include "backend.h"
#include "checks.h"
#include "names.h"

namespace isf {

namespace {

// What the kernels are to know of rows, with no statistic asked for.
RowTask task_of(const Rows& rows) {
  RowTask task = {rows, {}, kLoss, {}};
  RowProblem& problem = task.problem;
  problem.logits = rows.logits.const_data_ptr();
  problem.rows = rows.count();
  problem.classes = rows.classes();
  problem.row_stride = rows.logits.stride(0);
  problem.class_stride = rows.logits.stride(1);
  if (rows.probability.defined()) {
    problem.probability = rows.probability.const_data_ptr();
  } else {
    problem.target = rows.target.const_data_ptr();
    problem.target_is_int64 = rows.target.scalar_type() == at::kLong;
    problem.target_stride = rows.target.stride(0);
  }
  if (rows.class_weight) problem.class_weight = rows.class_weight->const_data_ptr();
  problem.label_smoothing = rows.label_smoothing;
  problem.ignore = rows.ignore();
  problem.sum_tolerance = rows.sum_tolerance;
  return task;
}

// The same for a kind of score; `argument` is what it was passed as.
RowTask task_of(const Rows& rows, const std::string& kind, const char* argument,
                const std::optional<Tensor>& features) {
  RowTask task = task_of(rows);
  task.statistic = statistic_of(kind, argument);
  const bool last_layer = kind == "last_layer";
  TORCH_CHECK_VALUE(last_layer || !features, "features is given, but ", argument, " is \"", kind,
                    "\" and only \"last_layer\" uses features");
  if (last_layer) task.features = check_features(rows, features);
  return task;
}

void ask_for(RowTask& task, Statistic statistic, const Tensor& result) {
  task.problem.statistic[statistic] = result.mutable_data_ptr();
}

void check_seed(const Seed& seed, at::Device device) {
  const bool given = seed.number || seed.tensor;
  TORCH_CHECK_VALUE(!given || !seed.generator,
                    "seed and generator are both given, but only one of them can decide");
  TORCH_CHECK_VALUE(!seed.number || !seed.tensor,
                    "seed is given as a number and as a tensor, but only one of them can decide");
  TORCH_CHECK_VALUE(!seed.generator || seed.generator->device() == device, "generator is on ",
                    seed.generator->device(), ", but the draw is on ", device);
  if (!seed.tensor) return;
  TORCH_CHECK_VALUE(seed.tensor->device() == device, "seed is on ", seed.tensor->device(),
                    ", but the draw is on ", device);
  TORCH_CHECK_TYPE(seed.tensor->scalar_type() == at::kLong, "seed has dtype ",
                   seed.tensor->scalar_type(), ", but must be an integer or an int64 tensor");
  TORCH_CHECK_VALUE(seed.tensor->dim() == 0 && seed.tensor->layout() == at::kStrided,
                    "seed has shape ", seed.tensor->sizes(), ", but a tensor must be a scalar");
}

Tensor check_ignored(const std::optional<Tensor>& ignored, const Tensor& score) {
  if (!ignored) return Tensor();
  TORCH_CHECK_TYPE(ignored->scalar_type() == at::kBool, "ignored has dtype ",
                   ignored->scalar_type(), ", but must be bool");
  TORCH_CHECK_VALUE(ignored->sizes() == score.sizes(), "ignored has shape ", ignored->sizes(),
                    ", but scores has ", score.sizes());
  TORCH_CHECK_VALUE(ignored->device() == score.device(), "ignored is on ", ignored->device(),
                    ", but scores is on ", score.device());
  return ignored->contiguous();
}

void check_share(double smoothing) {
  TORCH_CHECK_VALUE(smoothing >= 0 && smoothing <= 1, "smoothing is ", smoothing,
                    ", but must be between 0 and 1");
}

Choice check_choice(const SelectOptions& select) {
  check_share(select.smoothing);
  return {select.n, method_of(select.method), correction_of(select.correction, select.exponent),
          select.exponent.value_or(1.0), select.smoothing};
}

}  // namespace

void RowStats::run(const LabelledRows& given, const LossOptions& loss, Results& results) {
  constexpr Statistic statistics[] = {kLoss, kGradNorm, kPTrue, kMargin, kEntropy};
  const Rows rows = check_rows(given, loss);
  const Form each = {rows.shape, rows.result_type};
  results.open(rows.logits.device(), {each, each, each, each, each});
  RowTask task = task_of(rows);
  for (size_t i = 0; i < std::size(statistics); ++i) ask_for(task, statistics[i], results[i]);
  backend_of(rows.logits.device()).score(task);
}

void Score::run(const LabelledRows& given, const ScoreOptions& score, const LossOptions& loss,
                Results& results) {
  const Rows rows = check_rows(given, loss);
  RowTask task = task_of(rows, score.kind, "kind", score.features);
  results.open(rows.logits.device(), {{rows.shape, rows.result_type}});
  ask_for(task, task.statistic, results[0]);
  backend_of(rows.logits.device()).score(task);
}

void Draw::run(const Weights& given, const DrawOptions& draw, const Seed& seed, Results& results) {
  const Tensor weights = check_numbers(given.weights, "weights", "[K]");
  const Method method = method_of(draw.method);
  check_count(draw.n, weights.size(0), "weights");
  check_seed(seed, weights.device());
  results.open(weights.device(), {{draw.n, at::kLong}, {draw.n, weights.scalar_type()}});
  backend_of(weights.device()).draw({weights, draw.n, method, seed, results[0], results[1]});
}

void Select::run(const LabelledRows& given, const SelectOptions& select, const Seed& seed,
                 const LossOptions& loss, Results& results) {
  const Rows rows = check_rows(given, loss);
  check_count(select.n, rows.count(), "logits");
  const Choice choice = check_choice(select);
  RowTask task = task_of(rows, select.score, "score", select.features);
  const at::Device device = rows.logits.device();
  check_seed(seed, device);
  const Form each_row = {rows.shape, rows.result_type};
  results.open(device, {{select.n, at::kLong},
                        {select.n, rows.result_type},
                        each_row,
                        each_row,
                        {{}, rows.result_type},
                        {{}, at::kLong}});
  const Tensor &score = results[2], &row_loss = results[3];
  ask_for(task, kLoss, row_loss);
  if (task.statistic != kLoss) ask_for(task, task.statistic, score);
  backend_of(device).select(
      {task, choice, seed, results[0], results[1], score, row_loss, results[4], results[5]});
}

void Smoothed::run(const SmoothOptions& smooth, Results& results) {
  const Tensor score = check_numbers(smooth.scores, "scores", "[K]");
  const Tensor ignored = check_ignored(smooth.ignored, score);
  check_count(1, score.size(0), "scores");
  check_share(smooth.smoothing);
  const at::ScalarType type = score.scalar_type();
  results.open(score.device(), {{score.sizes(), type}, {{}, type}});
  backend_of(score.device()).smooth({score, ignored, smooth.smoothing, results[0], results[1]});
}

void Corrected::run(const CorrectOptions& correct, Results& results) {
  const Tensor prob = check_numbers(correct.prob, "prob", "[n]");
  const Tensor given = check_numbers(correct.drawn_by, "drawn_by", "[n]");
  TORCH_CHECK_VALUE(given.device() == prob.device(), "drawn_by is on ", given.device(),
                    ", but prob is on ", prob.device());
  TORCH_CHECK_VALUE(given.size(0) == prob.size(0), "drawn_by has shape ", given.sizes(),
                    ", but prob has ", prob.sizes());
  TORCH_CHECK_VALUE(correct.rows >= 1, "rows is ", correct.rows, ", but must be at least 1");
  const Correcting correcting = {prob.size(0), correct.rows, draw_kind_of(correct.kind),
                                 correction_of(correct.correction, correct.exponent),
                                 correct.exponent.value_or(1.0)};
  const Tensor drawn_by = given.to(prob.scalar_type());
  results.open(prob.device(), {{prob.sizes(), prob.scalar_type()}});
  results[0].copy_(prob.detach());  // no result requires grad
  if (correcting.n > 0) backend_of(prob.device()).correct({correcting, drawn_by, results[0]});
}

namespace {

const std::vector<at::Tag> kTags = {at::Tag::pt2_compliant_tag};
const std::vector<at::Tag> kRandomTags = {at::Tag::pt2_compliant_tag,
                                          at::Tag::nondeterministic_seeded};

template <class... Op>
void define(torch::Library& library, List<Op...>) {
  const auto define_one = [&](const std::string& schema, bool random) {
    library.def(schema.c_str(), random ? kRandomTags : kTags);
  };
  (define_one(Operator<Op>::schema(), Op::random), ...);
  (define_one(Operator<Op>::out_schema(), Op::random), ...);
}

template <class... Op>
void implement(torch::Library& library, List<Op...>) {
  (library.impl(Op::name, Operator<Op>::fresh), ...);
  (library.impl((Op::name + std::string(".out")).c_str(), Operator<Op>::out), ...);
}

}  // namespace

TORCH_LIBRARY(impsamp_fast, m) { define(m, Operators()); }

// On every device: that there are kernels for it is checked where its backend is looked up.
TORCH_LIBRARY_IMPL(impsamp_fast, CompositeExplicitAutograd, m) { implement(m, Operators()); }

}  // namespace isf
