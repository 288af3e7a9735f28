// What an operator is asked to do, over plain pointers: what the devices' kernels take. Nothing of
// torch here.
#pragma once

#include <stdint.h>

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

enum class Method { kMultinomial, kStratified, kSystematic, kRace, kPps, kTopk };

constexpr bool with_replacement(Method method) {
  return method == Method::kMultinomial || method == Method::kStratified ||
         method == Method::kSystematic;
}

enum class Correction { kNone, kUnbiased, kNormalized, kPower };

// How a draw was made, which decides what its probabilities are.
enum class DrawKind { kWithReplacement, kWithoutReplacement, kDeterministic };

constexpr DrawKind kind_of(Method method) {
  return with_replacement(method)  ? DrawKind::kWithReplacement
         : method == Method::kTopk ? DrawKind::kDeterministic
                                   : DrawKind::kWithoutReplacement;
}

// From the probabilities of n rows among `rows` to their weights.
struct Correcting {
  int64_t n, rows;
  DrawKind kind;
  Correction correction;
  double exponent;  // of kPower

  // The unbiased weight is numerator / prob.
  double numerator() const {
    return (kind == DrawKind::kWithReplacement ? 1.0 : static_cast<double>(n)) /
           static_cast<double>(rows);
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
