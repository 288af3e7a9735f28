// The rows of an operator's arguments, checked and brought to the form that kernels take.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "arguments.h"
#include "target.h"

namespace isf {

using at::Tensor;

struct Rows {
  Tensor logits;       // [K, C], any strides
  Tensor target;       // [K] class indices, int64 or int32; undefined if there are probabilities
  Tensor probability;  // [K, C] of the result type, contiguous; or undefined
  double sum_tolerance = 0;            // of a row of probabilities
  std::optional<Tensor> class_weight;  // [C] of the result type, contiguous
  double label_smoothing;
  std::optional<int64_t> ignore_index;
  at::DimVector shape;         // of the rows: logits' leading dimensions
  at::ScalarType result_type;  // float64 for float64 logits, float32 for all others

  int64_t count() const { return logits.size(0); }
  int64_t classes() const { return logits.size(1); }
  bool soft_target() const { return probability.defined() || label_smoothing != 0; }
  IgnoreIndex ignore() const { return {ignore_index.value_or(0), ignore_index.has_value()}; }

  // Throws the error that says what is wrong with a row that a kernel found faulty.
  [[noreturn]] void explain(int64_t row) const;
  [[noreturn]] void explain_features(const Tensor& features, int64_t row) const;
};

Rows check_rows(const LabelledRows& given, const LossOptions& loss);

// Features [..., D] of the same rows as [K, D] with unit stride in D.
Tensor check_features(const Rows& rows, const std::optional<Tensor>& features);

}  // namespace isf
