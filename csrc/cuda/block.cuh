// What the threads of a block do together: maxima, totals and prefix sums, each with one barrier.
//
// Blocks have a multiple of 32 threads, up to 1024. A value goes from the lanes of a warp to one
// slot in shared memory, and every warp reads the slots of all warps: at most 32, one for each
// lane.
#pragma once

#include "device.h"
#include "reduce.cuh"

namespace isf {
namespace cuda {

// The slots. There are two sets, used in turns: a warp that is past the barrier of one exchange may
// fill the other set while others still read the first, and cannot be two exchanges ahead.
class Slots {
 public:
  static constexpr int kBytes = 48;                     // of one slot
  static constexpr int kAllBytes = 2 * kWarp * kBytes;  // of shared memory

  __device__ __forceinline__ explicit Slots(unsigned char* memory) : memory_(memory), turn_(0) {}

  // The set for the next exchange.
  template <class Value>
  __device__ __forceinline__ Value* next() {
    static_assert(sizeof(Value) <= kBytes, "a slot is too small");
    Value* const set = reinterpret_cast<Value*>(memory_ + turn_);
    turn_ ^= kWarp * kBytes;
    return set;
  }

 private:
  unsigned char* memory_;
  int turn_;
};

__device__ __forceinline__ uint32_t warp_max(uint32_t x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  return __reduce_max_sync(kAllLanes, x);
#else
  return warp_reduce(x, Maximum());
#endif
}

__device__ __forceinline__ uint64_t warp_max(uint64_t x) { return warp_reduce(x, Maximum()); }

// The largest of all threads' numbers.
template <class Unsigned>
__device__ __forceinline__ Unsigned block_max(Unsigned x, Slots& slots) {
  Unsigned* const slot = slots.next<Unsigned>();
  x = warp_max(x);
  if (lane_index() == 0) slot[warp_index()] = x;
  __syncthreads();
  return warp_max(lane_index() < warp_count() ? slot[lane_index()] : Unsigned(0));
}

// All warps' numbers, brought by their last lanes, as prefix sums: lane j gets the sum of the warps
// up to j, and the lanes from the last warp on the total.
template <class Unsigned>
__device__ __forceinline__ Unsigned sums_of_warps(Unsigned x, Slots& slots) {
  Unsigned* const slot = slots.next<Unsigned>();
  if (lane_index() == kWarp - 1) slot[warp_index()] = x;
  __syncthreads();
  return warp_scan(lane_index() < warp_count() ? slot[lane_index()] : Unsigned(0));
}

// The sum of all threads' numbers.
__device__ __forceinline__ uint64_t block_sum(uint64_t x, Slots& slots) {
  return __shfl_sync(kAllLanes, sums_of_warps(warp_scan(x), slots), kWarp - 1);
}

// What all lanes hold, merged by Part::merge; the parts are made of 32-bit words.
template <class Part>
__device__ __forceinline__ Part warp_merge(Part part) {
  constexpr int kWords = sizeof(Part) / sizeof(uint32_t);
  static_assert(sizeof(Part) % sizeof(uint32_t) == 0, "a part is made of words");
#pragma unroll
  for (int distance = kWarp / 2; distance; distance /= 2) {
    uint32_t word[kWords];
    memcpy(word, &part, sizeof part);
#pragma unroll
    for (int i = 0; i < kWords; ++i) word[i] = __shfl_xor_sync(kAllLanes, word[i], distance);
    Part other;
    memcpy(&other, word, sizeof other);
    part.merge(other);
  }
  return part;
}

// What all threads hold, merged. Every thread gets the same bits: the order of the merges is the
// same for all, up to the exchange of two sides.
template <class Part>
__device__ __forceinline__ Part block_merge(Part part, Slots& slots) {
  Part* const slot = slots.next<Part>();
  part = warp_merge(part);
  if (lane_index() == 0) slot[warp_index()] = part;
  __syncthreads();
  return warp_merge(lane_index() < warp_count() ? slot[lane_index()] : Part::nothing());
}

}  // namespace cuda
}  // namespace isf
