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

// Numbers that lie beside the weights.
void check_beside(const Tensor& numbers, const char* name, const Tensor& weights,
                  at::IntArrayRef shape = {}, at::ScalarType type = at::kLong) {
  TORCH_CHECK_VALUE(numbers.device() == weights.device(), name, " is on ", numbers.device(),
                    ", but weights is on ", weights.device());
  TORCH_CHECK_TYPE(numbers.scalar_type() == type, name, " has dtype ", numbers.scalar_type(),
                   ", but must be ", type);
  TORCH_CHECK_VALUE(numbers.sizes() == shape && numbers.layout() == at::kStrided, name,
                    " has shape ", numbers.sizes(), ", but must be ", shape);
  TORCH_CHECK_VALUE(numbers.is_contiguous(), name, " has strides ", numbers.strides(),
                    ", but must be contiguous");
}

Part check_part(const PartWeights& given, int64_t n = 1) {
  const Part part = {check_weights(given.weights, n), given.largest, given.rows};
  check_beside(part.largest, "largest", part.weights, {}, part.weights.scalar_type());
  check_beside(part.rows, "rows", part.weights);
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
  check_beside(options.total, "total", weights);
  check_beside(options.before, "before", weights);
  check_beside(options.seed, "seed", weights);
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
  check_beside(options.first_row, "first_row", weights);
  check_beside(options.seed, "seed", weights);
  results.open(weights.device(), {{options.n, at::kLong}, {options.n, at::kLong}});
  backend_of(weights.device())
      .draw_first(
          {part, options.n, method, options.first_row, options.seed, results[0], results[1]});
}

void DrawArrivalProb::run(const PartWeights& given, const NextArrival& arrival, Results& results) {
  const Part drawn = check_part(given);
  const Tensor& weights = drawn.weights;
  check_beside(arrival.next, "next", weights);
  results.open(weights.device(), {{weights.sizes(), weights.scalar_type()}});
  backend_of(weights.device()).draw_arrival_prob({drawn, arrival.next, results[0]});
}

void DrawCertain::run(const PartWeights& given, const CertainOptions& options, Results& results) {
  const Part part = check_part(given, options.n);
  const Tensor& weights = part.weights;
  check_beside(options.found, "found", weights, {3});
  results.open(weights.device(), {{{3}, at::kLong}});
  backend_of(weights.device()).draw_certain({part, options.n, options.found, results[0]});
}

void DrawBySize::run(const PartWeights& given, const SizeOptions& options, Results& results) {
  const Part part = check_part(given, options.n);
  const Tensor& weights = part.weights;
  check_beside(options.found, "found", weights, {3});
  check_beside(options.before, "before", weights, {2});
  check_beside(options.seed, "seed", weights);
  results.open(weights.device(), {{options.n, at::kLong}, {options.n, weights.scalar_type()}});
  backend_of(weights.device())
      .draw_by_size(
          {part, options.n, options.found, options.before, options.seed, results[0], results[1]});
}

}  // namespace isf
