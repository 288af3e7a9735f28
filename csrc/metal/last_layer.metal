// The norm of a last linear layer's gradient, from that of its output: a SIMD group for each row.
#include "running_sums.h"

using namespace isf;
using namespace isf::mps;

// In the order of _LastLayer in impsamp_fast/ops/_metal_rows.py.
struct LastLayerProblem {
  int64_t rows, row_stride, width;
};

// The sum of squares of a row's features, times the square of `scale`.
template <class Element>
ISF_FN float square_sum(device const Element* row, int64_t width, float scale, thread Team& team) {
  ExactSum sum = {0.0f, 0.0f};
  for (int64_t i = team.thread_index(); i < width; i += team.size) {
    const float h = static_cast<float>(row[i]) * scale;
    sum.add(h * h);
  }
  return team.reduce(sum.total(), Sum(), 0.0f);
}

// score *= sqrt(1 + |h|^2), or NaN for a feature that is not finite. Squares may leave the range of
// float although the norm does not: then all are scaled by a power of two.
template <class Element>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void last_layer(
    device const Element* features, device float* score, constant LastLayerProblem& problem,
    ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  Team team(kSimd, static_cast<int>(thread_index), slots);
  const int64_t row = group_index * (threads / kSimd) + thread_index / kSimd;
  if (row >= problem.rows) return;  // a whole SIMD group, and there is no barrier
  // Its first lane writes the score, so that no other may read it.
  const float old = shuffled(team.thread_index() == 0 ? score[row] : 0.0f, 0);
  if (old == 0.0f) return;  // perhaps an ignored row, whose features may be anything
  device const Element* const h = features + row * problem.row_stride;
  float norm = root(1.0f + square_sum(h, problem.width, 1.0f, team));
  if (!(norm < INFINITY)) {
    const float small = 1.0f / 18446744073709551616.0f;  // 2^-64
    norm = root(square_sum(h, problem.width, small, team)) / small;
  }
  if (team.thread_index() == 0) {
    score[row] = norm < INFINITY ? old * norm : not_a_number(old);
  }
}

ISF_KERNEL(last_layer_float, last_layer<float>);
ISF_KERNEL(last_layer_half, last_layer<half>);
#if __METAL_VERSION__ >= 310
ISF_KERNEL(last_layer_bfloat, last_layer<bfloat>);
#endif
