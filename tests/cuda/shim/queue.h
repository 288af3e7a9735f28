// Where the kernels of a request run.
#pragma once

#include "../../../csrc/cuda/cuda.h"
#include "../../shim/request.h"
#include "settings.h"

namespace shim {

inline void* allocate(void* request, size_t bytes) {
  return static_cast<Request*>(request)->scratch(bytes);
}

// Reads how many multiprocessors the launchers are to believe in.
inline isf::cuda::Queue queue_of(Request& request) {
  const auto multiprocessors = static_cast<int>(request.integer());
  return {nullptr, multiprocessors, shared_memory(), allocate, &request};
}

}  // namespace shim
