// Row statistics for class indices, for one instruction set: tiles of as many rows as a vector has
// lanes, whose results are finished and stored together.
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
      const Wide good = (x >= 0) & (x < problem.classes);
      skips[part] = x == problem.ignore_index;
      wrong |= ~(skips[part] | good);
      indices[part] = x & good & ~skips[part];
    }
    narrow(indices, index);
    narrow(skips, ignored);
    if (any_bit(wrong)) {
      while (y[++fault] == problem.ignore_index || (y[fault] >= 0 && y[fault] < problem.classes)) {
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

// The first lane among `count` whose logits cannot be a row's: a NaN, +inf, or every class masked.
// -1 if there is none.
template <class V>
ISF_FN int64_t faulty_lane(const RowSums<V>& sums, V target, typename V::Mask ignored,
                           int64_t count) {
  const V infinity = V(__builtin_inff());
  const typename V::Mask fine =
      (target < infinity) & (sums.sum < infinity) & (sums.peak < infinity);
  const typename V::Mask alive = (sums.sum >= V(0.5f)) | (target > V(-__builtin_inff()));
  return first_lane(~((fine & alive) | ignored), count);
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

// What depends on the whole target; each computed when it is asked for.
template <class V>
struct HardTarget {
  const RowResult<V>& result;
  V weight;

  ISF_MEMBER V loss() const { return weight * result.loss(); }
  ISF_MEMBER V grad_norm() const { return weight * result.grad_norm(); }
  ISF_MEMBER V p_true() const { return result.p_true(); }
  ISF_MEMBER V p_wrong() const { return result.p_wrong(); }
};

// Stores the statistics of a tile that are asked for.
template <class V, class Target>
ISF_FN void store_tile(const RowProblem& problem, int64_t row, int64_t count,
                       const RowResult<V>& result, const Target& target, typename V::Mask ignored) {
  const auto put = [&](Statistic statistic, V v) {
    store_lanes(problem.statistic[statistic], row, count, choose(ignored, V(0.0f), v));
  };
  if (problem.statistic[kLoss]) put(kLoss, target.loss());
  if (problem.statistic[kGradNorm]) put(kGradNorm, target.grad_norm());
  if (problem.statistic[kPTrue]) put(kPTrue, target.p_true());
  if (problem.statistic[kMargin]) put(kMargin, result.margin());
  if (problem.statistic[kEntropy]) put(kEntropy, result.entropy());
  if (problem.statistic[kPWrong]) put(kPWrong, target.p_wrong());
  if (problem.statistic[kMarginLack]) put(kMarginLack, result.margin_lack());
}

template <bool kWithSlope, class Element>
int64_t hard_target_rows(const RowProblem& problem, int64_t begin, int64_t end,
                         typename Column<Element>::V* scratch) {
  typedef typename Column<Element>::V V;
  typedef typename ResultOf<Element>::Type T;
  const int64_t classes = problem.classes;
  for (int64_t row = begin; row < end; row += V::kCount) {
    const int64_t count = end - row < V::kCount ? end - row : V::kCount;
    const Targets<V> y(problem, row, end);
    RowSums<V> sums = empty_row_sums<V>();
    V target = V(0.0f);
    if (scratch) {
      load_columns<Element>(problem.logits, problem.row_stride, problem.class_stride, classes, row,
                            end, scratch);
      target = take_target(scratch, classes, y.index);
      sums = sum_columns<kWithSlope>(scratch, classes);
    } else {
      const Element* p = static_cast<const Element*>(problem.logits) + row * problem.row_stride;
      for (int lane = 0; lane < count; ++lane, p += problem.row_stride) {
        sum_row<kWithSlope>(p, classes, y.index[lane], lane, sums);
        target.v[lane] = load_part(p + y.index[lane], 1, 0.0f).v[0];
      }
    }
    const int64_t bad = first_of(y.fault, faulty_lane(sums, target, y.ignored, count));
    if (bad >= 0) return row + bad;
    const RowResult<V> result = finish(sums, target);
    V weight = V(1.0f);
    if (problem.class_weight) {
      for (int lane = 0; lane < V::kCount; ++lane) {
        weight.v[lane] = static_cast<const T*>(problem.class_weight)[y.index[lane]];
      }
    }
    const HardTarget<V> hard = {result, weight};
    store_tile(problem, row, count, result, hard, y.ignored);
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

template <class Element>
int64_t hard_target_kernel(const RowProblem& problem, int64_t begin, int64_t end) {
  const bool columns =
      problem.classes <= kFewClasses<typename Column<Element>::V> || problem.class_stride != 1;
  const Scratch<typename Column<Element>::V> scratch(columns ? problem.classes : 0);
  if (columns && !scratch.get()) return cpu::kNoMemory;
  return problem.statistic[kEntropy]
             ? hard_target_rows<true, Element>(problem, begin, end, scratch.get())
             : hard_target_rows<false, Element>(problem, begin, end, scratch.get());
}

}  // namespace ISF_LEVEL
}  // namespace isf
