// A draw in stages on the CPU.
#pragma once

#include "../backend.h"

namespace isf {
namespace cpu {

void draw_scan(const ScanTask& task);
void draw_total(const TotalTask& task);
void draw_part(const PartTask& task);

}  // namespace cpu
}  // namespace isf
