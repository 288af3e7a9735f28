// Row statistics for targets of several classes: probabilities, or class indices with smoothing.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// What depends on the whole target, as HardTarget; all at once, since it takes passes over all
// classes.
template <class V>
struct SoftTarget {
  V values[4];

  ISF_MEMBER V loss() const { return values[0]; }
  ISF_MEMBER V grad_norm() const { return values[1]; }
  ISF_MEMBER V p_true() const { return values[2]; }
  ISF_MEMBER V p_wrong() const { return values[3]; }
};

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
  if (!scratch.get()) return cpu::kNoMemory;
  V *column = scratch.get(), *given = column + classes, *component = given + classes;
  for (int64_t row = begin; row < end; row += V::kCount) {
    const int64_t count = end - row < V::kCount ? end - row : V::kCount;
    typename V::Mask y = {}, ignored = {};
    int64_t bad = -1;
    if (problem.probability) {
      bad = first_lane(~read_probabilities(problem, row, end, given, y), count);
    } else {
      const Targets<V> hard(problem, row, end);
      bad = hard.fault;
      y = hard.index;
      ignored = hard.ignored;
      typename V::Mask c = {};
      for (int64_t j = 0; j < classes; ++j, c += 1) given[j] = choose(c == y, V(1.0f), V(0.0f));
    }
    load_columns<Element>(problem.logits, problem.row_stride, problem.class_stride, classes, row,
                          end, column);
    const V target = take_target(column, classes, y);
    const RowSums<V> sums = sum_columns<true>(column, classes);
    bad = first_of(bad, faulty_lane(sums, target, ignored, count));
    if (bad >= 0) return row + bad;
    const RowResult<V> result = finish(sums, target);
    const TargetColumns<V> target_columns(problem, given);
    store_tile(problem, row, count, result,
               finish_soft(result, column, target_columns, y, classes, component), ignored);
  }
  return cpu::kNoFault;
}

}  // namespace ISF_LEVEL
}  // namespace isf
