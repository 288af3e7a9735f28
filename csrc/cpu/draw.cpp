#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "../cdf.h"
#include "../names.h"
#include "../philox.h"
#include "cpu.h"

namespace isf {
namespace cpu {

namespace {

// Rows, or draws, that one task handles at least; the results do not depend on it.
constexpr int64_t kBlock = 16384;

template <class T>
constexpr int kType = sizeof(T) == sizeof(double);

template <class Body>
void for_each_block(int64_t count, const Body& body) {
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  if (blocks == 1) return body(0, 0, count);  // the threads need not be asked
  at::parallel_for(0, blocks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b, b * kBlock, std::min(count, (b + 1) * kBlock));
  });
}

}  // namespace

template <class T>
WeightScan scan(const T* weights, int64_t rows, const char* name) {
  std::vector<WeightScan> part((rows + kBlock - 1) / kBlock);
  for_each_block(rows, [&](int64_t b, int64_t begin, int64_t end) {
    part[b] = kernels().scan_weights[kType<T>](weights, begin, end);
  });
  WeightScan all = {0, 0, -1};
  for (const WeightScan& p : part) {
    all.largest = std::max(all.largest, p.largest);
    all.positive += p.positive;
    if (all.bad < 0) all.bad = p.bad;
  }
  TORCH_CHECK_VALUE(all.bad < 0, name, "[", all.bad, "] is ",
                    weights[std::max<int64_t>(all.bad, 0)], ", but ", name,
                    " must be finite and not negative");
  return all;
}

template WeightScan scan(const float*, int64_t, const char*);
template WeightScan scan(const double*, int64_t, const char*);

namespace {

// The weights in fixed point, and the sum of each block of them.
struct FixedPoint {
  std::unique_ptr<int64_t[]> weight;  // below 2^63
  std::vector<uint64_t> block_sum;
  uint64_t total = 0;

  template <class T>
  FixedPoint(const T* weights, int64_t rows, T largest)
      : weight(new int64_t[rows]), block_sum((rows + kBlock - 1) / kBlock) {
    const int shift = fixed_point_shift(largest, static_cast<uint64_t>(rows));
    for_each_block(rows, [&](int64_t b, int64_t begin, int64_t end) {
      block_sum[b] = kernels().to_fixed_point[kType<T>](weights, shift, weight.get(), begin, end);
    });
    for (const uint64_t sum : block_sum) total += sum;
  }
};

// The cumulative distribution. A coarse copy of every kStride-th sum stays in the cache while the
// points are spread over all of it, and narrows a search down to a few lines of the fine one.
class Cumulative {
 public:
  Cumulative(FixedPoint fixed, int64_t rows) : fine_(std::move(fixed.weight)), rows_(rows) {
    std::vector<uint64_t> before(fixed.block_sum.size());
    for (size_t b = 1; b < before.size(); ++b) before[b] = before[b - 1] + fixed.block_sum[b - 1];
    for_each_block(rows, [&](int64_t b, int64_t begin, int64_t end) {
      int64_t sum = static_cast<int64_t>(before[b]);
      for (int64_t i = begin; i < end; ++i) fine_[i] = sum += fine_[i];
    });
    if (rows > kBlock) {
      coarse_.resize(rows / kStride);
      for (size_t j = 0; j < coarse_.size(); ++j) coarse_[j] = fine_[(j + 1) * kStride - 1];
    }
  }

  // For each of kSearches points, the first row whose sum exceeds it.
  void search(const int64_t* point, int64_t* row) const {
    std::fill_n(row, kSearches, 0);
    if (coarse_.empty()) return kernels().search(fine_.get(), rows_, point, row);
    // Among coarse_.size() + 1 strides; the last one may be incomplete, and is shifted back to be
    // complete.
    kernels().search(coarse_.data(), static_cast<int64_t>(coarse_.size()) + 1, point, row);
    for (int k = 0; k < kSearches; ++k) row[k] = std::min(row[k] * kStride, rows_ - kStride);
    kernels().search(fine_.get(), kStride, point, row);
  }

  int64_t weight(int64_t row) const { return fine_[row] - (row ? fine_[row - 1] : 0); }

 private:
  static constexpr int64_t kStride = 64;

