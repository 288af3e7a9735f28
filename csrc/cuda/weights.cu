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
    smooth_kernel(const __grid_constant__ Drawing drawing, const T* score, T* weights, T* tau) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  const auto counted = [&](int row) {
    return is_ignored(drawing.ignored, row) ? T(0) : score[row];
  };
  Summary<T> mine = Summary<T>::nothing();
  for (int row = first; row < drawing.rows; row += step) {
    mine.add(counted(row), row, drawing.ignored);
  }
  const auto sampling = Sampling<T>::of(block_merge(mine, slots), drawing);
  const double scale = sampling.scale(drawing.rows);
  const Weights<T> made = {score, &drawing.ignored, sampling};
  const T nan = number_from<T>(Numbers<T>::kNaN);
  Moments moments = Moments::nothing();
  for (int row = first; row < drawing.rows; row += step) {
    const T weight = made.weight(counted(row), row);
    weights[row] = sampling.status ? nan : weight;
    moments.add(static_cast<double>(weight) * scale);
  }
  moments = block_merge(moments, slots);
  if (first == 0) *tau = sampling.status ? nan : static_cast<T>(moments.tau(drawing.rows));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    correct_kernel(const __grid_constant__ Drawing drawing, const T* drawn_by) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  if (is_rescaled(drawing.outcome)) {
    rescale<T>(drawing, [&](int64_t i) { return drawn_by[i]; }, slots);
    return;
  }
  T* const weight = static_cast<T*>(drawing.result);
  for (int64_t i = threadIdx.x; i < drawing.n; i += blockDim.x) {
    weight[i] = weight_of<T>(drawing, weight[i]);
  }
}

template <class T>
int launch_smooth(const SmoothProblem& problem, const Queue& queue) {
  Drawing drawing = {};
  drawing.rows = static_cast<int>(problem.rows);
  drawing.n = 1;
  drawing.smoothing = problem.share;
  drawing.ignored.mask = problem.ignored;
  return launch(smooth_kernel<T>, dim3(1), kThreads, Slots::kAllBytes, queue.stream, drawing,
                static_cast<const T*>(problem.score), static_cast<T*>(problem.weights),
                static_cast<T*>(problem.tau));
}

template <class T>
int launch_correct(const CorrectProblem& problem, const Queue& queue) {
  const Correcting& correcting = problem.correcting;
  Drawing drawing = {};
  drawing.n = static_cast<int>(correcting.n);
  drawing.outcome = outcome_of(correcting);
  drawing.numerator = correcting.numerator();
  drawing.exponent = correcting.exponent;
  drawing.result = problem.weight;
  return launch(correct_kernel<T>, dim3(1), kThreads, Slots::kAllBytes, queue.stream, drawing,
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
