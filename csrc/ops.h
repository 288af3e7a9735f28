// The operators: argument checks and places for the results; the backend of the device does the
// work. torch.library and pybind11 get them through operator.h.
#pragma once

#include <array>

#include "operator.h"
#include "stages.h"

namespace isf {

// Each result is [...], for logits [..., C].
struct RowStats {
  static constexpr const char* name = "row_stats";
  static constexpr std::array results = {"loss", "grad_norm", "p_true", "margin", "entropy"};
  static constexpr bool random = false;
  using Arguments = List<LabelledRows, LossOptions>;
  static void run(const LabelledRows& given, const LossOptions& loss, Results& results);
};

// score: [...].
struct Score {
  static constexpr const char* name = "score";
  static constexpr std::array results = {"score"};
  static constexpr bool random = false;
  using Arguments = List<LabelledRows, ScoreOptions, LossOptions>;
  static void run(const LabelledRows& given, const ScoreOptions& score, const LossOptions& loss,
                  Results& results);
};

// index and prob: [n].
struct Draw {
  static constexpr const char* name = "draw";
  static constexpr std::array results = {"index", "prob"};
  static constexpr bool random = true;
  using Arguments = List<Weights, DrawOptions, Seed>;
  static void run(const Weights& given, const DrawOptions& draw, const Seed& seed,
                  Results& results);
};

// index and weight: [n]; score and loss: [...]; tau and status: [].
struct Select {
  static constexpr const char* name = "select";
  static constexpr std::array results = {"index", "weight", "score", "loss", "tau", "status"};
  static constexpr bool random = true;
  using Arguments = List<LabelledRows, SelectOptions, Seed, LossOptions>;
  static void run(const LabelledRows& given, const SelectOptions& select, const Seed& seed,
                  const LossOptions& loss, Results& results);
};

// What rows are drawn by: weights [K] and their tau [].
struct Smoothed {
  static constexpr const char* name = "smoothed";
  static constexpr std::array results = {"weights", "tau"};
  static constexpr bool random = false;
  using Arguments = List<SmoothOptions>;
  static void run(const SmoothOptions& smooth, Results& results);
};

// weight: [n].
struct Corrected {
  static constexpr const char* name = "corrected";
  static constexpr std::array results = {"weight"};
  static constexpr bool random = false;
  using Arguments = List<CorrectOptions>;
  static void run(const CorrectOptions& correct, Results& results);
};

using Operators = List<RowStats, Score, Draw, Select, Smoothed, Corrected, DrawScan, DrawTotal,
                       DrawPart, DrawFirst, DrawArrivalProb, DrawCertain, DrawBySize>;

}  // namespace isf
