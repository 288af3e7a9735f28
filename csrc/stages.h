// A draw in stages, for rows that are in several parts: those of several processes, or too many for
// one tensor. With one seed the parts draw together what draw() draws from all their rows.
//
// Whatever the method, a scan comes first: from the largest weight and the number of all rows every
// part makes the same fixed points.
//
// With replacement the totals of the parts follow, and then each has the rows at those of the
// points that fall on it. By an order, each names the keys of its first n + 1 rows; the first n of
// all parts are drawn, and the next one gives a race its probabilities. In proportion to the size,
// rounds after the totals count the certain rows of all parts until no more are.
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

// By the order of "race" or "topk". key and index: int64 [n]; ascending, and equal keys go to
// the lower row of all. Behind the last row that has a weight key is 2^63 - 1 and index -1.
struct DrawFirst {
  static constexpr const char* name = "_draw_first";
  static constexpr std::array results = {"key", "index"};
  static constexpr bool random = false;
  using Arguments = List<PartWeights, FirstOptions>;
  static void run(const PartWeights& given, const FirstOptions& options, Results& results);
};

// prob: [n], of the rows of a race whose weights are given.
struct DrawArrivalProb {
  static constexpr const char* name = "_draw_arrival_prob";
  static constexpr std::array results = {"prob"};
  static constexpr bool random = false;
  using Arguments = List<PartWeights, NextArrival>;
  static void run(const PartWeights& given, const NextArrival& next, Results& results);
};

// A round of "pps". counted: int64 [3], of the part; its first number is lower than found's if more
// rows are certain.
struct DrawCertain {
  static constexpr const char* name = "_draw_certain";
  static constexpr std::array results = {"counted"};
  static constexpr bool random = false;
  using Arguments = List<PartWeights, CertainOptions>;
  static void run(const PartWeights& given, const CertainOptions& options, Results& results);
};

// index and prob: [n], as DrawPart's.
struct DrawBySize {
  static constexpr const char* name = "_draw_by_size";
  static constexpr std::array results = {"index", "prob"};
  static constexpr bool random = false;
  using Arguments = List<PartWeights, SizeOptions>;
  static void run(const PartWeights& given, const SizeOptions& options, Results& results);
};

}  // namespace isf
