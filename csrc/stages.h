// A draw in stages, for rows that are in several parts: those of several processes, or too many for
// one tensor. With one seed the parts draw together what draw() draws from all their rows.
//
//   scan    of a part -> the largest weight and the number of all rows, by which every part makes
//           the same fixed points
//   total   of a part -> the total of all parts, and what is before each
//   part    those of the n points that fall on a part's rows
//
// Sums are int64 here: they are below 2^63. impsamp_fast/ops/_stages.py puts the stages together.
#pragma once

#include <array>

#include "operator.h"

namespace isf {

// largest: [] of the result type, NaN where a weight is negative or not finite; positive: how many
// weights are; status: 1 + the first row whose weight is faulty, or 0. Nothing raises: a part must
// not leave the others waiting.
struct DrawScan {
  static constexpr const char* name = "_draw_scan";
  static constexpr std::array results = {"largest", "positive", "status"};
  static constexpr bool random = false;
  using Arguments = List<Weights>;
  static void run(const Weights& given, Results& results);
};

// total: int64 [].
struct DrawTotal {
  static constexpr const char* name = "_draw_total";
  static constexpr std::array results = {"total"};
  static constexpr bool random = false;
  using Arguments = List<PartWeights>;
  static void run(const PartWeights& given, Results& results);
};

// With replacement. index and prob: [n]; -1 and 0 where another part has the row.
struct DrawPart {
  static constexpr const char* name = "_draw_part";
  static constexpr std::array results = {"index", "prob"};
  static constexpr bool random = false;
  using Arguments = List<PartWeights, PartOptions>;
  static void run(const PartWeights& given, const PartOptions& options, Results& results);
};

}  // namespace isf
