// Row statistics for soft targets: probabilities, or class indices with smoothing and class
// weights. The lanes are rows, and the columns of a tile are read once for the sums and once for
// what depends on them.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// The columns of a tile's target, class by class: t_j as given, and t'_j as the loss sees it.
template <class V>
struct TargetColumns {
  const V* probability;  // null for class indices
  typename V::Mask largest;
  const typename V::Scalar* class_weight;
  LabelSmoothing<V> smoothing;

  TargetColumns(const RowProblem& problem, const V* probability, typename V::Mask largest)
      : probability(probability),
        largest(largest),
        class_weight(static_cast<const typename V::Scalar*>(problem.class_weight)) {
    typedef typename V::Scalar T;
    smoothing = {broadcast<V>(static_cast<T>(1.0 - problem.label_smoothing)),
                 broadcast<V>(static_cast<T>(problem.label_smoothing /
                                             static_cast<double>(problem.classes)))};
  }

  // `c` is j in every lane.
  ISF_MEMBER V given(int64_t j, typename V::Mask c) const {
    return probability ? probability[j] : choose(c == largest, V(1.0f), V(0.0f));
  }
  ISF_MEMBER V target(int64_t j, V given) const {
    const V t = smoothing.of(given);
    return class_weight ? t * broadcast<V>(class_weight[j]) : t;
  }
};

// An ExactSum that a few terms join at a time, added up as they are.
template <class V>
struct BlockSum {
  static constexpr int64_t kTerms = 16;
  ExactSum<V> joined;
  V block;

  ISF_MEMBER BlockSum() : block(V(0.0f)) {}

  ISF_MEMBER void add(V x) { block = block + x; }
  ISF_MEMBER void join() {
    joined.add(block);
    block = V(0.0f);
  }
  ISF_MEMBER V total() const { return joined.total(); }
};

// Calls body(j, is_largest, t_j) for every class, and after every block of them join().
template <class V, class Body, class Join>
ISF_FN void for_each_class(const TargetColumns<V>& target, int64_t classes, const Body& body,
                           const Join& join) {
  typename V::Mask c = {};
  for (int64_t j = 0; j < classes; join()) {
    const int64_t stop = classes - j < BlockSum<V>::kTerms ? classes : j + BlockSum<V>::kTerms;
    for (; j < stop; ++j, c += 1) body(j, c == target.largest, target.given(j, c));
  }
}

// `column` are a tile's logits, with a masked class for y.
template <class V>
SoftTarget<V> soft_target(const RowProblem& problem, const RowResult<V>& result, const V* column,
                          const TargetColumns<V>& target, V largest_logit,
                          typename V::Mask ignored) {
  const int64_t classes = problem.classes;
  const V zero = V(0.0f);
  V own = zero, own_given = zero;
  BlockSum<V> others;
  for_each_class(
      target, classes,
      [&](int64_t j, typename V::Mask is_largest, V given) {
        const V t = target.target(j, given);
        own_given = choose(is_largest, given, own_given);
        own = choose(is_largest, t, own);
        others.add(choose(is_largest, zero, t));
      },
      [&] { others.join(); });
  const SoftRow<V> row(result, own, others.total());
  const BlockSum<V> none;
  SoftSums<V, BlockSum<V>> sums = {none, none, none, none};
  for_each_class(
      target, classes,
      [&](int64_t j, typename V::Mask is_largest, V given) {
        sums.add(row, is_largest, column[j], given, target.target(j, given));
      },
      [&] {
        sums.cross.join();
        sums.p_true.join();
        sums.p_wrong.join();
        sums.square.join();
      });
  SoftTarget<V> soft = finish_soft(row, sums.cross.total(), sums.p_true.total(),
                                   sums.p_wrong.total(), sums.square.total());
  if constexpr (sizeof(typename V::Scalar) == sizeof(float)) {
    const typename V::Mask close = cancels(row, soft.grad_norm()) & ~ignored;
    if (problem.statistic[kGradNorm] && any_bit(close)) {
      CloseTile<V> tile = {problem,
                           larger(result.sums.peak, largest_logit),
                           row.total * row.share,
                           largest_logit,
                           target.largest,
                           {}};
      tile.add_columns(column, target.probability);
      soft.values[1] = choose(close, tile.norm(own_given, class_weight<V>(problem, target.largest)),
                              soft.values[1]);
    }
  }
  return soft;
}

// Reads a tile's probabilities into columns and finds the largest of each row. False where they are
// faulty.
template <class V>
typename V::Mask read_probabilities(const RowProblem& problem, int64_t row, int64_t end, V* columns,
                                    typename V::Mask& largest_class) {
  load_columns<typename V::Scalar>(problem.probability, problem.classes, 1, problem.classes, row,
                                   end, columns);
  typename V::Mask fine = ~typename V::Mask{}, c = {};
  V largest = V(-1.0f);
  BlockSum<V> sum;
  for (int64_t j = 0; j < problem.classes; ++j, c += 1) {
    fine &= is_finite_weight(columns[j]);
    largest_class = columns[j] > largest ? c : largest_class;
    largest = larger(largest, columns[j]);
    sum.add(columns[j]);
    if (j % BlockSum<V>::kTerms == BlockSum<V>::kTerms - 1) sum.join();
  }
  sum.join();
  const auto tolerance = static_cast<typename V::Scalar>(problem.sum_tolerance);
  return fine & is_one(sum.total(), broadcast<V>(tolerance));
}

template <class Element>
int64_t soft_target_kernel(const RowProblem& problem, int64_t begin, int64_t end, const void*) {
  typedef typename Column<Element>::V V;
  const int64_t classes = problem.classes;
  const Scratch<V> scratch((problem.probability ? 2 : 1) * classes);
  if (!scratch.get()) return cpu::kNoMemory;
  V* const column = scratch.get();
  V* const probability = problem.probability ? column + classes : nullptr;
  for (int64_t row = begin; row < end; row += V::kCount) {
    const int64_t count = end - row < V::kCount ? end - row : V::kCount;
    typename V::Mask y = {}, ignored = {};
    int64_t bad = -1;
    if (probability) {
      bad = first_lane(~read_probabilities(problem, row, end, probability, y), count);
    } else {
      const Targets<V> hard(problem, row, end);
      bad = hard.fault;
      y = hard.index;
      ignored = hard.ignored;
    }
    load_columns<Element>(problem.logits, problem.row_stride, problem.class_stride, classes, row,
                          end, column);
    const V logit = take_target(column, classes, y);
    const RowSums<V> sums = sum_columns<true, false>(column, classes, y).row;
    bad = first_of(bad, faulty_lane(sums, logit, ignored, count));
    if (bad >= 0) return row + bad;
    const RowResult<V> result = finish(sums, logit);
    const TargetColumns<V> target(problem, probability, y);
    store_tile(problem, row, count, result,
               soft_target(problem, result, column, target, logit, ignored), ignored);
  }
  return cpu::kNoFault;
}

}  // namespace ISF_LEVEL
}  // namespace isf
