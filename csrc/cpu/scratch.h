// Memory that a call works in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace isf {
namespace cpu {

// Uninitialised memory, at a multiple of kScratchAlignment. It is kept for later calls, up to
// kScratchKept bytes: what is large the system would clear first, page by page, which takes longer
// than a draw.
constexpr size_t kScratchAlignment = 64, kScratchKept = size_t{1} << 28;
void* take_scratch(size_t bytes);
void give_scratch(void* memory);

struct GiveScratch {
  void operator()(void* memory) const { give_scratch(memory); }
};
template <class T>
using Scratch = std::unique_ptr<T[], GiveScratch>;

template <class T>
Scratch<T> scratch(int64_t count) {
  static_assert(std::is_trivially_destructible<T>::value, "nothing is destroyed");
  return Scratch<T>(static_cast<T*>(take_scratch(static_cast<size_t>(count) * sizeof(T))));
}

}  // namespace cpu
}  // namespace isf
