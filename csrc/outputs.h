// The results that a caller has a place for (`out=`).
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>

namespace isf {

using at::Tensor;

struct Output {
  const char* name;
  const Tensor& tensor;
  at::IntArrayRef shape;
  at::ScalarType type;
};

// Throws unless every output can take its result where it is: of that shape and type, on the
// device, contiguous, and in memory of its own. Then tells autograd that they are written to.
// `inputs` may be undefined.
void open_outputs(std::initializer_list<Output> outputs, at::Device device,
                  std::initializer_list<Tensor> inputs);

}  // namespace isf
