// Rows with many classes: a warp, or a block, adds up a row or a slice of it, 16 bytes per load and
// several loads at once. The bound is the speed of memory, so the loop keeps to few instructions:
// for a bfloat16 one to widen, half a maximum, one fused multiply-add, one power, an addition and a
// fused multiply-add for the square.
#pragma once

#include "rows.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kWideThreads = 256;       // of the largest team
constexpr int kWideTeamsThreads = 128;  // of a block whose warps have a row each
constexpr int64_t kMostSlices = 1024;
constexpr int kJoinThreads = 128;
// Blocks of the largest team that a multiprocessor has registers for.
template <class Element, bool kWithSlope>
constexpr int kResident = sizeof(Element) == 8 ? 1
                          : kWithSlope         ? 4
                                               : 5;

// Adds the columns [0, count) of a contiguous or strided row to a thread's sums, without `skip`.
template <class Element, class T, bool kWithSlope>
__device__ __forceinline__ void add_row(const Element* row, int64_t class_stride, int count,
                                        int skip, int thread, int team,
                                        RunningSums<T, kWithSlope>& sums) {
  constexpr int kWidth = Vector<Element>::kCount, kAtOnce = 4;
  // Up to the first multiple of 16 bytes, and behind the last one, columns come one by one; all do
  // if they are not neighbours.
  const auto address = reinterpret_cast<uintptr_t>(row);
  const int misaligned = static_cast<int>((16 - address % 16) % 16 / sizeof(Element));
  const int head = class_stride == 1 && misaligned < count ? misaligned : count;
  const int vectors = (count - head) / kWidth;
  const Element* const source = row + head;
  const int skip_vector = skip >= head ? (skip - head) / kWidth : -1;

  for (int i = thread; i < vectors; i += kAtOnce * team) {
    Vector<Element> x[kAtOnce];
    if (i + (kAtOnce - 1) * team < vectors) {
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) x[k].load(source + int64_t{i + k * team} * kWidth);
    } else {
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        x[k].fill(minus_infinity(Element()));
        if (i + k * team < vectors) x[k].load(source + int64_t{i + k * team} * kWidth);
      }
    }
    // One of all threads comes here, once.
    const int behind = skip_vector - i;
    if (behind >= 0 && behind < kAtOnce * team && (behind & (team - 1)) == 0) {
      const int at = (skip - head) % kWidth;
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
#pragma unroll
        for (int j = 0; j < kWidth; ++j) {
          if (behind == k * team && at == j) x[k].set(j, minus_infinity(Element()));
        }
      }
    }
    sums.template add<kAtOnce * kWidth>(largest_of(x),
                                        [&](int n) { return x[n % kAtOnce][n / kAtOnce]; });
  }

  const int single = count - vectors * kWidth;
  const auto between = static_cast<uint32_t>(vectors) * kWidth;
  add_columns(
      row, class_stride, single, thread, team, skip,
      [=](uint32_t i) { return i < static_cast<uint32_t>(head) ? i : i + between; }, sums);
}

// `team` threads, a warp or the whole block, have a row; blockIdx.y is the slice of it. The sums of
// slices go to partial [rows, slices].
template <class Element, bool kWithSlope>
__global__ void __launch_bounds__(kWideThreads, kResident<Element, kWithSlope>)
    wide_rows(const RowProblem problem, int team, int slice,
              RowSums<Real<ResultOf<Element>>>* partial) {
  const int thread = static_cast<int>(threadIdx.x) & (team - 1);
  const int teams = static_cast<int>(blockDim.x) / team;
  // What was written last is read first: some of it may still be in the cache.
  const int64_t row = problem.rows - 1 - static_cast<int64_t>(blockIdx.x) * teams -
                      static_cast<int>(threadIdx.x) / team;
  if (row < 0) return;  // a whole team; if there are several, none meets at a barrier
  const Target target = read_target(problem, row);
  const int begin = static_cast<int>(blockIdx.y) * slice;
  const int rest = static_cast<int>(problem.classes) - begin;

  RunningSums<ResultOf<Element>, kWithSlope> sums;
  if (target.kind == RowKind::kFine) {
    add_row(row_of<Element>(problem, row) + begin * problem.class_stride, problem.class_stride,
            rest < slice ? rest : slice, target.column - begin, thread, team, sums);
  }
  if (team == kWarp) {
    sums.join(kWarp);
  } else {
    __shared__ WarpSums<ResultOf<Element>> of_warps;
    of_warps.put(sums);
    __syncthreads();
    if (warp_index() != 0) return;
    of_warps.join(sums);
  }
  if (thread != 0) return;
  if (partial) {
    partial[row * gridDim.y + blockIdx.y] = sums.total();
  } else {
    finish_row<Element>(problem, row, target, sums.total());
  }
}

// A warp for each row joins the sums of its slices.
template <class Element>
__global__ void __launch_bounds__(kJoinThreads)
    join_slices(const RowProblem problem, int slices,
                const RowSums<Real<ResultOf<Element>>>* partial) {
  typedef Real<ResultOf<Element>> V;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warp_count() + warp_index();
  if (row >= problem.rows) return;
  const RowSums<V>* const slice = partial + row * slices;
  RowSums<V> sums = empty_row_sums<V>();
  for (int i = lane_index(); i < slices; i += kWarp) sums.peak = larger(sums.peak, slice[i].peak);
  sums.peak = V(warp_reduce(plain(sums.peak), Maximum()));
  for (int i = lane_index(); i < slices; i += kWarp) {
    RowSums<V> one = slice[i];
    raise_peak(one, sums.peak);
    sums.sum = sums.sum + one.sum;
    sums.square = sums.square + one.square;
    sums.slope = sums.slope + one.slope;
  }
  sums.sum = V(warp_reduce(plain(sums.sum), Sum()));
  sums.square = V(warp_reduce(plain(sums.square), Sum()));
  sums.slope = V(warp_reduce(plain(sums.slope), Sum()));
  if (lane_index() != 0) return;
  finish_row<Element>(problem, row, read_target(problem, row), sums);
}

}  // namespace

}  // namespace cuda
}  // namespace isf
