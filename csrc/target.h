// What a row's target is, what is wrong with a row, and the statistics that depend on the target.
//
// A target is a class index y, or class probabilities t. With label smoothing eps and class weights
// w the loss sees
//   t'_j = w_j ((1 - eps) t_j + eps / C),   T = sum_j t'_j,
//   loss = sum_j t'_j (log sum e^z - z_j),  gradient = T p - t'.
// A class index without smoothing is a hard target, for which only t'_y = w_y counts: the loss and
// its gradient's norm are rowmath.h's, times w_y. All other targets are soft, and y is then the
// first of their largest classes.
//
// V is as in rowmath.h; what comparisons of it give, and vectors of class indices, are the types
// that are deduced.
#pragma once

#include "twofloat.h"

namespace isf {

// kPWrong is 1 - p_true and kMarginLack 1 - margin, neither of which rounds to 0.
enum Statistic { kLoss, kGradNorm, kPTrue, kMargin, kEntropy, kPWrong, kMarginLack, kStatistics };

// An ignored row has 0 for every statistic, and nothing but its target is looked at. A faulty one
// is an error, or has NaN where raising one would mean waiting for a device.
enum class RowKind { kFine, kIgnored, kFaulty };

// Rows with this class index are ignored, if any are.
struct IgnoreIndex {
  int64_t index;
  bool any;
};

// For one class index or a vector of them.
template <class Index>
ISF_FN auto is_ignored(Index y, IgnoreIndex ignore)
    -> decltype((y == ignore.index) & static_cast<int64_t>(0)) {
  return (y == ignore.index) & -static_cast<int64_t>(ignore.any);
}
template <class Index>
ISF_FN auto is_class(Index y, int64_t classes) -> decltype((y >= 0) & (y < classes)) {
  return (y >= 0) & (y < classes);
}

ISF_FN RowKind kind_of(int64_t y, int64_t classes, IgnoreIndex ignore) {
  if (is_ignored(y, ignore)) return RowKind::kIgnored;
  return is_class(y, classes) ? RowKind::kFine : RowKind::kFaulty;
}

// What class probabilities and class weights must be.
template <class V>
ISF_FN auto is_finite_weight(V x) -> decltype((x >= x) & (x < x)) {
  return (x >= V(0.0f)) & (x < V(INFINITY));
}

// What the sum of a row's class probabilities must be. Rows of 0 and 1 for several labels are not.
template <class V>
ISF_FN auto is_one(V sum, V tolerance) -> decltype(sum < sum) {
  return magnitude(sum - V(1.0f)) < tolerance;
}

#if !defined(__METAL_VERSION__)
// For C probabilities of a dtype with this distance between 1 and the next number, and between 0
// and the next: what four roundings of each can do to their sum, and at least what a softmax over
// many classes does.
ISF_FN double sum_tolerance(int64_t classes, double epsilon, double least) {
  const double rounding = 4.0 * epsilon + static_cast<double>(classes) * least;
  const double softmax = 1.0 / 4096.0;
  return rounding > softmax ? rounding : softmax;
}
#endif

// Whether the logits of a row, as the sums of the other classes and the target's, have statistics:
// there is no NaN, no +inf, and a class that is not masked.
template <class V>
ISF_FN auto have_statistics(RowSums<V> sums, V target)
    -> decltype((target < target) & (target > target)) {
  const V infinity = V(INFINITY);
  return (target < infinity) & (sums.sum < infinity) & (sums.peak < infinity) &
         ((sums.sum >= V(0.5f)) | (target > V(-INFINITY)));
}

// What depends on the whole target; each computed when it is asked for.
template <class V>
struct HardTarget {
  const ISF_THREAD RowResult<V>& result;
  V weight;

  ISF_MEMBER V loss() const { return weight * result.loss(); }
  ISF_MEMBER V grad_norm() const { return weight * result.grad_norm(); }
  ISF_MEMBER V p_true() const { return result.p_true(); }
  ISF_MEMBER V p_wrong() const { return result.p_wrong(); }
};

// The same of a soft target, which takes passes over all classes: all at once.
template <class V>
struct SoftTarget {
  V values[4];

