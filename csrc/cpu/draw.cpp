#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "../names.h"
#include "blocks.h"
#include "cpu.h"
#include "order.h"
#include "scratch.h"

namespace isf {
namespace cpu {

namespace {

template <class T>
constexpr int kType = sizeof(T) == sizeof(double);

// The weights in fixed point, and the sum of each block of them.
struct FixedPoint {
  Scratch<int64_t> weight;  // below 2^63
  std::vector<uint64_t> block_sum;
  uint64_t total = 0;

  template <class T>
  FixedPoint(const T* weights, int64_t rows, int shift)
      : weight(scratch<int64_t>(rows)), block_sum((rows + kBlock - 1) / kBlock) {
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
    std::vector<uint64_t>& before = fixed.block_sum;
    std::exclusive_scan(before.begin(), before.end(), before.begin(), uint64_t{0});
    int64_t* const fine = fine_.get();
    for_each_block(rows, [&](int64_t b, int64_t begin, int64_t end) {
      int64_t sum = static_cast<int64_t>(before[b]);
      for (int64_t i = begin; i < end; ++i) fine[i] = sum += fine[i];
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

  Scratch<int64_t> fine_;
  std::vector<int64_t> coarse_;
  int64_t rows_;
};

// The points of the kSearches draws from an even `begin`, counted from `before`; those from n on
// are of no use.
void fill_points(const DrawPoints& points, uint64_t before, uint64_t seed, int64_t n, int64_t begin,
                 int64_t* point) {
  static_assert(kSearches == kNumbers, "a group of searches takes one group of random numbers");
  uint64_t random[kNumbers] = {};
  if (points.method != Method::kSystematic)
    kernels().random_numbers(seed, static_cast<uint64_t>(begin), random);
  for (int k = 0; k < kSearches; ++k) {
    const auto i = static_cast<uint64_t>(std::min(begin + k, n - 1));
    point[k] = static_cast<int64_t>(points.at(i, random[k]) - before);
  }
}

template <class T>
void draw_at_points(FixedPoint fixed, const DrawRules& rules, const Share& share, uint64_t seed,
                    int64_t* index, T* prob) {
  const int64_t n = rules.n;
  const uint64_t own = fixed.total;
  const Cumulative cumulative(std::move(fixed), rules.rows);
  const auto points =
      DrawPoints::of(rules.method, random_number(seed, 0), share.total, static_cast<uint64_t>(n));
  const int64_t groups = (n + kSearches - 1) / kSearches;
  at::parallel_for(0, groups, kBlock / 4 / kSearches, [&](int64_t first, int64_t stop) {
    int64_t point[kSearches] = {}, row[kSearches];
    for (int64_t begin = first * kSearches; begin < std::min(n, stop * kSearches);
         begin += kSearches) {
      const int count = static_cast<int>(std::min<int64_t>(kSearches, n - begin));
      fill_points(points, share.before, seed, n, begin, point);
      cumulative.search(point, row);
      for (int k = 0; k < count; ++k) {
        const bool here = static_cast<uint64_t>(point[k]) < own;
        const auto weight = static_cast<uint64_t>(here ? cumulative.weight(row[k]) : 0);
        index[begin + k] = here ? row[k] : kElsewhere;
        prob[begin + k] = draw_probability<T>(weight, share.total);
      }
    }
  });
}

CertainPart count_certain(const FixedPoint& fixed, int64_t rows, uint64_t from) {
  CertainPart found = CertainPart::nothing();
  for (int64_t i = 0; i < rows; ++i) found.add(static_cast<uint64_t>(fixed.weight[i]), from);
  return found;
}

// Of the n drawn rows, those that are here, where `before` are the rows before these.
template <class T>
void draw_by_size(const FixedPoint& fixed, const DrawRules& rules, CertainRows found,
                  CertainPart before, uint64_t seed, int64_t* index, T* prob) {
  const int64_t rows = rules.rows, n = rules.n;
  const uint64_t left = found.left(n);
  const SystematicPoints points = found.points(random_number(seed, 0), n);
  uint64_t sum = before.rest, drawn = left ? points.below(sum) : 0;
  uint64_t point = points.at(drawn);
  int64_t k = before.certain + static_cast<int64_t>(drawn);
  for (int64_t i = 0; i < rows && k < n; ++i) {
    const auto size = static_cast<uint64_t>(fixed.weight[i]);
    const bool certain = size >= found.from;
    sum += certain ? 0 : size;
    if (!certain && (drawn == left || point >= sum)) continue;
    index[k] = i;
    prob[k++] = found.probability<T>(size, left);
    if (!certain) point = points.at(++drawn);
  }
}

template <class T>
void draw_pps(const FixedPoint& fixed, const DrawRules& rules, uint64_t seed, int64_t* index,
              T* prob) {
  CertainRows found = CertainRows::none();
  found.rest = fixed.total;
  while (found.lower(rules.n)) count_certain(fixed, rules.rows, found.from).store(found);
  draw_by_size(fixed, rules, found, CertainPart::nothing(), seed, index, prob);
}

// Of up to kNumbers arrivals.
void arrival_probabilities(const uint64_t* rate, float time, int64_t count, float* prob) {
  float all[kNumbers];
  kernels().arrival_probabilities(rate, time, all);
  std::copy(all, all + count, prob);
}
void arrival_probabilities(const uint64_t* rate, float time, int64_t count, double* prob) {
  for (int64_t k = 0; k < count; ++k) prob[k] = arrival_probability(rate[k], time, double());
}

// The probabilities of n drawn rows, given the time of the arrival after them; rate(i) is the
// i-th's.
template <class T, class Rate>
void store_arrival_prob(const Rate& rate, float time, int64_t n, T* prob) {
  for_each_block(n, [&](int64_t, int64_t begin, int64_t end) {
    uint64_t rates[kNumbers] = {};
    for (; begin < end; begin += kNumbers) {
      const int64_t count = std::min<int64_t>(kNumbers, end - begin);
      for (int64_t k = 0; k < count; ++k) rates[k] = rate(begin + k);
      arrival_probabilities(rates, time, count, prob + begin);
    }
  });
}

// The arrivals of the exponential race; row 0 is `first_row` of all.
template <class T>
struct RaceKeys {
  typedef uint32_t Key;
  const DrawWeights<T>& weights;
  uint64_t first_row, seed;

  Key of(int64_t row) const {
    return race_key(weights.fixed(row),
                    random_number(seed, first_row + static_cast<uint64_t>(row)));
  }
  void fill(int64_t begin, int64_t count, Key* key) const {
    int64_t fixed[kChunk];
    kernels().to_fixed_point[kType<T>](weights.weight + begin, weights.sampling.shift, fixed, 0,
                                       count);
    kernels().race(fixed, first_row + static_cast<uint64_t>(begin), seed, key, count);
  }
};

// The largest weights.
template <class T>
struct TopkKeys {
  typedef BitsOf<T> Key;
  const DrawWeights<T>& weights;

  Key of(int64_t row) const { return topk_key(weights.weight[row]); }
  void fill(int64_t begin, int64_t count, Key* key) const {
    const T* weight = weights.weight + begin;
    for (int64_t i = 0; i < count; ++i) key[i] = topk_key(weight[i]);
  }
};

template <class T>
void draw_race(const DrawWeights<T>& weights, const DrawRules& rules, uint64_t seed, int64_t* index,
               T* prob) {
  const int64_t rows = rules.rows, n = rules.n;
  const auto order = smallest_keys(RaceKeys<T>{weights, 0, seed}, rows, n);
  for (int64_t i = 0; i < n; ++i) index[i] = row_of(order[i]);
  const float time =
      arrival_time(n < rows ? static_cast<uint32_t>(key_of(order[n])) : kNeverArrives);
  store_arrival_prob([&](int64_t i) { return weights.fixed(index[i]); }, time, n, prob);
}

template <class T>
void draw_topk(const DrawWeights<T>& weights, const DrawRules& rules, int64_t* index, T* prob) {
  const int64_t n = rules.n;
  const auto order = smallest_keys(TopkKeys<T>{weights}, rules.rows, n);
  for (int64_t i = 0; i < n; ++i) index[i] = row_of(order[i]);
  std::fill(prob, prob + n, T(1));
}

// The first of an order, as far as there are rows that have a weight.
template <class Keys>
void store_first(const Keys& keys, int64_t rows, int64_t n, int64_t* key, int64_t* index) {
  const int64_t there = std::min(n, rows);
  const auto order = smallest_keys(keys, rows, there);
  for (int64_t i = 0; i < n; ++i) {
    const bool drawable = i < there && key_of(order[i]) != ~typename Keys::Key(0);
    key[i] = drawable ? static_cast<int64_t>(key_of(order[i])) : kBehindAll;
    index[i] = drawable ? row_of(order[i]) : kElsewhere;
  }
}

template <class T>
T tau_of(const FixedPoint& fixed, int64_t rows) {
  const auto count = static_cast<uint64_t>(rows);
  const TauSums sums = {fixed.total,
                        kernels().squares[kType<T>](fixed.weight.get(), bits_for(count), rows)};
  return isf::tau_of<T>(sums, count);
}

}  // namespace

template <class T>
T tau_of(const DrawWeights<T>& weights, int64_t rows) {
  return tau_of<T>(FixedPoint(weights.weight, rows, weights.sampling.shift), rows);
}

template <class T>
uint64_t total_of(const DrawWeights<T>& weights, int64_t rows) {
  return FixedPoint(weights.weight, rows, weights.sampling.shift).total;
}

template <class T>
void draw_part(const DrawWeights<T>& weights, const DrawRules& rules, const Share& share,
               uint64_t seed, int64_t* index, T* prob) {
  draw_at_points(FixedPoint(weights.weight, rules.rows, weights.sampling.shift), rules, share, seed,
                 index, prob);
}

template <class T>
void draw_first(const DrawWeights<T>& weights, int64_t rows, Method method, uint64_t first_row,
                uint64_t seed, int64_t n, int64_t* key, int64_t* index) {
  if (method == Method::kTopk) return store_first(TopkKeys<T>{weights}, rows, n, key, index);
  store_first(RaceKeys<T>{weights, first_row, seed}, rows, n, key, index);
}

template <class T>
void draw_arrival_prob(const DrawWeights<T>& weights, int64_t n, uint32_t next, T* prob) {
  store_arrival_prob([&](int64_t i) { return weights.fixed(i); }, arrival_time(next), n, prob);
}

template <class T>
CertainPart draw_certain(const DrawWeights<T>& weights, int64_t rows, uint64_t from) {
  return count_certain(FixedPoint(weights.weight, rows, weights.sampling.shift), rows, from);
}

template <class T>
void draw_by_size(const DrawWeights<T>& weights, const DrawRules& rules, const CertainRows& found,
                  const CertainPart& before, uint64_t seed, int64_t* index, T* prob) {
  std::fill(index, index + rules.n, kElsewhere);
  std::fill(prob, prob + rules.n, T(0));
  draw_by_size(FixedPoint(weights.weight, rules.rows, weights.sampling.shift), rules, found, before,
               seed, index, prob);
}

template <class T>
void draw(const DrawWeights<T>& weights, const DrawRules& rules, c10::function_ref<uint64_t()> seed,
          int64_t* index, T* prob, T* tau) {
  const int64_t rows = rules.rows;
  if (rules.method == Method::kTopk || rules.method == Method::kRace) {
    if (tau) *tau = tau_of(weights, rows);
    if (rules.method == Method::kTopk) return draw_topk(weights, rules, index, prob);
    return draw_race(weights, rules, seed(), index, prob);
  }
  FixedPoint fixed(weights.weight, rows, weights.sampling.shift);
  if (tau) *tau = tau_of<T>(fixed, rows);
  if (rules.method == Method::kPps) return draw_pps(fixed, rules, seed(), index, prob);
  const Share all = {fixed.total, 0};
  draw_at_points(std::move(fixed), rules, all, seed(), index, prob);
}

template float tau_of(const DrawWeights<float>&, int64_t);
template double tau_of(const DrawWeights<double>&, int64_t);
template uint64_t total_of(const DrawWeights<float>&, int64_t);
template uint64_t total_of(const DrawWeights<double>&, int64_t);
template void draw_part(const DrawWeights<float>&, const DrawRules&, const Share&, uint64_t,
                        int64_t*, float*);
template void draw_part(const DrawWeights<double>&, const DrawRules&, const Share&, uint64_t,
                        int64_t*, double*);
template void draw_first(const DrawWeights<float>&, int64_t, Method, uint64_t, uint64_t, int64_t,
                         int64_t*, int64_t*);
template void draw_first(const DrawWeights<double>&, int64_t, Method, uint64_t, uint64_t, int64_t,
                         int64_t*, int64_t*);
template void draw_arrival_prob(const DrawWeights<float>&, int64_t, uint32_t, float*);
template void draw_arrival_prob(const DrawWeights<double>&, int64_t, uint32_t, double*);
template CertainPart draw_certain(const DrawWeights<float>&, int64_t, uint64_t);
template CertainPart draw_certain(const DrawWeights<double>&, int64_t, uint64_t);
template void draw_by_size(const DrawWeights<float>&, const DrawRules&, const CertainRows&,
                           const CertainPart&, uint64_t, int64_t*, float*);
template void draw_by_size(const DrawWeights<double>&, const DrawRules&, const CertainRows&,
                           const CertainPart&, uint64_t, int64_t*, double*);
template void draw(const DrawWeights<float>&, const DrawRules&, c10::function_ref<uint64_t()>,
                   int64_t*, float*, float*);
template void draw(const DrawWeights<double>&, const DrawRules&, c10::function_ref<uint64_t()>,
                   int64_t*, double*, double*);

}  // namespace cpu
}  // namespace isf
