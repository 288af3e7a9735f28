// The sums of rows over their classes other than the target, for one instruction set.
//
// They come in one of two ways. Few classes: the lanes of a vector are rows. Many: the lanes are
// columns of one row, each lane with its own peak, merged at the end. Either way a row's sums
// depend on nothing but the row.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// Up to this many classes the lanes are rows: until then the reduction across lanes costs more than
// reading columns, which with AVX-512 takes a transposition in registers and elsewhere a gather.
template <class V>
constexpr int64_t kFewClasses = 12 * V::kCount;
// Columns of a row that share one search for the peak: they stay in the first-level cache for the
// second look. No sum has more than 16 terms before it is added to the running sums.
template <class V>
constexpr int64_t kSegment = 64 * V::kCount;
// Sums side by side: hides the latency of the additions and keeps each sum short.
constexpr int kAbreast = 4;
// Columns that are summed up before they join the running sums, where the lanes are rows.
constexpr int64_t kFewTerms = 32;

// A sum and what its additions lost to rounding (Knuth's TwoSum): many small terms beside a large
// one would be rounded away one by one.
template <class V>
struct ExactSum {
  V high, low;

  ISF_MEMBER ExactSum() : high(V(0.0f)), low(V(0.0f)) {}

  ISF_MEMBER void add(V x) {
    const V next = high + x, back = next - high;
    low = low + ((high - (next - back)) + (x - back));
    high = next;
  }

  // An infinite sum has lost nothing.
  ISF_MEMBER V total() const { return choose(high < V(__builtin_inff()), high + low, high); }
};

// RowSums of many parts, without loss.
template <bool kWithSlope, class V>
struct RunningSums {
  V peak;
  ExactSum<V> sum, square, slope;

  ISF_MEMBER explicit RunningSums(V peak) : peak(peak) {}

  ISF_MEMBER void raise_peak_to(V next) {
    RowSums<V> high = {peak, sum.high, square.high, slope.high};
    RowSums<V> low = {peak, sum.low, square.low, slope.low};
    raise_peak(high, next);
    raise_peak(low, next);
    peak = next;
    sum.high = high.sum, square.high = high.square, slope.high = high.slope;
    sum.low = low.sum, square.low = low.square, slope.low = low.slope;
  }

  // Sums by the same peak.
  ISF_MEMBER void add(const RowSums<V>& part) {
    sum.add(part.sum);
    square.add(part.square);
    if (kWithSlope) slope.add(part.slope);
  }

  ISF_MEMBER RowSums<V> total() const { return {peak, sum.total(), square.total(), slope.total()}; }
};

// A vector of logits with a masked class in one lane, if there is such a lane.
template <class V>
ISF_FN V without(V z, typename V::Mask lane, int64_t skip) {
  const V masked = V(-__builtin_inff());
  const int64_t bounded = skip < V::kCount ? skip : V::kCount;
  return choose(lane == static_cast<typename V::Integer>(bounded < 0 ? -1 : bounded), masked, z);
}

// Takes the logit of each row's target class y out of a tile's columns, and leaves a masked class
// there.
template <class V>
ISF_FN V take_target(V* column, int64_t classes, typename V::Mask y) {
  const V masked = V(-__builtin_inff());
  V target = masked;
  if (classes <= V::kCount) {
    typename V::Mask c = {};
    for (int64_t j = 0; j < classes; ++j, c += 1) {
      target = choose(c == y, column[j], target);
      column[j] = choose(c == y, masked, column[j]);
    }
  } else {
    // One access per lane instead of a comparison per column; the vectors are loaded much later.
    for (int lane = 0; lane < V::kCount; ++lane) {
      typename V::Scalar* logit = reinterpret_cast<typename V::Scalar*>(column + y[lane]) + lane;
      target.v[lane] = *logit;
      *logit = masked.v[0];
    }
  }
  return target;
}

// Sums of a tile whose lanes are rows, from its columns without the target class.
template <bool kWithSlope, class V>
ISF_FN RowSums<V> sum_columns(const V* column, int64_t classes) {
  RowSums<V> none = empty_row_sums<V>();
  for (int64_t j = 0; j < classes; ++j) none.peak = larger(none.peak, column[j]);
  RunningSums<kWithSlope, V> sums(none.peak);
  for (int64_t j = 0; j < classes;) {
    RowSums<V> even = none, odd = none;
    const int64_t stop = classes - j < kFewTerms ? classes : j + kFewTerms;
    for (; j + 2 <= stop; j += 2) {
      add_logit<kWithSlope>(even, column[j]);
      add_logit<kWithSlope>(odd, column[j + 1]);
    }
    for (; j < stop; ++j) add_logit<kWithSlope>(even, column[j]);
    const RowSums<V> block = {none.peak, even.sum + odd.sum, even.square + odd.square,
                              even.slope + odd.slope};
    if (classes <= kFewTerms) return block;
    sums.add(block);
  }
  return sums.total();
}

