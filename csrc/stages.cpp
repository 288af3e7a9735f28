#include "stages.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "backend.h"
#include "checks.h"
#include "names.h"

namespace isf {

namespace {

// The weights of a part, which may have no rows, and how many are drawn.
Tensor check_weights(const Tensor& given, int64_t n) {
  const Tensor weights = check_numbers(given, "weights", "[k]");
  check_count(n, std::max<int64_t>(weights.size(0), 1), "weights");
  return weights;
}

void check_scalar(const Tensor& scalar, const char* name, at::ScalarType type,
                  const Tensor& weights) {
  TORCH_CHECK_VALUE(scalar.device() == weights.device(), name, " is on ", scalar.device(),
                    ", but weights is on ", weights.device());
  TORCH_CHECK_TYPE(scalar.scalar_type() == type, name, " has dtype ", scalar.scalar_type(),
                   ", but must be ", type);
  TORCH_CHECK_VALUE(scalar.dim() == 0 && scalar.layout() == at::kStrided, name, " has shape ",
                    scalar.sizes(), ", but must be a scalar");
}

Part check_part(const PartWeights& given, int64_t n = 1) {
  const Part part = {check_weights(given.weights, n), given.largest, given.rows};
  check_scalar(part.largest, "largest", part.weights.scalar_type(), part.weights);
  check_scalar(part.rows, "rows", at::kLong, part.weights);
  return part;
}

}  // namespace

void DrawScan::run(const Weights& given, Results& results) {
  const Tensor weights = check_weights(given.weights, 1);
  results.open(weights.device(), {{{}, weights.scalar_type()}, {{}, at::kLong}, {{}, at::kLong}});
  backend_of(weights.device()).draw_scan({weights, results[0], results[1], results[2]});
}

void DrawTotal::run(const PartWeights& given, Results& results) {
  const Part part = check_part(given);
  results.open(part.weights.device(), {{{}, at::kLong}});
  backend_of(part.weights.device()).draw_total({part, results[0]});
}

void DrawPart::run(const PartWeights& given, const PartOptions& options, Results& results) {
  const Part part = check_part(given, options.n);
  const Tensor& weights = part.weights;
  const Method method = method_of(options.method);
  TORCH_CHECK_VALUE(with_replacement(method), "method is \"", options.method,
                    "\", but must be one that draws with replacement");
  check_scalar(options.total, "total", at::kLong, weights);
  check_scalar(options.before, "before", at::kLong, weights);
  check_scalar(options.seed, "seed", at::kLong, weights);
  results.open(weights.device(), {{options.n, at::kLong}, {options.n, weights.scalar_type()}});
  backend_of(weights.device())
      .draw_part({part, options.n, method, options.total, options.before, options.seed, results[0],
                  results[1]});
}

void DrawFirst::run(const PartWeights& given, const FirstOptions& options, Results& results) {
  const Part part = check_part(given, options.n);
  const Tensor& weights = part.weights;
  const Method method = method_of(options.method);
  TORCH_CHECK_VALUE(method == Method::kRace || method == Method::kTopk, "method is \"",
                    options.method, "\", but must be \"race\" or \"topk\"");
  check_scalar(options.first_row, "first_row", at::kLong, weights);
  check_scalar(options.seed, "seed", at::kLong, weights);
  results.open(weights.device(), {{options.n, at::kLong}, {options.n, at::kLong}});
  backend_of(weights.device())
      .draw_first(
          {part, options.n, method, options.first_row, options.seed, results[0], results[1]});
}

void DrawArrivalProb::run(const PartWeights& given, const NextArrival& arrival, Results& results) {
  const Part drawn = check_part(given);
  const Tensor& weights = drawn.weights;
  check_scalar(arrival.next, "next", at::kLong, weights);
  results.open(weights.device(), {{weights.sizes(), weights.scalar_type()}});
  backend_of(weights.device()).draw_arrival_prob({drawn, arrival.next, results[0]});
}

}  // namespace isf
