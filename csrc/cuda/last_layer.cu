// The norm of a last linear layer's gradient, from that of its output: a warp for each row.
#include <algorithm>

#include "cuda.h"
#include "load.cuh"
#include "reduce.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kThreads = 128;

// The sum of squares of one row; float32 where it fits.
template <class Square, class Element>
__device__ __forceinline__ Square square_sum(const Element* row, int64_t width) {
  constexpr int kWidth = Vector<Element>::kCount, kAtOnce = 4;
  Square part[kAtOnce] = {};
  const auto add = [&](int k, ResultOf<Element> h) {
    part[k] += static_cast<Square>(h) * static_cast<Square>(h);
  };
  // Up to the first multiple of 16 bytes, and behind the last one, features come one by one.
  const int64_t misaligned = (16 - reinterpret_cast<uintptr_t>(row) % 16) % 16 / sizeof(Element);
  const int64_t head = misaligned < width ? misaligned : width;
  const int64_t vectors = (width - head) / kWidth;
  const int lane = lane_index();
  for (int64_t i = lane; i < vectors; i += kAtOnce * kWarp) {
    Vector<Element> x[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      x[k].fill(Element{});
      if (i + k * kWarp < vectors) x[k].load(row + head + (i + k * kWarp) * kWidth);
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
#pragma unroll
      for (int j = 0; j < kWidth; ++j) add(k, x[k][j]);
    }
  }
  for (int64_t i = lane; i < width - vectors * kWidth; i += kWarp) {
    add(0, to_number(row[i < head ? i : i + vectors * kWidth]));
  }
  return warp_reduce((part[0] + part[1]) + (part[2] + part[3]), Sum());
}

// score *= sqrt(1 + |h|^2), or NaN for a feature that is not finite.
template <class Element, class T>
__global__ void __launch_bounds__(kThreads)
    last_layer_rows(const Features features, T* score, int64_t rows) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warp_count() + warp_index();
  if (row >= rows) return;
  const T old = score[row];
  if (old == 0) return;  // perhaps an ignored row, whose features may be anything
  const Element* const h = static_cast<const Element*>(features.rows) + row * features.row_stride;
  double sum = square_sum<ResultOf<Element>>(h, features.width);
  // Squares may leave the range of float although the norm does not.
  if (!(sum < HUGE_VAL)) sum = square_sum<double>(h, features.width);
  if (lane_index() != 0) return;
  score[row] = sum < HUGE_VAL ? old * static_cast<T>(sqrt(1.0 + sum)) : static_cast<T>(nan(""));
}

template <class Element>
int launch_last_layer(const Features& features, void* score, bool score_is_double, int64_t rows,
                      const Queue& queue) {
  const int64_t warps = kThreads / kWarp;
  const dim3 blocks(static_cast<unsigned>((rows + warps - 1) / warps));
  if (score_is_double) {
    return launch(last_layer_rows<Element, double>, blocks, kThreads, 0, queue.stream, features,
                  static_cast<double*>(score), rows);
  }
  return launch(last_layer_rows<Element, float>, blocks, kThreads, 0, queue.stream, features,
                static_cast<float*>(score), rows);
}

}  // namespace

int last_layer(const Features& features, void* score, bool score_is_double, int64_t rows,
               const Queue& queue) {
  if (rows == 0) return 0;
  switch (features.element) {
    case kFloat:
      return launch_last_layer<float>(features, score, score_is_double, rows, queue);
    case kDouble:
      return launch_last_layer<double>(features, score, score_is_double, rows, queue);
    case kHalf:
      return launch_last_layer<Half>(features, score, score_is_double, rows, queue);
    default:
      return launch_last_layer<BFloat16>(features, score, score_is_double, rows, queue);
  }
}

}  // namespace cuda
}  // namespace isf
