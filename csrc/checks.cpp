#include "checks.h"

#include <ATen/ATen.h>

#include "backend.h"

namespace isf {

void check_count(int64_t n, int64_t rows, const char* name) {
  TORCH_CHECK_VALUE(n >= 1 && n <= INT32_MAX, "n is ", n, ", but must be between 1 and 2^31 - 1");
  TORCH_CHECK_VALUE(rows >= 1, name, " has no rows to draw from");
  TORCH_CHECK_VALUE(rows <= INT32_MAX, name, " has ", rows,
                    " rows, but at most 2^31 - 1 can be drawn from");
}

Tensor check_numbers(const Tensor& numbers, const char* name, const char* shape) {
  check_device(numbers, name);
  TORCH_CHECK_TYPE(at::isFloatingType(numbers.scalar_type()), name, " has dtype ",
                   numbers.scalar_type(), ", but must be float32, float64, float16 or bfloat16");
  TORCH_CHECK_VALUE(numbers.dim() == 1, name, " has shape ", numbers.sizes(), ", but must be ",
                    shape);
  const at::ScalarType type = numbers.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return (numbers.scalar_type() == type ? numbers : numbers.to(type)).contiguous();
}

}  // namespace isf
