// The points of a draw in [0, total): which rows' parts of the cumulative sum they fall into.
#pragma once

#include "../cdf.h"
#include "../philox.h"
#include "device.h"
#include "drawing.h"

namespace isf {
namespace cuda {

// `count` points at equal distances: systematic_point() with the division that all of them share
// done once.
struct Comb {
  uint64_t step, remainder, offset, total, count;

  Comb() = default;
  __device__ __forceinline__ Comb(uint64_t offset, uint64_t total, uint64_t count)
      : step(total / count), offset(offset), total(total), count(count) {
    remainder = total - step * count;
  }

  __device__ __forceinline__ uint64_t point(uint64_t i) const {
    return i * step + (i * remainder + offset) / count;
  }

  // How many points lie below x: the number that doubles say, set right by exact comparisons.
  __device__ __forceinline__ uint64_t below(uint64_t x) const {
    const double guess =
        (static_cast<double>(x) * static_cast<double>(count) - static_cast<double>(offset)) /
        static_cast<double>(total);
    uint64_t i = guess > 0 ? static_cast<uint64_t>(guess) : 0;
    i = i < count ? i : count;
    while (i < count && point(i) < x) ++i;
    while (i > 0 && point(i - 1) >= x) --i;
    return i;
  }
};

// The random numbers that points are made of, which need no weights: a thread has its first one
// ready while others still score rows.
struct Randoms {
  uint64_t seed, first;

  // `i` is the thread's first draw. All systematic draws share one number.
  static __device__ __forceinline__ Randoms of(Method method, uint64_t seed, uint64_t i) {
    return Randoms{seed, random_number(seed, method == Method::kSystematic ? 0 : i)};
  }
};

// The point of each draw with replacement.
class Points {
 public:
  __device__ __forceinline__ Points(Method method, const Randoms& randoms, uint64_t total,
                                    uint64_t n)
      : method_(method), total_(total) {
    if (method == Method::kMultinomial) return;
    const bool shifted = method == Method::kSystematic;
    comb_ = Comb(shifted ? uniform_point(randoms.first, total) : 0, total, n);
  }

  // Of draw i, whose random number is given.
  __device__ __forceinline__ uint64_t of(uint64_t i, uint64_t random) const {
    if (method_ == Method::kSystematic) return comb_.point(i);
    if (method_ == Method::kMultinomial) return uniform_point(random, total_);
    const uint64_t low = comb_.point(i), high = comb_.point(i + 1);
    return low + high_product(random, high - low);
  }

 private:
  Method method_;
  uint64_t total_;
  Comb comb_;
};

}  // namespace cuda
}  // namespace isf
