// From scores to a selection on the CPU.
#pragma once

#include "../rows.h"
#include "cpu.h"

namespace isf {
namespace cpu {

enum class Correction { kNone, kUnbiased, kNormalized, kPower };

// How rows are chosen by their scores.
struct Choice {
  int64_t n;
  Method method;
  std::string method_name;
  Correction correction;
  double exponent;  // of kPower
  double smoothing;
};

// Draws by the scores [K] and fills index [n], weight [n] and tau [].
void select_rows(const Rows& rows, const Tensor& score, const Choice& choice,
                 c10::function_ref<uint64_t()> seed, const Tensor& index, const Tensor& weight,
                 const Tensor& tau);

}  // namespace cpu
}  // namespace isf
