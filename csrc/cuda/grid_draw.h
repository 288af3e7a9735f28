// Draws by all of a device's blocks, in several launches.
#pragma once

#include "draw_plan.h"

namespace isf {
namespace cuda {

int grid_draw(const DrawPlan& plan, const void* scores, bool is_double, const Queue& queue);

}  // namespace cuda
}  // namespace isf
