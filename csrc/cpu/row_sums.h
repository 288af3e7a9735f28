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
constexpr int64_t kFewClasses = (kVectorBytes == 64 ? 32 : 12) * V::kCount;
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

  ISF_MEMBER RunningSums() : peak(lowest(V(0.0f))) {}

  ISF_MEMBER void raise_peak_to(V next) {
    RowSums<V> high = {peak, sum.high, square.high, slope.high};
    RowSums<V> low = {peak, sum.low, square.low, slope.low};
    raise_peak(high, next);
    raise_peak(low, next);
    peak = next;
    sum.high = high.sum, square.high = high.square, slope.high = high.slope;
    sum.low = low.sum, square.low = low.square, slope.low = low.slope;
  }

  ISF_MEMBER void add(V part_sum, V part_square, V part_slope) {
    sum.add(part_sum);
    square.add(part_square);
    if (kWithSlope) slope.add(part_slope);
  }

  ISF_MEMBER RowSums<V> total() const { return {peak, sum.total(), square.total(), slope.total()}; }
};

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
  RunningSums<kWithSlope, V> sums;
  sums.peak = none.peak;
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
    sums.add(block.sum, block.square, block.slope);
  }
  return sums.total();
}

// Calls body(k, vector) for the vectors [0, split) and [split + 1, vectors) of p, with k = 0, 1,
// ... kAbreast - 1 in turn.
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
    for (; i < stop; ++i) body(static_cast<int>(i % kAbreast), load(p + i * width));
  }
}

// Adds `count` contiguous logits to the sums of a row, whose lanes are columns, without the one at
// `skip` if it is among them.
template <bool kWithSlope, class Element, class V>
void sum_segment(const Element* p, int64_t count, int64_t skip, RunningSums<kWithSlope, V>& sums) {
  const V masked = V(-__builtin_inff());
  // The vector that holds `skip` and the incomplete one at the end are set apart; [0, split) and
  // [split + 1, vectors) remain.
  const int64_t vectors = count / V::kCount, tail = count % V::kCount;
  const int64_t split = skip >= 0 && skip < vectors * V::kCount ? skip / V::kCount : vectors;
  V apart[2] = {masked, masked};
  if (split < vectors) {
    apart[0] = load(p + split * V::kCount);
    apart[0].v[skip % V::kCount] = masked.v[0];
  }
  if (tail) {
    apart[1] = load_part(p + vectors * V::kCount, tail, -__builtin_inff());
    if (skip >= vectors * V::kCount && skip < count) apart[1].v[skip % V::kCount] = masked.v[0];
  }

  V peak[kAbreast];
  for (int k = 0; k < kAbreast; ++k) peak[k] = larger(sums.peak, apart[k & 1]);
  for_each_vector(p, split, vectors, [&](int k, V z) { peak[k] = larger(peak[k], z); });
  sums.raise_peak_to(larger(larger(peak[0], peak[1]), larger(peak[2], peak[3])));

  RowSums<V> part[kAbreast];
  for (RowSums<V>& one : part) {
    one = empty_row_sums<V>();
    one.peak = sums.peak;
  }
  for_each_vector(p, split, vectors, [&](int k, V z) { add_logit<kWithSlope>(part[k], z); });
  add_logit<kWithSlope>(part[0], apart[0]);
  add_logit<kWithSlope>(part[1], apart[1]);
  sums.add((part[0].sum + part[1].sum) + (part[2].sum + part[3].sum),
           (part[0].square + part[1].square) + (part[2].square + part[3].square),
           (part[0].slope + part[1].slope) + (part[2].slope + part[3].slope));
}

// The sums of one contiguous row without its target class y, put into a lane of the tile.
template <bool kWithSlope, class Element, class V>
void sum_row(const Element* row, int64_t classes, int64_t y, int lane, RowSums<V>& tile) {
  RunningSums<kWithSlope, V> running;
  for (int64_t done = 0; done < classes; done += kSegment<V>) {
    sum_segment(row + done, classes - done < kSegment<V> ? classes - done : kSegment<V>, y - done,
                running);
  }
  RowSums<V> sums = running.total();
  const typename V::Scalar peak = largest_lane(sums.peak);
  raise_peak(sums, V(peak - typename V::Vector{}));
  tile.peak.v[lane] = peak;
  tile.sum.v[lane] = sum_of_lanes(sums.sum);
  tile.square.v[lane] = sum_of_lanes(sums.square);
  if (kWithSlope) tile.slope.v[lane] = sum_of_lanes(sums.slope);
}

}  // namespace ISF_LEVEL
}  // namespace isf
