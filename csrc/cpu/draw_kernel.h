// The passes of a draw over all weights, for one instruction set. Plain loops that the compiler
// vectorises.
#pragma once

namespace isf {
namespace ISF_LEVEL {

template <class T>
cpu::WeightScan scan_weights_kernel(const void* weights, int64_t begin, int64_t end) {
  const T* w = static_cast<const T*>(weights);
  T largest = 0;
  int32_t positive = 0, wrong = 0;
  for (int64_t i = begin; i < end; ++i) {
    largest = w[i] > largest ? w[i] : largest;
    positive += w[i] > 0;
    wrong += !(w[i] >= 0 && w[i] <= std::numeric_limits<T>::max());
  }
  cpu::WeightScan scan = {static_cast<double>(largest), positive, -1};
  if (wrong) {
    scan.bad = begin;
    while (w[scan.bad] >= 0 && w[scan.bad] <= std::numeric_limits<T>::max()) ++scan.bad;
  }
  return scan;
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

inline void race_kernel(const int64_t* fixed, uint64_t seed, uint64_t* key, int64_t begin,
                        int64_t end) {
  constexpr int64_t abreast = 32;
  uint64_t random[abreast];
  for (; begin < end; begin += abreast) {
    const int64_t count = end - begin < abreast ? end - begin : abreast;
    for (int64_t k = 0; k < abreast; k += 2) {
      const PhiloxBlock block = philox_block(seed, static_cast<uint64_t>(begin + k) / 2);
      random[k] = block.number[0];
      random[k + 1] = block.number[1];
    }
    for (int64_t k = 0; k < count; ++k) {
      const uint64_t weight = static_cast<uint64_t>(fixed[begin + k]);
      const uint64_t time = bits_of(arrival(random[k], weight));
      key[begin + k] = weight ? time << 32 | static_cast<uint64_t>(begin + k) : ~uint64_t{0};
    }
  }
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
