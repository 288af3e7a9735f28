// Row statistics for class indices, for one instruction set, but not for label smoothing with class
// weights: tiles of as many rows as a vector has lanes, whose results are finished and stored
// together.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// The class indices of a tile.
template <class V>
struct Targets {
  typename V::Mask index;    // 0 where the row is ignored or its index is out of range
  typename V::Mask ignored;  // all bits set where it is
  int64_t fault = -1;        // the first lane whose index is out of range, or -1

  Targets(const RowProblem& problem, int64_t row, int64_t end) {
    alignas(kVectorBytes) int64_t copy[V::kCount];
    const int64_t* y = copy;
    if (!problem.target_is_int64) {
      read(static_cast<const int32_t*>(problem.target), problem.target_stride, row, end, copy);
    } else if (problem.target_stride == 1 && end - row >= V::kCount) {
      y = static_cast<const int64_t*>(problem.target) + row;
    } else {
      read(static_cast<const int64_t*>(problem.target), problem.target_stride, row, end, copy);
    }
    typedef VectorOf<double>::Mask Wide;
    constexpr int kWide = kVectorBytes / 8, kParts = V::kCount / kWide;
    Wide indices[kParts], skips[kParts], wrong = {};
    for (int part = 0; part < kParts; ++part) {
      Wide x;
      memcpy(&x, y + part * kWide, sizeof x);
      const Wide good = is_class(x, problem.classes);
      skips[part] = is_ignored(x, problem.ignore);
      wrong |= ~(skips[part] | good);
      indices[part] = x & good & ~skips[part];
    }
    narrow(indices, index);
    narrow(skips, ignored);
    if (any_bit(wrong)) {
      while (kind_of(y[++fault], problem.classes, problem.ignore) != RowKind::kFaulty) {
      }
    }
  }

 private:
  template <class Index>
  static void read(const Index* p, int64_t stride, int64_t row, int64_t end, int64_t* y) {
    p += row * stride;
    for (int64_t lane = 0; lane < V::kCount; ++lane) {
      y[lane] = p[(row + lane < end ? lane : end - row - 1) * stride];
    }
  }
};

// The first lane among `count` whose logits have no statistics, or -1.
template <class V>
ISF_FN int64_t faulty_lane(const RowSums<V>& sums, V target, typename V::Mask ignored,
                           int64_t count) {
  return first_lane(~(have_statistics(sums, target) | ignored), count);
}

