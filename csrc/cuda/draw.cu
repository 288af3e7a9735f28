// Draws in one launch of one block, where that is quickest; see block_draw.cuh. Larger ones are in
// grid_draw.cu.
#include "block_draw.cuh"
#include "grid_draw.h"

namespace isf {
namespace cuda {

namespace {

template <class T, Way kWay>
__global__ void __launch_bounds__(most_threads(kWay, sizeof(T) == sizeof(double)), 1)
    draw_kernel(const __grid_constant__ DrawPlan plan, const __grid_constant__ Layout layout,
                const T* scores) {
  ISF_DYNAMIC_SHARED(shared);
  BlockDraw<T, kWay> draw(plan, layout, scores, shared);
  BitsOf<T> largest = 0;
#pragma unroll 4
  for (int row = static_cast<int>(threadIdx.x); row < plan.rows; row += blockDim.x) {
    const BitsOf<T> bits = weight_bits(scores[row]);
    largest = bits > largest ? bits : largest;
  }
  draw.run(largest);
}

template <class T>
int draw_typed(const DrawPlan& plan, const void* scores, const Queue& queue) {
  constexpr bool is_double = sizeof(T) == sizeof(double);
  const Layout layout = layout_of(plan, is_double, plan.rows > plan.n ? plan.rows : plan.n);
  if (!fits_block(plan, is_double) || layout.shared_bytes > queue.shared_memory) {
    return grid_draw(plan, scores, is_double, queue);
  }
  const auto kernel = plan.way == Way::kPoints  ? draw_kernel<T, Way::kPoints>
                      : plan.way == Way::kOrder ? draw_kernel<T, Way::kOrder>
                                                : draw_kernel<T, Way::kSize>;
  return launch(kernel, dim3(1), layout.threads, layout.shared_bytes, queue.stream, plan, layout,
                static_cast<const T*>(scores));
}

// The keys of a sort, filled up to a power of two.
size_t sorted_bytes(int rows, bool is_double) {
  size_t count = 2 * kWarp;
  while (count < static_cast<size_t>(rows)) count *= 2;
  return count * (is_double ? sizeof(WideKey) : sizeof(NarrowKey));
}

}  // namespace

bool fits_block(const DrawPlan& plan, bool is_double) {
  if (plan.rows > kMostBlockRows) return false;
  if (plan.way == Way::kOrder) return sorted_bytes(plan.rows, is_double) <= kMostSortedBytes;
  return plan.way == Way::kSize || plan.n <= kMostBlockDraws;
}

Layout layout_of(const DrawPlan& plan, bool is_double, int busy) {
  const int most = most_threads(plan.way, is_double);
  Layout layout = {};
  layout.threads = busy < most ? (busy + kWarp - 1) / kWarp * kWarp : most;
  while ((plan.rows - 1) >> layout.stripe_bits >= kMostStripes) ++layout.stripe_bits;
  const int stripes = ((plan.rows - 1) >> layout.stripe_bits) + 1;
  layout.tiles = 1;
  while (layout.tiles * layout.threads < stripes) layout.tiles *= 2;
  const size_t slots = static_cast<size_t>(layout.tiles) * static_cast<size_t>(layout.threads);
  const size_t tau_sums = plan.tau ? sizeof(TauSums) * static_cast<size_t>(layout.threads) : 0;
  size_t main = slots * sizeof(uint64_t);
  if (plan.way == Way::kSize) main += slots * sizeof(uint32_t);
  if (plan.way == Way::kOrder) main = sorted_bytes(plan.rows, is_double);
  layout.shared_bytes = Slots::kAllBytes + tau_sums + main;
  return layout;
}

int draw_by(const DrawPlan& plan, const void* scores, bool is_double, const Queue& queue) {
  return is_double ? draw_typed<double>(plan, scores, queue)
                   : draw_typed<float>(plan, scores, queue);
}

int draw(const DrawProblem& problem, const Queue& queue) {
  DrawPlan plan = {};
  plan.rows = static_cast<int>(problem.rows);
  plan.n = static_cast<int>(problem.n);
  plan.method = problem.method;
  plan.way = way_of(problem.method);
  plan.seed = problem.seed;
  plan.outcome = Outcome::kProb;
  plan.index = problem.index;
  plan.result = problem.prob;
  plan.status = problem.status;
  return draw_by(plan, problem.weights, problem.is_double, queue);
}

}  // namespace cuda
}  // namespace isf