  std::unique_ptr<int64_t[]> fine_;
  std::vector<int64_t> coarse_;
  int64_t rows_;
};

// The points of the kSearches draws from an even `begin`; those from n on are of no use.
void fill_points(Method method, uint64_t seed, uint64_t offset, uint64_t total, int64_t n,
                 int64_t begin, int64_t* point) {
  static_assert(kSearches == kNumbers, "a group of searches takes one group of random numbers");
  uint64_t random[kNumbers];
  if (method != Method::kSystematic)
    kernels().random_numbers(seed, static_cast<uint64_t>(begin), random);
  for (int k = 0; k < kSearches; ++k) {
    const auto i = static_cast<uint64_t>(std::min(begin + k, n - 1));
    point[k] = static_cast<int64_t>(
        method == Method::kSystematic   ? systematic_point(i, offset, total, n)
        : method == Method::kStratified ? stratified_point(i, random[k], total, n)
                                        : uniform_point(random[k], total));
  }
}

template <class T>
void draw_with_replacement(FixedPoint fixed, int64_t rows, int64_t n, Method method, uint64_t seed,
                           int64_t* index, T* prob) {
  const uint64_t total = fixed.total;
  const Cumulative cumulative(std::move(fixed), rows);
  const uint64_t offset = uniform_point(random_number(seed, 0), total);
  const double unit = 1.0 / static_cast<double>(total);
  const int64_t groups = (n + kSearches - 1) / kSearches;
  at::parallel_for(0, groups, kBlock / 4 / kSearches, [&](int64_t first, int64_t stop) {
    int64_t point[kSearches] = {}, row[kSearches];
    for (int64_t begin = first * kSearches; begin < std::min(n, stop * kSearches);
         begin += kSearches) {
      const int count = static_cast<int>(std::min<int64_t>(kSearches, n - begin));
      fill_points(method, seed, offset, total, n, begin, point);
      cumulative.search(point, row);
      for (int k = 0; k < count; ++k) {
        index[begin + k] = row[k];
        prob[begin + k] = static_cast<T>(static_cast<double>(cumulative.weight(row[k])) * unit);
      }
    }
  });
}

// Systematic sampling with inclusion probability min(1, n' f / R): rows of at least R / n' are
// certain, and leave R and n' until none is left that large (Saerndal, Swensson, Wretman 1992,
// section 3.6.2; Madow 1949 for the systematic pass).
template <class T>
void draw_pps(const FixedPoint& fixed, int64_t rows, int64_t n, uint64_t seed, int64_t* index,
              T* prob) {
  uint64_t certain_from = ~uint64_t{0}, rest = fixed.total, left = n;
  for (;;) {
    const uint64_t bound = left ? (rest + left - 1) / left : certain_from;
    if (bound >= certain_from) break;
    certain_from = bound;
    rest = 0;
    left = n;
    for (int64_t i = 0; i < rows; ++i) {
      const bool certain = static_cast<uint64_t>(fixed.weight[i]) >= certain_from;
      left -= certain;
      rest += certain ? 0 : fixed.weight[i];
    }
  }
  const uint64_t offset = uniform_point(random_number(seed, 0), rest);
  uint64_t sum = 0, drawn = 0;
  uint64_t point = left ? systematic_point(0, offset, rest, left) : 0;
  for (int64_t i = 0, k = 0; i < rows && k < n; ++i) {
    const auto weight = static_cast<uint64_t>(fixed.weight[i]);
    if (weight >= certain_from) {
      index[k] = i;
      prob[k++] = 1;
      continue;
    }
    sum += weight;
    if (drawn < left && point < sum) {
      index[k] = i;
      prob[k++] = static_cast<T>(static_cast<double>(left) * static_cast<double>(weight) /
                                 static_cast<double>(rest));
      point = systematic_point(++drawn, offset, rest, left);
    }
  }
}

// Sorts by all threads: the keys are halved until there is a part for each of them.
template <class Key>
void sort_in_parallel(Key* keys, int64_t count) {
  const auto start = [&](int64_t part, int64_t parts) { return keys + count * part / parts; };
  int64_t parts = 1;
  for (; parts < at::get_num_threads() && count / parts > kBlock; parts *= 2) {
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        std::nth_element(start(p, parts), start(2 * p + 1, 2 * parts), start(p + 1, parts));
    });
  }
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) std::sort(start(p, parts), start(p + 1, parts));
  });
}

