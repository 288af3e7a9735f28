// From scores to a selection on the CPU.
#pragma once

#include "../backend.h"
#include "cpu.h"

namespace isf {
namespace cpu {

void smooth(const Smoothing& smoothing, const Tensor& weights, const Tensor& tau);
void correct(const Correcting& correcting, const Tensor& drawn_by, const Tensor& weight);

// Draws by the scores and fills index, weight and tau.
void select_rows(const Rows& rows, const Choice& choice, c10::function_ref<uint64_t()> seed,
                 const Selected& selected);

}  // namespace cpu
}  // namespace isf
