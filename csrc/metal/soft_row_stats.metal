// Row statistics with soft targets: a team of threads has a row.
#include "soft_rows.h"

using namespace isf;
using namespace isf::mps;

template <class Element>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void soft_row_stats(
    ISF_ROW_BUFFERS(Element), constant RowProblem& problem, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  const Rows<Element> rows = ISF_ROWS(Element);
  Team team(static_cast<int>(problem.team), static_cast<int>(thread_index), slots);
  const uint size = static_cast<uint>(team.size);
  score_soft_row(rows, group_index * (threads / size) + thread_index / size, team);
}

ISF_KERNEL(soft_row_stats_float, soft_row_stats<float>);
ISF_KERNEL(soft_row_stats_half, soft_row_stats<half>);
#if __METAL_VERSION__ >= 310
ISF_KERNEL(soft_row_stats_bfloat, soft_row_stats<bfloat>);
#endif