  ISF_MEMBER V loss() const { return values[0]; }
  ISF_MEMBER V grad_norm() const { return values[1]; }
  ISF_MEMBER V p_true() const { return values[2]; }
  ISF_MEMBER V p_wrong() const { return values[3]; }
};

template <class V, class Target>
ISF_FN V statistic_of(Statistic statistic, const ISF_THREAD RowResult<V>& result,
                      const ISF_THREAD Target& target) {
  switch (statistic) {
    case kLoss:
      return target.loss();
    case kGradNorm:
      return target.grad_norm();
    case kPTrue:
      return target.p_true();
    case kMargin:
      return result.margin();
    case kEntropy:
      return result.entropy();
    case kPWrong:
      return target.p_wrong();
    default:
      return result.margin_lack();
  }
}

// A class index with label smoothing and without class weights: T is 1, and t' is the same number s
// for the n other classes, so that sums over them say all.
//
// With u e^(z_j - m) their probabilities, of sum P = u r, the gradient's component y is b = n s - P
// (or p_y - t'_y, where the others have most of the target) and the square sum of theirs
//   u^2 (q - r^2 / n) + b^2 / n.
// The norm is in units of `reach`, which no component exceeds, so that no square leaves the range.
template <class V>
struct SmoothedClasses {
  V own, spread, others, part;  // t'_y, s, n, and 1 / n or 0
  bool own_leads;               // whether t'_y is most of the target
};

template <class V>
struct SmoothedTarget {
  const ISF_THREAD RowResult<V>& result;
  const ISF_THREAD SmoothedClasses<V>& classes;
  V behind;  // sum_{j != y} (m - z_j)
  V norm;    // the gradient's, once known

  ISF_MEMBER V loss() const {
    const V n = classes.others;
    const V of_others = classes.spread * fused(n, result.log_total(), behind);
    return classes.own * result.loss() + choose(n > V(0.0f), of_others, V(0.0f));
  }
  ISF_MEMBER V grad_norm() const { return norm; }
  ISF_MEMBER V p_true() const { return result.p_true(); }
  ISF_MEMBER V p_wrong() const { return result.p_wrong(); }

  // Finds the norm. True where it has lost to cancellation: where a relative error of 5e-7 in each
  // p may have become more than 1.5e-6, or one of 2e-7 in q and r^2 / n more than 4e-7.
  ISF_MEMBER auto find_norm() -> decltype((norm < norm) | (norm > norm)) {
    const V zero = V(0.0f), one = V(1.0f), r = result.sums.sum;
    const V of_others = classes.others * classes.spread, part = classes.part;
    const V u = result.scaled(one) / result.total, sum = u * r;
    const V reach = larger(smallest(zero), larger(sum, of_others)), per_reach = one / reach;
    const V b = (classes.own_leads ? of_others - sum : result.p_true() - classes.own) * per_reach;
    const V from = (classes.own_leads ? sum : result.p_true()) * per_reach;
    const V unit = u * per_reach;
    // A single other class does not spread, whatever the roundings say.
    const V several = choose(part < one, one, zero);
    const V spread_out = several * fused(zero - r * part, r, result.sums.square);
    const V square = fused(larger(zero, spread_out) * unit, unit, b * fused(b, part, b));
    const V squares = result.sums.square * unit * unit;
    norm = reach * root(square);
    return (V(9.0f) * square < fused(from, from, squares)) | (V(2.0f) * square < several * squares);
  }
};

// (1 - eps) t + eps / C.
template <class V>
struct LabelSmoothing {
  V keep, spread;  // 1 - eps, eps / C
  ISF_MEMBER V of(V given) const { return fused(keep, given, spread); }
};

// A row with a soft target: what its classes have in common. A class of no weight costs nothing
// even if it is masked, and 0 * inf is 0.
//
// Where t'_y is most of T, the gradient's component y is written as
// sum_{j != y} t'_j - T (1 - p_y), so that a one-hot t' loses nothing to cancellation. The norm is
// in units of `reach`, which no component exceeds, so that no square leaves the range.
template <class V>
struct SoftRow {
  RowResult<V> result;
  V own, others;        // t'_y, and the sum of the other t'_j
  V total, share;       // T, and 1 / (1 + x)
  V reach, per_reach;   // and 1 / reach
  V largest_component;  // in units of reach

  ISF_MEMBER SoftRow(const ISF_THREAD RowResult<V>& row, V own_target, V other_targets)
      : result(row), own(own_target), others(other_targets), total(own + others) {
    share = V(1.0f) / result.total;
    const V least = smallest(V(0.0f)), most = V(1.0f) / least, pull = total * result.p_wrong();
    reach = larger(least, larger(pull, others));
    reach = choose(reach < most, reach, most);
    per_reach = V(1.0f) / reach;
    const V component =
        choose(own >= others, others - pull, fused(total, result.p_true(), V(0.0f) - own));
    largest_component = component * per_reach;
  }

  // The norm of what the target is subtracted from in the gradient: T p, with its component y as
  // above.
  ISF_MEMBER V pull() const {
    const V p = result.p_true(), others_p = result.scaled(root(result.sums.square)) * share;
    return total *
           choose(own >= others, result.grad_norm(), root(fused(p, p, others_p * others_p)));
  }
};

// The sums over the classes of a soft target; Sum has add(V).
template <class V, class Sum>
struct SoftSums {
  Sum cross, p_true, p_wrong, square;

