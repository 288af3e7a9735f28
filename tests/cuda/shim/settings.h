// What a test says of the device, in the environment of the server.
#pragma once

#include <stddef.h>
#include <stdlib.h>

namespace shim {

// The shared memory that a block may have.
inline size_t shared_memory() {
  const char* bytes = getenv("ISF_SHIM_SHARED");
  return bytes ? strtoull(bytes, nullptr, 10) : 227 * 1024;
}

}  // namespace shim
