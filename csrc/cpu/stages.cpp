#include "stages.h"

#include <c10/util/Exception.h>

#include "cpu.h"

namespace isf {
namespace cpu {

namespace {

// Calls body with a number of the weights' type.
template <class Body>
void with_type_of(const Tensor& weights, const Body& body) {
  if (weights.scalar_type() == at::kDouble) return body(double());
  body(float());
}

uint64_t number_in(const Tensor& scalar) {
  return static_cast<uint64_t>(*scalar.const_data_ptr<int64_t>());
}

// What a part's rows are drawn by, which draw_scan() has found no fault with.
template <class T>
DrawWeights<T> part_weights(const Part& part) {
  const T largest = *part.largest.const_data_ptr<T>();
  const int64_t rows = *part.rows.const_data_ptr<int64_t>();
  TORCH_CHECK_VALUE(weight_bits(largest) <= largest_finite_bits(T()), "largest is ", largest,
                    ", but must be finite and not negative");
  TORCH_CHECK_VALUE(rows >= 1 && rows <= INT32_MAX, "rows is ", rows,
                    ", but must be between 1 and 2^31 - 1");
  const auto sampling = Sampling<T>::by_scores(weight_bits(largest), static_cast<int32_t>(rows));
  return weights_of(part.weights.const_data_ptr<T>(), part.weights.size(0), sampling, Ignored{});
}

// What is found of all rows that n are drawn from.
CertainRows certain_in(const Tensor& found, int64_t n) {
  const int64_t* number = found.const_data_ptr<int64_t>();
  TORCH_CHECK_VALUE(number[2] >= 0 && number[2] <= n, "found[2] is ", number[2],
                    ", but must be between 0 and n, which is ", n);
  return {static_cast<uint64_t>(number[0]), static_cast<uint64_t>(number[1]), number[2]};
}

}  // namespace

void draw_scan(const ScanTask& task) {
  with_type_of(task.weights, [&](auto zero) {
    using T = decltype(zero);
    const WeightScan found = scan_weights(task.weights.const_data_ptr<T>(), task.weights.size(0));
    *task.largest.mutable_data_ptr<T>() =
        found.bad < 0 ? number_from(static_cast<BitsOf<T>>(found.largest)) : not_a_number(T());
    *task.positive.mutable_data_ptr<int64_t>() = found.positive;
    *task.status.mutable_data_ptr<int64_t>() = 1 + found.bad;
  });
}

void draw_total(const TotalTask& task) {
  with_type_of(task.part.weights, [&](auto zero) {
    const auto weights = part_weights<decltype(zero)>(task.part);
    *task.total.mutable_data_ptr<int64_t>() =
        static_cast<int64_t>(total_of(weights, task.part.weights.size(0)));
  });
}

void draw_part(const PartTask& task) {
  with_type_of(task.part.weights, [&](auto zero) {
    using T = decltype(zero);
    const DrawRules rules = {static_cast<int32_t>(task.part.weights.size(0)),
                             static_cast<int32_t>(task.n), task.method};
    const Share share = {number_in(task.total), number_in(task.before)};
    draw_part(part_weights<T>(task.part), rules, share, number_in(task.seed),
              task.index.mutable_data_ptr<int64_t>(), task.prob.mutable_data_ptr<T>());
  });
}

void draw_first(const FirstTask& task) {
  with_type_of(task.part.weights, [&](auto zero) {
    draw_first(part_weights<decltype(zero)>(task.part), task.part.weights.size(0), task.method,
               number_in(task.first_row), number_in(task.seed), task.n,
               task.key.mutable_data_ptr<int64_t>(), task.index.mutable_data_ptr<int64_t>());
  });
}

void draw_arrival_prob(const ArrivalTask& task) {
  with_type_of(task.drawn.weights, [&](auto zero) {
    using T = decltype(zero);
    draw_arrival_prob(part_weights<T>(task.drawn), task.drawn.weights.size(0),
                      static_cast<uint32_t>(number_in(task.next)), task.prob.mutable_data_ptr<T>());
  });
}

void draw_certain(const CertainTask& task) {
  with_type_of(task.part.weights, [&](auto zero) {
    CertainRows found = certain_in(task.found, task.n);
    found.lower(task.n);
    draw_certain(part_weights<decltype(zero)>(task.part), task.part.weights.size(0), found.from)
        .store(found);
    int64_t* counted = task.counted.mutable_data_ptr<int64_t>();
    counted[0] = static_cast<int64_t>(found.from);
    counted[1] = static_cast<int64_t>(found.rest);
    counted[2] = found.certain;
  });
}

void draw_by_size(const SizeTask& task) {
  with_type_of(task.part.weights, [&](auto zero) {
    using T = decltype(zero);
    const DrawRules rules = {static_cast<int32_t>(task.part.weights.size(0)),
                             static_cast<int32_t>(task.n), Method::kPps};
    const CertainRows found = certain_in(task.found, task.n);
    const int64_t* number = task.before.const_data_ptr<int64_t>();
    TORCH_CHECK_VALUE(number[1] >= 0 && number[1] <= found.certain, "before[1] is ", number[1],
                      ", but must be between 0 and found[2], which is ", found.certain);
    const CertainPart before = {static_cast<uint64_t>(number[0]), number[1]};
    draw_by_size(part_weights<T>(task.part), rules, found, before, number_in(task.seed),
                 task.index.mutable_data_ptr<int64_t>(), task.prob.mutable_data_ptr<T>());
  });
}

}  // namespace cpu
}  // namespace isf