// Calls body(k, vector) for the vectors [0, split) and [split + 1, vectors) of p, with k = 0, 1,
// ... kAbreast - 1 in turn; with 0 for what is left of either range.
template <class Element, class Body>
ISF_FN void for_each_vector(const Element* p, int64_t split, int64_t vectors, const Body& body) {
  constexpr int width = Column<Element>::V::kCount;
  int64_t i = 0;
  for (int range = 0; range < 2; ++range, ++i) {
    const int64_t stop = range ? vectors : split;
    for (; i + kAbreast <= stop; i += kAbreast) {
#pragma GCC unroll 4
      for (int k = 0; k < kAbreast; ++k) body(k, load(p + (i + k) * width));
    }
    for (; i < stop; ++i) body(0, load(p + i * width));
  }
}

// The sums of `count` contiguous logits of a row, whose lanes are columns, by peaks that are at
// least `peak`; without the logit at `skip`, if it is among them. There is a whole vector before
// the end of the logits.
template <bool kWithSlope, class Element, class V>
RowSums<V> sum_segment(const Element* p, int64_t count, int64_t skip, V peak) {
  const V masked = V(-__builtin_inff());
  // The vector that holds `skip` and the incomplete one at the end are set apart; [0, split) and
  // [split + 1, vectors) remain.
  const int64_t vectors = count / V::kCount, tail = count % V::kCount;
  const int64_t split = skip >= 0 && skip < vectors * V::kCount ? skip / V::kCount : vectors;
  const typename V::Mask lane = lane_numbers<V>();
  V apart[2] = {masked, masked};
  if (split < vectors) {
    const int64_t begin = split * V::kCount;
    apart[0] = without(load(p + begin), lane, skip - begin);
  }
  if (tail) {
    const int64_t begin = count - V::kCount;
    const auto seen = static_cast<typename V::Integer>(V::kCount - tail);
    apart[1] = without(choose(lane < seen, masked, load(p + begin)), lane, skip - begin);
  }

  V peaks[kAbreast];
  for (int k = 0; k < kAbreast; ++k) peaks[k] = larger(peak, apart[k & 1]);
  for_each_vector(p, split, vectors, [&](int k, V z) { peaks[k] = larger(peaks[k], z); });
  RowSums<V> part[kAbreast];
  for (RowSums<V>& one : part) {
    one = empty_row_sums<V>();
    one.peak = larger(larger(peaks[0], peaks[1]), larger(peaks[2], peaks[3]));
  }
  for_each_vector(p, split, vectors, [&](int k, V z) { add_logit<kWithSlope>(part[k], z); });
  add_logit<kWithSlope>(part[1], apart[0]);
  add_logit<kWithSlope>(part[2], apart[1]);
  return {part[0].peak, (part[0].sum + part[1].sum) + (part[2].sum + part[3].sum),
          (part[0].square + part[1].square) + (part[2].square + part[3].square),
          (part[0].slope + part[1].slope) + (part[2].slope + part[3].slope)};
}

// The sums of one contiguous row without its target class y, put into a lane of the tile.
template <bool kWithSlope, class Element, class V>
void sum_row(const Element* row, int64_t classes, int64_t y, int lane, RowSums<V>& tile) {
  constexpr int64_t kMost = kSegment<V>;
  RowSums<V> sums =
      sum_segment<kWithSlope>(row, classes < kMost ? classes : kMost, y, lowest(V(0.0f)));
  if (classes > kMost) {
    RunningSums<kWithSlope, V> running(sums.peak);
    running.add(sums);
    for (int64_t done = kMost; done < classes; done += kMost) {
      sums = sum_segment<kWithSlope>(row + done, classes - done < kMost ? classes - done : kMost,
                                     y - done, running.peak);
      running.raise_peak_to(sums.peak);
      running.add(sums);
    }
    sums = running.total();
  }
  const typename V::Scalar peak = largest_lane(sums.peak);
  raise_peak(sums, V(peak - typename V::Vector{}));
  tile.peak.v[lane] = peak;
  tile.sum.v[lane] = sum_of_lanes(sums.sum);
  tile.square.v[lane] = sum_of_lanes(sums.square);
  if (kWithSlope) tile.slope.v[lane] = sum_of_lanes(sums.slope);
}

}  // namespace ISF_LEVEL
}  // namespace isf
