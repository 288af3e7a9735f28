#include "outputs.h"

#include <ATen/ATen.h>

namespace isf {

namespace {

struct Bytes {
  const char *begin, *end;
};

// The memory that a tensor's elements are in, whatever its strides.
Bytes bytes_of(const Tensor& tensor) {
  const char* begin = static_cast<const char*>(tensor.const_data_ptr());
  if (tensor.numel() == 0) return {begin, begin};
  int64_t last = 0;
  for (int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  return {begin, begin + (last + 1) * static_cast<int64_t>(tensor.itemsize())};
}

bool overlap(const Tensor& a, const Tensor& b) {
  const Bytes x = bytes_of(a), y = bytes_of(b);
  return x.begin < y.end && y.begin < x.end;
}

void check_output(const Output& out, at::Device device) {
  TORCH_CHECK_VALUE(out.tensor.device() == device, out.name, " is on ", out.tensor.device(),
                    ", but the result is on ", device);
  TORCH_CHECK_TYPE(out.tensor.layout() == at::kStrided, out.name, " has layout ",
                   out.tensor.layout(), ", but must be strided");
  TORCH_CHECK_TYPE(out.tensor.scalar_type() == out.type, out.name, " has dtype ",
                   out.tensor.scalar_type(), ", but the result has ", out.type);
  TORCH_CHECK_VALUE(out.tensor.sizes() == out.shape, out.name, " has shape ", out.tensor.sizes(),
                    ", but the result has ", out.shape);
  TORCH_CHECK_VALUE(out.tensor.is_contiguous(), out.name, " has strides ", out.tensor.strides(),
                    ", but must be contiguous");
  TORCH_CHECK_VALUE(!out.tensor.requires_grad(), out.name,
                    " requires grad, but results are not differentiated");
}

}  // namespace

void open_outputs(std::initializer_list<Output> outputs, at::Device device,
                  std::initializer_list<Tensor> inputs) {
  for (const Output& out : outputs) {
    check_output(out, device);
    for (const Tensor& input : inputs) {
      TORCH_CHECK_VALUE(!input.defined() || !overlap(out.tensor, input), out.name,
                        " shares memory with an argument that it is computed from");
    }
    for (const Output* other = outputs.begin(); other != &out; ++other) {
      TORCH_CHECK_VALUE(!overlap(out.tensor, other->tensor), out.name, " shares memory with ",
                        other->name);
    }
  }
  for (const Output& out : outputs) {
    if (!out.tensor.is_inference()) out.tensor.unsafeGetTensorImpl()->bump_version();
  }
}

}  // namespace isf
