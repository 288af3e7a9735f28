// Races, found whatever order the threads run in: two threads of a launch that use the same memory,
// one of them to write, with no barrier between that orders this memory. A barrier orders what its
// flags name; threadgroups are never ordered, and what lanes exchange orders nothing.
//
// The compiler calls the functions below for each access (-fsanitize=thread), and the runtime that
// it means is not linked.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "fibres.h"

#define SHIM_UNWATCHED __attribute__((no_sanitize("thread")))

namespace shim {

enum Space { kDevice, kThreadgroup, kSpaces };

// A word of memory: who used it last, and in which of the stretches between barriers.
struct Word {
  int writer = -1, reader = -1;
  int write_block = 0, read_block = 0;
  unsigned write_stretch = 0, read_stretch = 0;
};
constexpr int kSeveral = -2;  // readers, or blocks of readers

struct Watched {
  uintptr_t begin, end;
  Space space;
  std::vector<Word> words;
};

struct Stretches {
  int block = 0;
  unsigned of[kSpaces] = {};
};

// While one of these is there, nothing is looked at: it is the search for races that works.
class Aside {
 public:
  SHIM_UNWATCHED Aside() { ++count(); }
  SHIM_UNWATCHED ~Aside() { --count(); }
  SHIM_UNWATCHED static int& count() {
    static int aside = 0;
    return aside;
  }
};

class Races {
 public:
  static Races& all() {
    static Races* races = new Races;
    return *races;
  }

  // The buffers of a launch.
  void launch(const std::vector<std::pair<void*, size_t>>& buffers) {
    const Aside aside;
    watched_.erase(std::remove_if(watched_.begin(), watched_.end(),
                                  [](const Watched& one) { return one.space == kDevice; }),
                   watched_.end());
    for (const auto& buffer : buffers) watch(buffer.first, buffer.second, kDevice);
  }

  void watch(void* memory, size_t bytes, Space space) {
    const Aside aside;
    const auto begin = reinterpret_cast<uintptr_t>(memory);
    const auto same = [=](const Watched& one) { return one.begin == begin; };
    if (std::any_of(watched_.begin(), watched_.end(), same)) return;
    watched_.push_back({begin, begin + bytes, space, std::vector<Word>(bytes / kBytes + 1)});
  }

  // A thread is past a barrier.
  void pass(bool device, bool threadgroup) {
    const Aside aside;
    Stretches& now = stretches();
    now.of[kDevice] += device;
    now.of[kThreadgroup] += threadgroup;
  }

  // The running thread uses memory.
  void use(const void* memory, size_t bytes, bool write) {
    const auto at = reinterpret_cast<uintptr_t>(memory);
    for (Watched& one : watched_) {
      if (at < one.begin || at >= one.end) continue;
      const size_t last = (at + bytes - 1 - one.begin) / kBytes;
      for (size_t i = (at - one.begin) / kBytes; i <= last; ++i)
        use(one.words[i], one.space, write);
    }
  }

 private:
  static constexpr size_t kBytes = 4;

  Stretches& stretches() {
    Stretches& found = stretches_[block()->current->index.x];
    if (found.block != block()->serial) found = {block()->serial, {}};
    return found;
  }

  void use(Word& word, Space space, bool write) {
    const int thread = static_cast<int>(block()->current->index.x), here = block()->serial;
    const unsigned stretch = stretches().of[space];
    const auto ordered = [=](int other, int there, unsigned earlier) {
      if (other == -1 || (other == thread && there == here)) return true;
      return there == here ? earlier != stretch : space == kThreadgroup;
    };
    if (!ordered(word.writer, word.write_block, word.write_stretch)) fail("a race with a writer");
    if (write) {
      if (!ordered(word.reader, word.read_block, word.read_stretch)) fail("a race with a reader");
      word.writer = thread;
      word.write_block = here;
      word.write_stretch = stretch;
    } else {
      const bool alone = ordered(word.reader, word.read_block, word.read_stretch);
      word.reader = alone ? thread : kSeveral;
      word.read_block = word.read_block == here || alone ? here : kSeveral;
      word.read_stretch = stretch;
    }
  }

  std::vector<Watched> watched_;
  Stretches stretches_[1024];
};

SHIM_UNWATCHED inline void used(const void* memory, size_t bytes, bool write) {
  if (Aside::count()) return;
  const Aside aside;
  if (block() && block()->current) Races::all().use(memory, bytes, write);
}

}  // namespace shim

extern "C" {
__attribute__((used)) inline void __tsan_init() {}
__attribute__((used)) inline void __tsan_func_entry(void*) {}
__attribute__((used)) inline void __tsan_func_exit() {}
__attribute__((used)) inline void __tsan_vptr_update(void**, void*) {}
__attribute__((used)) inline void __tsan_vptr_read(void**) {}
#define SHIM_ACCESS(kind, write, bytes)                                                 \
  __attribute__((used)) SHIM_UNWATCHED inline void __tsan_##kind##bytes(void* memory) { \
    shim::used(memory, bytes, write);                                                   \
  }
__attribute__((used)) SHIM_UNWATCHED inline void __tsan_read_range(void* memory, size_t bytes) {
  shim::used(memory, bytes, false);
}
__attribute__((used)) SHIM_UNWATCHED inline void __tsan_write_range(void* memory, size_t bytes) {
  shim::used(memory, bytes, true);
}
#define SHIM_ACCESSES(bytes)                \
  SHIM_ACCESS(read, false, bytes)           \
  SHIM_ACCESS(write, true, bytes)           \
  SHIM_ACCESS(unaligned_read, false, bytes) \
  SHIM_ACCESS(unaligned_write, true, bytes)
SHIM_ACCESSES(1)
SHIM_ACCESSES(2)
SHIM_ACCESSES(4)
SHIM_ACCESSES(8)
SHIM_ACCESSES(16)
#undef SHIM_ACCESSES
#undef SHIM_ACCESS
}