  // Class j, with t as given and t' as the loss sees it.
  template <class Mask>
  ISF_MEMBER void add(const ISF_THREAD SoftRow<V>& row, Mask is_largest, V logit, V given,
                      V target) {
    const V zero = V(0.0f), behind = row.result.sums.peak - logit;
    const V p = choose(is_largest, row.result.p_true(),
                       row.result.scaled(exp_term(zero - behind)) * row.share);
    const V component = choose(is_largest, row.largest_component,
                               fused(row.total, p, zero - target) * row.per_reach);
    cross.add(choose(is_largest, zero, choose(target > zero, target * behind, zero)));
    p_true.add(p * given);
    p_wrong.add(p * (V(1.0f) - given));
    square.add(component * component);
  }
};

template <class V>
ISF_FN SoftTarget<V> finish_soft(const ISF_THREAD SoftRow<V>& row, V cross, V p_true, V p_wrong,
                                 V square) {
  const V zero = V(0.0f);
  const V own = choose(row.own > zero, row.own * row.result.loss(), zero);
  const V others =
      choose(row.others > zero, fused(row.others, row.result.log_total(), cross), zero);
  const SoftTarget<V> result = {{own + others, row.reach * root(square), p_true, p_wrong}};
  return result;
}

// The norm of T p - t' where p is close to the optimum t' / T and the difference cancels: from two
// floats for z - max z, its exponential, their sum and the difference.
//
// Where the norm is below a third of SoftRow's pull, a relative error of 5e-7 in p may grow
// beyond 1.5e-6, and it is computed anew. Here its error is at most
//   2^-23 |T p - t'| + 2^-42 pull,
// so the relative error is below 2e-6 down to a norm of 2^-23 pull, about as close as targets of
// 24 bits come to softmax(z), unless by chance.
template <class V>
struct CloseRow {
  Two<V> keep, spread;      // 1 - eps, eps / C
  bool smoothed, weighted;  // whether eps is not 0, and whether there are class weights
  V peak;                   // the largest of all logits
  V power;                  // k such that 2^k pull is near 1
  Two<V> factor;            // T / sum_j e^(z_j - peak), once finished
  V largest_component;      // 2^k (T p_y - t'_y), once finished

  // 2^k e^(z - peak) and 2^k t'.
  ISF_MEMBER Two<V> term(V logit) const { return term_at(logit, power); }
  ISF_MEMBER Two<V> target(V given, V weight) const { return target_at(given, weight, power); }

  ISF_MEMBER Two<V> term_at(V logit, V by) const {
    return exponential(exact_sum(logit, V(0.0f) - peak)).times_power_of_two(by);
  }
  ISF_MEMBER Two<V> target_at(V given, V weight, V by) const {
    const V scale = power_of_two(by + V(kShifter));
    Two<V> t = two_of(given * scale);
    if (smoothed) t = keep * t.high + isf::scaled(spread, scale);
    return weighted ? t * weight : t;
  }

  // From the sums of `term` and of `target` over the other classes than y, and y's own.
  ISF_MEMBER void finish(const ISF_THREAD SoftRow<V>& row, Two<V> terms, Two<V> targets, V logit,
                         V given, V weight) {
    const V back = power_of_two((V(0.0f) - power) + V(kShifter)), zero = V(0.0f);
    const Two<V> total = target_at(given, weight, zero) + isf::scaled(targets, back);
    factor = total / (term_at(logit, zero) + isf::scaled(terms, back));
    const Two<V> by_others = targets - factor * terms;
    largest_component =
        choose(row.own >= row.others, by_others.high, component(term(logit), given, weight));
  }

  // 2^k (T p_j - t'_j), given term(z_j).
  ISF_MEMBER V component(Two<V> term, V given, V weight) const {
    const Two<V> difference = factor * term - target(given, weight);
    return difference.high;
  }

  ISF_MEMBER V norm(V square) const {
    return root(square) * power_of_two((V(0.0f) - power) + V(kShifter));
  }
};

// Whether a norm has lost to cancellation what CloseRow does not. Beyond these totals two floats
// leave the range.
template <class V>
ISF_FN auto cancels(const ISF_THREAD SoftRow<V>& row, V norm)
    -> decltype((norm < norm) & (norm > norm)) {
  return (norm < V(1.0f / 3.0f) * row.pull()) & (row.total > V(1e-12f)) & (row.total < V(1e12f));
}

// The Two's are of no weight without smoothing.
template <class V>
ISF_FN CloseRow<V> close_row(const ISF_THREAD SoftRow<V>& row, Two<V> keep, Two<V> spread,
                             bool smoothed, bool weighted, V target_logit) {
  CloseRow<V> close;
  close.keep = keep;
  close.spread = spread;
  close.smoothed = smoothed;
  close.weighted = weighted;
  close.peak = larger(row.result.sums.peak, target_logit);
  V exponent;
  split(row.pull(), exponent);
  const V k = larger(V(-60.0f), V(0.0f) - exponent);
  close.power = choose(k < V(100.0f), k, V(100.0f));
  return close;
}

}  // namespace isf
