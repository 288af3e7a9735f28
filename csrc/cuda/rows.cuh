// What a row is asked for and what it answers: its target, its faults, its statistics.
#pragma once

#include "../problem.h"
#include "running_sums.cuh"

namespace isf {
namespace cuda {

// The class index of a row.
struct Target {
  int column;  // 0 unless the row is fine so far
  RowKind kind;
};

__device__ __forceinline__ Target read_target(const RowProblem& problem, int64_t row) {
  const int64_t at = row * problem.target_stride;
  const int64_t y = problem.target_is_int64 ? static_cast<const int64_t*>(problem.target)[at]
                                            : static_cast<const int32_t*>(problem.target)[at];
  const RowKind kind = kind_of(y, problem.classes, problem.ignore);
  return {kind == RowKind::kFine ? static_cast<int>(y) : 0, kind};
}

template <class Element>
__device__ __forceinline__ const Element* row_of(const RowProblem& problem, int64_t row) {
  return static_cast<const Element*>(problem.logits) + row * problem.row_stride;
}

template <class Element>
__device__ __forceinline__ ResultOf<Element> logit_of(const RowProblem& problem, int64_t row,
                                                      int column) {
  return to_number(row_of<Element>(problem, row)[column * problem.class_stride]);
}

// A class weight, or NaN for one that is negative or not finite.
template <class T>
__device__ __forceinline__ T class_weight(const RowProblem& problem, int column) {
  if (!problem.class_weight) return T(1);
  const T w = static_cast<const T*>(problem.class_weight)[column];
  return is_finite_weight(w) ? w : not_a_number(T());
}

// Adds logits of one row to a thread's sums: those numbered `first`, `first` + `step`, ... below
// `count`, where column(i) is the column of number i; not the column `skip`.
template <class Element, class T, bool kWithSlope, class Column>
__device__ __forceinline__ void add_columns(const Element* row, int64_t class_stride, int count,
                                            int first, int step, int skip, const Column& column,
                                            RunningSums<T, kWithSlope>& sums) {
  constexpr int kAtOnce = 8;
  // Unsigned, since the last steps may end beyond the largest int.
  const auto end = static_cast<uint32_t>(count), stride = static_cast<uint32_t>(step);
  for (auto i = static_cast<uint32_t>(first); i < end; i += kAtOnce * stride) {
    T z[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const uint32_t at = i + k * stride, c = column(at);
      z[k] = at < end && c != static_cast<uint32_t>(skip) ? to_number(row[c * class_stride])
                                                          : minus_infinity(T());
    }
    T largest = z[0];
#pragma unroll
    for (int k = 1; k < kAtOnce; ++k) largest = largest_of(largest, z[k]);
    sums.template add<kAtOnce>(largest, [&](int k) { return z[k]; });
  }
}

// What a row is, given its logits and the weight of its target, which is NaN if it is faulty.
template <class V>
__device__ __forceinline__ RowKind kind_with(RowKind kind, const RowSums<V>& sums, V target,
                                             V weight) {
  const bool fine = have_statistics(sums, target) && plain(weight) == plain(weight);
  return kind == RowKind::kFine && !fine ? RowKind::kFaulty : kind;
}

// The statistic of a row that has none: 0 where it is ignored, NaN where it is faulty.
template <class T>
__device__ __forceinline__ T blank(RowKind kind) {
  return kind == RowKind::kIgnored ? T(0) : not_a_number(T());
}

// Stores the statistics that are asked for.
template <class T, class Whole>
__device__ __forceinline__ void store(const RowProblem& problem, int64_t at, RowKind kind,
                                      const RowResult<Real<T>>& result, const Whole& target) {
  const auto put = [&](int s, T value) {
    if (problem.statistic[s]) static_cast<T*>(problem.statistic[s])[at] = value;
  };
  if (kind != RowKind::kFine) {
#pragma unroll
    for (int s = 0; s < kStatistics; ++s) put(s, blank<T>(kind));
    return;
  }
#pragma unroll
  for (int s = 0; s < kStatistics; ++s) {
    if (problem.statistic[s])
      put(s, plain(statistic_of(static_cast<Statistic>(s), result, target)));
  }
}

// From the sums of the other classes to the statistics of a row with a class index.
template <class Element>
__device__ __forceinline__ void finish_row(const RowProblem& problem, int64_t row, Target target,
                                           const RowSums<Real<ResultOf<Element>>>& sums) {
  typedef ResultOf<Element> T;
  typedef Real<T> V;
  V logit = V(0.0f), weight = V(1.0f);
  if (target.kind == RowKind::kFine) {
    logit = V(logit_of<Element>(problem, row, target.column));
    weight = V(class_weight<T>(problem, target.column));
    target.kind = kind_with(target.kind, sums, logit, weight);
  }
  const RowResult<V> result = finish(sums, logit);
  store<T>(problem, row, target.kind, result, HardTarget<V>{result, weight});
}

}  // namespace cuda
}  // namespace isf
