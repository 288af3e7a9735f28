#include "rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "backend.h"

namespace isf {

namespace {

bool is_supported_float(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16;
}

// "target[3, 17]" for row number `row` of the leading dimensions, with one more index if `column`
// is not negative.
std::string element_name(const char* name, at::IntArrayRef shape, int64_t row, int64_t column) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0; row /= shape[d]) index[d] = row % shape[d];
  if (column >= 0) index.push_back(column);
  std::string text = name;
  for (size_t d = 0; d < index.size(); ++d) text += (d ? ", " : "[") + std::to_string(index[d]);
  return index.empty() ? text : text + "]";
}

std::vector<double> to_vector(const Tensor& row) {
  const Tensor values = row.detach().to(at::kDouble).contiguous();
  return std::vector<double>(values.const_data_ptr<double>(),
                             values.const_data_ptr<double>() + values.numel());
}

// The class weights as the kernels take them, checked as they are then: a float64 may not fit
// float32. Their values are not read where that would be waiting for a device.
Tensor checked_class_weight(const Tensor& given, const Rows& rows) {
  TORCH_CHECK_TYPE(is_supported_float(given.scalar_type()), "class_weight has dtype ",
                   given.scalar_type(), ", but must be a floating-point tensor");
  TORCH_CHECK_VALUE(given.dim() == 1 && given.size(0) == rows.classes(), "class_weight has shape ",
                    given.sizes(), ", but there are ", rows.classes(), " classes");
  TORCH_CHECK_VALUE(given.device() == rows.logits.device(), "class_weight is on ", given.device(),
                    ", but logits is on ", rows.logits.device());
  const Tensor weight = given.to(rows.result_type).contiguous();
  if (!weight.is_cpu()) return weight;
  const std::vector<double> values = to_vector(weight);
  for (size_t c = 0; c < values.size(); ++c) {
    TORCH_CHECK_VALUE(is_finite_weight(values[c]), "class_weight[", c, "] is ", values[c],
                      ", but class weights must be finite and not negative");
  }
  return weight;
}

void check_target(const Tensor& target, const Tensor& logits) {
  const at::IntArrayRef rows = logits.sizes().slice(0, logits.dim() - 1);
  const bool indices = at::isIntegralType(target.scalar_type(), /*includeBool=*/false);
  const bool unsigned_indices = target.scalar_type() == at::kUInt16 ||
                                target.scalar_type() == at::kUInt32 ||
                                target.scalar_type() == at::kUInt64;
  TORCH_CHECK_TYPE((indices && !unsigned_indices) || is_supported_float(target.scalar_type()),
                   "target has dtype ", target.scalar_type(),
                   ", but must be class indices (int64, int32, int16, int8 or uint8) or class "
                   "probabilities (floating point)");
  TORCH_CHECK_VALUE(!indices || target.sizes() == rows, "target has shape ", target.sizes(),
                    ", but class indices for logits of shape ", logits.sizes(), " have shape ",
                    rows);
  TORCH_CHECK_VALUE(indices || target.sizes() == logits.sizes(), "target has shape ",
                    target.sizes(), ", but class probabilities have the shape of logits, ",
                    logits.sizes());
  TORCH_CHECK_VALUE(target.device() == logits.device(), "target is on ", target.device(),
                    ", but logits is on ", logits.device());
}

// Of the dtype that the user's probabilities have, whatever they are converted to.
double tolerance_of(at::ScalarType type, int64_t classes) {
  switch (type) {
    case at::kHalf:
      return sum_tolerance(classes, 0x1p-10, 0x1p-24);
    case at::kBFloat16:
      return sum_tolerance(classes, 0x1p-7, 0);
    default:
      return sum_tolerance(classes, 0x1p-23, 0);
  }
}

}  // namespace

void Rows::explain(int64_t row) const {
  if (target.defined()) {
    const int64_t y = target[row].item<int64_t>();
    TORCH_CHECK_INDEX(kind_of(y, classes(), ignore()) != RowKind::kFaulty,
                      element_name("target", shape, row, -1), " is ", y, ", but there are ",
                      classes(), " classes");
  } else {
    const std::vector<double> t = to_vector(probability[row]);
    for (size_t c = 0; c < t.size(); ++c) {
      TORCH_CHECK_VALUE(is_finite_weight(t[c]),
                        element_name("target", shape, row, static_cast<int64_t>(c)), " is ", t[c],
                        ", but class probabilities must be finite and not negative");
    }
  }
  const std::vector<double> z = to_vector(logits[row]);
  for (size_t c = 0; c < z.size(); ++c) {
    TORCH_CHECK_VALUE(z[c] < INFINITY, element_name("logits", shape, row, static_cast<int64_t>(c)),
                      " is ", z[c], ", but logits must be finite, or -inf for a masked class");
  }
  TORCH_CHECK_VALUE(std::any_of(z.begin(), z.end(), [](double x) { return x > -INFINITY; }),
                    element_name("logits", shape, row, -1),
                    " is -inf in every class, but a row must keep at least one class");
  // What is left is the sum of the probabilities.
  const std::vector<double> t = to_vector(probability[row]);
  TORCH_CHECK_VALUE(false, element_name("target", shape, row, -1), " sums to ",
                    std::accumulate(t.begin(), t.end(), 0.0),
                    ", but class probabilities must sum to 1 (within ", sum_tolerance,
                    "). For targets of several labels draw by a loss of your own, such as the sum "
                    "of binary_cross_entropy_with_logits over the classes");
  __builtin_unreachable();
}

