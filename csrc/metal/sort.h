// Sorting a power of two of keys, ascending (Batcher 1968: bitonic sort): in rounds, each of which
// puts pairs of keys at a distance in order, ascending and descending in runs by turns.
#pragma once

#include "team.h"

namespace isf {
namespace mps {

ISF_CONSTANT int kMostSorted = 2048;  // keys that a threadgroup's memory sorts: a tile of many

// The pair with this number of a round, of keys that begin with number `first` of all.
template <class Keys>
ISF_FN void put_in_order(Keys keys, int pair, int distance, int run, int first) {
  const int i = 2 * pair - (pair & (distance - 1)), j = i + distance;
  const uint64_t a = keys[i], b = keys[j];
  if ((b < a) == (((first + i) & run) == 0)) {
    keys[i] = b;
    keys[j] = a;
  }
}

// The last rounds of a run by a threadgroup, from a distance on. Begins with a barrier.
template <class Keys>
ISF_FN void finish_run(Keys keys, int count, int run, int distance, int first,
                       const thread Team& team) {
  for (; distance; distance /= 2) {
    threadgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device);
    for (int pair = team.thread_index(); pair < count / 2; pair += team.size) {
      put_in_order(keys, pair, distance, run, first);
    }
  }
}

// Sorts `count` keys by a threadgroup: the tile of many that begins with number `first`. Begins and
// ends with a barrier.
template <class Keys>
ISF_FN void sort(Keys keys, int count, int first, const thread Team& team) {
  for (int run = 2; run <= count; run *= 2) finish_run(keys, count, run, run / 2, first, team);
  threadgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device);
}

}  // namespace mps
}  // namespace isf
