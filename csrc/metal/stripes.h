// How the threads of a threadgroup find rows together: at points of a cumulative sum, as the first
// of an order, or in proportion to their size.
//
// Each thread has a stripe of neighbouring rows. Their fixed points are made again from their
// weights wherever they are needed: W tells a row's weight(row) and fixed(row).
#pragma once

#include "../choice.h"
#include "sort.h"
#include "team.h"

namespace isf {
namespace mps {

// Words of a threadgroup's memory for the sums of its stripes, or for keys.
ISF_CONSTANT int kDrawWords = kMostSorted;

template <class W>
struct Stripes {
  const thread W& weights;
  int64_t rows, stripe;  // the rows of a thread
  threadgroup uint64_t* memory;
  thread Team& team;

  ISF_MEMBER int64_t begin() const { return team.thread_index() * stripe; }
  ISF_MEMBER int64_t end() const {
    const int64_t end = begin() + stripe;
    return end < rows ? end : rows;
  }

  // The sum of all fixed points; those of the stripes up to each are in memory then.
  ISF_MEMBER uint64_t add_up() const {
    uint64_t here = 0, total;
    for (int64_t row = begin(); row < end(); ++row) here += weights.fixed(row);
    const uint64_t before = team.sum_before(here, total);
    memory[team.thread_index()] = before + here;
    threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    return total;
  }

  // The fixed point of the row that a point below the sum belongs to; of some row, where weights
  // are faulty.
  ISF_MEMBER uint64_t find(uint64_t point, thread int64_t& row) const {
    int at = 0;
    for (int length = team.size; length > 1; length -= length / 2) {
      at += memory[at + length / 2 - 1] <= point ? length / 2 : 0;
    }
    row = at * stripe < rows ? at * stripe : rows - 1;
    uint64_t here = weights.fixed(row), sum = here + (at ? memory[at - 1] : 0);
    while (sum <= point && row + 1 < rows) sum += here = weights.fixed(++row);
    return here;
  }
};

// The place of a row in the order of a race, or of weights: its key, and the row in the lower half.
// Behind all rows is nothing. The rows are those from `first_row` on of all rows.
template <class W>
ISF_FN uint64_t place_in_order(const thread W& weights, int64_t rows, int64_t row, bool race,
                               uint64_t seed, uint64_t first_row) {
  if (row >= rows) return ~static_cast<uint64_t>(0);
  const uint64_t random = race ? random_number(seed, first_row + static_cast<uint64_t>(row)) : 0;
  const uint64_t key = race ? race_key(weights.fixed(row), random) : topk_key(weights.weight(row));
  return key << 32 | static_cast<uint64_t>(row);
}

// The rows in that order.
template <class Keys, class W>
ISF_FN void order_rows(Keys keys, const thread W& weights, int64_t rows, bool race, uint64_t seed,
                       uint64_t first_row, const thread Team& team) {
  int count = 2 * kSimd;
  while (count < rows) count *= 2;
  for (int row = team.thread_index(); row < count; row += team.size) {
    keys[row] = place_in_order(weights, rows, row, race, seed, first_row);
  }
  sort(keys, count, 0, team);
}

// Stores the rows that are drawn in proportion to their size, ascending: before a row's place are
// the certain rows before it and the points below its part of the others' cumulative sum. `found`
// is of all rows, and `earlier` of those before these. Place has store(i, row, prob). Returns
// `earlier` with these rows added.
template <class W, class Place>
ISF_FN CertainPart store_by_size(const thread Stripes<W>& stripes, CertainRows found,
                                 CertainPart earlier, uint64_t seed, int64_t n,
                                 const thread Place& place) {
  CertainPart part = CertainPart::nothing();
  for (int64_t row = stripes.begin(); row < stripes.end(); ++row) {
    part.add(stripes.weights.fixed(row), found.from);
  }
  uint64_t all_rest, all_certain;
  uint64_t sum = earlier.rest + stripes.team.sum_before(part.rest, all_rest);
  const uint64_t certain_here =
      stripes.team.sum_before(static_cast<uint64_t>(part.certain), all_certain);
  int64_t certain = earlier.certain + static_cast<int64_t>(certain_here);
  const SystematicPoints points = found.points(random_number(seed, 0), n);
  const uint64_t left = found.left(n), none = ~static_cast<uint64_t>(0);
  uint64_t drawn = left ? points.below(sum) : 0;
  uint64_t point = drawn < left ? points.at(drawn) : none;
  for (int64_t row = stripes.begin(); row < stripes.end(); ++row) {
    const uint64_t size = stripes.weights.fixed(row);
    const bool is_certain = size >= found.from;
    sum += is_certain ? 0 : size;
    if (!is_certain && point >= sum) continue;
    place.store(certain + static_cast<int64_t>(drawn), row, found.probability<float>(size, left));
    certain += is_certain;
    drawn += !is_certain;
    if (!is_certain) point = drawn < left ? points.at(drawn) : none;
  }
  const CertainPart reached = {earlier.rest + all_rest,
                               earlier.certain + static_cast<int64_t>(all_certain)};
  return reached;
}

}  // namespace mps
}  // namespace isf
