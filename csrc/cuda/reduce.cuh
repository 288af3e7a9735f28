// Reductions across the lanes of a group, a warp or a block, and prefix sums across a warp.
//
// All threads of the warp or block take part, and blocks are whole warps. The order of operations
// depends on the shape of the launch alone, so floating-point results are reproducible.
#pragma once

#include "device.h"

namespace isf {
namespace cuda {

struct Sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Maximum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Minimum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x) / kWarp; }
__device__ __forceinline__ int warp_count() { return static_cast<int>(blockDim.x) / kWarp; }

// Of each group of `lanes` neighbouring lanes, a power of two up to the warp; every lane gets it.
template <class T, class Op>
__device__ __forceinline__ T group_reduce(T value, int lanes, Op op) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    value = op(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  return value;
}

template <class T, class Op>
__device__ __forceinline__ T warp_reduce(T value, Op op) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = op(value, __shfl_xor_sync(kAllLanes, value, distance));
  }
  return value;
}

// Of the whole block; every thread gets it. op(identity, x) must be x.
template <class T, class Op>
__device__ T block_reduce(T value, Op op, T identity) {
  __shared__ T part[kWarp];
  value = warp_reduce(value, op);
  __syncthreads();  // all have read what an earlier call left here
  if (lane_index() == 0) part[warp_index()] = value;
  __syncthreads();
  return warp_reduce(lane_index() < warp_count() ? part[lane_index()] : identity, op);
}

// The sum over this lane and those before it in the warp.
template <class T>
__device__ __forceinline__ T warp_scan(T value) {
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const T before = __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(distance));
    if (lane_index() >= distance) value += before;
  }
  return value;
}

}  // namespace cuda
}  // namespace isf
