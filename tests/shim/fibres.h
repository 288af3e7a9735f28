// The threads of a GPU on the host, for tests on a machine that has none: what the faces of the
// stand-in share (tests/cuda/shim, tests/metal/shim).
//
// The threads of a block are fibres of one host thread. A fibre runs until it comes
// to a barrier or a warp's exchange, and the scheduler then runs another one, so blocks run one
// after the other and every switch is where the device may switch too. What a kernel must not rely
// on is made visible:
//   - the order in which threads run between two barriers changes with ISF_SHIM_ORDER (0 ascending,
//     1 descending, any other number shuffles by it): a missing barrier changes results;
//   - a barrier that some thread of the block or warp never reaches ends the process, and says so;
//   - AddressSanitizer sees every access.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "context.h"
#include "sanitizer.h"

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace shim {

constexpr int kWarp = 32;
constexpr size_t kStack = 256 * 1024;

enum class State { kReady, kAtWarpBarrier, kAtBlockBarrier, kDone };

// Made once and kept for all launches: a fibre runs one thread of a block after the other.
struct Fibre {
  std::unique_ptr<char[]> stack{new char[kStack]};
  Context context;
  dim3 index;
  State state = State::kReady;
  int parity = 0;  // which of its warp's two sets of slots the next exchange uses
#if defined(SHIM_ASAN)
  void* fake_stack = nullptr;
#endif

  Fibre();
};

// What the lanes of a warp hand each other. Two sets, used in turns: a lane that has read one set
// may fill the other before all have read.
struct Slots {
  uint64_t value[2][kWarp];
};

struct Block {
  std::vector<Fibre*> fibres;
  std::vector<Slots> slots;
  std::vector<int> order;
  std::unique_ptr<unsigned char[]> shared;  // whose size the launch decides
  std::function<void()> body;
  dim3 index, threads, blocks;
  int serial = 0;  // of all blocks that have run
  int seed = 0;    // ISF_SHIM_ORDER
  Fibre* current = nullptr;
  Context scheduler;
#if defined(SHIM_ASAN)
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_size = 0;
  void* scheduler_fake_stack = nullptr;
#endif
};

inline Block*& block() {
  static Block* running = nullptr;
  return running;
}

[[noreturn]] inline void fail(const char* what) {
  const Fibre* fibre = block()->current;
  fprintf(stderr, "shim: %s (block %u, thread %u)\n", what, block()->index.x,
          fibre ? fibre->index.x : 0);
  abort();
}

// Back to the scheduler, until the fibre may go on.
inline void leave(State state) {
  Block& b = *block();
  Fibre& fibre = *b.current;
  fibre.state = state;
#if defined(SHIM_ASAN)
  __sanitizer_start_switch_fiber(&fibre.fake_stack, b.scheduler_stack, b.scheduler_stack_size);
#endif
  fibre.context.switch_to(b.scheduler);
#if defined(SHIM_ASAN)
  Block& now = *block();  // another one, if the fibre was done
  __sanitizer_finish_switch_fiber(fibre.fake_stack, &now.scheduler_stack,
                                  &now.scheduler_stack_size);
#endif
}

inline void start() {
#if defined(SHIM_ASAN)
  Block& b = *block();
  __sanitizer_finish_switch_fiber(nullptr, &b.scheduler_stack, &b.scheduler_stack_size);
#endif
  for (;;) {
    block()->body();
    leave(State::kDone);
  }
}

inline Fibre::Fibre() : context(stack.get(), kStack, start) {}

// The first `count` of all fibres.
inline std::vector<Fibre*> fibres(size_t count) {
  static std::vector<std::unique_ptr<Fibre>> all;
  while (all.size() < count) all.emplace_back(new Fibre);
  std::vector<Fibre*> some;
  for (size_t i = 0; i < count; ++i) some.push_back(all[i].get());
  return some;
}

inline void enter(Fibre& fibre) {
  Block& b = *block();
  b.current = &fibre;
#if defined(SHIM_ASAN)
  __sanitizer_start_switch_fiber(&b.scheduler_fake_stack, fibre.stack.get(), kStack);
#endif
  b.scheduler.switch_to(fibre.context);
#if defined(SHIM_ASAN)
  __sanitizer_finish_switch_fiber(b.scheduler_fake_stack, nullptr, nullptr);
#endif
  b.current = nullptr;
}

// Lets the fibres [begin, end) go on if all of them wait at the same barrier.
inline bool release(Block& b, size_t begin, size_t end, State barrier) {
  for (size_t i = begin; i < end; ++i) {
    if (b.fibres[i]->state != barrier) return false;
  }
  for (size_t i = begin; i < end; ++i) b.fibres[i]->state = State::kReady;
  return true;
}

inline void run_block(Block& b) {
  const size_t threads = b.fibres.size();
  for (size_t i = 0; i < threads; ++i) {
    b.fibres[i]->state = State::kReady;
    b.fibres[i]->parity = 0;
    b.fibres[i]->index = dim3(static_cast<unsigned>(i), 0, 0);
  }
  for (;;) {
    bool moved = false, all_done = true;
    for (const int i : b.order) {
      Fibre& fibre = *b.fibres[static_cast<size_t>(i)];
      if (fibre.state == State::kReady) {
        enter(fibre);
        moved = true;
      }
      all_done = all_done && fibre.state == State::kDone;
    }
    if (all_done) return;
    for (size_t w = 0; w < threads; w += kWarp) {
      moved = release(b, w, std::min(w + kWarp, threads), State::kAtWarpBarrier) || moved;
    }
    moved = release(b, 0, threads, State::kAtBlockBarrier) || moved;
    if (!moved) fail("a barrier that some threads never reach");
  }
}

// Runs a kernel, `body`, over a grid of one-dimensional blocks. False if no device can.
inline bool run_blocks(dim3 blocks, int threads, size_t shared_bytes, std::function<void()> body) {
  constexpr size_t kLargestBlock = 1024;
  const auto count = static_cast<size_t>(threads);
  if (threads < 1 || count > kLargestBlock || blocks.x < 1 || blocks.y < 1 || blocks.y > 65535 ||
      blocks.z != 1) {
    return false;
  }
  Block b;
  b.fibres = fibres(count);
  b.slots.resize((count + kWarp - 1) / kWarp);
  b.order.resize(count);
  b.body = std::move(body);
  b.threads = dim3(static_cast<unsigned>(threads));
  b.blocks = blocks;
  const char* order = getenv("ISF_SHIM_ORDER");
  const int seed = b.seed = order ? atoi(order) : 0;
  std::mt19937 random(static_cast<unsigned>(seed));
  std::iota(b.order.begin(), b.order.end(), 0);
  if (seed == 1) std::reverse(b.order.begin(), b.order.end());
  block() = &b;
  for (b.index.y = 0; b.index.y < blocks.y; ++b.index.y) {
    for (b.index.x = 0; b.index.x < blocks.x; ++b.index.x) {
      if (seed > 1) std::shuffle(b.order.begin(), b.order.end(), random);
      static int serial = 0;
      b.serial = ++serial;
      b.shared.reset(new unsigned char[shared_bytes]);
      memset(b.shared.get(), 0xa5, shared_bytes);
      run_block(b);
    }
  }
  block() = nullptr;
  return true;
}

// The value that lane `source(lane)` of the warp brings. All lanes take part.
template <class T, class Source>
T exchange(T value, Source source) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "an exchange moves up to 64 bits");
  Block& b = *block();
  Fibre& fibre = *b.current;
  const unsigned lane = fibre.index.x % kWarp;
  auto& slots = b.slots[fibre.index.x / kWarp].value[fibre.parity];
  fibre.parity ^= 1;
  memcpy(&slots[lane], &value, sizeof value);
  leave(State::kAtWarpBarrier);
  memcpy(&value, &slots[source(lane)], sizeof value);
  return value;
}

}  // namespace shim
