// Row statistics for one instruction set: tiles of as many rows as a vector has lanes, whose
// results are finished and stored together.
//
// The sums of a row come in one of two ways. Few classes: the lanes are rows. Many: the lanes are
// columns of one row, each lane with its own peak, merged at the end. Either way a row's result
// depends on nothing but the row.
#pragma once

namespace isf {
namespace ISF_LEVEL {

using cpu::RowProblem;

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

// The class indices of a tile.
template <class V>
struct Targets {
  typename V::Mask index;    // 0 where the row is ignored or its index is out of range
  typename V::Mask ignored;  // all bits set where it is
  int64_t fault = -1;        // the first row whose index is out of range

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
      fault += row;
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

// The same for a target of several classes, which takes passes over all of them: all at once.
template <class V>
struct SoftTarget {
  V values[4];

  ISF_MEMBER V loss() const { return values[0]; }
  ISF_MEMBER V grad_norm() const { return values[1]; }
  ISF_MEMBER V p_true() const { return values[2]; }
  ISF_MEMBER V p_wrong() const { return values[3]; }
};

// Stores the statistics of a tile that are asked for.
template <class V, class Target>
ISF_FN void store_tile(const RowProblem& problem, int64_t row, int64_t count,
                       const RowResult<V>& result, const Target& target, typename V::Mask ignored) {
  const auto put = [&](cpu::Statistic statistic, V v) {
    store_lanes(problem.statistic[statistic], row, count, choose(ignored, V(0.0f), v));
  };
  if (problem.statistic[cpu::kLoss]) put(cpu::kLoss, target.loss());
  if (problem.statistic[cpu::kGradNorm]) put(cpu::kGradNorm, target.grad_norm());
  if (problem.statistic[cpu::kPTrue]) put(cpu::kPTrue, target.p_true());
  if (problem.statistic[cpu::kMargin]) put(cpu::kMargin, result.margin());
  if (problem.statistic[cpu::kEntropy]) put(cpu::kEntropy, result.entropy());
  if (problem.statistic[cpu::kPWrong]) put(cpu::kPWrong, target.p_wrong());
  if (problem.statistic[cpu::kMarginLack]) put(cpu::kMarginLack, result.margin_lack());
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
    if (y.fault >= 0) return y.fault;
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
    const int64_t bad = faulty_lane(sums, target, y.ignored, count);
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
  return -1;
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
  return problem.statistic[cpu::kEntropy]
             ? hard_target_rows<true, Element>(problem, begin, end, scratch.get())
             : hard_target_rows<false, Element>(problem, begin, end, scratch.get());
}

// The columns of a target, class by class: t_j as given, and t'_j = w_j ((1 - eps) t_j + eps / C)
// as the loss sees it.
template <class V>
struct TargetColumns {
  const V* given;
  const typename V::Scalar* class_weight;
  V keep, spread;

  TargetColumns(const RowProblem& problem, const V* columns)
      : given(columns), class_weight(static_cast<const typename V::Scalar*>(problem.class_weight)) {
    typedef typename V::Scalar T;
    keep = V(static_cast<T>(1.0 - problem.label_smoothing) - typename V::Vector{});
    spread = V(static_cast<T>(problem.label_smoothing / static_cast<double>(problem.classes)) -
               typename V::Vector{});
  }

