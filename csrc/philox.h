// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011, sections 3.3 and 4.3).
//
// The i-th number of a seed is a pure function of (seed, i), so any thread on any device can make
// it without state. The key is the seed; block b has the counter (b low, b high, 0, 0) and yields
// two 64-bit numbers, 2b and 2b + 1.
#pragma once

#include "portable.h"

namespace isf {

struct PhiloxBlock {
  uint64_t number[2];
};

ISF_FN PhiloxBlock philox_block(uint64_t seed, uint64_t block) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = 0,
           c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  PhiloxBlock result;
  result.number[0] = c0 | static_cast<uint64_t>(c1) << 32;
  result.number[1] = c2 | static_cast<uint64_t>(c3) << 32;
  return result;
}

// The i-th random number of a seed, uniform over the 64-bit integers.
ISF_FN uint64_t random_number(uint64_t seed, uint64_t i) {
  const PhiloxBlock block = philox_block(seed, i >> 1);
  return i & 1 ? block.number[1] : block.number[0];
}

}  // namespace isf
