// Copies from global to shared memory that pass by the registers: a thread has as many under way as
// it likes.
#pragma once

#include "device.h"

namespace isf {
namespace cuda {

// 4 or 8 bytes, both sides aligned to them. They are there after wait_for_copies(), and for other
// threads behind a barrier after that.
template <int kBytes>
__device__ __forceinline__ void copy_to_shared(void* to, const void* from) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(address), "l"(from), "n"(kBytes)
               : "memory");
#else
  memcpy(to, from, kBytes);
#endif
}

__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace cuda
}  // namespace isf
