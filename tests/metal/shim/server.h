// Runs kernels for tests/metal/fake_mps.py; comes behind their source. A request is named after a
// kernel and has
//   threads, threads of a threadgroup, the number of arguments, the arguments
// in which case the reply's error is 0, or the number of one of the refusals below. A request that
// is named "" asks for the names of all kernels, which are the contents of its only buffer.
#undef thread
#undef device
#undef constant
#undef threadgroup

#include "request.h"

namespace shim {

enum Refusal { kNone, kNoKernel, kWrongArguments, kWrongGrid };

inline Refusal run_request(Request& request) {
  const Kernel* kernel = Kernel::find(request.name());
  const int64_t threads = request.integer(), group = request.integer();
  std::vector<void*> buffers(static_cast<size_t>(request.integer()));
  for (void*& buffer : buffers) buffer = request.buffer();
  if (!kernel) return kNoKernel;
  if (kernel->count() != buffers.size()) return kWrongArguments;
  if (threads < 1 || group < 1 || threads % group || group % kWarp) return kWrongGrid;
  const bool ran = run_blocks(dim3(static_cast<unsigned>(threads / group)), static_cast<int>(group),
                              0, [&] { kernel->run(buffers.data()); });
  return ran ? kNone : kWrongGrid;
}

}  // namespace shim

int main() {
  shim::Request request;
  while (request.next()) request.reply(shim::run_request(request));
  return 0;
}
