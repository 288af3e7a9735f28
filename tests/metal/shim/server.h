// Runs kernels for tests/metal/fake_mps.py; comes behind their source. A request is named after a
// kernel and has
//   threads, threads of a threadgroup, the number of arguments, the arguments
// and the reply's error is 0, or the number of one of the refusals below.
#undef thread
#undef device
#undef constant
#undef threadgroup

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "request.h"

namespace shim {

enum Refusal { kNone, kNoKernel, kWrongArguments, kWrongGrid };

inline Refusal run_request(Request& request) {
  const Kernel* kernel = Kernel::find(request.name());
  const int64_t threads = request.integer(), group = request.integer();
  std::vector<void*> buffers(static_cast<size_t>(request.integer()));
  for (void*& buffer : buffers) buffer = request.buffer();
#if defined(ISF_SHIM_RACES)
  Races::all().launch(request.buffers());
#endif
  if (!kernel) return kNoKernel;
  if (kernel->count() != buffers.size()) return kWrongArguments;
  if (threads < 1 || group < 1 || threads % group || group % kWarp) return kWrongGrid;
  const bool ran = run_blocks(dim3(static_cast<unsigned>(threads / group)), static_cast<int>(group),
                              0, [&] { kernel->run(buffers.data()); });
  return ran ? kNone : kWrongGrid;
}

// As Metal may: what float operations take and give is zero where it would be subnormal.
inline void flush_subnormals() {
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
  uint64_t control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  asm volatile("msr fpcr, %0" ::"r"(control | 1 << 24));
#endif
}

}  // namespace shim

int main() {
  if (getenv("ISF_SHIM_FLUSH")) shim::flush_subnormals();
  shim::Request request;
  while (request.next()) request.reply(shim::run_request(request));
  return 0;
}
