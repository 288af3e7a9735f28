// From scores to the weights that rows are drawn by: as they are, smoothed, or equal where all
// scores are zero; and what keeps a draw from being made.
#pragma once

#include "../cdf.h"
#include "../philox.h"
#include "device.h"
#include "drawing.h"

namespace isf {
namespace cuda {

// The numbers of a type by their bits.
template <class T>
struct Numbers;
template <>
struct Numbers<float> {
  typedef uint32_t Bits;
  static constexpr Bits kLargestFinite = 0x7f7fffffu, kNaN = 0x7fc00000u;
};
template <>
struct Numbers<double> {
  typedef uint64_t Bits;
  static constexpr Bits kLargestFinite = 0x7fefffffffffffffull, kNaN = 0x7ff8000000000000ull;
};
template <class T>
using BitsOf = typename Numbers<T>::Bits;

template <class T>
__device__ __forceinline__ T number_from(BitsOf<T> bits) {
  T x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// A seed's parts, read before they are needed: the reads go along with others.
struct SeedWords {
  uint64_t seed, offset;
  bool from_generator;

  __device__ __forceinline__ explicit SeedWords(const SeedSource& source)
      : seed(source.seed_at ? static_cast<uint64_t>(*source.seed_at) : source.seed),
        offset(source.offset +
               (source.offset_at ? static_cast<uint64_t>(*source.offset_at) : uint64_t{0})),
        from_generator(source.from_generator) {}

  __device__ __forceinline__ uint64_t value() const {
    return from_generator ? philox_block(seed, offset / 4).number[0] : seed;
  }
};

__device__ __forceinline__ bool is_ignored(const Ignored& ignored, int64_t row) {
  if (ignored.mask) return ignored.mask[row];
  if (!ignored.target) return false;
  const int64_t at = row * ignored.stride;
  const int64_t y = ignored.is_int64 ? static_cast<const int64_t*>(ignored.target)[at]
                                     : static_cast<const int32_t*>(ignored.target)[at];
  return y == ignored.ignore_index;
}

// What a pass over scores finds.
template <class T>
struct Summary {
  static constexpr int kNone = 0x7fffffff;

  double sum;
  BitsOf<T> largest;   // of weight_bits(score): beyond the largest finite number if one is bad
  int32_t positive;    // how many scores are
  int32_t counted;     // rows that are not ignored
  int32_t first_fine;  // of those; an ignored row may be bad unseen
  int32_t first_bad;
  int32_t unused[sizeof(T) == sizeof(float) ? 1 : 2];  // no padding

  static __device__ __forceinline__ Summary nothing() {
    Summary s = {};
    s.first_fine = s.first_bad = kNone;
    return s;
  }

  __device__ __forceinline__ void add(T score, int row, const Ignored& ignored) {
    const BitsOf<T> bits = weight_bits(score);
    largest = bits > largest ? bits : largest;
    positive += bits != 0;
    const bool bad = bits > Numbers<T>::kLargestFinite;
    if (bad && row < first_bad) first_bad = row;
    sum += static_cast<double>(score);
    if (is_ignored(ignored, row)) return;
    ++counted;
    if (!bad && row < first_fine) first_fine = row;
  }

  __device__ __forceinline__ void merge(const Summary& other) {
    sum += other.sum;
    largest = other.largest > largest ? other.largest : largest;
    positive += other.positive;
    counted += other.counted;
    first_fine = other.first_fine < first_fine ? other.first_fine : first_fine;
    first_bad = other.first_bad < first_bad ? other.first_bad : first_bad;
  }
};

enum class Rule { kScores, kEqual, kSmoothed };

// How scores become weights.
template <class T>
struct Sampling {
  int64_t status;
  Rule rule;
  int shift;          // of the fixed point
  int64_t fine;       // with a positive status: a row that is fine, or at least as large as rows
  double keep, lift;  // a smoothed weight is keep * score + lift

  // By the scores themselves; `largest` are the bits of the largest of `rows`.
  static __device__ __forceinline__ Sampling by_scores(BitsOf<T> largest, int rows) {
    Sampling s = {};
    s.rule = Rule::kScores;
    s.set_largest(number_from<T>(largest), rows);
    return s;
  }

  static __device__ __forceinline__ Sampling of(const Summary<T>& scores, const Drawing& drawing) {
    Sampling s = {};
    int positive = scores.positive;
    if (scores.largest > Numbers<T>::kLargestFinite) {
      s.status = 1 + static_cast<int64_t>(scores.first_bad);
      s.fine = scores.first_fine;
      return s;
    }
    if (scores.counted == 0) {
      s.status = -1;
      return s;
    }
    T largest = number_from<T>(scores.largest);
    if (scores.largest == 0) {
      s.rule = Rule::kEqual;
      largest = T(1);
      positive = scores.counted;
    } else if (drawing.smoothing != 0) {
      s.rule = Rule::kSmoothed;
      s.keep = 1.0 - drawing.smoothing;
      s.lift = product(drawing.smoothing, scores.sum / static_cast<double>(scores.counted));
      largest = s.smoothed(largest);
      positive = scores.counted;
      // The sum was beyond the largest number. No row is bad, so the first fine one is the first.
      if (bits_of(largest) > Numbers<T>::kLargestFinite) {
        s.status = 1 + static_cast<int64_t>(scores.first_fine);
        s.fine = scores.first_fine;
        return s;
      }
    }
    if (drawing.way != Way::kPoints && drawing.n > positive) {
      s.status = -1 - static_cast<int64_t>(positive);
      return s;
    }
    s.set_largest(largest, drawing.rows);
    return s;
  }

  // A power of two that brings the largest weight near 1, so that no square over- or underflows.
  __device__ __forceinline__ double scale(int rows) const {
    int exponent = shift - 62 + bits_for(static_cast<uint64_t>(rows));
    exponent = exponent > 1023 ? 1023 : (exponent < -1022 ? -1022 : exponent);
    return number_from<double>(static_cast<uint64_t>(exponent + 1023) << 52);
  }

  // Grows with the score. At least the smallest number: a chance must not be rounded away.
  __device__ __forceinline__ T smoothed(T score) const {
    const T chance = static_cast<T>(isf::sum(product(keep, static_cast<double>(score)), lift));
    const T least = number_from<T>(1);
    return chance < least ? least : chance;
  }

 private:
  __device__ __forceinline__ void set_largest(T largest, int rows) {
    shift = fixed_point_shift(largest, static_cast<uint64_t>(rows));
  }
};

// The weights that rows are drawn by.
template <class T>
struct Weights {
  const T* scores;
  const Ignored* ignored;
  Sampling<T> sampling;

  __device__ __forceinline__ T weight(T score, int64_t row) const {
    if (sampling.rule == Rule::kScores) return score;
    if (is_ignored(*ignored, row)) return T(0);
    return sampling.rule == Rule::kEqual ? T(1) : sampling.smoothed(score);
  }

  __device__ __forceinline__ T operator[](int64_t row) const { return weight(scores[row], row); }

  __device__ __forceinline__ uint64_t fixed_from(T score, int64_t row) const {
    return to_fixed_point(weight(score, row), sampling.shift);
  }
  __device__ __forceinline__ uint64_t fixed(int64_t row) const {
    return fixed_from(scores[row], row);
  }
};

// Sums of the scaled weights, for tau.
struct Moments {
  double sum, square;

  static __device__ __forceinline__ Moments nothing() { return Moments{0, 0}; }
  __device__ __forceinline__ void add(double x) {
    sum += x;
    square += x * x;
  }
  __device__ __forceinline__ void merge(const Moments& other) {
    sum += other.sum;
    square += other.square;
  }
  // sqrt(K sum g^2) with g the normalised weights.
  __device__ __forceinline__ double tau(int rows) const {
    return sqrt(static_cast<double>(rows) * square) / sum;
  }
};

// What is stored of a drawn row's probability, as far as that depends on this row alone.
template <class T>
__device__ __forceinline__ T weight_of(const Drawing& drawing, T prob) {
  if (drawing.outcome == Outcome::kUnbiased) {
    return static_cast<T>(drawing.numerator / static_cast<double>(prob));
  }
  return drawing.outcome == Outcome::kOne ? T(1) : prob;
}

// Stores a drawn row.
template <class T>
__device__ __forceinline__ void store(const Drawing& drawing, int64_t i, int64_t row, T prob) {
  drawing.index[i] = row;
  static_cast<T*>(drawing.result)[i] = weight_of(drawing, prob);
}

// Stores what a draw that cannot be made leaves, for the draws from `first` in steps of `step`. A
// training step may be on its way that computes a loss of the drawn rows: no weight of 0 helps
// against a target that is no class, at which the device would stop, or against a NaN.
template <class T>
__device__ __forceinline__ void store_failure(const Drawing& drawing, const Sampling<T>& sampling,
                                              int64_t first, int64_t step) {
  const T nan = number_from<T>(Numbers<T>::kNaN);
  const bool avoids = sampling.status > 0 && sampling.fine < drawing.rows;
  for (int64_t i = first; i < drawing.n; i += step) {
    drawing.index[i] = avoids ? sampling.fine : i % drawing.rows;
    static_cast<T*>(drawing.result)[i] = drawing.outcome == Outcome::kProb ? nan : T(0);
  }
  if (first == 0 && drawing.tau) *static_cast<T*>(drawing.tau) = nan;
}

}  // namespace cuda
}  // namespace isf
