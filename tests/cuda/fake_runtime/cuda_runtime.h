// As much of CUDA's runtime as csrc/cuda/shared_memory.cpp calls: devices whose limits are plain
// numbers, and a record of what was set.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <utility>

typedef int cudaError_t;
constexpr cudaError_t cudaSuccess = 0, cudaErrorInvalidValue = 1;

enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

struct cudaFuncAttributes {
  size_t sharedSizeBytes;
};

namespace fake {

constexpr int kMost = 227 * 1024, kDeclared = 1024;
inline thread_local int device = 0;
inline thread_local bool fails = false;

struct Limit {
  int bytes = 48 * 1024, times_set = 0;
};
inline std::mutex mutex;
inline std::map<std::pair<const void*, int>, Limit> limits;

}  // namespace fake

inline cudaError_t cudaGetDevice(int* device) {
  *device = fake::device;
  return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = fake::kMost;
  return cudaSuccess;
}

inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  attributes->sharedSizeBytes = fake::kDeclared;
  return cudaSuccess;
}

inline cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int bytes) {
  if (fake::fails) return cudaErrorInvalidValue;
  const std::lock_guard<std::mutex> lock(fake::mutex);
  fake::Limit& limit = fake::limits[{kernel, fake::device}];
  limit.bytes = bytes;
  ++limit.times_set;
  return cudaSuccess;
}
