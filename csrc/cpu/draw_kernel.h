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

// Words in lanes twice as wide; what is above a word does not matter.
struct WordLanes {
  typedef uint64_t Longs __attribute__((vector_size(kVectorBytes)));
  static constexpr int kCount = kVectorBytes / 8;
  Longs v;

  ISF_MEMBER friend WordLanes operator^(WordLanes a, WordLanes b) { return {a.v ^ b.v}; }
  ISF_MEMBER friend WordLanes operator^(WordLanes a, uint32_t b) { return {a.v ^ b}; }
  ISF_MEMBER friend WordLanes wide_product(WordLanes a, uint32_t b) {
    const Longs factor = b - Longs{};
#if defined(ISF_AVX512)
    return {
        same_bits<Longs>(_mm512_mul_epu32(same_bits<__m512i>(a.v), same_bits<__m512i>(factor)))};
#elif defined(ISF_AVX2)
    return {
        same_bits<Longs>(_mm256_mul_epu32(same_bits<__m256i>(a.v), same_bits<__m256i>(factor)))};
#elif defined(__SSE2__)
    return {same_bits<Longs>(_mm_mul_epu32(same_bits<__m128i>(a.v), same_bits<__m128i>(factor)))};
#else
    return {(a.v & 0xffffffffu) * factor};
#endif
  }
  ISF_MEMBER friend WordLanes upper_word(WordLanes x) { return {x.v >> 32}; }
  ISF_MEMBER friend WordLanes lower_word(WordLanes x) { return x; }
  ISF_MEMBER friend WordLanes joined(WordLanes lower, WordLanes upper) {
    return {(lower.v & 0xffffffffu) | upper.v << 32};
  }
};

inline void random_numbers_kernel(uint64_t seed, uint64_t first, uint64_t* number) {
  uint64_t even[cpu::kNumbers / 2], odd[cpu::kNumbers / 2];
  for (int b = 0; b < cpu::kNumbers / 2; b += WordLanes::kCount) {
    WordLanes low, high;
    for (int lane = 0; lane < WordLanes::kCount; ++lane) {
      low.v[lane] = first / 2 + static_cast<uint64_t>(b + lane);
    }
    high.v = low.v >> 32;
    const PhiloxBlock<WordLanes> block = philox(seed, low, high);
    memcpy(even + b, &block.number[0], sizeof block.number[0]);
    memcpy(odd + b, &block.number[1], sizeof block.number[1]);
  }
  for (int b = 0; b < cpu::kNumbers / 2; ++b) {
    number[2 * b] = even[b];
    number[2 * b + 1] = odd[b];
  }
}

inline void race_kernel(const int64_t* fixed, uint64_t first_row, uint64_t seed, uint32_t* key,
                        int64_t count) {
  uint64_t number[cpu::kNumbers + 1] = {};
  int64_t weight[cpu::kNumbers] = {};
  float distance[cpu::kNumbers], rate[cpu::kNumbers];
  uint32_t late[cpu::kNumbers], keys[cpu::kNumbers];
  for (int64_t done = 0; done < count;) {
    // Random numbers come in pairs: after a group that is one short, the rows are at an even one.
    const uint64_t row = first_row + static_cast<uint64_t>(done), odd = row & 1;
    const int64_t most = cpu::kNumbers - static_cast<int64_t>(odd);
    const int64_t group = count - done < most ? count - done : most;
    random_numbers_kernel(seed, row - odd, number);
    memcpy(weight, fixed + done, static_cast<size_t>(group) * sizeof *weight);
    for (int k = 0; k < cpu::kNumbers; ++k) {
      const uint64_t random = number[static_cast<uint64_t>(k) + odd];
      distance[k] = nearest<float>(from_nearer_end(random));
      rate[k] = nearest<float>(static_cast<uint64_t>(weight[k]));
      late[k] = 0 - static_cast<uint32_t>(random >> 63);
    }
    for (int k = 0; k < cpu::kNumbers; ++k) keys[k] = race_key(distance[k], late[k], rate[k]);
    memcpy(key + done, keys, static_cast<size_t>(group) * sizeof *keys);
    done += group;
  }
}

template <class Key>
int64_t filter_kernel(const void* keys, int64_t count, uint64_t most, uint64_t row,
                      void* ordered_keys) {
  const Key* key = static_cast<const Key*>(keys);
  const Key bound = static_cast<Key>(most);
  cpu::Ordered<Key>* kept = static_cast<cpu::Ordered<Key>*>(ordered_keys);
  constexpr int64_t kGroup = 16;  // often there is none among so many
  for (int64_t i = 0; i < count; i += kGroup) {
    const int64_t stop = count - i < kGroup ? count : i + kGroup;
    if (stop == i + kGroup) {
      Key any = 0;
      for (int64_t k = 0; k < kGroup; ++k) any |= static_cast<Key>(key[i + k] <= bound);
      if (!any) continue;
    }
    for (int64_t k = i; k < stop; ++k) {
      *kept = cpu::ordered(key[k], row + static_cast<uint64_t>(k));
      kept += key[k] <= bound;
    }
  }
  return kept - static_cast<cpu::Ordered<Key>*>(ordered_keys);
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
