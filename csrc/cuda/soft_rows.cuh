// Rows whose target has several classes: probabilities, or class indices with smoothing.
//
// With t_j as given, t'_j = w_j ((1 - eps) t_j + eps / C) as the loss sees it, T = sum_j t'_j and y
// the largest class of t:
//   loss = sum_j t'_j (log sum e^z - z_j),   gradient = T p - t'.
// The gradient's component y is written as sum_{j != y} t'_j - T (1 - p_y), so that a one-hot t'
// loses nothing to cancellation. A row is read three times: for y, for the sums, and for what
// depends on them; the last two reads are the cache's.
#pragma once

#include "rows.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kSoftThreads = 256;

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

  template <class T>
  __device__ __forceinline__ T sum(const ExactSum<T>& of_thread) const {
    return reduce(of_thread.total(), Sum(), T(0));
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

// The target of one row.
template <class T>
struct TargetColumns {
  const RowProblem& problem;
  int64_t row;
  int largest;  // y
  T keep, spread;

  __device__ __forceinline__ TargetColumns(const RowProblem& problem, int64_t row, int largest)
      : problem(problem),
        row(row),
        largest(largest),
        keep(static_cast<T>(1.0 - problem.label_smoothing)),
        spread(static_cast<T>(problem.label_smoothing / static_cast<double>(problem.classes))) {}

  __device__ __forceinline__ T given(int column) const {
    if (!problem.probability) return column == largest ? T(1) : T(0);
    return static_cast<const T*>(problem.probability)[row * problem.classes + column];
  }

  // NaN if the class weight is faulty.
  __device__ __forceinline__ T smoothed(int column) const {
    return (keep * given(column) + spread) * class_weight<T>(problem, column);
  }
};

// The first of a row's classes with the largest probability.
template <class T>
__device__ __forceinline__ Target largest_class(const RowProblem& problem, int64_t row,
                                                const Team& team) {
  const TargetColumns<T> target(problem, row, 0);
  const int classes = row < problem.rows ? static_cast<int>(problem.classes) : 0;
  T largest = -1;
  int column = INT32_MAX, faulty = 0;
  for (int64_t c = team.thread; c < classes; c += team.size) {
    const T t = target.given(static_cast<int>(c));
    if (!(t >= 0 && t < HUGE_VALF)) faulty = 1;
    if (t > largest) column = static_cast<int>(c), largest = t;
  }
  const T all = team.reduce(largest, Maximum(), T(-1));
  column = team.reduce(largest == all ? column : INT32_MAX, Minimum(), INT32_MAX);
  faulty = team.reduce(faulty, Maximum(), 0);
  if (classes == 0) return {0, Row::kIgnored};
  return faulty ? Target{0, Row::kFaulty} : Target{column, Row::kFine};
}

// sqrt(sum x^2) over the whole range of x: the squares are gathered at three scales, and that scale
// counts at which the largest is well inside the range.
template <class T>
struct Norm {
  // 2^80 and 2^40 for float; 2^600 and 2^400 for double.
  static constexpr T kScale =
      sizeof(T) == 4 ? T(1208925819614629174706176.0) : T(4.149515568880993e180);
  static constexpr T kBound = sizeof(T) == 4 ? T(1099511627776.0) : T(2.582249878086909e120);
  T largest, small, middle, large;

  __device__ __forceinline__ void add(T x) {
    const T up = x * kScale, down = x * (1 / kScale);
    largest = largest_of(largest, fabs(x));
    small += up * up;
    middle += x * x;
    large += down * down;
  }

  __device__ __forceinline__ T total(const Team& team) const {
    const T all = team.reduce(largest, Maximum(), T(0));
    const T a = team.reduce(small, Sum(), T(0)), b = team.reduce(middle, Sum(), T(0)),
            c = team.reduce(large, Sum(), T(0));
    if (all < 1 / kBound) return sqrt(a) * (1 / kScale);
    return all < kBound ? sqrt(b) : sqrt(c) * kScale;
  }
};

// What depends on the whole target, as HardTarget.
template <class V>
struct SoftTarget {
  V values[4];

  __device__ __forceinline__ V loss() const { return values[0]; }
  __device__ __forceinline__ V grad_norm() const { return values[1]; }
  __device__ __forceinline__ V p_true() const { return values[2]; }
  __device__ __forceinline__ V p_wrong() const { return values[3]; }
};

// The sums over the other classes of a row: of its logits, and of its target.
template <class Element, class T>
__device__ __forceinline__ RowSums<Real<T>> other_sums(const RowProblem& problem, int64_t row,
                                                       const TargetColumns<T>& target, int classes,
                                                       const Team& team, T& others) {
  RunningSums<T, true> sums;
  ExactSum<T> sum = {0, 0};
  add_columns(
      row_of<Element>(problem, classes ? row : 0), problem.class_stride, classes, team.thread,
      team.size, target.largest, [](uint32_t i) { return i; }, sums);
  for (int64_t c = team.thread; c < classes; c += team.size) {
    if (c != target.largest) sum.add(target.smoothed(static_cast<int>(c)));
  }
  team.join(sums);
  others = team.sum(sum);
  return sums.total();
}

template <class Element, class T>
__device__ __forceinline__ SoftTarget<Real<T>> finish_soft(const RowProblem& problem, int64_t row,
                                                           const RowResult<Real<T>>& result,
                                                           const TargetColumns<T>& target, T own,
                                                           T others, int classes,
                                                           const Team& team) {
  typedef Real<T> V;
  const T total = own + others, p_largest = plain(result.p_true());
  const T gradient_largest = others - total * plain(result.p_wrong());
  ExactSum<T> cross = {0, 0}, p_true = {0, 0}, p_wrong = {0, 0};
  Norm<T> norm = {0, 0, 0, 0};
  for (int64_t c = team.thread; c < classes; c += team.size) {
    const auto column = static_cast<int>(c);
    const bool is_largest = column == target.largest;
    const T t = target.smoothed(column), given = target.given(column);
    const V behind = result.sums.peak - V(logit_of<Element>(problem, row, column));
    const T p =
        is_largest ? p_largest : plain(result.scaled(exp_term(V(0.0f) - behind)) / result.total);
    if (!is_largest && t > 0) cross.add(t * plain(behind));
    p_true.add(p * given);
    p_wrong.add(p * (1 - given));
    norm.add(is_largest ? gradient_largest : total * p - t);
  }
  const T own_loss = own > 0 ? own * plain(result.loss()) : T(0);
  const T cross_total = team.sum(cross);
  const T other_loss = others > 0 ? others * plain(result.log_total()) + cross_total : T(0);
  return {
      {V(own_loss + other_loss), V(norm.total(team)), V(team.sum(p_true)), V(team.sum(p_wrong))}};
}

template <class Element>
__global__ void __launch_bounds__(kSoftThreads) soft_rows(const RowProblem problem, int size) {
  typedef ResultOf<Element> T;
  typedef Real<T> V;
  const Team team(size);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (static_cast<int>(blockDim.x) / size) +
                      static_cast<int>(threadIdx.x) / size;
  Target y = {0, Row::kIgnored};
  if (problem.probability) {
    y = largest_class<T>(problem, row, team);
  } else if (row < problem.rows) {
    y = read_target(problem, row);
  }
  // Threads of other rows go along to the barriers, with no columns.
  const int classes = y.row == Row::kFine ? static_cast<int>(problem.classes) : 0;
  const TargetColumns<T> target(problem, row, y.column);
  T others, own = 0;
  const RowSums<V> sums = other_sums<Element>(problem, row, target, classes, team, others);
  V logit = V(0.0f);
  if (classes) {
    own = target.smoothed(y.column);
    logit = V(logit_of<Element>(problem, row, y.column));
    y.row = judged(y.row, sums, logit, V(own + others));
  }
  const RowResult<V> result = finish(sums, logit);
  const SoftTarget<V> soft =
      finish_soft<Element>(problem, row, result, target, own, others, classes, team);
  if (team.thread == 0 && row < problem.rows) store<T>(problem, row, y.row, result, soft);
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
