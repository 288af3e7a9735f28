// The two ends of a draw for themselves: from scores to what rows are drawn by, and from the
// probabilities of drawn rows to their weights. One block each: both are short beside what stands
// between them.
#include "block.cuh"
#include "rescale.cuh"
#include "sampling.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kThreads = 512;

template <class T>
__global__ void __launch_bounds__(kThreads)
    smooth_kernel(const __grid_constant__ DrawPlan plan, const T* score, T* weights, T* tau) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  const auto counted = [&](int row) { return is_ignored(plan.ignored, row) ? T(0) : score[row]; };
  ScoreScan<T> mine = ScoreScan<T>::nothing();
  for (int row = first; row < plan.rows; row += step) {
    mine.add(counted(row), row, !is_ignored(plan.ignored, row));
  }
  const Mixture<T> mixture = mixture_of<T>(plan.smoothing);
  auto sampling = Sampling<T>::of(block_merge(mine, slots), plan.rules(), mixture);
  if (sampling.needs_mean()) {
    uint64_t sum = 0;
    for (int row = first; row < plan.rows; row += step) {
      sum += to_fixed_point(counted(row), sampling.shift);
    }
    sampling.smooth(block_sum(sum, slots), plan.rules(), mixture);
  }
  const int row_bits = bits_for(static_cast<uint64_t>(plan.rows));
  const T nan = not_a_number(T());
  TauSums sums = TauSums::nothing();
  for (int row = first; row < plan.rows; row += step) {
    const T weight = sampling.weight(counted(row), !is_ignored(plan.ignored, row));
    weights[row] = sampling.status ? nan : weight;
    const uint64_t fixed = to_fixed_point(weight, sampling.shift);
    sums.sum += fixed;
    sums.squares += square_of(fixed, row_bits, T());
  }
  sums = block_merge(sums, slots);
  if (first == 0) {
    *tau = sampling.status ? nan : tau_of<T>(sums, static_cast<uint64_t>(plan.rows));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    correct_kernel(const __grid_constant__ DrawPlan plan, const T* drawn_by) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  if (is_rescaled(plan.outcome)) {
    Rescaling<T>(plan, slots).run([&](int64_t i) { return drawn_by[i]; });
    return;
  }
  T* const weight = static_cast<T*>(plan.result);
  for (int64_t i = threadIdx.x; i < plan.n; i += blockDim.x) {
    weight[i] = weight_of<T>(plan, weight[i]);
  }
}

template <class T>
int launch_smooth(const SmoothProblem& problem, const Queue& queue) {
  DrawPlan plan = {};
  plan.rows = static_cast<int>(problem.rows);
  plan.n = 1;
  plan.smoothing = problem.share;
  plan.ignored.mask = problem.ignored;
  return launch(smooth_kernel<T>, dim3(1), kThreads, Slots::kAllBytes, queue.stream, plan,
                static_cast<const T*>(problem.score), static_cast<T*>(problem.weights),
                static_cast<T*>(problem.tau));
}

template <class T>
int launch_correct(const CorrectProblem& problem, const Queue& queue) {
  const Correcting& correcting = problem.correcting;
  DrawPlan plan = {};
  plan.n = static_cast<int>(correcting.n);
  set_correcting(plan, correcting, problem.is_double);
  plan.result = problem.weight;
  return launch(correct_kernel<T>, dim3(1), kThreads, Slots::kAllBytes, queue.stream, plan,
                static_cast<const T*>(problem.drawn_by));
}

}  // namespace

int smooth(const SmoothProblem& problem, const Queue& queue) {
  return problem.is_double ? launch_smooth<double>(problem, queue)
                           : launch_smooth<float>(problem, queue);
}

int correct(const CorrectProblem& problem, const Queue& queue) {
  return problem.is_double ? launch_correct<double>(problem, queue)
                           : launch_correct<float>(problem, queue);
}

}  // namespace cuda
}  // namespace isf
