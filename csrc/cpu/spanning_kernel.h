// One direction of a choice of rows that span a mean gradient, for one instruction set.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// sum += factor * line, for `count` lines; moves on to what follows them.
template <class V, int kVectors>
ISF_FN void add_lines(const typename V::Scalar*& line, const typename V::Scalar*& factor,
                      int64_t count, V (&sum)[kVectors]) {
  for (; count > 0; --count, line += cpu::kSpanTile, ++factor) {
    const V by = broadcast<V>(*factor);
    for (int k = 0; k < kVectors; ++k) {
      sum[k] = fused(by, V::load(line + k * V::kCount), sum[k]);
    }
  }
}

template <class T>
void span_kernel(const cpu::Span& span, int64_t begin, int64_t end) {
  typedef Lanes<T> V;
  constexpr int kVectors = 4;  // at a time: as many sums as registers have room for
  const V scale = broadcast<V>(static_cast<T>(span.scale)),
          part = broadcast<V>(static_cast<T>(span.part));
  for (int64_t tile = begin; tile < end; ++tile) {
    V largest(0.0f);
    for (int64_t in_tile = 0; in_tile < cpu::kSpanTile; in_tile += kVectors * V::kCount) {
      const T* line = static_cast<const T*>(span.lines) + tile * span.tile_size + in_tile;
      const T* factor = static_cast<const T*>(span.row);
      V dz[kVectors] = {}, h[kVectors] = {}, known[kVectors] = {};
      add_lines(line, factor, span.classes, dz);
      add_lines(line, factor, span.width, h);
      add_lines(line, factor, span.found, known);
      T* direction = const_cast<T*>(line);
      const int64_t first = tile * cpu::kSpanTile + in_tile;
      T* product = static_cast<T*>(span.product) + first;
      const T* open = static_cast<const T*>(span.open) + first;
      for (int k = 0; k < kVectors; ++k) {
        const int64_t at = k * V::kCount;
        const V unit = (dz[k] * h[k] - known[k]) * scale;
        const V left = V::load(product + at) - unit * part;
        unit.store(direction + at);
        left.store(product + at);
        largest = larger(largest, magnitude(left) * V::load(open + at));
      }
    }
    static_cast<T*>(span.largest)[tile] = largest_lane(largest);
  }
}

}  // namespace ISF_LEVEL
}  // namespace isf
