// A draw in stages on the CPU.
#pragma once

#include "../backend.h"

namespace isf {
namespace cpu {

void draw_scan(const ScanTask& task);
void draw_total(const TotalTask& task);
void draw_part(const PartTask& task);
void draw_first(const FirstTask& task);
void draw_arrival_prob(const ArrivalTask& task);
void draw_certain(const CertainTask& task);
void draw_by_size(const SizeTask& task);

}  // namespace cpu
}  // namespace isf
