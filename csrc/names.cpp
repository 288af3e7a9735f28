#include "names.h"

#include <c10/util/Exception.h>

#include <array>
#include <cmath>
#include <utility>

namespace isf {

namespace {

template <class Value, size_t N>
using Table = std::array<std::pair<const char*, Value>, N>;

constexpr Table<Statistic, 6> kKinds = {{{"loss", kLoss},
                                         {"grad_norm", kGradNorm},
                                         {"last_layer", kGradNorm},
                                         {"p_wrong", kPWrong},
                                         {"margin", kMarginLack},
                                         {"entropy", kEntropy}}};

constexpr Table<Method, 6> kMethods = {{{"multinomial", Method::kMultinomial},
                                        {"stratified", Method::kStratified},
                                        {"systematic", Method::kSystematic},
                                        {"race", Method::kRace},
                                        {"pps", Method::kPps},
                                        {"topk", Method::kTopk}}};

constexpr Table<Correction, 3> kCorrections = {{{"none", Correction::kNone},
                                                {"unbiased", Correction::kUnbiased},
                                                {"normalized", Correction::kNormalized}}};

constexpr Table<DrawKind, 3> kDrawKinds = {{{"with replacement", DrawKind::kWithReplacement},
                                            {"without replacement", DrawKind::kWithoutReplacement},
                                            {"deterministic", DrawKind::kDeterministic}}};

template <class Value, size_t N>
Value named(const Table<Value, N>& table, const std::string& name, const char* argument) {
  for (const auto& [known, value] : table) {
    if (name == known) return value;
  }
  std::string all;
  for (const auto& [known, value] : table)
    all += (all.empty() ? "\"" : ", \"") + std::string(known) + "\"";
  TORCH_CHECK_VALUE(false, argument, " is \"", name, "\", but must be one of ", all);
}

}  // namespace

Statistic statistic_of(const std::string& kind, const char* argument) {
  return named(kKinds, kind, argument);
}

Method method_of(const std::string& name) { return named(kMethods, name, "method"); }

Correction correction_of(const std::string& name, std::optional<double> exponent) {
  if (!exponent) return named(kCorrections, name, "correction");
  TORCH_CHECK_VALUE(std::isfinite(*exponent), "correction is ", *exponent,
                    ", but a power must be finite");
  return Correction::kPower;
}

DrawKind draw_kind_of(const std::string& name) { return named(kDrawKinds, name, "kind"); }

const char* name_of(Method method) {
  for (const auto& [name, value] : kMethods) {
    if (value == method) return name;
  }
  return "";
}

}  // namespace isf
