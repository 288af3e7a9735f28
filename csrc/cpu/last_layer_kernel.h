// The norm of a last linear layer's gradient, from that of its output, for one instruction set.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// score[i] *= sqrt(1 + |h_i|^2): the gradient of a last linear layer's weight and bias, from that
// of its output.
template <class Element>
int64_t last_layer_kernel(const void* features, int64_t row_stride, int64_t width, void* scores,
                          int64_t begin, int64_t end) {
  typedef typename Column<Element>::V V;
  typedef typename V::Scalar T;
  T* score = static_cast<T*>(scores);
  for (int64_t row = begin; row < end; ++row) {
    if (score[row] == 0) continue;  // perhaps an ignored row, whose features may be anything
    const Element* p = static_cast<const Element*>(features) + row * row_stride;
    V square[kAbreast];
    for (V& part : square) part = V(0.0f);
    int64_t i = 0;
    for (; i + kAbreast * V::kCount <= width; i += kAbreast * V::kCount) {
#pragma GCC unroll 4
      for (int k = 0; k < kAbreast; ++k) {
        const V h = load(p + i + k * V::kCount);
        square[k] = fused(h, h, square[k]);
      }
    }
    for (; i < width; i += V::kCount) {
      const V h = width - i < V::kCount ? load_part(p + i, width - i, 0.0f) : load(p + i);
      square[0] = fused(h, h, square[0]);
    }
    double sum = sum_of_lanes((square[0] + square[1]) + (square[2] + square[3]));
    if (!(sum < HUGE_VAL)) {
      // Squares may leave the range of float although the norm does not.
      sum = 0;
      for (i = 0; i < width; ++i) {
        const double h = load_part(p + i, 1, 0.0f).v[0];
        sum += h * h;
      }
    }
    if (!(sum < HUGE_VAL)) return row;
    score[row] *= static_cast<T>(sqrt(1.0 + sum));
  }
  return cpu::kNoFault;
}

}  // namespace ISF_LEVEL
}  // namespace isf
