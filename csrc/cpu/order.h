// The first rows of an order: those with the smallest keys, ties to the lower row.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "blocks.h"
#include "cpu.h"
#include "scratch.h"

namespace isf {
namespace cpu {

// Rows whose keys are made at a time, at most.
constexpr int64_t kChunk = 1024;

template <class Item>
uint64_t key_of(Item ordered) {
  return static_cast<uint64_t>(ordered >> 4 * sizeof(Item));
}
template <class Item>
int64_t row_of(Item ordered) {
  return static_cast<int64_t>(ordered & 0xffffffffu);
}

// Ordered keys of rows.
template <class Item>
struct Items {
  Scratch<Item> all;
  int64_t count;

  Item operator[](int64_t i) const { return all[i]; }
};

// Sorts items that are in the order of their rows: by a digit of the key after the other, the
// lowest first, all threads together.
template <class Item>
void sort_by_digits(Items<Item>& items) {
  constexpr int kBits = 11, kKeyBits = 4 * sizeof(Item);
  constexpr int64_t kDigits = 1 << kBits;
  const int64_t count = items.count;
  const int64_t parts = std::clamp<int64_t>(count / kBlock, 1, at::get_num_threads());
  Scratch<Item> sorted = scratch<Item>(count);
  std::vector<std::array<int64_t, kDigits>> place(parts);
  for (int shift = kKeyBits; shift < 2 * kKeyBits; shift += kBits) {
    const auto for_each_item = [&](const auto& body) {
      at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
        for (int64_t p = begin; p < end; ++p) {
          const int64_t stop = count * (p + 1) / parts;
          for (int64_t i = count * p / parts; i < stop; ++i) {
            body(items[i], place[p][static_cast<uint64_t>(items[i] >> shift) % kDigits]);
          }
        }
      });
    };
    for (auto& counts : place) counts.fill(0);
    for_each_item([](Item, int64_t& counted) { ++counted; });
    int64_t sum = 0;
    for (int64_t digit = 0; digit < kDigits; ++digit) {
      for (auto& counts : place) sum += std::exchange(counts[digit], sum);
    }
    for_each_item([&](Item item, int64_t& at) { sorted[at++] = item; });
    items.all.swap(sorted);
  }
}

// Moves the `count` smallest of items that are in the order of their rows to the front, in order,
// and the next one behind them.
template <class Item>
void order_smallest(Items<Item>& items, int64_t count) {
  constexpr int64_t kMostCompared = sizeof(Item) == sizeof(uint64_t) ? 256 : 1024;
  if (count > kMostCompared) return sort_by_digits(items);
  Item* const first = items.all.get();
  if (count < items.count) std::nth_element(first, first + count, first + items.count);
  std::sort(first, first + count);
}

// An item that those of about `count` rows do not exceed, and hardly ever of fewer, by a sample of
// the rows; the largest that there can be where a sample is not worth it. Rows of the same key are
// told apart, so that ties let no more of them through.
template <class Keys, class Item = Ordered<typename Keys::Key>>
Item bound_of_smallest(const Keys& keys, int64_t rows, int64_t count) {
  constexpr int64_t kFewRows = 4096, kShare = 16, kMostSampled = 2048;
  if (rows < kFewRows) return ~Item(0);
  const int64_t sampled = std::min(rows / kShare, kMostSampled);
  const double expected =
      static_cast<double>(sampled) * static_cast<double>(count) / static_cast<double>(rows);
  const auto rank = static_cast<int64_t>(expected + 3.0 * std::sqrt(expected) + 3.0);
  if (rank >= sampled) return ~Item(0);
  std::array<Item, kMostSampled> sample;
  for (int64_t i = 0; i < sampled; ++i) {
    // Multiples of the golden ratio, which no pattern of the rows is in step with.
    const uint64_t point = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15ull,
                   row = high_product(point, static_cast<uint64_t>(rows));
    sample[i] = ordered(keys.of(static_cast<int64_t>(row)), row);
  }
  std::nth_element(sample.begin(), sample.begin() + rank, sample.begin() + sampled);
  return sample[rank];
}

// Stores the items of those rows of [begin, end) whose key is at most `most`. Returns the end.
template <class Keys, class Item>
Item* filter(const Keys& keys, int64_t begin, int64_t end, typename Keys::Key most, Item* kept) {
  typedef typename Keys::Key Key;
  constexpr bool kWide = sizeof(Key) == sizeof(uint64_t);
  Key key[kChunk];
  for (; begin < end; begin += kChunk) {
    const int64_t count = std::min(kChunk, end - begin);
    keys.fill(begin, count, key);
    kept += kernels().filter[kWide](key, count, most, static_cast<uint64_t>(begin), kept);
  }
  return kept;
}

// The items that do not exceed `last`, in the order of the rows.
template <class Keys, class Item>
Items<Item> items_up_to(const Keys& keys, int64_t rows, Item last) {
  const auto key = static_cast<typename Keys::Key>(key_of(last));
  // There is room for all, of which as much is touched as is filled.
  Items<Item> items = {scratch<Item>(rows), 0};
  std::vector<int64_t> found((rows + kBlock - 1) / kBlock);
  for_each_block(rows, [&](int64_t b, int64_t begin, int64_t end) {
    Item* const first = items.all.get() + begin;
    const int64_t tied = std::clamp(row_of(last) + 1, begin, end);
    Item* kept = filter(keys, begin, tied, key, first);
    if (key > 0) kept = filter(keys, tied, end, key - 1, kept);
    found[b] = kept - first;
  });
  for (size_t b = 0; b < found.size(); ++b) {
    const Item* const first = items.all.get() + static_cast<int64_t>(b) * kBlock;
    Item* const end = items.all.get() + items.count;
    if (end != first) std::copy(first, first + found[b], end);
    items.count += found[b];
  }
  return items;
}

// The items of `count` rows with the smallest keys, in order, and the next one behind them; perhaps
// others behind that. Keys knows the key of(row), and can fill(row, count, key) with those of up to
// kChunk rows.
template <class Keys>
auto smallest_keys(const Keys& keys, int64_t rows, int64_t count) {
  const int64_t wanted = std::min(count + 1, rows);
  auto items = items_up_to(keys, rows, bound_of_smallest(keys, rows, wanted));
  if (items.count < wanted) items = items_up_to(keys, rows, ~decltype(items[0])(0));
  order_smallest(items, count);
  return items;
}

}  // namespace cpu
}  // namespace isf
