// Rows with soft targets: class probabilities, or class indices with smoothing. A row is read three
// times: for y, for the sums, and for what depends on them; the last two reads are the cache's.
#pragma once

#include "running_sums.h"

namespace isf {
namespace mps {

struct AddTwo {
  ISF_MEMBER Two<float> operator()(Two<float> a, Two<float> b) const { return a + b; }
};

ISF_FN float total_of(thread Team& team, ExactSum sum) {
  return team.reduce(sum.total(), Sum(), 0.0f);
}
ISF_FN Two<float> total_of(thread Team& team, LongSum<float> sum) {
  return team.reduce(sum.total(), AddTwo(), two_of(0.0f));
}

// The target of one row: t_j as given, and t'_j as the loss sees it.
template <class Element>
struct TargetColumns {
  const thread Rows<Element>& rows;
  int64_t row;
  int largest;  // y

  ISF_MEMBER float given(int column) const {
    if (!rows.problem.has_probability) return column == largest ? 1.0f : 0.0f;
    return rows.probability[row * rows.problem.classes + column];
  }
  ISF_MEMBER float target(int column, float given) const {
    const LabelSmoothing<float> smoothing = {rows.problem.keep, rows.problem.spread};
    return smoothing.of(given) * rows.weight(column);
  }
};

// The first of a row's classes with the largest probability.
template <class Element>
ISF_FN Target largest_class(const thread Rows<Element>& rows, int64_t row, thread Team& team) {
  const int classes = row < rows.problem.rows ? rows.classes() : 0;
  const TargetColumns<Element> target = {rows, row, 0};
  ExactSum sum = {0.0f, 0.0f};
  float largest = -1.0f;
  const int none = 0x7fffffff;
  int column = none, faulty = 0;
  for (int c = team.thread_index(); c < classes; c += team.size) {
    const float t = target.given(c);
    if (!is_finite_weight(t)) faulty = 1;
    if (t > largest) {
      column = c;
      largest = t;
    }
    sum.add(t);
  }
  const float all = team.reduce(largest, Maximum(), -1.0f);
  column = team.reduce(largest == all ? column : none, Minimum(), none);
  faulty = team.reduce(faulty, Maximum(), 0);
  const bool fine = is_one(total_of(team, sum), rows.problem.sum_tolerance) && !faulty;
  Target found = {0, RowKind::kIgnored};
  if (classes == 0) return found;
  found.kind = fine ? RowKind::kFine : RowKind::kFaulty;
  if (fine) found.column = column;
  return found;
}

// The norm of CloseRow.
template <class Element>
ISF_FN float close_norm(const thread Rows<Element>& rows, const thread SoftRow<float>& soft,
                        const thread TargetColumns<Element>& target, float largest_logit,
                        int classes, thread Team& team) {
  constant RowProblem& problem = rows.problem;
  const Two<float> keep = {problem.keep, problem.keep_low};
  const Two<float> spread = {problem.spread, problem.spread_low};
  CloseRow<float> close = close_row(soft, keep, spread, problem.spread != 0.0f,
                                    problem.has_class_weight != 0, largest_logit);
  LongSum<float> terms = {0.0f, 0.0f, 0.0f}, targets = {0.0f, 0.0f, 0.0f};
  for (int c = team.thread_index(); c < classes; c += team.size) {
    if (c == target.largest) continue;
    terms.add(close.term(rows.logit(target.row, c)));
    targets.add(close.target(target.given(c), rows.weight(c)));
  }
  const Two<float> all_terms = total_of(team, terms), all_targets = total_of(team, targets);
  if (classes) {
    close.finish(soft, all_terms, all_targets, largest_logit, target.given(target.largest),
                 rows.weight(target.largest));
  }
  ExactSum square = {0.0f, 0.0f};
  for (int c = team.thread_index(); c < classes; c += team.size) {
    const float component = c == target.largest
                                ? close.largest_component
                                : close.component(close.term(rows.logit(target.row, c)),
                                                  target.given(c), rows.weight(c));
    square.add(component * component);
  }
  return close.norm(total_of(team, square));
}

template <class Element>
ISF_FN SoftTarget<float> soft_target(const thread Rows<Element>& rows,
                                     const thread SoftRow<float>& soft,
                                     const thread TargetColumns<Element>& target,
                                     float largest_logit, int classes, thread Team& team) {
  const ExactSum none = {0.0f, 0.0f};
  SoftSums<float, ExactSum> sums = {none, none, none, none};
  for (int c = team.thread_index(); c < classes; c += team.size) {
    const float given = target.given(c);
    sums.add(soft, c == target.largest, rows.logit(target.row, c), given, target.target(c, given));
  }
  const float cross = total_of(team, sums.cross), p_true = total_of(team, sums.p_true);
  const float p_wrong = total_of(team, sums.p_wrong), square = total_of(team, sums.square);
  SoftTarget<float> result = finish_soft(soft, cross, p_true, p_wrong, square);
  const bool close = classes && cancels(soft, result.grad_norm());
  if (team.any_together(close)) {
    const float norm = close_norm(rows, soft, target, largest_logit, classes, team);
    if (close && norm < INFINITY) result.values[1] = norm;
  }
  return result;
}

// Called by all threads of a threadgroup; those beyond the last row go along with no columns.
template <class Element>
ISF_FN void score_soft_row(const thread Rows<Element>& rows, int64_t row, thread Team& team) {
  Target y = rows.problem.has_probability ? largest_class(rows, row, team) : read_target(rows, row);
  const int classes = y.kind == RowKind::kFine ? rows.classes() : 0;
  const TargetColumns<Element> target = {rows, row, y.column};
  RunningSums<true> running = RunningSums<true>::empty();
  ExactSum sum = {0.0f, 0.0f};
  running.add(rows, row, team.thread_index(), team.size, classes, y.column);
  for (int c = team.thread_index(); c < classes; c += team.size) {
    if (c != y.column) sum.add(target.target(c, target.given(c)));
  }
  const RowSums<float> sums = running.joined(team);
  const float others = total_of(team, sum);
  float own = 0.0f, logit = 0.0f;
  if (classes) {
    own = target.target(y.column, target.given(y.column));
    logit = rows.logit(row, y.column);
    y.kind = kind_with(y.kind, sums, logit, own + others);
  }
  const SoftRow<float> soft(finish(sums, logit), own, others);
  const SoftTarget<float> whole = soft_target(rows, soft, target, logit, classes, team);
  if (team.thread_index() == 0 && row < rows.problem.rows) {
    store(rows, row, y.kind, soft.result, whole);
  }
}

}  // namespace mps
}  // namespace isf
