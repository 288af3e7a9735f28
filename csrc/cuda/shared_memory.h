// How much shared memory a launch may ask for: 48 KB, unless the kernel was told before.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace isf {
namespace cuda {

// Lets launches of a kernel on the current device ask for all the shared memory that there is, once
// and for good: a limit that each launch set for itself could be lowered by another thread before
// the launch.
cudaError_t allow_shared_memory(const void* kernel);

}  // namespace cuda
}  // namespace isf
