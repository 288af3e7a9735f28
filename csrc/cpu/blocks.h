// How rows and draws are shared out among threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace isf {
namespace cpu {

// Rows, or draws, that one task handles at least; the results do not depend on it.
constexpr int64_t kBlock = 16384;

template <class Body>
void for_each_block(int64_t count, const Body& body) {
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  if (blocks == 1) return body(0, 0, count);  // the threads need not be asked
  at::parallel_for(0, blocks, 2, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b, b * kBlock, std::min(count, (b + 1) * kBlock));
  });
}

}  // namespace cpu
}  // namespace isf
