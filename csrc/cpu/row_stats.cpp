#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <limits>

#include "cpu.h"

namespace isf {
namespace cpu {

namespace {

// Waking the threads costs about as much as this many exponentials.
constexpr int64_t kGrain = 32768;
// Threads share out tiles of rows, so that none but the last is partly filled. Rows of many classes
// are summed up one by one, and the parts of few of them are shared out.
constexpr int64_t kTile = 16, kFewRows = 4;

int64_t rows_per_task(int64_t row_cost) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row_cost));
}

// The lowest of the faults that the tasks report.
class FirstFault {
 public:
  void note(int64_t row) {
    if (row == kNoFault) return;
    for (int64_t seen = first_; row < seen && !first_.compare_exchange_weak(seen, row);) {
    }
  }

  int64_t row() const { return first_ == kNone ? kNoFault : first_.load(); }

 private:
  static constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> first_{kNone};
};

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

int64_t row_statistics(const RowProblem& problem, Element element) {
  const int64_t rows = problem.rows, classes = problem.classes;
  const bool soft =
      problem.probability || (problem.label_smoothing != 0 && problem.class_weight != nullptr);
  const RowKernel kernel = (soft ? kernels().soft_target : kernels().hard_target)[element];
  const bool one_by_one = !soft && problem.class_stride == 1 && classes > kGrain / kTile;
  const int64_t tile = one_by_one ? 1 : kTile, parts = parts_of(classes),
                threads = at::get_num_threads();
  Scratch<char> sums;
  if (one_by_one && parts > 1 && threads > 1 && rows < kFewRows * threads) {
    sums = scratch<char>(rows * parts * kPartBytes);
    at::parallel_for(0, rows * parts, kGrain / kPart, [&](int64_t begin, int64_t end) {
      kernels().hard_target_parts[element](problem, begin, end, sums.get());
    });
  }
  FirstFault first;
  at::parallel_for(
      0, (rows + tile - 1) / tile, sums ? rows : rows_per_task(tile * classes),
      [&](int64_t begin, int64_t end) {
        first.note(kernel(problem, begin * tile, std::min(end * tile, rows), sums.get()));
      });
  TORCH_CHECK_WITH(OutOfMemoryError, first.row() != kNoMemory, "no memory for the columns of ",
                   problem.classes, " classes");
  return first.row();
}

int64_t last_layer(const Features& features, void* score, int64_t rows) {
  const FeatureKernel kernel = kernels().last_layer[features.element];
  FirstFault first;
  at::parallel_for(0, rows, rows_per_task(features.width), [&](int64_t begin, int64_t end) {
    first.note(kernel(features.rows, features.row_stride, features.width, score, begin, end));
  });
  return first.row();
}

}  // namespace cpu
}  // namespace isf
