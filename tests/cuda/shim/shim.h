// A GPU for tests on a machine that has none: runs CUDA kernels on the host, from the same source.
//
// The threads are those of tests/shim/fibres.h. Shared memory of a launch is freshly allocated to
// its exact size and filled with garbage, and a launch that wants more than the device has
// (settings.h) fails. Lanes of a warp meet at __syncwarp and at every exchange; masks must name all
// lanes.
#pragma once

#include <cmath>

#include "../../shim/fibres.h"
#include "settings.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__ static
#define __align__(n) alignas(n)
#define __launch_bounds__(...)
#define __grid_constant__

typedef int cudaError_t;
typedef struct CUstream_st* cudaStream_t;
constexpr cudaError_t cudaSuccess = 0;

enum cudaMemcpyKind { cudaMemcpyDeviceToDevice = 3 };

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  memcpy(to, from, bytes);
  return cudaSuccess;
}

namespace shim {

inline cudaError_t run(dim3 blocks, int threads, size_t shared_bytes, std::function<void()> body) {
  constexpr cudaError_t kInvalidConfiguration = 9;
  const bool fits =
      shared_bytes <= shared_memory() && run_blocks(blocks, threads, shared_bytes, std::move(body));
  return fits ? cudaSuccess : kInvalidConfiguration;
}

inline unsigned char* dynamic_shared() { return block()->shared.get(); }

template <class T, class Source>
T exchange_all(unsigned mask, T value, Source source) {
  if (mask != 0xffffffffu) fail("an exchange must name all lanes");
  return exchange(value, source);
}

}  // namespace shim

#define threadIdx (shim::block()->current->index)
#define blockIdx (shim::block()->index)
#define blockDim (shim::block()->threads)
#define gridDim (shim::block()->blocks)

inline void __syncthreads() { shim::leave(shim::State::kAtBlockBarrier); }
inline void __syncwarp() { shim::leave(shim::State::kAtWarpBarrier); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return shim::exchange_all(mask, value, [=](unsigned) { return source; });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  return shim::exchange_all(mask, value, [=](unsigned lane) { return lane ^ distance; });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
  return shim::exchange_all(
      mask, value, [=](unsigned lane) { return lane < distance ? lane : lane - distance; });
}

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
