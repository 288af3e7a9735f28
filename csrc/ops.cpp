#include "ops.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/library.h>

#include <array>
#include <cmath>
#include <mutex>

#include "cpu/cpu.h"
#include "cpu/select.h"
#include "rows.h"

namespace isf {

namespace {

using cpu::Correction;
using cpu::Element;
using cpu::Statistic;

Element element_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return cpu::kDouble;
    case at::kHalf:
      return cpu::kHalf;
    case at::kBFloat16:
      return cpu::kBFloat16;
    default:
      return cpu::kFloat;
  }
}

template <class Value, size_t N>
Value named(const std::array<std::pair<const char*, Value>, N>& table, const std::string& name,
            const char* argument) {
  for (const auto& [known, value] : table) {
    if (name == known) return value;
  }
  std::string all;
  for (const auto& [known, value] : table)
    all += (all.empty() ? "\"" : ", \"") + std::string(known) + "\"";
  TORCH_CHECK_VALUE(false, argument, " is \"", name, "\", but must be one of ", all);
}

// The statistic behind a kind of score; "last_layer" starts from the gradient norm.
Statistic statistic_of(const std::string& kind, const char* argument) {
  static constexpr std::array<std::pair<const char*, Statistic>, 6> kinds = {
      {{"loss", cpu::kLoss},
       {"grad_norm", cpu::kGradNorm},
       {"last_layer", cpu::kGradNorm},
       {"p_wrong", cpu::kPWrong},
       {"margin", cpu::kMarginLack},
       {"entropy", cpu::kEntropy}}};
  return named(kinds, kind, argument);
}

Method method_of(const std::string& name) {
  static constexpr std::array<std::pair<const char*, Method>, 6> methods = {
      {{"multinomial", Method::kMultinomial},
       {"stratified", Method::kStratified},
       {"systematic", Method::kSystematic},
       {"race", Method::kRace},
       {"pps", Method::kPps},
       {"topk", Method::kTopk}}};
  return named(methods, name, "method");
}

Correction correction_of(const std::string& name, std::optional<double> exponent) {
  static constexpr std::array<std::pair<const char*, Correction>, 3> corrections = {
      {{"none", Correction::kNone},
       {"unbiased", Correction::kUnbiased},
       {"normalized", Correction::kNormalized}}};
  if (!exponent) return named(corrections, name, "correction");
  TORCH_CHECK_VALUE(std::isfinite(*exponent), "correction is ", *exponent,
                    ", but a power must be finite");
  return Correction::kPower;
}

void row_statistics(const Rows& rows,
                    std::initializer_list<std::pair<Statistic, const Tensor*>> wanted) {
  cpu::RowProblem problem = {};
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
  problem.ignore_index = rows.ignore_index;
  for (const auto& [statistic, tensor] : wanted)
    problem.statistic[statistic] = tensor->mutable_data_ptr();
  const int64_t fault =
      cpu::row_statistics(problem, element_of(rows.logits.scalar_type()), rows.soft_target());
  if (fault >= 0) rows.explain(fault);
}

// Fills score [...], and loss [...] if it is given, for a kind of score.
void fill_score(const Rows& rows, const std::string& kind, const char* argument,
                const std::optional<Tensor>& features, const Tensor& score, const Tensor* loss) {
  const Statistic statistic = statistic_of(kind, argument);
  const bool last_layer = kind == "last_layer";
  TORCH_CHECK_VALUE(last_layer || !features, "features is given, but ", argument, " is \"", kind,
                    "\" and only \"last_layer\" uses features");
  const Tensor h = last_layer ? check_features(rows, features) : Tensor();
  if (loss) {
    row_statistics(rows, {{cpu::kLoss, loss}, {statistic, &score}});
  } else {
    row_statistics(rows, {{statistic, &score}});
  }
  if (last_layer) {
    const int64_t fault =
        cpu::last_layer(element_of(h.scalar_type()), h.const_data_ptr(), h.stride(0), h.size(1),
                        score.mutable_data_ptr(), rows.count());
    if (fault >= 0) rows.explain_features(h, fault);
  }
}

// Where the seed of a draw comes from; it is taken when the draw asks for it.
class SeedSource {
 public:
  SeedSource(std::optional<int64_t> seed, const std::optional<at::Generator>& generator)
      : seed_(seed), generator_(generator) {
    TORCH_CHECK_VALUE(!seed || !generator,
                      "seed and generator are both given, but only one of them can decide");
    TORCH_CHECK_VALUE(!generator || generator->device().is_cpu(), "generator is on ",
                      generator->device(), ", but the draw is on cpu");
  }

  uint64_t operator()() const {
    if (seed_) return static_cast<uint64_t>(*seed_);
    auto* source = at::get_generator_or_default<at::CPUGeneratorImpl>(
        generator_, at::detail::getDefaultCPUGenerator());
    const std::lock_guard<std::mutex> lock(source->mutex_);
    return source->random64();
  }

 private:
  std::optional<int64_t> seed_;
  const std::optional<at::Generator>& generator_;
};