// The lower of two lanes, either of which may be -1 for none.
ISF_FN int64_t first_of(int64_t a, int64_t b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

template <class V>
ISF_FN void store_lanes(void* base, int64_t row, int64_t count, V v) {
  typename V::Scalar* p = static_cast<typename V::Scalar*>(base) + row;
  if (count == V::kCount) {
    v.store(p);
  } else {
    memcpy(p, &v.v, static_cast<size_t>(count) * sizeof *p);
  }
}

// Stores the statistics of a tile that are asked for.
template <class V, class Target>
ISF_FN void store_tile(const RowProblem& problem, int64_t row, int64_t count,
                       const RowResult<V>& result, const Target& target, typename V::Mask ignored) {
  const auto put = [&](Statistic statistic, V v) {
    store_lanes(problem.statistic[statistic], row, count, choose(ignored, V(0.0f), v));
  };
#pragma GCC unroll 7
  for (int s = 0; s < kStatistics; ++s) {
    const auto statistic = static_cast<Statistic>(s);
    if (problem.statistic[s]) put(statistic, statistic_of(statistic, result, target));
  }
}

// The weight of each row's class.
template <class V>
ISF_FN V class_weight(const RowProblem& problem, typename V::Mask y) {
  V weight = V(1.0f);
  if (problem.class_weight) {
    for (int lane = 0; lane < V::kCount; ++lane) {
      weight.v[lane] = static_cast<const typename V::Scalar*>(problem.class_weight)[y[lane]];
    }
  }
  return weight;
}

template <class V>
SmoothedClasses<V> smoothed_classes(const RowProblem& problem) {
  const double eps = problem.label_smoothing, others = static_cast<double>(problem.classes - 1);
  const double spread = eps / (others + 1.0), own = 1.0 - eps + spread;
  const auto number = [](double x) { return broadcast<V>(static_cast<typename V::Scalar>(x)); };
  return {number(own), number(spread), number(others), number(others > 0 ? 1.0 / others : 0.0),
          own >= others * spread};
}

// The statistics of a tile of class indices with label smoothing; `column` is null where its rows
// are not there as columns.
template <class Element, class V>
ISF_FN void store_smoothed(const RowProblem& problem, int64_t row, int64_t count, const V* column,
                           const SmoothedClasses<V>& classes, const Targets<V>& y,
                           const RowResult<V>& result, V behind, V logit) {
  SmoothedTarget<V> target = {result, classes, behind, V(0.0f)};
  if (problem.statistic[kGradNorm]) {
    const typename V::Mask close = target.find_norm() & ~y.ignored;
    if (first_lane(close, count) >= 0) {
      CloseTile<V> tile = {
          problem, larger(result.sums.peak, logit), V(1.0f) / result.total, logit, y.index, {}};
      const Element* p = static_cast<const Element*>(problem.logits) + row * problem.row_stride;
      if (column) tile.add_columns(column, nullptr);
      for (int lane = 0; lane < count && !column; ++lane, p += problem.row_stride) {
        if (close[lane]) tile.add_row(p, lane);
      }
      target.norm = choose(close, tile.norm(V(1.0f), V(1.0f)), target.norm);
    }
  }
  store_tile(problem, row, count, result, target, y.ignored);
}

template <bool kWithSlope, bool kSmoothed, class Element>
int64_t hard_target_rows(const RowProblem& problem, int64_t begin, int64_t end,
                         typename Column<Element>::V* scratch, const void* parts) {
  typedef typename Column<Element>::V V;
  const int64_t classes = problem.classes;
  const SmoothedClasses<V> smoothed = smoothed_classes<V>(problem);
  for (int64_t row = begin; row < end; row += V::kCount) {
    const int64_t count = end - row < V::kCount ? end - row : V::kCount;
    const Targets<V> y(problem, row, end);
    OtherSums<V> sums = {empty_row_sums<V>(), V(0.0f)};
    V target = V(0.0f);
    if (scratch) {
      load_columns<Element>(problem.logits, problem.row_stride, problem.class_stride, classes, row,
                            end, scratch);
      target = take_target(scratch, classes, y.index);
      sums = sum_columns<kWithSlope, kSmoothed>(scratch, classes, y.index);
    } else {
      const Element* p = static_cast<const Element*>(problem.logits) + row * problem.row_stride;
      const PartSums<V>* part = static_cast<const PartSums<V>*>(parts);
      if (part) part += row * cpu::parts_of(classes);
      for (int lane = 0; lane < count; ++lane, p += problem.row_stride) {
        sum_row<kWithSlope, kSmoothed>(p, classes, y.index[lane], part, lane, sums);
        if (part) part += cpu::parts_of(classes);
        target.v[lane] = load_part(p + y.index[lane], 1, 0.0f).v[0];
      }
    }
    const int64_t bad = first_of(y.fault, faulty_lane(sums.row, target, y.ignored, count));
    if (bad >= 0) return row + bad;
    const RowResult<V> result = finish(sums.row, target);
    if constexpr (kSmoothed) {
      store_smoothed<Element>(problem, row, count, scratch, smoothed, y, result, sums.behind,
                              target);
    } else {
      const HardTarget<V> hard = {result, class_weight<V>(problem, y.index)};
      store_tile(problem, row, count, result, hard, y.ignored);
    }
  }
  return cpu::kNoFault;
}

// Scratch for the columns of a tile; the C heap, since a C++ container would bring code that other
// files link to.
template <class V>
struct Scratch {
  void* memory;
  explicit Scratch(int64_t vectors)
      : memory(vectors ? aligned_alloc(sizeof(V), static_cast<size_t>(vectors) * sizeof(V))
                       : nullptr) {}
  Scratch(const Scratch&) = delete;
  ~Scratch() { free(memory); }
  V* get() const { return static_cast<V*>(memory); }
};

// Calls body with whether the sums need a slope and whether what label smoothing takes, each as a
// constant of the compiler's.
template <bool value>
struct Constant {
  static constexpr bool kValue = value;
};
template <class Body>
ISF_FN auto for_sums_of(const RowProblem& problem, const Body& body) {
  const bool smoothed = problem.label_smoothing != 0;
  if (problem.statistic[kEntropy]) {
    return smoothed ? body(Constant<true>(), Constant<true>())
                    : body(Constant<true>(), Constant<false>());
  }
  return smoothed ? body(Constant<false>(), Constant<true>())
                  : body(Constant<false>(), Constant<false>());
}

template <class Element>
void hard_target_parts_kernel(const RowProblem& problem, int64_t begin, int64_t end, void* parts) {
  typedef typename Column<Element>::V V;
  static_assert(sizeof(PartSums<V>) <= cpu::kPartBytes, "there is room for the sums of a part");
  PartSums<V>* const sums = static_cast<PartSums<V>*>(parts);
  const int64_t parts_per_row = cpu::parts_of(problem.classes);
  for_sums_of(problem, [&](auto slope, auto smoothed) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / parts_per_row;
      const Targets<V> y(problem, row, row + 1);
      const Element* p = static_cast<const Element*>(problem.logits) + row * problem.row_stride;
      sums[i] = sum_part<slope.kValue, smoothed.kValue>(p, problem.classes, y.index[0],
                                                        i % parts_per_row);
    }
  });
}

template <class Element>
int64_t hard_target_kernel(const RowProblem& problem, int64_t begin, int64_t end,
                           const void* parts) {
  const bool columns =
      problem.classes <= kFewClasses<typename Column<Element>::V> || problem.class_stride != 1;
  const Scratch<typename Column<Element>::V> scratch(columns ? problem.classes : 0);
  if (columns && !scratch.get()) return cpu::kNoMemory;
  return for_sums_of(problem, [&](auto slope, auto smoothed) {
    return hard_target_rows<slope.kValue, smoothed.kValue, Element>(problem, begin, end,
                                                                    scratch.get(), parts);
  });
}

}  // namespace ISF_LEVEL
}  // namespace isf
