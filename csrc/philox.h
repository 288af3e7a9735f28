// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011, sections 3.3 and 4.3).
//
// The i-th number of a seed is a pure function of (seed, i), so any thread on any device can make
// it without state. The key is the seed; block b has the counter (b low, b high, 0, 0) and yields
// two 64-bit numbers, 2b and 2b + 1.
#pragma once

#include "portable.h"

namespace isf {

// Operations on words of 32 bits and the products of two; a vector type provides the same names.
ISF_FN uint64_t wide_product(uint32_t a, uint32_t b) { return static_cast<uint64_t>(a) * b; }
ISF_FN uint32_t upper_word(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
ISF_FN uint32_t lower_word(uint64_t x) { return static_cast<uint32_t>(x); }
ISF_FN uint64_t joined(uint32_t lower, uint32_t upper) {
  return lower | static_cast<uint64_t>(upper) << 32;
}

template <class Number>
struct PhiloxBlock {
  Number number[2];
};

// Word is uint32_t or a vector of them.
template <class Word>
ISF_FN auto philox(uint64_t seed, Word c0, Word c1) -> PhiloxBlock<decltype(joined(c0, c1))> {
  Word c2 = c0 ^ c0, c3 = c2;
  uint32_t k0 = lower_word(seed), k1 = upper_word(seed);
  for (int round = 0; round < 10; ++round) {
    const auto p0 = wide_product(c0, 0xD2511F53u), p1 = wide_product(c2, 0xCD9E8D57u);
    c0 = upper_word(p1) ^ c1 ^ k0;
    c1 = lower_word(p1);
    c2 = upper_word(p0) ^ c3 ^ k1;
    c3 = lower_word(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const PhiloxBlock<decltype(joined(c0, c1))> result = {{joined(c0, c1), joined(c2, c3)}};
  return result;
}

ISF_FN PhiloxBlock<uint64_t> philox_block(uint64_t seed, uint64_t block) {
  return philox(seed, lower_word(block), upper_word(block));
}

// The i-th random number of a seed, uniform over the 64-bit integers.
ISF_FN uint64_t random_number(uint64_t seed, uint64_t i) {
  const PhiloxBlock<uint64_t> block = philox_block(seed, i >> 1);
  return i & 1 ? block.number[1] : block.number[0];
}

}  // namespace isf
