// Row statistics with class indices: one pass over the logits. A team of threads has a row: a lane
// or a few where classes are few, a SIMD group, or a threadgroup. Where rows are few, several
// threadgroups have a slice of it each, whose sums join_slices adds up.
#include "running_sums.h"

using namespace isf;
using namespace isf::mps;

// The sums of slices go to partial [rows, slices].
template <class Element, bool kWithSlope>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void row_stats(
    ISF_ROW_BUFFERS(Element), device RowSums<float>* partial, constant RowProblem& problem,
    ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  const Rows<Element> rows = ISF_ROWS(Element);
  Team team(static_cast<int>(problem.team), static_cast<int>(thread_index), slots);
  const int64_t slices = problem.slices, slice = group_index % slices;
  const int64_t row = group_index / slices * (threads / static_cast<uint>(team.size)) +
                      thread_index / static_cast<uint>(team.size);
  const Target target = read_target(rows, row);
  RunningSums<kWithSlope> running = RunningSums<kWithSlope>::empty();
  if (target.kind == RowKind::kFine) {
    const int64_t begin = slice * problem.slice, end = begin + problem.slice;
    running.add(rows, row, static_cast<int>(begin) + team.thread_index(), team.size,
                static_cast<int>(end < problem.classes ? end : problem.classes), target.column);
  }
  const RowSums<float> sums = running.joined(team);
  if (team.thread_index() != 0 || row >= problem.rows) return;
  if (slices == 1) {
    finish_row(rows, row, target, sums);
  } else {
    copy_to(partial + row * slices + slice, sums);
  }
}

// A SIMD group for each row.
template <class Element>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void join_slices(
    ISF_ROW_BUFFERS(Element), device const RowSums<float>* partial, constant RowProblem& problem,
    ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  const Rows<Element> rows = ISF_ROWS(Element);
  Team team(kSimd, static_cast<int>(thread_index), slots);
  const int64_t row = group_index * (threads / kSimd) + thread_index / kSimd;
  RunningSums<true> running = RunningSums<true>::empty();
  if (row < problem.rows) {
    for (int64_t i = team.thread_index(); i < problem.slices; i += kSimd) {
      device const RowSums<float>& slice = partial[row * problem.slices + i];
      running.merge(slice.peak, slice.sum, slice.square, slice.slope);
    }
  }
  const RowSums<float> sums = running.joined(team);
  if (team.thread_index() == 0 && row < problem.rows) {
    finish_row(rows, row, read_target(rows, row), sums);
  }
}

ISF_KERNEL(row_stats_float, row_stats<float, false>);
ISF_KERNEL(row_stats_half, row_stats<half, false>);
ISF_KERNEL(row_stats_entropy_float, row_stats<float, true>);
ISF_KERNEL(row_stats_entropy_half, row_stats<half, true>);
ISF_KERNEL(join_slices_float, join_slices<float>);
ISF_KERNEL(join_slices_half, join_slices<half>);
#if __METAL_VERSION__ >= 310
ISF_KERNEL(row_stats_bfloat, row_stats<bfloat, false>);
ISF_KERNEL(row_stats_entropy_bfloat, row_stats<bfloat, true>);
ISF_KERNEL(join_slices_bfloat, join_slices<bfloat>);
#endif
