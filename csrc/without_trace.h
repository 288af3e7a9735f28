// What surrounds a forward pass that only looks.
#pragma once
#include <torch/csrc/utils/pybind.h>

namespace isf {

// Runs a function without gradients. The state of torch's generator on the CPU is as before, also
// after an error. From Python the same takes as long as a small selection.
pybind11::object without_trace(const pybind11::function& run, const pybind11::args& args);

}  // namespace isf