void Rows::explain_features(const Tensor& features, int64_t row) const {
  const std::vector<double> h = to_vector(features[row]);
  for (size_t d = 0; d < h.size(); ++d) {
    TORCH_CHECK_VALUE(std::isfinite(h[d]),
                      element_name("features", shape, row, static_cast<int64_t>(d)), " is ", h[d],
                      ", but features must be finite");
  }
  TORCH_CHECK_VALUE(false, element_name("features", shape, row, -1), " has a norm beyond float64");
  __builtin_unreachable();
}

Rows check_rows(const LabelledRows& given, const LossOptions& loss) {
  const auto& [logits, target] = given;
  check_device(logits, "logits");
  TORCH_CHECK_TYPE(is_supported_float(logits.scalar_type()), "logits has dtype ",
                   logits.scalar_type(), ", but must be float32, float64, float16 or bfloat16");
  TORCH_CHECK_VALUE(logits.dim() >= 1 && logits.size(-1) >= 1, "logits has shape ", logits.sizes(),
                    ", but must be [..., C] with at least one class");
  TORCH_CHECK_VALUE(logits.size(-1) <= INT32_MAX, "logits has ", logits.size(-1),
                    " classes, but at most 2^31 - 1 fit");
  check_target(target, logits);
  TORCH_CHECK_VALUE(loss.label_smoothing >= 0 && loss.label_smoothing <= 1, "label_smoothing is ",
                    loss.label_smoothing, ", but must be between 0 and 1");

  Rows rows;
  rows.shape = logits.sizes().slice(0, logits.dim() - 1);
  const int64_t count = c10::multiply_integers(rows.shape);
  rows.result_type = logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  rows.logits = logits.dim() == 2 ? logits : logits.reshape({count, logits.size(-1)});
  if (at::isIntegralType(target.scalar_type(), /*includeBool=*/false)) {
    rows.target = target.dim() == 1 ? target : target.reshape({count});
    // The kernels read two types.
    if (target.itemsize() < 4) rows.target = rows.target.to(at::kInt);
  } else {
    rows.probability = target.to(rows.result_type).reshape({count, logits.size(-1)}).contiguous();
    rows.sum_tolerance = tolerance_of(target.scalar_type(), rows.classes());
  }
  if (loss.class_weight) rows.class_weight = checked_class_weight(*loss.class_weight, rows);
  rows.label_smoothing = loss.label_smoothing;
  rows.ignore_index = loss.ignore_index;
  return rows;
}

Tensor check_features(const Rows& rows, const std::optional<Tensor>& features) {
  TORCH_CHECK_VALUE(
      features, "features is None, but \"last_layer\" needs the input of the last layer, [..., D]");
  const Tensor& h = *features;
  TORCH_CHECK_TYPE(is_supported_float(h.scalar_type()), "features has dtype ", h.scalar_type(),
                   ", but must be float32, float64, float16 or bfloat16");
  TORCH_CHECK_VALUE(h.dim() >= 1 && h.sizes().slice(0, h.dim() - 1) == at::IntArrayRef(rows.shape),
                    "features has shape ", h.sizes(),
                    ", but must be [..., D] with the rows of logits, ",
                    at::IntArrayRef(rows.shape));
  TORCH_CHECK_VALUE(h.device() == rows.logits.device(), "features is on ", h.device(),
                    ", but logits is on ", rows.logits.device());
  // A float64 result wants float64 features, and the other way about.
  const bool same_result = (h.scalar_type() == at::kDouble) == (rows.result_type == at::kDouble);
  const Tensor flat =
      (same_result ? h : h.to(rows.result_type)).reshape({rows.count(), h.size(-1)});
  return flat.stride(1) == 1 || flat.size(1) <= 1 ? flat : flat.contiguous();
}

}  // namespace isf
