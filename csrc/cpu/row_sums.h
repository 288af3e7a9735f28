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

// Of the other classes: RowSums, and for label smoothing the sum of m - z_j.
template <class V>
struct OtherSums {
  RowSums<V> row;
  V behind;
};

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

// OtherSums of many parts, without loss.
template <bool kWithSlope, bool kWithBehind, class V>
struct RunningSums {
  V peak, count;  // count: how many terms `behind` has
  ExactSum<V> sum, square, slope, behind;

  ISF_MEMBER explicit RunningSums(V peak) : peak(peak), count(V(0.0f)) {}

  ISF_MEMBER void raise_peak_to(V next) {
    RowSums<V> high = {peak, sum.high, square.high, slope.high};
    RowSums<V> low = {peak, sum.low, square.low, slope.low};
    raise_peak(high, next);
    raise_peak(low, next);
    if (kWithBehind) behind.add(count * (next - peak));
    peak = next;
    sum.high = high.sum, square.high = high.square, slope.high = high.slope;
    sum.low = low.sum, square.low = low.square, slope.low = low.slope;
  }

  // Sums by the same peak.
  ISF_MEMBER void add(const OtherSums<V>& part, V terms) {
    sum.add(part.row.sum);
    square.add(part.row.square);
    if (kWithSlope) slope.add(part.row.slope);
    if (kWithBehind) behind.add(part.behind);
    if (kWithBehind) count = count + terms;
  }

