// The rounds of a sort by many threadgroups, in a launch each, until what is left is within tiles.
#include "sort.h"

using namespace isf;
using namespace isf::mps;

// In the order of impsamp_fast/ops/_metal_draw.py.
struct SortRound {
  int64_t run, distance;
};

ISF_CONSTANT int kPairs = 4;  // of a thread

template <class Key>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void sort_far(device Key* keys,
                                                                          constant SortRound& round,
                                                                          ISF_POSITION) {
  int pair = static_cast<int>(group_index * threads * kPairs + thread_index);
  for (int i = 0; i < kPairs; ++i, pair += static_cast<int>(threads)) {
    put_in_order(keys, pair, static_cast<int>(round.distance), static_cast<int>(round.run), 0);
  }
}

// A threadgroup for each tile: what is left of a run.
template <class Key>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void sort_near(
    device Key* keys, constant SortRound& round, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  ISF_SHARED(uint64_t, memory, kMostSorted);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const int first = static_cast<int>(group_index) * kMostSorted;
  for (int i = team.thread_index(); i < kMostSorted; i += team.size) memory[i] = keys[first + i];
  finish_run(memory, kMostSorted, static_cast<int>(round.run), kMostSorted / 2, first, team);
  threadgroup_barrier(metal::mem_flags::mem_threadgroup);
  for (int i = team.thread_index(); i < kMostSorted; i += team.size) keys[first + i] = memory[i];
}

ISF_KERNEL(sort_far_float, sort_far<uint64_t>);
ISF_KERNEL(sort_near_float, sort_near<uint64_t>);
