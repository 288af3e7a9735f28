// The two algorithms over all of a device's blocks that come from CUB, which is part of the CUDA
// toolkit. On the host (tests/cuda/shim) the standard library stands in for it.
#pragma once

#include "device.h"
#include "cuda.h"

#if !defined(ISF_SHIM)
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#endif

namespace isf {
namespace cuda {

#if defined(ISF_SHIM)

inline cudaError_t prefix_sums(uint64_t* values, int64_t count, const Queue&) {
  std::partial_sum(values, values + count, values);
  return cudaSuccess;
}

inline cudaError_t sort_by_key(const uint64_t* key, uint64_t* sorted_key, const uint32_t* row,
                               uint32_t* sorted_row, int64_t count, int, const Queue&) {
  std::vector<uint32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return key[a] < key[b]; });
  for (size_t i = 0; i < order.size(); ++i) {
    sorted_key[i] = key[order[i]];
    sorted_row[i] = row[order[i]];
  }
  return cudaSuccess;
}

#else

// Calls an algorithm of CUB twice: for the size of its scratch memory, and to run.
template <class Algorithm>
cudaError_t with_scratch(const Queue& queue, Algorithm algorithm) {
  size_t bytes = 0;
  const cudaError_t error = algorithm(nullptr, bytes);
  if (error != cudaSuccess) return error;
  void* const scratch = queue.allocate(queue.owner, bytes ? bytes : 1);
  return algorithm(scratch, bytes);
}

// values[i] becomes the sum of the values up to i.
inline cudaError_t prefix_sums(uint64_t* values, int64_t count, const Queue& queue) {
  return with_scratch(queue, [&](void* scratch, size_t& bytes) {
    return cub::DeviceScan::InclusiveSum(scratch, bytes, values, values, count, queue.stream);
  });
}

// Sorts rows by their keys, ascending; equal keys keep their order. Keys have `bits` bits.
inline cudaError_t sort_by_key(const uint64_t* key, uint64_t* sorted_key, const uint32_t* row,
                               uint32_t* sorted_row, int64_t count, int bits, const Queue& queue) {
  return with_scratch(queue, [&](void* scratch, size_t& bytes) {
    return cub::DeviceRadixSort::SortPairs(scratch, bytes, key, sorted_key, row, sorted_row, count,
                                           0, bits, queue.stream);
  });
}

#endif

}  // namespace cuda
}  // namespace isf
