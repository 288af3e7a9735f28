// Draws in one launch of one block, where that is quickest; see block_draw.cuh. Larger ones are in
// grid_draw.cu.
#include "block_draw.cuh"
#include "grid_draw.h"

namespace isf {
namespace cuda {

namespace {

template <class T, Way kWay>
__global__ void __launch_bounds__(most_threads(kWay, sizeof(T) == sizeof(double)), 1)
    draw_kernel(const __grid_constant__ Drawing drawing, const __grid_constant__ Layout layout,
                const T* scores) {
  ISF_DYNAMIC_SHARED(shared);
  BlockDraw<T, kWay> draw(drawing, layout, scores, shared);
  BitsOf<T> largest = 0;
#pragma unroll 4
  for (int row = static_cast<int>(threadIdx.x); row < drawing.rows; row += blockDim.x) {
    const BitsOf<T> bits = weight_bits(scores[row]);
    largest = bits > largest ? bits : largest;
  }
  draw.run(largest);
}

template <class T>
int draw_typed(const Drawing& drawing, const void* scores, const Queue& queue) {
  constexpr bool is_double = sizeof(T) == sizeof(double);
  const Layout layout =
      layout_of(drawing, is_double, drawing.rows > drawing.n ? drawing.rows : drawing.n);
  if (!fits_block(drawing, is_double) || layout.shared_bytes > queue.shared_memory) {
    return grid_draw(drawing, scores, is_double, queue);
  }
  const auto kernel = drawing.way == Way::kPoints  ? draw_kernel<T, Way::kPoints>
                      : drawing.way == Way::kOrder ? draw_kernel<T, Way::kOrder>
                                                   : draw_kernel<T, Way::kSize>;
  return launch(kernel, dim3(1), layout.threads, layout.shared_bytes, queue.stream, drawing, layout,
                static_cast<const T*>(scores));
}

// The keys of a sort, filled up to a power of two.
size_t sorted_bytes(int rows, bool is_double) {
  size_t count = 2 * kWarp;
  while (count < static_cast<size_t>(rows)) count *= 2;
  return count * (is_double ? sizeof(WideKey) : sizeof(NarrowKey));
}

}  // namespace

bool fits_block(const Drawing& drawing, bool is_double) {
  if (drawing.rows > kMostBlockRows) return false;
  if (drawing.way == Way::kOrder) return sorted_bytes(drawing.rows, is_double) <= kMostSortedBytes;
  return drawing.way == Way::kSize || drawing.n <= kMostBlockDraws;
}

Layout layout_of(const Drawing& drawing, bool is_double, int busy) {
  const int most = most_threads(drawing.way, is_double);
  Layout layout = {};
  layout.threads = busy < most ? (busy + kWarp - 1) / kWarp * kWarp : most;
  while ((drawing.rows - 1) >> layout.stripe_bits >= kMostStripes) ++layout.stripe_bits;
  const int stripes = ((drawing.rows - 1) >> layout.stripe_bits) + 1;
  layout.tiles = 1;
  while (layout.tiles * layout.threads < stripes) layout.tiles *= 2;
  const size_t slots = static_cast<size_t>(layout.tiles) * static_cast<size_t>(layout.threads);
  const size_t moments = drawing.tau ? sizeof(Moments) * static_cast<size_t>(layout.threads) : 0;
  size_t main = slots * sizeof(uint64_t);
  if (drawing.way == Way::kSize) main += slots * sizeof(uint32_t);
  if (drawing.way == Way::kOrder) main = sorted_bytes(drawing.rows, is_double);
  layout.shared_bytes = Slots::kAllBytes + moments + main;
  return layout;
}

int draw_by(const Drawing& drawing, const void* scores, bool is_double, const Queue& queue) {
  return is_double ? draw_typed<double>(drawing, scores, queue)
                   : draw_typed<float>(drawing, scores, queue);
}

int draw(const DrawProblem& problem, const Queue& queue) {
  Drawing drawing = {};
  drawing.rows = static_cast<int>(problem.rows);
  drawing.n = static_cast<int>(problem.n);
  drawing.method = problem.method;
  drawing.way = way_of(problem.method);
  drawing.seed = problem.seed;
  drawing.outcome = Outcome::kProb;
  drawing.index = problem.index;
  drawing.result = problem.prob;
  drawing.status = problem.status;
  return draw_by(drawing, problem.weights, problem.is_double, queue);
}

}  // namespace cuda
}  // namespace isf
