// The device as the kernels see it: Metal's, or the host's stand-in for it (tests/metal/shim).
//
// Threadgroups have a multiple of 32 threads, up to kMostThreads. All threads of a SIMD group take
// part in what its lanes exchange, 32 bits at a time: Metal moves no more. References and pointers
// name their address space, and nothing of a struct type is copied from one space to another but by
// copied().
#pragma once

#include "../portable.h"

// A kernel is a template. ISF_KERNEL makes an instance under a name, for the host to call;
// ISF_POSITION are the last parameters; ISF_SHARED is memory of the threadgroup's, in its body.
#define ISF_POSITION                                    \
  uint thread_index [[thread_position_in_threadgroup]], \
      uint group_index [[threadgroup_position_in_grid]], uint threads [[threads_per_threadgroup]]
#if defined(ISF_SHIM)
#define ISF_KERNEL(name, ...) static const shim::Kernel kernel_##name(#name, __VA_ARGS__)
#define ISF_SHARED(type, name, count) type* const name = shim::shared<type, count>([] {})
#else
#define ISF_KERNEL(name, ...) \
  template [[host_name(#name)]] [[kernel]] decltype(__VA_ARGS__) __VA_ARGS__
#define ISF_SHARED(type, name, count) threadgroup type name[count]
#endif

namespace isf {
namespace mps {

ISF_CONSTANT int kSimd = 32;
ISF_CONSTANT int kMostThreads = 512;  // of a threadgroup

// 32 bits of a value of any type.
typedef uint32_t __attribute__((may_alias)) Word;

ISF_FN uint32_t shuffled_word(uint32_t word, int lane) {
  return metal::simd_shuffle(word, static_cast<ushort>(lane));
}

// What another lane of the SIMD group has.
template <class T>
ISF_FN T shuffled(T value, int lane) {
  T other;
  thread const Word* const from = reinterpret_cast<thread const Word*>(&value);
  thread Word* const to = reinterpret_cast<thread Word*>(&other);
  for (uint i = 0; i < sizeof(T) / sizeof(Word); ++i) to[i] = shuffled_word(from[i], lane);
  return other;
}

// A struct in another address space, and from there, word by word.
#define ISF_COPIES(space)                                                         \
  template <class T>                                                              \
  ISF_FN T copied(space const T* from) {                                          \
    T copy;                                                                       \
    space const Word* const source = reinterpret_cast<space const Word*>(from);   \
    thread Word* const to = reinterpret_cast<thread Word*>(&copy);                \
    for (uint i = 0; i < sizeof(T) / sizeof(Word); ++i) to[i] = source[i];        \
    return copy;                                                                  \
  }                                                                               \
  template <class T>                                                              \
  ISF_FN void copy_to(space T* place, T value) {                                  \
    thread const Word* const from = reinterpret_cast<thread const Word*>(&value); \
    space Word* const to = reinterpret_cast<space Word*>(place);                  \
    for (uint i = 0; i < sizeof(T) / sizeof(Word); ++i) to[i] = from[i];          \
  }

ISF_COPIES(threadgroup)
#if !defined(ISF_SHIM)  // where address spaces are one
ISF_COPIES(device)
#endif
#undef ISF_COPIES

}  // namespace mps
}  // namespace isf
