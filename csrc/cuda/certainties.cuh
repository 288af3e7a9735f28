// Which rows are certain to be drawn in proportion to their size.
#pragma once

#include "block.cuh"

namespace isf {
namespace cuda {

// Rows of at least R / n' are certain, and leave the sum R and the number n' until none is left
// that large (Saerndal, Swensson, Wretman 1992, section 3.6.2; Madow 1949 for the systematic pass
// over the others).
struct Certainties {
  uint64_t from;    // the smallest fixed point that is certain
  uint64_t rest;    // R: the sum of the others
  int64_t certain;  // how many are certain

  // What a pass over the rows finds.
  struct Rest {
    uint64_t sum;
    int32_t certain, unused;

    static __device__ __forceinline__ Rest nothing() { return Rest{0, 0, 0}; }
    __device__ __forceinline__ void add(uint64_t fixed, uint64_t from) {
      certain += fixed >= from;
      sum += fixed >= from ? 0 : fixed;
    }
    __device__ __forceinline__ void merge(const Rest& other) {
      sum += other.sum;
      certain += other.certain;
    }
  };

  static __device__ __forceinline__ Certainties none() { return Certainties{~uint64_t{0}, 0, 0}; }

  __device__ __forceinline__ void set(const Rest& found) {
    rest = found.sum;
    certain = found.certain;
  }

  __device__ __forceinline__ uint64_t left(int64_t n) const {
    return static_cast<uint64_t>(n - certain);
  }

  // Lowers `from` to what the pass makes certain. False if that is nothing more.
  __device__ __forceinline__ bool lower(int64_t n) {
    if (left(n) == 0) return false;
    const uint64_t bound = (rest + left(n) - 1) / left(n);
    if (bound >= from) return false;
    from = bound;
    return true;
  }

  // The inclusion probability of another row.
  template <class T>
  __device__ __forceinline__ T prob(uint64_t fixed, uint64_t left) const {
    return static_cast<T>(static_cast<double>(left) * static_cast<double>(fixed) /
                          static_cast<double>(rest));
  }
};

}  // namespace cuda
}  // namespace isf
