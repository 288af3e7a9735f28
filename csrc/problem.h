// What an operator is asked to do, over plain pointers: what the devices' kernels take. Nothing of
// torch here.
#pragma once

#include <stdint.h>

#include "correction.h"
#include "target.h"

namespace isf {

enum Element { kFloat, kDouble, kHalf, kBFloat16, kElements };

// The result type is double for double logits and float for all others.
struct RowProblem {
  const void* logits;  // [rows, classes], strides in elements
  int64_t rows, classes, row_stride, class_stride;

  const void* target;  // [rows] class indices, unless probability is given
  bool target_is_int64;
  int64_t target_stride;
  IgnoreIndex ignore;
  const void* probability;   // [rows, classes] of the result type, contiguous, or null
  double sum_tolerance;      // how far from 1 the sum of a row's probabilities may be
  const void* class_weight;  // [classes] of the result type, contiguous, or null
  double label_smoothing;

  void* statistic[kStatistics];  // [rows] of the result type each; null where it is not asked for
};

// The inputs h of the last linear layer.
struct Features {
  const void* rows;  // [rows, width], unit stride in width; null if there are none
  Element element;
  int64_t row_stride, width;
};

// Rows that are no candidates for a draw: those whose target says so, or those of a mask.
struct Ignored {
  const void* target;  // [rows] class indices, or null if no row is ignored by them
  bool is_int64;
  int64_t stride;
  IgnoreIndex index;
  const bool* mask;  // [rows], or null
};

ISF_FN bool is_ignored(const Ignored& ignored, int64_t row) {
  if (ignored.mask) return ignored.mask[row];
  if (!ignored.target) return false;
  const int64_t at = row * ignored.stride;
  const int64_t y = ignored.is_int64 ? static_cast<const int64_t*>(ignored.target)[at]
                                     : static_cast<const int32_t*>(ignored.target)[at];
  return is_ignored(y, ignored.index) != 0;
}

ISF_FN Ignored ignored_of(const RowProblem& rows) {
  Ignored ignored = {};
  if (rows.probability || !rows.ignore.any) return ignored;
  ignored.target = rows.target;
  ignored.is_int64 = rows.target_is_int64;
  ignored.stride = rows.target_stride;
  ignored.index = rows.ignore;
  return ignored;
}

// From the probabilities of n rows among `rows` to their weights.
struct Correcting {
  int64_t n, rows;
  DrawKind kind;
  Correction correction;
  double exponent;  // of kPower

  // Whether all weights are 1.
  ISF_MEMBER bool is_one() const {
    return kind == DrawKind::kDeterministic || correction == Correction::kNone;
  }
};

// How rows are chosen by their scores.
struct Choice {
  int64_t n;
  Method method;
  Correction correction;
  double exponent;  // of kPower
  double smoothing;
};

constexpr Correcting correcting_of(const Choice& choice, int64_t rows) {
  return {choice.n, rows, kind_of(choice.method), choice.correction, choice.exponent};
}

}  // namespace isf