// Moves the `count` smallest keys to the front, in order, and the next one behind them.
template <class Key>
void order_smallest(std::vector<Key>& keys, int64_t count) {
  if (count < static_cast<int64_t>(keys.size()))
    std::nth_element(keys.begin(), keys.begin() + count, keys.end());
  sort_in_parallel(keys.data(), count);
}

// The first n arrivals of the exponential race (Efraimidis and Spirakis 2006). Given the time T of
// the arrival after them, a row is among them with probability 1 - e^(-w T), independently
// (Duffield, Lund, Thorup 2007: priority sampling).
template <class T>
void draw_race(const FixedPoint& fixed, int64_t rows, int64_t n, uint64_t seed, int64_t* index,
               T* prob) {
  constexpr uint64_t absent = ~uint64_t{0};
  std::vector<uint64_t> keys(rows);
  for_each_block(rows, [&](int64_t, int64_t begin, int64_t end) {
    kernels().race(fixed.weight.get(), seed, keys.data(), begin, end);
  });
  order_smallest(keys, n);
  const uint64_t next = n < rows ? keys[n] : absent;
  const double time = next == absent ? INFINITY : float_from(static_cast<uint32_t>(next >> 32));
  for_each_block(n, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      index[k] = static_cast<int64_t>(keys[k] & 0xffffffffu);
      prob[k] = static_cast<T>(-std::expm1(-static_cast<double>(fixed.weight[index[k]]) * time));
    }
  });
}

// A key that sorts by descending weight, ties by ascending row: positive floats order like their
// bits.
uint64_t descending(float weight, uint64_t row) {
  return uint64_t{~weight_bits(weight)} << 32 | row;
}

__extension__ typedef unsigned __int128 WideKey;
WideKey descending(double weight, uint64_t row) {
  return WideKey{~weight_bits(weight)} << 64 | row;
}

template <class T>
void draw_topk(const T* weights, int64_t rows, int64_t n, int64_t* index, T* prob) {
  std::vector<decltype(descending(T{}, 0))> keys(rows);
  for (int64_t i = 0; i < rows; ++i) keys[i] = descending(weights[i], i);
  order_smallest(keys, n);
  for (int64_t k = 0; k < n; ++k) {
    index[k] = static_cast<int64_t>(keys[k] & 0xffffffffu);
    prob[k] = 1;
  }
}

}  // namespace

template <class T>
T draw(const T* weights, int64_t rows, int64_t n, Method method, c10::function_ref<uint64_t()> seed,
       int64_t* index, T* prob, const char* name) {
  const WeightScan all = scan(weights, rows, name);
  if (all.positive == 0) {
    const std::vector<T> equal(rows, T(1));
    return draw(equal.data(), rows, n, method, seed, index, prob, name);
  }
  TORCH_CHECK_VALUE(with_replacement(method) || n <= all.positive, "n is ", n, ", but only ",
                    all.positive, " weights are positive and method \"", name_of(method),
                    "\" draws without replacement");
  const auto bits = static_cast<decltype(bits_of(T()))>(all.largest);
  T largest;
  std::memcpy(&largest, &bits, sizeof largest);
  if (method == Method::kTopk) {
    draw_topk(weights, rows, n, index, prob);
    return largest;
  }
  FixedPoint fixed(weights, rows, largest);
  if (method == Method::kPps) {
    draw_pps(fixed, rows, n, seed(), index, prob);
  } else if (method == Method::kRace) {
    draw_race(fixed, rows, n, seed(), index, prob);
  } else {
    draw_with_replacement(std::move(fixed), rows, n, method, seed(), index, prob);
  }
  return largest;
}

template float draw(const float*, int64_t, int64_t, Method, c10::function_ref<uint64_t()>, int64_t*,
                    float*, const char*);
template double draw(const double*, int64_t, int64_t, Method, c10::function_ref<uint64_t()>,
                     int64_t*, double*, const char*);

}  // namespace cpu
}  // namespace isf
