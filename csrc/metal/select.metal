// From logits to a mini-batch in one launch: a threadgroup scores the rows, a team of lanes for
// each, and draws from them.
#include "draw.h"
#include "running_sums.h"

using namespace isf;
using namespace isf::mps;

template <class Element, int kWay>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void select(
    ISF_ROW_BUFFERS(Element), ISF_DRAW_BUFFERS, constant RowProblem& problem,
    constant DrawPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  ISF_SHARED(uint64_t, memory, kDrawWords);
  const Rows<Element> rows = ISF_ROWS(Element);
  Team lanes(static_cast<int>(problem.team), static_cast<int>(thread_index), slots);
  const int64_t abreast = threads / static_cast<uint>(lanes.size);
  for (int64_t first = 0; first < problem.rows; first += abreast) {
    const int64_t row = first + thread_index / static_cast<uint>(lanes.size);
    const Target target = read_target(rows, row);
    RunningSums<true> running = RunningSums<true>::empty();
    if (target.kind == RowKind::kFine) {
      running.add(rows, row, lanes.thread_index(), lanes.size, rows.classes(), target.column);
    }
    const RowSums<float> sums = running.joined(lanes);
    if (lanes.thread_index() == 0 && row < problem.rows) finish_row(rows, row, target, sums);
  }
  threadgroup_barrier(metal::mem_flags::mem_device);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const DrawBuffers buffers = {output1, targets_drawn, seed, index, result, tau, status, keys};
  Draw(plan, buffers, memory, team).run<kWay>();
}

ISF_KERNEL(select_points_float, select<float, kPoints>);
ISF_KERNEL(select_points_half, select<half, kPoints>);
ISF_KERNEL(select_order_float, select<float, kOrder>);
ISF_KERNEL(select_order_half, select<half, kOrder>);
ISF_KERNEL(select_size_float, select<float, kSize>);
ISF_KERNEL(select_size_half, select<half, kSize>);
#if __METAL_VERSION__ >= 310
ISF_KERNEL(select_points_bfloat, select<bfloat, kPoints>);
ISF_KERNEL(select_order_bfloat, select<bfloat, kOrder>);
ISF_KERNEL(select_size_bfloat, select<bfloat, kSize>);
#endif