void check_count(int64_t n, int64_t rows, const char* name) {
  TORCH_CHECK_VALUE(n >= 1 && n <= INT32_MAX, "n is ", n, ", but must be between 1 and 2^31 - 1");
  TORCH_CHECK_VALUE(rows >= 1, name, " has no rows to draw from");
  TORCH_CHECK_VALUE(rows <= INT32_MAX, name, " has ", rows,
                    " rows, but at most 2^31 - 1 can be drawn from");
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> row_stats(
    const Tensor& logits, const Tensor& target, double label_smoothing,
    const std::optional<Tensor>& class_weight, int64_t ignore_index) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  Tensor loss = rows.empty_statistic(), grad_norm = rows.empty_statistic(),
         p_true = rows.empty_statistic(), margin = rows.empty_statistic(),
         entropy = rows.empty_statistic();
  row_statistics(rows, {{cpu::kLoss, &loss},
                        {cpu::kGradNorm, &grad_norm},
                        {cpu::kPTrue, &p_true},
                        {cpu::kMargin, &margin},
                        {cpu::kEntropy, &entropy}});
  return {loss, grad_norm, p_true, margin, entropy};
}

Tensor score(const Tensor& logits, const Tensor& target, const std::string& kind,
             const std::optional<Tensor>& features, double label_smoothing,
             const std::optional<Tensor>& class_weight, int64_t ignore_index) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  Tensor score = rows.empty_statistic();
  fill_score(rows, kind, "kind", features, score, nullptr);
  return score;
}

std::tuple<Tensor, Tensor> draw(const Tensor& weights, int64_t n, const std::string& method,
                                std::optional<int64_t> seed,
                                const std::optional<at::Generator>& generator) {
  check_device(weights, "weights");
  TORCH_CHECK_TYPE(at::isFloatingType(weights.scalar_type()), "weights has dtype ",
                   weights.scalar_type(), ", but must be float32, float64, float16 or bfloat16");
  TORCH_CHECK_VALUE(weights.dim() == 1, "weights has shape ", weights.sizes(), ", but must be [K]");
  check_count(n, weights.size(0), "weights");
  const Method how = method_of(method);
  const at::ScalarType type = weights.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor w = weights.to(type).contiguous();
  Tensor index = new_tensor({n}, at::kLong, w.device()), prob = new_tensor({n}, type, w.device());
  const SeedSource source(seed, generator);
  int64_t* picked = index.mutable_data_ptr<int64_t>();
  if (type == at::kDouble) {
    cpu::draw(w.const_data_ptr<double>(), w.size(0), n, how, source, picked,
              prob.mutable_data_ptr<double>(), "weights", method);
  } else {
    cpu::draw(w.const_data_ptr<float>(), w.size(0), n, how, source, picked,
              prob.mutable_data_ptr<float>(), "weights", method);
  }
  return {index, prob};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> select(
    const Tensor& logits, const Tensor& target, int64_t n, const std::string& score,
    const std::string& method, const std::string& correction, std::optional<double> exponent,
    const std::optional<Tensor>& features, double smoothing, std::optional<int64_t> seed,
    const std::optional<at::Generator>& generator, double label_smoothing,
    const std::optional<Tensor>& class_weight, int64_t ignore_index) {
  const Rows rows = check_rows(logits, target, label_smoothing, class_weight, ignore_index);
  check_count(n, rows.count(), "logits");
  TORCH_CHECK_VALUE(smoothing >= 0 && smoothing <= 1, "smoothing is ", smoothing,
                    ", but must be between 0 and 1");
  const cpu::Choice choice = {n,
                              method_of(method),
                              method,
                              correction_of(correction, exponent),
                              exponent.value_or(1.0),
                              smoothing};
  const bool only_loss = score == "loss";
  Tensor loss = rows.empty_statistic();
  Tensor worth = only_loss ? loss : rows.empty_statistic();
  fill_score(rows, score, "score", features, worth, only_loss ? nullptr : &loss);
  const at::Device device = logits.device();
  Tensor index = new_tensor({n}, at::kLong, device),
         weight = new_tensor({n}, rows.result_type, device);
  Tensor tau = new_tensor({}, rows.result_type, device), status = new_tensor({}, at::kLong, device);
  *status.mutable_data_ptr<int64_t>() = 0;
  cpu::select_rows(rows, worth, choice, SeedSource(seed, generator), index, weight, tau);
  return {index, weight, only_loss ? loss.clone() : worth, loss, tau, status};
}

TORCH_LIBRARY(impsamp_fast, m) {
  m.def(
      "row_stats(Tensor logits, Tensor target, float label_smoothing=0.0, Tensor? "
      "class_weight=None, "
      "SymInt ignore_index=-100) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "score(Tensor logits, Tensor target, str kind=\"grad_norm\", Tensor? features=None, "
      "float label_smoothing=0.0, Tensor? class_weight=None, SymInt ignore_index=-100) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "draw(Tensor weights, SymInt n, str method=\"multinomial\", SymInt? seed=None, Generator? "
      "generator=None) "
      "-> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded});
  m.def(
      "select(Tensor logits, Tensor target, SymInt n, str score=\"grad_norm\", str "
      "method=\"multinomial\", "
      "str correction=\"unbiased\", float? exponent=None, Tensor? features=None, float "
      "smoothing=0.0, "
      "SymInt? seed=None, Generator? generator=None, float label_smoothing=0.0, Tensor? "
      "class_weight=None, "
      "SymInt ignore_index=-100) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag, at::Tag::nondeterministic_seeded});
}

TORCH_LIBRARY_IMPL(impsamp_fast, CPU, m) {
  m.impl("row_stats", row_stats);
  m.impl("score", score);
  m.impl("draw", draw);
  m.impl("select", select);
}

// Nothing here is differentiated: the tensors that ask for gradients pass through to the kernels.
TORCH_LIBRARY_IMPL(impsamp_fast, Autograd, m) {
  for (const char* name : {"row_stats", "score", "draw", "select"}) {
    m.impl(name, torch::CppFunction::makeFallthrough());
  }
}

}  // namespace isf
