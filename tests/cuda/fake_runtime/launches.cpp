// Threads that launch the same kernels with different amounts of shared memory, as far as the limit
// of a launch goes.
#include <cstdio>
#include <thread>
#include <vector>

#include "../../../csrc/cuda/shared_memory.h"

int main() {
  constexpr int kKernels = 3, kDevices = 2;
  static char kernels[kKernels];
  int wrong = 0;
  fake::fails = true;
  wrong += isf::cuda::allow_shared_memory(&kernels[0]) != cudaErrorInvalidValue;
  fake::fails = false;
  std::vector<std::thread> threads;
  std::vector<int> failures(16);
  for (size_t t = 0; t < failures.size(); ++t) {
    threads.emplace_back([t, &failures] {
      for (int launch = 0; launch < 600; ++launch) {
        fake::device = launch % kDevices;
        const void* const kernel = &kernels[launch % kKernels];
        failures[t] += isf::cuda::allow_shared_memory(kernel) != cudaSuccess;
        const std::lock_guard<std::mutex> lock(fake::mutex);
        const int bytes = fake::limits[{kernel, fake::device}].bytes;
        failures[t] += bytes != fake::kMost - fake::kDeclared;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int failed : failures) wrong += failed;
  for (const auto& [key, limit] : fake::limits) wrong += limit.times_set != 1;
  wrong += fake::limits.size() != static_cast<size_t>(kKernels) * kDevices;
  std::printf("%d wrong\n", wrong);
  return wrong != 0;
}
