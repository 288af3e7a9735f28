// What a row is asked for and what it answers: its target, its faults, its statistics.
#pragma once

#include "../target.h"
#include "device.h"

namespace isf {
namespace mps {

ISF_CONSTANT int kOutputs = 5;

// What a launch is asked for, in the order of _Rows in impsamp_fast/ops/_metal_rows.py.
struct RowProblem {
  int64_t rows, classes, row_stride, class_stride;
  int64_t target_stride, target_is_int64, ignore_index, ignores;
  int64_t has_probability, has_class_weight;
  int64_t statistic[kOutputs];  // of each output; -1 where there is none
  int64_t team, slices, slice;  // threads of a row, its slices, the columns of all but the last one
  float keep, keep_low, spread, spread_low;  // 1 - eps and eps / C of label smoothing, as Two's
  float sum_tolerance, unused;
};

// The buffers of a launch. Those that the problem does not have are there, but never read.
template <class Element>
struct Rows {
  constant RowProblem& problem;
  device const Element* logits;
  device const int32_t* target;      // or int64_t
  device const float* probability;   // [rows, classes]
  device const float* class_weight;  // [classes]
  device float* output[kOutputs];    // [rows] each

  ISF_MEMBER int classes() const { return static_cast<int>(problem.classes); }

  ISF_MEMBER float logit(int64_t row, int column) const {
    return static_cast<float>(logits[row * problem.row_stride + column * problem.class_stride]);
  }

  // A class weight, or NaN for one that is negative or not finite.
  ISF_MEMBER float weight(int column) const {
    if (!problem.has_class_weight) return 1.0f;
    const float w = class_weight[column];
    return is_finite_weight(w) ? w : not_a_number(w);
  }
};

#define ISF_ROW_BUFFERS(Element)                                                                \
  device const Element *logits, device const int32_t *targets, device const float *probability, \
      device const float *class_weight, device float *output0, device float *output1,           \
      device float *output2, device float *output3, device float *output4
#define ISF_ROWS(Element)                                  \
  Rows<Element> {                                          \
    problem, logits, targets, probability, class_weight, { \
      output0, output1, output2, output3, output4          \
    }                                                      \
  }

// The class index of a row.
struct Target {
  int column;  // 0 unless the row is fine so far
  RowKind kind;
};

ISF_FN int64_t class_index(device const int32_t* target, bool is_int64, int64_t at) {
  return is_int64 ? reinterpret_cast<device const int64_t*>(target)[at]
                  : static_cast<int64_t>(target[at]);
}

template <class Element>
ISF_FN Target read_target(const thread Rows<Element>& rows, int64_t row) {
  constant RowProblem& problem = rows.problem;
  Target target = {0, RowKind::kIgnored};
  if (row >= problem.rows) return target;
  const int64_t y =
      class_index(rows.target, problem.target_is_int64 != 0, row * problem.target_stride);
  const IgnoreIndex ignore = {problem.ignore_index, problem.ignores != 0};
  target.kind = kind_of(y, problem.classes, ignore);
  if (target.kind == RowKind::kFine) target.column = static_cast<int>(y);
  return target;
}

// What a row is, given its logits and the weight of its target, which is NaN if it is faulty.
ISF_FN RowKind kind_with(RowKind kind, RowSums<float> sums, float target, float weight) {
  const bool fine = have_statistics(sums, target) && weight == weight;
  return kind == RowKind::kFine && !fine ? RowKind::kFaulty : kind;
}

// The statistic of a row that has none: 0 where it is ignored, NaN where it is faulty.
ISF_FN float blank(RowKind kind) { return kind == RowKind::kIgnored ? 0.0f : not_a_number(0.0f); }

// Stores the statistics that are asked for. Returns the last of them.
template <class Element, class Whole>
ISF_FN float store(const thread Rows<Element>& rows, int64_t row, RowKind kind,
                   const thread RowResult<float>& result, const thread Whole& target) {
  float value = 0.0f;
  for (int i = 0; i < kOutputs; ++i) {
    const int64_t wanted = rows.problem.statistic[i];
    if (wanted < 0) continue;
    value = kind == RowKind::kFine ? statistic_of(static_cast<Statistic>(wanted), result, target)
                                   : blank(kind);
    rows.output[i][row] = value;
  }
  return value;
}

// From the sums of the other classes to the statistics of a row with a class index.
template <class Element>
ISF_FN float finish_row(const thread Rows<Element>& rows, int64_t row, Target target,
                        RowSums<float> sums) {
  float logit = 0.0f, weight = 1.0f;
  if (target.kind == RowKind::kFine) {
    logit = rows.logit(row, target.column);
    weight = rows.weight(target.column);
    target.kind = kind_with(target.kind, sums, logit, weight);
  }
  const RowResult<float> result = finish(sums, logit);
  const HardTarget<float> hard = {result, weight};
  return store(rows, row, target.kind, result, hard);
}

}  // namespace mps
}  // namespace isf
