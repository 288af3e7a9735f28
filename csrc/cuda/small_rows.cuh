// Rows with few classes: neighbouring lanes of a warp share a row, or each has a row of its own.
#pragma once

#include "rows.cuh"

namespace isf {
namespace cuda {

// The sums of one row for each group of `lanes` neighbouring lanes (1, 2, 4, ... 32); all of them
// get the result. Called by all lanes of a warp; a group whose `wanted` is false reads nothing.
template <class Element, bool kWithSlope>
__device__ __forceinline__ RowSums<Real<ResultOf<Element>>> group_sums(const RowProblem& problem,
                                                                       int64_t row, int column,
                                                                       bool wanted, int lanes) {
  RunningSums<ResultOf<Element>, kWithSlope> sums;
  if (wanted) {
    add_columns(
        row_of<Element>(problem, row), problem.class_stride, static_cast<int>(problem.classes),
        lane_index() & (lanes - 1), lanes, column, [](uint32_t i) { return i; }, sums);
  }
  sums.join(lanes);
  return sums.total();
}

template <class T>
struct ScoredRow {
  T loss, score;  // 0 where the row is ignored, NaN where it is faulty
  bool ignored;
};

template <class Element, bool kWithSlope>
__device__ __forceinline__ ScoredRow<ResultOf<Element>> score_row_with(const RowProblem& problem,
                                                                       Statistic score, int64_t row,
                                                                       int lanes) {
  typedef ResultOf<Element> T;
  typedef Real<T> V;
  const Target target =
      row < problem.rows ? read_target(problem, row) : Target{0, RowKind::kIgnored};
  V logit = V(0.0f), weight = V(1.0f);
  if (target.kind == RowKind::kFine) {
    logit = V(logit_of<Element>(problem, row, target.column));
    weight = V(class_weight<T>(problem, target.column));
  }
  const RowSums<V> sums = group_sums<Element, kWithSlope>(problem, row, target.column,
                                                          target.kind == RowKind::kFine, lanes);
  const RowKind found = kind_with(target.kind, sums, logit, weight);
  if (found != RowKind::kFine)
    return {blank<T>(found), blank<T>(found), found == RowKind::kIgnored};
  const RowResult<V> result = finish(sums, logit);
  const HardTarget<V> hard = {result, weight};
  const V loss = hard.loss();
  const V value = score == kLoss ? loss : statistic_of(score, result, hard);
  return {plain(loss), plain(value), false};
}

// The score of a row with few classes and a class index, for kernels that go on with it at once.
//
// Called by ALL lanes of a warp together. `lanes` (1, 2, 4, ... 32; the same for the whole warp)
// neighbouring lanes share a row and all of them get its result; with lanes = 1 every thread has a
// row of its own. Neighbouring groups should have neighbouring rows. A row beyond the last counts
// as ignored, and nothing of it is read. Any strides. Nothing is stored.
template <class Element>
__device__ __forceinline__ ScoredRow<ResultOf<Element>> score_row(const RowProblem& problem,
                                                                  Statistic score, int64_t row,
                                                                  int lanes) {
  return score == kEntropy ? score_row_with<Element, true>(problem, score, row, lanes)
                           : score_row_with<Element, false>(problem, score, row, lanes);
}

}  // namespace cuda
}  // namespace isf
