#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>

#include "cpu.h"

namespace isf {
namespace cpu {

namespace {

// Waking the threads costs about as much as this many exponentials.
constexpr int64_t kGrain = 32768;
// Threads share out tiles of rows, so that none but the last is partly filled.
constexpr int64_t kTile = 16;

int64_t tiles_per_task(int64_t row_cost) {
  return std::max<int64_t>(1, kGrain / (kTile * std::max<int64_t>(1, row_cost)));
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& best = []() -> const Kernels& {
#if defined(__x86_64__)
    const std::string level = at::get_cpu_capability();
    if (level == "AVX512") return kernels_avx512;
    if (level == "AVX2") return kernels_avx2;
#endif
    return kernels_baseline;
  }();
  return best;
}

int64_t row_statistics(const RowProblem& problem, Element element, bool soft_target) {
  const RowKernel kernel = (soft_target ? kernels().soft_target : kernels().hard_target)[element];
  constexpr int64_t none = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> first{none};
  const int64_t tiles = (problem.rows + kTile - 1) / kTile;
  at::parallel_for(0, tiles, tiles_per_task(problem.classes), [&](int64_t begin, int64_t end) {
    const int64_t fault = kernel(problem, begin * kTile, std::min(end * kTile, problem.rows));
    if (fault == kNoFault) return;
    for (int64_t seen = first; fault < seen && !first.compare_exchange_weak(seen, fault);) {
    }
  });
  if (first == kNoMemory) throw std::bad_alloc();
  return first == none ? kNoFault : first.load();
}

void last_layer(Element element, const void* features, int64_t row_stride, int64_t width,
                void* score, int64_t rows) {
  const FeatureKernel kernel = kernels().last_layer[element];
  at::parallel_for(
      0, rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width)),
      [&](int64_t begin, int64_t end) { kernel(features, row_stride, width, score, begin, end); });
}

}  // namespace cpu
}  // namespace isf
