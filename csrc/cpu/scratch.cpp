#include "scratch.h"

#include <atomic>
#include <new>

namespace isf {
namespace cpu {

namespace {

// Stands before the memory.
struct alignas(kScratchAlignment) Header {
  size_t bytes;
};

// Smaller blocks are faster had from the allocator.
constexpr size_t kLeast = size_t{1} << 12;

// Taken and put by exchanges, without a lock that a forked process would find held. Never freed:
// another thread may still draw when the process ends.
constexpr size_t kPlaces = 2;
std::atomic<Header*> kept[kPlaces];

void release(Header* block) { ::operator delete(block, std::align_val_t{kScratchAlignment}); }

}  // namespace

void* take_scratch(size_t bytes) {
  if (bytes >= kLeast) {
    for (auto& place : kept) {
      Header* const block = place.exchange(nullptr);
      if (block && block->bytes >= bytes) return block + 1;
      release(block);  // what is needed now will be kept instead
    }
  }
  void* const memory = ::operator new(sizeof(Header) + bytes, std::align_val_t{kScratchAlignment});
  return new (memory) Header{bytes} + 1;
}

void give_scratch(void* memory) {
  Header* block = static_cast<Header*>(memory) - 1;
  if (block->bytes >= kLeast && block->bytes <= kScratchKept / kPlaces) {
    for (auto& place : kept) {
      block = place.exchange(block);
      if (!block) return;
    }
  }
  release(block);
}

}  // namespace cpu
}  // namespace isf
