#include "ops.h"

#include <ATen/ATen.h>

#include <vector>

#include "backend.h"
#include "names.h"
#include "outputs.h"

namespace isf {

namespace {

// What to do with the rows' logits, with no statistic asked for.
Scoring scoring_of(const Rows& rows) {
  Scoring scoring = {rows, {}, kLoss, {}};
  RowProblem& problem = scoring.problem;
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
  return scoring;
}

// The same for a kind of score; `argument` is what it was passed as.
Scoring scoring_of(const Rows& rows, const std::string& kind, const char* argument,
                   const std::optional<Tensor>& features) {
  Scoring scoring = scoring_of(rows);
  scoring.statistic = statistic_of(kind, argument);
  const bool last_layer = kind == "last_layer";
  TORCH_CHECK_VALUE(last_layer || !features, "features is given, but ", argument, " is \"", kind,
                    "\" and only \"last_layer\" uses features");
  if (last_layer) scoring.features = check_features(rows, features);
  return scoring;
}

void check_count(int64_t n, int64_t rows, const char* name) {
  TORCH_CHECK_VALUE(n >= 1 && n <= INT32_MAX, "n is ", n, ", but must be between 1 and 2^31 - 1");
  TORCH_CHECK_VALUE(rows >= 1, name, " has no rows to draw from");
  TORCH_CHECK_VALUE(rows <= INT32_MAX, name, " has ", rows,
                    " rows, but at most 2^31 - 1 can be drawn from");
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

// Numbers in one dimension, as float32 or float64 and contiguous.
Tensor check_numbers(const Tensor& numbers, const char* name, const char* shape) {
  check_device(numbers, name);
  TORCH_CHECK_TYPE(at::isFloatingType(numbers.scalar_type()), name, " has dtype ",
                   numbers.scalar_type(), ", but must be float32, float64, float16 or bfloat16");
  TORCH_CHECK_VALUE(numbers.dim() == 1, name, " has shape ", numbers.sizes(), ", but must be ",
                    shape);
  const at::ScalarType type = numbers.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return (numbers.scalar_type() == type ? numbers : numbers.to(type)).contiguous();
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

Drawing check_draw(const Tensor& weights, int64_t n, const std::string& method) {
  const Tensor numbers = check_numbers(weights, "weights", "[K]");
  check_count(n, numbers.size(0), "weights");
  return {numbers, n, method_of(method)};
}

void check_share(double smoothing) {
  TORCH_CHECK_VALUE(smoothing >= 0 && smoothing <= 1, "smoothing is ", smoothing,
                    ", but must be between 0 and 1");
}

Choice check_choice(const Rows& rows, int64_t n, const std::string& method,
                    const std::string& correction, std::optional<double> exponent,
                    double smoothing) {
  check_count(n, rows.count(), "logits");
  check_share(smoothing);
  return {n, method_of(method), correction_of(correction, exponent), exponent.value_or(1.0),
          smoothing};
}

void ask_for(Scoring& scoring, Statistic statistic, const Tensor& result) {
  scoring.problem.statistic[statistic] = result.mutable_data_ptr();
}

void fill_row_stats(const Rows& rows, const Tensor& loss, const Tensor& grad_norm,
                    const Tensor& p_true, const Tensor& margin, const Tensor& entropy) {
  Scoring scoring = scoring_of(rows);
  ask_for(scoring, kLoss, loss);
  ask_for(scoring, kGradNorm, grad_norm);
  ask_for(scoring, kPTrue, p_true);
  ask_for(scoring, kMargin, margin);
  ask_for(scoring, kEntropy, entropy);
  backend_of(rows.logits.device()).score(scoring);
}

void fill_score(Scoring& scoring, const Tensor& score) {
  ask_for(scoring, scoring.statistic, score);
  backend_of(score.device()).score(scoring);
}

// If the loss is the score, it is computed once.
void fill_selection(Scoring& scoring, const Choice& choice, const Seed& seed,
                    const Selected& selected) {
  ask_for(scoring, kLoss, selected.loss);
  if (scoring.statistic != kLoss) ask_for(scoring, scoring.statistic, selected.score);
  backend_of(selected.score.device()).select(scoring, choice, seed, selected);
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> row_stats(
    const Tensor& logits, const Tensor& target, double label_smoothing,
    const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  Tensor loss = rows.empty_statistic(), grad_norm = rows.empty_statistic(),
         p_true = rows.empty_statistic(), margin = rows.empty_statistic(),
         entropy = rows.empty_statistic();
  fill_row_stats(rows, loss, grad_norm, p_true, margin, entropy);
  return {loss, grad_norm, p_true, margin, entropy};
}

void row_stats_out(const Tensor& logits, const Tensor& target, double label_smoothing,
                   const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index,
                   const Tensor& loss, const Tensor& grad_norm, const Tensor& p_true,
                   const Tensor& margin, const Tensor& entropy) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  open_outputs({{"out.loss", loss, rows.shape, rows.result_type},
                {"out.grad_norm", grad_norm, rows.shape, rows.result_type},
                {"out.p_true", p_true, rows.shape, rows.result_type},
                {"out.margin", margin, rows.shape, rows.result_type},
                {"out.entropy", entropy, rows.shape, rows.result_type}},
               logits.device(), {logits, target, class_weight.value_or(Tensor())});
  fill_row_stats(rows, loss, grad_norm, p_true, margin, entropy);
}

Tensor score(const Tensor& logits, const Tensor& target, const std::string& kind,
             const std::optional<Tensor>& features, double label_smoothing,
             const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  Scoring scoring = scoring_of(rows, kind, "kind", features);
  Tensor score = rows.empty_statistic();
  fill_score(scoring, score);
  return score;
}

void score_out(const Tensor& logits, const Tensor& target, const std::string& kind,
               const std::optional<Tensor>& features, double label_smoothing,
               const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index,
               const Tensor& score) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  Scoring scoring = scoring_of(rows, kind, "kind", features);
  open_outputs({{"out", score, rows.shape, rows.result_type}}, logits.device(),
               {logits, target, features.value_or(Tensor()), class_weight.value_or(Tensor())});
  fill_score(scoring, score);
}

std::tuple<Tensor, Tensor> draw(const Tensor& weights, int64_t n, const std::string& method,
                                std::optional<int64_t> seed,
                                const std::optional<at::Generator>& generator) {
  const Drawing drawing = check_draw(weights, n, method);
  const at::Device device = weights.device();
  const Seed source = {seed, generator, std::nullopt};
  check_seed(source, device);
  const Backend& backend = backend_of(device);
  Tensor index = backend.empty({n}, at::kLong, device),
         prob = backend.empty({n}, drawing.weights.scalar_type(), device);
  backend.draw(drawing, source, index, prob);
  return {index, prob};
}

void draw_out(const Tensor& weights, int64_t n, const std::string& method,
              std::optional<int64_t> seed, const std::optional<at::Generator>& generator,
              const std::optional<Tensor>& device_seed, const Tensor& index, const Tensor& prob) {
  const Drawing drawing = check_draw(weights, n, method);
  const Seed source = {seed, generator, device_seed};
  check_seed(source, weights.device());
  open_outputs({{"out.index", index, {n}, at::kLong},
                {"out.prob", prob, {n}, drawing.weights.scalar_type()}},
               weights.device(), {weights, device_seed.value_or(Tensor())});
  backend_of(weights.device()).draw(drawing, source, index, prob);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> select(
    const Tensor& logits, const Tensor& target, int64_t n, const std::string& score,
    const std::string& method, const std::string& correction, std::optional<double> exponent,
    const std::optional<Tensor>& features, double smoothing, std::optional<int64_t> seed,
    const std::optional<at::Generator>& generator, double label_smoothing,
    const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  const Choice choice = check_choice(rows, n, method, correction, exponent, smoothing);
  Scoring scoring = scoring_of(rows, score, "score", features);
  const at::Device device = logits.device();
  const Seed source = {seed, generator, std::nullopt};
  check_seed(source, device);
  const auto empty = backend_of(device).empty;
  Tensor index = empty({n}, at::kLong, device), weight = empty({n}, rows.result_type, device),
         worth = rows.empty_statistic(), loss = rows.empty_statistic(),
         tau = empty({}, rows.result_type, device), status = empty({}, at::kLong, device);
  fill_selection(scoring, choice, source, {index, weight, worth, loss, tau, status});
  return {index, weight, worth, loss, tau, status};
}

void select_out(const Tensor& logits, const Tensor& target, int64_t n, const std::string& score,
                const std::string& method, const std::string& correction,
                std::optional<double> exponent, const std::optional<Tensor>& features,
                double smoothing, std::optional<int64_t> seed,
                const std::optional<at::Generator>& generator, double label_smoothing,
                const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index,
                const std::optional<Tensor>& device_seed, const Tensor& index, const Tensor& weight,
                const Tensor& score_out, const Tensor& loss, const Tensor& tau,
                const Tensor& status) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  const Choice choice = check_choice(rows, n, method, correction, exponent, smoothing);
  Scoring scoring = scoring_of(rows, score, "score", features);
  const Seed source = {seed, generator, device_seed};
  check_seed(source, logits.device());
  open_outputs({{"out.index", index, {n}, at::kLong},
                {"out.weight", weight, {n}, rows.result_type},
                {"out.score", score_out, rows.shape, rows.result_type},
                {"out.loss", loss, rows.shape, rows.result_type},
                {"out.tau", tau, {}, rows.result_type},
                {"out.status", status, {}, at::kLong}},
               logits.device(),
               {logits, target, features.value_or(Tensor()), class_weight.value_or(Tensor()),
                device_seed.value_or(Tensor())});
  fill_selection(scoring, choice, source, {index, weight, score_out, loss, tau, status});
}

std::tuple<Tensor, Tensor> smoothed(const Tensor& score, double smoothing,
                                    const std::optional<Tensor>& ignored) {
  const at::Device device = score.device();
  const Smoothing problem = {check_numbers(score, "scores", "[K]"), check_ignored(ignored, score),
                             smoothing};
  check_count(1, score.size(0), "scores");
  check_share(smoothing);
  const auto empty = backend_of(device).empty;
  const at::ScalarType type = problem.score.scalar_type();
  Tensor weights = empty({score.size(0)}, type, device), tau = empty({}, type, device);
  backend_of(device).smooth(problem, weights, tau);
  return {weights, tau};
}

Tensor corrected(const Tensor& prob, const Tensor& drawn_by, int64_t rows, const std::string& kind,
                 const std::string& correction, std::optional<double> exponent) {
  const Tensor given = check_numbers(prob, "prob", "[n]");
  TORCH_CHECK_VALUE(drawn_by.device() == prob.device(), "drawn_by is on ", drawn_by.device(),
                    ", but prob is on ", prob.device());
  const Tensor by = check_numbers(drawn_by, "drawn_by", "[n]").to(given.scalar_type());
  TORCH_CHECK_VALUE(by.size(0) == prob.size(0), "drawn_by has shape ", drawn_by.sizes(),
                    ", but prob has ", prob.sizes());
  TORCH_CHECK_VALUE(rows >= 1, "rows is ", rows, ", but must be at least 1");
  const Correcting correcting = {given.size(0), rows, draw_kind_of(kind),
                                 correction_of(correction, exponent), exponent.value_or(1.0)};
  const Tensor weight = given.clone();
  if (correcting.n > 0) backend_of(prob.device()).correct(correcting, by, weight);
  return weight;
}

void implement(torch::Library& library) {
  library.impl("row_stats", row_stats);
  library.impl("row_stats.out", row_stats_out);
  library.impl("score", score);
  library.impl("score.out", score_out);
  library.impl("draw", draw);
  library.impl("draw.out", draw_out);
  library.impl("select", select);
  library.impl("select.out", select_out);
  library.impl("smoothed", smoothed);
  library.impl("corrected", corrected);
}

// The overloads `out` write to the tensors they are given. A device_seed is read where the draw is
// made: a graph that is captured with it draws anew when it changes.
TORCH_LIBRARY(impsamp_fast, m) {
  const std::vector<at::Tag> plain = {at::Tag::pt2_compliant_tag};
  const std::vector<at::Tag> random = {at::Tag::pt2_compliant_tag,
                                       at::Tag::nondeterministic_seeded};
  const auto define = [&](const std::string& name, const std::string& arguments,
                          const std::string& results, const std::string& more_for_out,
                          const std::string& outputs, const std::vector<at::Tag>& tags) {
    m.def((name + "(" + arguments + ") -> " + results).c_str(), tags);
    m.def((name + ".out(" + arguments + more_for_out + ", *, " + outputs + ") -> ()").c_str(),
          tags);
  };
  define("row_stats",
         "Tensor logits, Tensor target, float label_smoothing=0.0, Tensor? class_weight=None, "
         "SymInt? ignore_index=-100",
         "(Tensor, Tensor, Tensor, Tensor, Tensor)", "",
         "Tensor(a!) out_loss, Tensor(b!) out_grad_norm, Tensor(c!) out_p_true, "
         "Tensor(d!) out_margin, Tensor(e!) out_entropy",
         plain);
  define("score",
         "Tensor logits, Tensor target, str kind=\"grad_norm\", Tensor? features=None, "
         "float label_smoothing=0.0, Tensor? class_weight=None, SymInt? ignore_index=-100",
         "Tensor", "", "Tensor(a!) out_score", plain);
  define("draw",
         "Tensor weights, SymInt n, str method=\"multinomial\", SymInt? seed=None, "
         "Generator? generator=None",
         "(Tensor, Tensor)", ", Tensor? device_seed=None",
         "Tensor(a!) out_index, Tensor(b!) out_prob", random);
  define("select",
         "Tensor logits, Tensor target, SymInt n, str score=\"grad_norm\", "
         "str method=\"multinomial\", str correction=\"unbiased\", float? exponent=None, "
         "Tensor? features=None, float smoothing=0.0, SymInt? seed=None, "
         "Generator? generator=None, float label_smoothing=0.0, Tensor? class_weight=None, "
         "SymInt? ignore_index=-100",
         "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)", ", Tensor? device_seed=None",
         "Tensor(a!) out_index, Tensor(b!) out_weight, Tensor(c!) out_score, "
         "Tensor(d!) out_loss, Tensor(e!) out_tau, Tensor(f!) out_status",
         random);
  m.def("smoothed(Tensor scores, float smoothing=0.0, Tensor? ignored=None) -> (Tensor, Tensor)",
        plain);
  m.def(
      "corrected(Tensor prob, Tensor drawn_by, SymInt rows, str kind, str correction=\"unbiased\", "
      "float? exponent=None) -> Tensor",
      plain);
}

TORCH_LIBRARY_IMPL(impsamp_fast, CPU, m) { implement(m); }

}  // namespace isf