  ISF_MEMBER OtherSums<V> total() const {
    return {{peak, sum.total(), square.total(), slope.total()}, behind.total()};
  }
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

// Sums of a tile whose lanes are rows, from its columns with a masked class for y.
template <bool kWithSlope, bool kWithBehind, class V>
ISF_FN OtherSums<V> sum_columns(const V* column, int64_t classes, typename V::Mask y) {
  RowSums<V> none = empty_row_sums<V>();
  if (classes == 2) {
    // The other class is its own peak and takes no exponential, unless it is masked or faulty.
    const V z = choose(y == 0, column[1], column[0]), peak = larger(none.peak, z);
    const V term = choose(z < peak, V(0.0f), V(1.0f) + (z - peak));
    return {{peak, term, term, V(0.0f)}, peak - z};
  }
  for (int64_t j = 0; j < classes; ++j) none.peak = larger(none.peak, column[j]);
  RunningSums<kWithSlope, kWithBehind, V> sums(none.peak);
  typename V::Mask c = {};
  for (int64_t j = 0; j < classes;) {
    OtherSums<V> even = {none, V(0.0f)}, odd = even;
    const auto add = [&](OtherSums<V>& to, V z) {
      add_logit<kWithSlope>(to.row, z);
      if (kWithBehind) to.behind = to.behind - choose(c == y, V(0.0f), z - none.peak);
      c += 1;
    };
    const int64_t stop = classes - j < kFewTerms ? classes : j + kFewTerms;
    for (; j + 2 <= stop; j += 2) {
      add(even, column[j]);
      add(odd, column[j + 1]);
    }
    for (; j < stop; ++j) add(even, column[j]);
    const OtherSums<V> block = {{none.peak, even.row.sum + odd.row.sum,
                                 even.row.square + odd.row.square, even.row.slope + odd.row.slope},
                                even.behind + odd.behind};
    if (classes <= kFewTerms) return block;
    sums.add(block, V(0.0f));
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
// the end of the logits. `terms` becomes how many logits each lane had.
template <bool kWithSlope, bool kWithBehind, class Element, class V>
OtherSums<V> sum_segment(const Element* p, int64_t count, int64_t skip, V peak, V& terms) {
  typedef typename V::Integer Integer;
  const V masked = V(-__builtin_inff());
  // The vector that holds `skip` and the incomplete one at the end are set apart; [0, split) and
  // [split + 1, vectors) remain. Blank lanes have no logit of their own.
  const int64_t vectors = count / V::kCount, tail = count % V::kCount;
  const int64_t split = skip >= 0 && skip < vectors * V::kCount ? skip / V::kCount : vectors;
  const typename V::Mask lane = lane_numbers<V>();
  typename V::Mask blank[2] = {lane >= 0, lane >= 0};
  V apart[2] = {masked, masked};
  if (split < vectors) {
    const int64_t begin = split * V::kCount;
    blank[0] = lane == static_cast<Integer>(skip - begin);
    apart[0] = choose(blank[0], masked, load(p + begin));
  }
  if (tail) {
    const int64_t begin = count - V::kCount;
    blank[1] = (lane < static_cast<Integer>(V::kCount - tail)) |
               (lane == static_cast<Integer>(skip - begin));
    apart[1] = choose(blank[1], masked, load(p + begin));
  }

  V peaks[kAbreast];
  for (int k = 0; k < kAbreast; ++k) peaks[k] = larger(peak, apart[k & 1]);
  for_each_vector(p, split, vectors, [&](int k, V z) { peaks[k] = larger(peaks[k], z); });
  OtherSums<V> part[kAbreast];
  for (OtherSums<V>& one : part) {
    one = {empty_row_sums<V>(), V(0.0f)};
    one.row.peak = larger(larger(peaks[0], peaks[1]), larger(peaks[2], peaks[3]));
  }
  for_each_vector(p, split, vectors, [&](int k, V z) {
    add_logit<kWithSlope>(part[k].row, z);
    if (kWithBehind) part[k].behind = part[k].behind - (z - part[k].row.peak);
  });
  if (kWithBehind) terms = V(static_cast<float>(split < vectors ? vectors - 1 : vectors));
  for (int i = 0; i < 2; ++i) {
    OtherSums<V>& to = part[1 + i];
    add_logit<kWithSlope>(to.row, apart[i]);
    if (kWithBehind) {
      to.behind = to.behind - choose(blank[i], V(0.0f), apart[i] - to.row.peak);
      terms = terms + choose(blank[i], V(0.0f), V(1.0f));
    }
  }
  const auto total = [&](const auto& sum) {
    return (sum(part[0]) + sum(part[1])) + (sum(part[2]) + sum(part[3]));
  };
  return {{part[0].row.peak, total([](const OtherSums<V>& s) { return s.row.sum; }),
           total([](const OtherSums<V>& s) { return s.row.square; }),
           total([](const OtherSums<V>& s) { return s.row.slope; })},
          total([](const OtherSums<V>& s) { return s.behind; })};
}

// The sums of a part of a row, lane by lane, and how many logits each lane had.
template <class V>
struct PartSums {
  OtherSums<V> sums;
  V terms;
};

// Part number `i` of a contiguous row, without its target class y.
template <bool kWithSlope, bool kWithBehind, class Element, class V = typename Column<Element>::V>
ISF_FN PartSums<V> sum_part(const Element* row, int64_t classes, int64_t y, int64_t i) {
  constexpr int64_t kMost = kSegment<V>;
  static_assert(cpu::kPart % kMost == 0, "segments are in one part");
  const int64_t begin = i * cpu::kPart,
                end = classes - begin < cpu::kPart ? classes : begin + cpu::kPart;
  const auto segment = [&](int64_t done, V peak, V& terms) {
    return sum_segment<kWithSlope, kWithBehind>(row + done, end - done < kMost ? end - done : kMost,
                                                y - done, peak, terms);
  };
  V terms = V(0.0f);
  OtherSums<V> sums = segment(begin, lowest(V(0.0f)), terms);
  if (end - begin <= kMost) return {sums, terms};
  RunningSums<kWithSlope, kWithBehind, V> running(sums.row.peak);
  running.add(sums, terms);
  for (int64_t done = begin + kMost; done < end; done += kMost) {
    sums = segment(done, running.peak, terms);
    running.raise_peak_to(sums.row.peak);
    running.add(sums, terms);
  }
  return {running.total(), running.count};
}

// The sums of one contiguous row without its target class y, put into a lane of the tile; from its
// parts, unless `parts` is null. A row of several is always their sum, in this order, whichever
// threads have made them.
template <bool kWithSlope, bool kWithBehind, class Element, class V>
void sum_row(const Element* row, int64_t classes, int64_t y, const PartSums<V>* parts, int lane,
             OtherSums<V>& tile) {
  const auto number = [&](int64_t i) {
    return parts ? parts[i] : sum_part<kWithSlope, kWithBehind>(row, classes, y, i);
  };
  PartSums<V> part = number(0);
  if (classes > cpu::kPart) {
    RunningSums<kWithSlope, kWithBehind, V> running(part.sums.row.peak);
    running.add(part.sums, part.terms);
    for (int64_t i = 1; i * cpu::kPart < classes; ++i) {
      part = number(i);
      const V peak = larger(running.peak, part.sums.row.peak);
      running.raise_peak_to(peak);
      if (kWithBehind) {
        part.sums.behind = fused(part.terms, peak - part.sums.row.peak, part.sums.behind);
      }
      raise_peak(part.sums.row, peak);
      running.add(part.sums, part.terms);
    }
    part = {running.total(), running.count};
  }
  OtherSums<V>& sums = part.sums;
  const typename V::Scalar largest = largest_lane(sums.row.peak);
  const V peak = V(largest - typename V::Vector{});
  if (kWithBehind) {
    tile.behind.v[lane] = sum_of_lanes(fused(part.terms, peak - sums.row.peak, sums.behind));
  }
  raise_peak(sums.row, peak);
  tile.row.peak.v[lane] = largest;
  tile.row.sum.v[lane] = sum_of_lanes(sums.row.sum);
  tile.row.square.v[lane] = sum_of_lanes(sums.row.square);
  if (kWithSlope) tile.row.slope.v[lane] = sum_of_lanes(sums.row.slope);
}

}  // namespace ISF_LEVEL
}  // namespace isf
