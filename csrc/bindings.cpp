// The eager path: pybind11 straight to the operators, about half the call cost of torch.ops. The
// interpreter lock is released for the whole call, and c10's errors reach Python as ValueError,
// TypeError and IndexError.
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "ops.h"

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using torch::wrap_pybind_function_no_gil;
  m.def("row_stats", wrap_pybind_function_no_gil(isf::row_stats));
  m.def("score", wrap_pybind_function_no_gil(isf::score));
  m.def("draw", wrap_pybind_function_no_gil(isf::draw));
  m.def("select", wrap_pybind_function_no_gil(isf::select));
}
