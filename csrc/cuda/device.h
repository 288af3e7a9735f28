// The device as the kernels see it: CUDA's, or the host's stand-in for it (tests/cuda/shim), where
// the same kernels run in tests on a machine without a GPU.
#pragma once

#if defined(ISF_SHIM)
#include "shim.h"
#else
#include <cuda_runtime.h>

#include "shared_memory.h"
#endif

#include "../portable.h"

namespace isf {
namespace cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

#if defined(ISF_SHIM)
// Block-wide memory whose size the launch decides, aligned to 16 bytes.
#define ISF_DYNAMIC_SHARED(name) unsigned char* const name = shim::dynamic_shared()

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, int threads, size_t shared_bytes,
                   cudaStream_t, Arguments... arguments) {
  return shim::run(blocks, threads, shared_bytes,
                   [=] { kernel(static_cast<Parameters>(arguments)...); });
}
#else
#define ISF_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// Launches a kernel and returns what is wrong with the launch.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 blocks, int threads, size_t shared_bytes,
                   cudaStream_t stream, Arguments... arguments) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  if (shared_bytes > kWithoutAsking) {
    const cudaError_t error = allow_shared_memory(reinterpret_cast<const void*>(kernel));
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}
#endif

}  // namespace cuda
}  // namespace isf
