// Rows with soft targets: class probabilities, or class indices with smoothing. A row is read three
// times: for y, for the sums, and for what depends on them; the last two reads are the cache's.
#pragma once

#include "rows.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kSoftThreads = 256;

// Adds two floats each, which travel together.
struct AddTwo {
  __device__ __forceinline__ static uint64_t packed(Two<float> x) {
    return static_cast<uint64_t>(bits_of(x.high)) << 32 | bits_of(x.low);
  }
  __device__ __forceinline__ static Two<float> unpacked(uint64_t x) {
    return {float_from(static_cast<uint32_t>(x >> 32)), float_from(static_cast<uint32_t>(x))};
  }
  __device__ __forceinline__ uint64_t operator()(uint64_t a, uint64_t b) const {
    return packed(unpacked(a) + unpacked(b));
  }
};

// The threads that share a row: neighbouring lanes, a power of two, or the whole block.
struct Team {
  int size, thread;

  __device__ __forceinline__ explicit Team(int size)
      : size(size), thread(static_cast<int>(threadIdx.x) & (size - 1)) {}

  // Called by all threads of the block; every thread gets its team's.
  template <class T, class Op>
  __device__ __forceinline__ T reduce(T value, Op op, T identity) const {
    return size <= kWarp ? group_reduce(value, size, op) : block_reduce(value, op, identity);
  }

  template <class V>
  __device__ __forceinline__ V sum(const ExactSum<V>& of_thread) const {
    return V(reduce(plain(of_thread.total()), Sum(), plain(V(0.0f))));
  }

  __device__ __forceinline__ Two<float> sum(const LongSum<float>& of_thread) const {
    return AddTwo::unpacked(reduce(AddTwo::packed(of_thread.total()), AddTwo(), uint64_t{0}));
  }

  // Whether it is so for any team among the threads that reduce together.
  __device__ __forceinline__ bool any(bool condition) const {
    const int found = condition;
    return (size <= kWarp ? warp_reduce(found, Maximum()) : found) != 0;
  }

  template <class T>
  __device__ __forceinline__ void join(RunningSums<T, true>& sums) const {
    if (size <= kWarp) {
      sums.join(size);
      return;
    }
    __shared__ WarpSums<T> of_warps;
    of_warps.put(sums);
    __syncthreads();
    of_warps.join(sums);
  }
};

// The target of one row: t_j as given, and t'_j as the loss sees it.
template <class T>
struct TargetColumns {
  typedef Real<T> V;
  const RowProblem& problem;
  int64_t row;
  int largest;  // y
  LabelSmoothing<V> smoothing;

  __device__ __forceinline__ TargetColumns(const RowProblem& problem, int64_t row, int largest)
      : problem(problem),
        row(row),
        largest(largest),
        smoothing{
            V(static_cast<T>(1.0 - problem.label_smoothing)),
            V(static_cast<T>(problem.label_smoothing / static_cast<double>(problem.classes)))} {}

  __device__ __forceinline__ V given(int column) const {
    if (!problem.probability) return V(column == largest ? 1.0f : 0.0f);
    return V(static_cast<const T*>(problem.probability)[row * problem.classes + column]);
  }

  // NaN if it is faulty.
  __device__ __forceinline__ V weight(int column) const {
    return V(class_weight<T>(problem, column));
  }

  __device__ __forceinline__ V target(int column, V given) const {
    return smoothing.of(given) * weight(column);
  }
};

// The first of a row's classes with the largest probability.
template <class T>
__device__ __forceinline__ Target largest_class(const RowProblem& problem, int64_t row,
                                                const Team& team) {
  const int classes = row < problem.rows ? static_cast<int>(problem.classes) : 0;
  const TargetColumns<T> target(problem, row, 0);
  ExactSum<T> sum = {0, 0};
  T largest = -1;
  int column = INT32_MAX, faulty = 0;
  for (int64_t c = team.thread; c < classes; c += team.size) {
    const T t = plain(target.given(static_cast<int>(c)));
    if (!is_finite_weight(t)) faulty = 1;
    if (t > largest) column = static_cast<int>(c), largest = t;
    sum.add(t);
  }
  const T all = team.reduce(largest, Maximum(), T(-1));
  column = team.reduce(largest == all ? column : INT32_MAX, Minimum(), INT32_MAX);
  faulty = team.reduce(faulty, Maximum(), 0);
  const Real<T> total(team.reduce(sum.total(), Sum(), T(0)));
  if (classes == 0) return {0, RowKind::kIgnored};
  const bool fine = !faulty && is_one(total, Real<T>(static_cast<T>(problem.sum_tolerance)));
  return fine ? Target{column, RowKind::kFine} : Target{0, RowKind::kFaulty};
}

// The sums over the other classes of a row: of its logits, and of its target.
template <class Element, class T>
__device__ __forceinline__ RowSums<Real<T>> other_sums(const RowProblem& problem, int64_t row,
                                                       const TargetColumns<T>& target, int classes,
                                                       const Team& team, Real<T>& others) {
  RunningSums<T, true> sums;
  ExactSum<Real<T>> sum = {Real<T>(0.0f), Real<T>(0.0f)};
  add_columns(
      row_of<Element>(problem, classes ? row : 0), problem.class_stride, classes, team.thread,
      team.size, target.largest, [](uint32_t i) { return i; }, sums);
  for (int64_t c = team.thread; c < classes; c += team.size) {
    const auto column = static_cast<int>(c);
    if (column != target.largest) sum.add(target.target(column, target.given(column)));
  }
  team.join(sums);
  others = team.sum(sum);
  return sums.total();
}

