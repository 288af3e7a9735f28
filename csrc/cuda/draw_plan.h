// A draw as the kernels take it: draw() draws by the weights it is given, select() by its scores,
// smoothed, and turns probabilities into weights.
#pragma once

#include "cuda.h"

namespace isf {
namespace cuda {

// How a method finds its rows: at points of the cumulative sum, as the first of an order, or in
// proportion to their size.
enum class Way { kPoints, kOrder, kSize };

constexpr Way way_of(Method method) {
  return with_replacement(method) ? Way::kPoints
         : method == Method::kPps ? Way::kSize
                                  : Way::kOrder;
}

// What is stored for a drawn row.
enum class Outcome { kProb, kOne, kUnbiased, kNormalized, kPower };

inline Outcome outcome_of(const Correcting& correcting) {
  if (correcting.is_one()) return Outcome::kOne;
  switch (correcting.correction) {
    case Correction::kUnbiased:
      return Outcome::kUnbiased;
    case Correction::kNormalized:
      return Outcome::kNormalized;
    case Correction::kPower:
      return Outcome::kPower;
    default:
      return Outcome::kOne;
  }
}

struct DrawPlan {
  int rows, n;
  Method method;
  Way way;
  double smoothing;
  Ignored ignored;
  SeedSource seed;

  Outcome outcome;
  double numerator;   // the unbiased weight is numerator / prob, in the scores' type
  Exponent exponent;  // of kPower

  int64_t* index;   // [n]
  void* result;     // [n] of the scores' type: prob, or weight
  void* tau;        // [] of the scores' type, or null
  int64_t* status;  // []

  ISF_MEMBER DrawRules rules() const {
    const DrawRules rules = {rows, n, method};
    return rules;
  }
};

// What becomes of the probabilities.
inline void set_correcting(DrawPlan& plan, const Correcting& correcting, bool is_double) {
  const auto [n, rows, kind, correction, exponent] = correcting;
  plan.outcome = outcome_of(correcting);
  plan.numerator = is_double ? unbiased_numerator<double>(kind, n, rows)
                             : unbiased_numerator<float>(kind, n, rows);
  plan.exponent = exponent_of(exponent);
}

// Draws by scores [rows] in global memory.
int draw_by(const DrawPlan& plan, const void* scores, bool is_double, const Queue& queue);

// How a block shares out the rows of a draw. Prefix sums are kept for stripes of 2^stripe_bits
// rows: at most 4096 of them, in shared memory. Warp w has the stripes [w, w + 1) * 32 * tiles.
struct Layout {
  int threads, tiles, stripe_bits;
  size_t shared_bytes;  // all but a copy of the scores
};

// Threads of a block. Draws at points have to be quick, and get by with the registers that 1024
// threads leave to each; a sort compares half as many pairs as there are rows. The arithmetic of
// doubles takes many registers.
constexpr int most_threads(Way way, bool is_double) {
  return is_double ? 256 : (way == Way::kPoints ? 1024 : 512);
}

constexpr int kMostBlockRows = 65536;  // drawn from by one block
constexpr int kMostBlockDraws = 8192;  // by one block; more are quicker by many
constexpr int kMostStripes = 4096;
constexpr int kMostSortedBytes = 32768;  // of keys that one block sorts

bool fits_block(const DrawPlan& plan, bool is_double);
// With at least `busy` threads, if a block can have them.
Layout layout_of(const DrawPlan& plan, bool is_double, int busy);

}  // namespace cuda
}  // namespace isf
