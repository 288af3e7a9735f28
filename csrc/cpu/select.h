// From scores to a selection on the CPU.
#pragma once

#include "../backend.h"
#include "cpu.h"

namespace isf {
namespace cpu {

void smooth(const SmoothTask& task);
void correct(const CorrectTask& task);

// Draws by the scores and fills index, weight and tau.
void select_rows(const SelectTask& task, c10::function_ref<uint64_t()> seed);

}  // namespace cpu
}  // namespace isf
