// The passes of a draw over all weights, for one instruction set. Plain loops that the compiler
// vectorises.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// Works on bits: numbers without sign order like them, with inf and NaN at the end, and the bits of
// all negative numbers lie above those of -0, which counts as 0.
template <class T>
cpu::WeightScan scan_weights_kernel(const void* weights, int64_t begin, int64_t end) {
  typedef decltype(bits_of(T())) Bits;
  const T* w = static_cast<const T*>(weights);
  const Bits sign = Bits(1) << (8 * sizeof(T) - 1),
             largest_finite = bits_of(std::numeric_limits<T>::max());
  Bits largest = 0, positive = 0, negative = 0;
  for (int64_t i = begin; i < end; ++i) {
    const Bits bits = bits_of(w[i]), size = bits & ~sign;
    largest = size > largest ? size : largest;
    positive += size != 0;
    negative |= bits > sign;
  }
  cpu::WeightScan scan = {largest, static_cast<int64_t>(positive), -1};
  if (negative || largest > largest_finite) {
    for (scan.bad = begin; weight_bits(w[scan.bad]) <= largest_finite;) ++scan.bad;
  }
  return scan;
}

template <class T>
uint64_t squares_kernel(const int64_t* fixed, int row_bits, int64_t count) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += square_of(static_cast<uint64_t>(fixed[i]), row_bits, T());
  }
  return sum;
}

template <class T>
uint64_t to_fixed_point_kernel(const void* weights, int shift, int64_t* fixed, int64_t begin,
                               int64_t end) {
  const T* w = static_cast<const T*>(weights);
  uint64_t sum = 0;
  for (int64_t i = begin; i < end; ++i) {
    const uint64_t f = to_fixed_point(w[i], shift);
    fixed[i] = static_cast<int64_t>(f);
    sum += f;
  }
  return sum;
}

inline void random_numbers_kernel(uint64_t seed, uint64_t first, uint64_t* number) {
  uint64_t even[cpu::kNumbers / 2], odd[cpu::kNumbers / 2];
  for (int b = 0; b < cpu::kNumbers / 2; ++b) {
    const PhiloxBlock block = philox_block(seed, first / 2 + static_cast<uint64_t>(b));
    even[b] = block.number[0];
    odd[b] = block.number[1];
  }
  for (int b = 0; b < cpu::kNumbers / 2; ++b) {
    number[2 * b] = even[b];
    number[2 * b + 1] = odd[b];
  }
}

inline void race_kernel(const int64_t* fixed, uint64_t first_row, uint64_t seed, uint64_t* key,
                        int64_t begin, int64_t end) {
  uint64_t number[cpu::kNumbers + 1] = {}, time[cpu::kNumbers];
  int64_t weight[cpu::kNumbers] = {};
  for (int64_t count; begin < end; begin += count) {
    // Random numbers come in pairs: after a group that is one short, the rows are at an even one.
    const uint64_t row = first_row + static_cast<uint64_t>(begin), odd = row & 1;
    const int64_t most = cpu::kNumbers - static_cast<int64_t>(odd);
    count = end - begin < most ? end - begin : most;
    random_numbers_kernel(seed, row - odd, number);
    memcpy(weight, fixed + begin, static_cast<size_t>(count) * sizeof *weight);
    for (int k = 0; k < cpu::kNumbers; ++k) {
      const uint64_t bits = bits_of(
          arrival(number[static_cast<uint64_t>(k) + odd], static_cast<uint64_t>(weight[k])));
      time[k] =
          bits << 32 | static_cast<uint64_t>(begin + k) | -static_cast<uint64_t>(weight[k] == 0);
    }
    memcpy(key + begin, time, static_cast<size_t>(count) * sizeof *time);
  }
}

inline void arrival_probabilities_kernel(const uint64_t* rate, float time, float* prob) {
  for (int k = 0; k < cpu::kNumbers; ++k) prob[k] = arrival_probability(rate[k], time, 0.0f);
}

inline void search_kernel(const int64_t* sums, int64_t length, const int64_t* point,
                          int64_t* first) {
  int64_t at[cpu::kSearches];
  memcpy(at, first, sizeof at);
  for (; length > 1; length -= length / 2) {
    const int64_t half = length / 2;
    const int64_t* probe = sums + half - 1;
    // No branch: half the guesses would be wrong.
    for (int k = 0; k < cpu::kSearches; ++k)
      at[k] += half & -static_cast<int64_t>(probe[at[k]] <= point[k]);
  }
  memcpy(first, at, sizeof at);
}

}  // namespace ISF_LEVEL
}  // namespace isf