  ISF_MEMBER V smoothed(int64_t j) const {
    const V t = fused(keep, given[j], spread);
    return class_weight ? t * V(class_weight[j] - typename V::Vector{}) : t;
  }
};

// With t' for the target, T = sum_j t'_j and y its largest class:
//   loss = sum_j t'_j (log sum e^z - z_j),   gradient = T p - t'.
// The gradient's component y is written as sum_{j != y} t'_j - T (1 - p_y), so that a one-hot t'
// loses nothing to cancellation; the norm is scaled by the largest component, so that nothing
// underflows. `component` is scratch.
template <class V>
SoftTarget<V> finish_soft(const RowResult<V>& result, const V* column,
                          const TargetColumns<V>& target, typename V::Mask y, int64_t classes,
                          V* component) {
  const V zero = V(0.0f), one = V(1.0f);
  V own = zero;
  ExactSum<V> others, cross, p_true, p_wrong;
  typename V::Mask c = {};
  for (int64_t j = 0; j < classes; ++j, c += 1) {
    const V t = target.smoothed(j), behind = result.sums.peak - column[j];
    const V p =
        choose(c == y, result.p_true(), result.scaled(exp_term(zero - behind)) / result.total);
    own = choose(c == y, t, own);
    others.add(choose(c == y, zero, t));
    cross.add(choose((c != y) & (t > zero), t * behind, zero));
    p_true.add(p * target.given[j]);
    p_wrong.add(p * (one - target.given[j]));
    component[j] = p;
  }
  const V other = others.total(), total = own + other;
  V largest = zero;
  c = c - c;
  for (int64_t j = 0; j < classes; ++j, c += 1) {
    const V gradient =
        choose(c == y, other - total * result.p_wrong(), total * component[j] - target.smoothed(j));
    component[j] = gradient;
    largest = larger(magnitude(gradient), largest);
  }
  const V scale = choose(largest > zero, largest, one);
  ExactSum<V> square;
  for (int64_t j = 0; j < classes; ++j) {
    const V ratio = component[j] / scale;
    square.add(ratio * ratio);
  }
  const V own_loss = choose(own > zero, own * result.loss(), zero);
  const V other_loss = choose(other > zero, fused(other, result.log_total(), cross.total()), zero);
  return {{own_loss + other_loss, scale * root(square.total()), p_true.total(), p_wrong.total()}};
}

// Reads a tile's target into columns and finds its largest class. False where a probability is
// negative or not finite.
template <class V>
typename V::Mask read_probabilities(const RowProblem& problem, int64_t row, int64_t end, V* columns,
                                    typename V::Mask& largest_class) {
  load_columns<typename V::Scalar>(problem.probability, problem.classes, 1, problem.classes, row,
                                   end, columns);
  typename V::Mask fine = ~typename V::Mask{};
  V largest = V(-1.0f);
  typename V::Mask c = {};
  for (int64_t j = 0; j < problem.classes; ++j, c += 1) {
    fine &= (columns[j] >= V(0.0f)) & (columns[j] < V(__builtin_inff()));
    largest_class = columns[j] > largest ? c : largest_class;
    largest = larger(largest, columns[j]);
  }
  return fine;
}

template <class Element>
int64_t soft_target_kernel(const RowProblem& problem, int64_t begin, int64_t end) {
  typedef typename Column<Element>::V V;
  const int64_t classes = problem.classes;
  const Scratch<V> scratch(3 * classes);
  V *column = scratch.get(), *given = column + classes, *component = given + classes;
  for (int64_t row = begin; row < end; row += V::kCount) {
    const int64_t count = end - row < V::kCount ? end - row : V::kCount;
    typename V::Mask y = {}, ignored = {}, fine = ~typename V::Mask{};
    if (problem.probability) {
      fine = read_probabilities(problem, row, end, given, y);
    } else {
      const Targets<V> hard(problem, row, end);
      if (hard.fault >= 0) return hard.fault;
      y = hard.index;
      ignored = hard.ignored;
      typename V::Mask c = {};
      for (int64_t j = 0; j < classes; ++j, c += 1) given[j] = choose(c == y, V(1.0f), V(0.0f));
    }
    load_columns<Element>(problem.logits, problem.row_stride, problem.class_stride, classes, row,
                          end, column);
    const V target = take_target(column, classes, y);
    const RowSums<V> sums = sum_columns<true>(column, classes);
    int64_t bad = first_lane(~fine, count);
    if (bad < 0) bad = faulty_lane(sums, target, ignored, count);
    if (bad >= 0) return row + bad;
    const RowResult<V> result = finish(sums, target);
    const TargetColumns<V> target_columns(problem, given);
    store_tile(problem, row, count, result,
               finish_soft(result, column, target_columns, y, classes, component), ignored);
  }
  return -1;
}

// score[i] *= sqrt(1 + |h_i|^2): the gradient of a last linear layer's weight and bias, from that
// of its output.
template <class Element>
void last_layer_kernel(const void* features, int64_t row_stride, int64_t width, void* score,
                       int64_t begin, int64_t end) {
  typedef typename Column<Element>::V V;
  typedef typename V::Scalar T;
  for (int64_t row = begin; row < end; ++row) {
    const Element* p = static_cast<const Element*>(features) + row * row_stride;
    V square[kAbreast];
    for (V& part : square) part = V(0.0f);
    int64_t i = 0;
    for (; i + kAbreast * V::kCount <= width; i += kAbreast * V::kCount) {
#pragma GCC unroll 4
      for (int k = 0; k < kAbreast; ++k) {
        const V h = load(p + i + k * V::kCount);
        square[k] = fused(h, h, square[k]);
      }
    }
    for (; i < width; i += V::kCount) {
      const V h = width - i < V::kCount ? load_part(p + i, width - i, 0.0f) : load(p + i);
      square[0] = fused(h, h, square[0]);
    }
    const T sum = sum_of_lanes((square[0] + square[1]) + (square[2] + square[3]));
    static_cast<T*>(score)[row] *= static_cast<T>(__builtin_sqrt(T(1) + sum));
  }
}

}  // namespace ISF_LEVEL
}  // namespace isf
