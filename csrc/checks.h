// Checks of arguments that several operators share. Each throws an error that names the argument.
#pragma once

#include <ATen/core/Tensor.h>

namespace isf {

using at::Tensor;

// How many are drawn from the rows of the argument `name`.
void check_count(int64_t n, int64_t rows, const char* name);

// Numbers in one dimension, as float32 or float64 and contiguous.
Tensor check_numbers(const Tensor& numbers, const char* name, const char* shape);

}  // namespace isf
