// Launches over all of a device's blocks, and what a draw's last one does.
#pragma once

#include "block.cuh"
#include "sampling.cuh"

namespace isf {
namespace cuda {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t first_of_grid() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t threads_of_grid() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// Stores the rows at those of the points that fall on plan.rows rows, whose fixed points have the
// prefix sums `sums`; kElsewhere and 0 for the others.
template <class T>
__device__ __forceinline__ void store_at_points(const DrawPlan& plan, const uint64_t* sums,
                                                const Share& share, uint64_t seed) {
  const uint64_t own = plan.rows ? sums[plan.rows - 1] : 0;
  const int64_t first = first_of_grid();
  const Randoms randoms = Randoms::of(plan.method, seed, static_cast<uint64_t>(first));
  const DrawPoints points =
      DrawPoints::of(plan.method, randoms.first, share.total, static_cast<uint64_t>(plan.n));
  for (int64_t i = first; i < plan.n; i += threads_of_grid()) {
    const auto draw = static_cast<uint64_t>(i);
    const uint64_t random = i == first ? randoms.first : random_number(seed, draw);
    const uint64_t point = points.at(draw, random) - share.before;
    if (point >= own) {
      store(plan, i, kElsewhere, T(0));
      continue;
    }
    int64_t row = 0;
    for (int64_t length = plan.rows; length > 1; length -= length / 2) {
      row += sums[row + length / 2 - 1] <= point ? length / 2 : 0;
    }
    const uint64_t fixed = sums[row] - (row ? sums[row - 1] : 0);
    store(plan, i, row, draw_probability<T>(fixed, share.total));
  }
}

// Stores those of the rows drawn in proportion to their size that are among plan.rows rows. `sums`
// are the prefix sums of the fixed points of rows that are not certain, `counts` of how many are;
// `found` is of all rows, and `before` of those before these.
template <class T>
__device__ __forceinline__ void store_by_size(const DrawPlan& plan, const uint64_t* sums,
                                              const uint64_t* counts, const CertainRows& found,
                                              const CertainPart& before, uint64_t seed) {
  const uint64_t left = found.left(plan.n);
  const SystematicPoints points = found.points(random_number(seed, 0), plan.n);
  for (int64_t row = first_of_grid(); row < plan.rows; row += threads_of_grid()) {
    const uint64_t sum_here = row ? sums[row - 1] : 0, certain_here = row ? counts[row - 1] : 0;
    const uint64_t fixed = sums[row] - sum_here, sum = before.rest + sum_here;
    const uint64_t drawn = left ? points.below(sum) : 0;
    const auto place = before.certain + static_cast<int64_t>(certain_here + drawn);
    if (counts[row] != certain_here) {
      store(plan, place, row, T(1));
    } else if (drawn < left && points.at(drawn) < sum + fixed) {
      store(plan, place, row, found.probability<T>(fixed, left));
    }
  }
}

template <class Value>
Value* allocate(const Queue& queue, int64_t count) {
  return static_cast<Value*>(
      queue.allocate(queue.owner, static_cast<size_t>(count) * sizeof(Value)));
}

inline int blocks_for(int64_t threads, int most) {
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  return static_cast<int>(blocks < 1 ? 1 : (blocks < most ? blocks : most));
}

// Launches in order, until one fails.
class Launches {
 public:
  explicit Launches(const Queue& queue) : queue_(queue) {}

  template <class Kernel, class... Arguments>
  void run(Kernel kernel, int blocks, int threads, const Arguments&... arguments) {
    constexpr size_t shared = Slots::kAllBytes;
    if (error == cudaSuccess) {
      error = launch(kernel, dim3(static_cast<unsigned>(blocks)), threads, shared, queue_.stream,
                     arguments...);
    }
  }

  cudaError_t error = cudaSuccess;

 private:
  const Queue& queue_;
};

}  // namespace cuda
}  // namespace isf
