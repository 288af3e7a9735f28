// Draws by all of a device's blocks, in several launches.
#pragma once

#include "drawing.h"

namespace isf {
namespace cuda {

int grid_draw(const Drawing& drawing, const void* scores, bool is_double, const Queue& queue);

}  // namespace cuda
}  // namespace isf
