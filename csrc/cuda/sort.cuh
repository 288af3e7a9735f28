// Sorting inside a block, for the methods that take the first rows of an order.
#pragma once

#include "block.cuh"
#include "sampling.cuh"

namespace isf {
namespace cuda {

// What rows are ordered by, ascending: bits first, ties to the lower row. Positive floats order
// like their bits, so a key holds an arrival time or the complement of a weight.
struct NarrowKey {
  uint64_t bits_and_row;

  static __device__ __forceinline__ NarrowKey of(uint64_t bits, uint32_t row) {
    return NarrowKey{bits << 32 | row};
  }
  static __device__ __forceinline__ NarrowKey last() { return NarrowKey{~uint64_t{0}}; }
  __device__ __forceinline__ int row() const { return static_cast<int>(bits_and_row); }
  __device__ __forceinline__ uint64_t bits() const { return bits_and_row >> 32; }
  __device__ __forceinline__ bool is_last() const { return bits_and_row == ~uint64_t{0}; }
  __device__ __forceinline__ bool operator<(const NarrowKey& other) const {
    return bits_and_row < other.bits_and_row;
  }
};

struct WideKey {
  uint64_t high, low;

  static __device__ __forceinline__ WideKey of(uint64_t bits, uint32_t row) {
    return WideKey{bits, row};
  }
  static __device__ __forceinline__ WideKey last() { return WideKey{~uint64_t{0}, ~uint64_t{0}}; }
  __device__ __forceinline__ int row() const { return static_cast<int>(low); }
  __device__ __forceinline__ uint64_t bits() const { return high; }
  __device__ __forceinline__ bool is_last() const { return low == ~uint64_t{0}; }
  __device__ __forceinline__ bool operator<(const WideKey& other) const {
    return high != other.high ? high < other.high : low < other.low;
  }
};

template <class T>
struct KeyOf;
template <>
struct KeyOf<float> {
  typedef NarrowKey Type;
};
template <>
struct KeyOf<double> {
  typedef WideKey Type;
};

// Sorts 2^k >= 64 keys in shared memory, ascending (Batcher 1968: bitonic sort). Warp w compares
// the keys of one contiguous part as long as the distance allows it, so that most of the k (k + 1)
// / 2 steps need no barrier of the block. Begins and ends with one.
template <class Key>
__device__ __forceinline__ void block_sort(Key* keys, int count) {
  const int pairs = count / 2, threads = static_cast<int>(blockDim.x);
  const int rounds = pairs > threads ? pairs / threads : 1;
  const int reach = kWarp * rounds;  // the largest distance within a warp's part
  const int first = warp_index() * kWarp * rounds + lane_index();
  int last_distance = count;
  for (int run = 2; run <= count; run *= 2) {
    for (int distance = run / 2; distance; distance /= 2) {
      if (distance > reach || last_distance > reach) {
        __syncthreads();
      } else {
        __syncwarp();
      }
      last_distance = distance;
      for (int round = 0; round < rounds; ++round) {
        const int pair = first + round * kWarp;
        if (pair >= pairs) break;
        const int i = 2 * pair - (pair & (distance - 1)), j = i + distance;
        const Key a = keys[i], b = keys[j];
        if ((b < a) == ((i & run) == 0)) {
          keys[i] = b;
          keys[j] = a;
        }
      }
    }
  }
  __syncthreads();
}

}  // namespace cuda
}  // namespace isf