// The norm of CloseRow.
template <class Element>
__device__ __forceinline__ float close_norm(const RowProblem& problem, int64_t row,
                                            const SoftRow<float>& soft,
                                            const TargetColumns<float>& target, float largest_logit,
                                            int classes, const Team& team) {
  const double eps = problem.label_smoothing;
  CloseRow<float> close = close_row(soft, two_of<float>(1.0 - eps),
                                    two_of<float>(eps / static_cast<double>(problem.classes)),
                                    eps != 0, problem.class_weight != nullptr, largest_logit);
  LongSum<float> terms = {0, 0, 0}, targets = {0, 0, 0};
  for (int64_t c = team.thread; c < classes; c += team.size) {
    const auto column = static_cast<int>(c);
    if (column == target.largest) continue;
    terms.add(close.term(logit_of<Element>(problem, row, column)));
    targets.add(close.target(target.given(column), target.weight(column)));
  }
  const Two<float> all_terms = team.sum(terms), all_targets = team.sum(targets);
  ExactSum<float> square = {0, 0};
  if (classes) {
    close.finish(soft, all_terms, all_targets, largest_logit, target.given(target.largest),
                 target.weight(target.largest));
  }
  for (int64_t c = team.thread; c < classes; c += team.size) {
    const auto column = static_cast<int>(c);
    const float component =
        column == target.largest
            ? close.largest_component
            : close.component(close.term(logit_of<Element>(problem, row, column)),
                              target.given(column), target.weight(column));
    square.add(component * component);
  }
  return close.norm(team.sum(square));
}

template <class Element, class T>
__device__ __forceinline__ SoftTarget<Real<T>> soft_target(const RowProblem& problem, int64_t row,
                                                           const SoftRow<Real<T>>& soft,
                                                           const TargetColumns<T>& target,
                                                           Real<T> largest_logit, int classes,
                                                           const Team& team) {
  typedef Real<T> V;
  const ExactSum<V> none = {V(0.0f), V(0.0f)};
  SoftSums<V, ExactSum<V>> sums = {none, none, none, none};
  for (int64_t c = team.thread; c < classes; c += team.size) {
    const auto column = static_cast<int>(c);
    const V given = target.given(column);
    sums.add(soft, column == target.largest, V(logit_of<Element>(problem, row, column)), given,
             target.target(column, given));
  }
  SoftTarget<V> result = finish_soft(soft, team.sum(sums.cross), team.sum(sums.p_true),
                                     team.sum(sums.p_wrong), team.sum(sums.square));
  if constexpr (sizeof(T) == sizeof(float)) {
    const bool close = problem.statistic[kGradNorm] && classes && cancels(soft, result.grad_norm());
    if (team.any(close)) {
      const float norm =
          close_norm<Element>(problem, row, soft, target, largest_logit, classes, team);
      if (close && norm < HUGE_VALF) result.values[1] = norm;
    }
  }
  return result;
}

template <class Element>
__global__ void __launch_bounds__(kSoftThreads, 2) soft_rows(const RowProblem problem, int size) {
  typedef ResultOf<Element> T;
  typedef Real<T> V;
  const Team team(size);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (static_cast<int>(blockDim.x) / size) +
                      static_cast<int>(threadIdx.x) / size;
  Target y = {0, RowKind::kIgnored};
  if (problem.probability) {
    y = largest_class<T>(problem, row, team);
  } else if (row < problem.rows) {
    y = read_target(problem, row);
  }
  // Threads of other rows go along to the barriers, with no columns.
  const int classes = y.kind == RowKind::kFine ? static_cast<int>(problem.classes) : 0;
  const TargetColumns<T> target(problem, row, y.column);
  V others, own = V(0.0f), logit = V(0.0f);
  const RowSums<V> sums = other_sums<Element>(problem, row, target, classes, team, others);
  if (classes) {
    own = target.target(y.column, target.given(y.column));
    logit = V(logit_of<Element>(problem, row, y.column));
    y.kind = kind_with(y.kind, sums, logit, own + others);
  }
  const SoftRow<V> soft(finish(sums, logit), own, others);
  const SoftTarget<V> result =
      soft_target<Element>(problem, row, soft, target, logit, classes, team);
  if (team.thread == 0 && row < problem.rows) store<T>(problem, row, y.kind, soft.result, result);
}

template <class Element>
int launch_soft(const RowProblem& problem, const Queue& queue) {
  constexpr int kLaneColumns = 8, kWarpColumns = 1024;
  int team = 1;
  while (team < kWarp && team * kLaneColumns < problem.classes) team *= 2;
  if (problem.classes > kWarpColumns) team = kSoftThreads;
  const int rows_per_block = kSoftThreads / team;
  const int64_t blocks = (problem.rows + rows_per_block - 1) / rows_per_block;
  return launch(soft_rows<Element>, dim3(static_cast<unsigned>(blocks)), kSoftThreads, 0,
                queue.stream, problem, team);
}

}  // namespace

}  // namespace cuda
}  // namespace isf
