// Runs the CUDA kernels on the host for tests/cuda/shim_device.py: reads requests from stdin,
// writes replies to stdout, until stdin ends.
#include "draw_requests.h"
#include "queue.h"
#include "row_requests.h"

int main() {
  shim::Request request;
  while (request.next()) {
    int error = 0;
    if (!shim::run_row_request(request, error) && !shim::run_draw_request(request, error)) {
      fprintf(stderr, "shim: no request is called %s\n", request.name().c_str());
      return 1;
    }
    request.reply(error);
  }
  return 0;
}
