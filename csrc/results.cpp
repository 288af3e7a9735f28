#include "results.h"

#include <ATen/ATen.h>

#include "backend.h"

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

}  // namespace

std::string Results::name(size_t i) const {
  return names_.size() == 1 ? "out" : std::string("out.") + names_[i];
}

void Results::check(size_t i, const Form& form, at::Device device) const {
  const Tensor& out = *given_[i];
  TORCH_CHECK_VALUE(out.device() == device, name(i), " is on ", out.device(),
                    ", but the result is on ", device);
  TORCH_CHECK_TYPE(out.layout() == at::kStrided, name(i), " has layout ", out.layout(),
                   ", but must be strided");
  TORCH_CHECK_TYPE(out.scalar_type() == form.type, name(i), " has dtype ", out.scalar_type(),
                   ", but the result has ", form.type);
  TORCH_CHECK_VALUE(out.sizes() == form.shape, name(i), " has shape ", out.sizes(),
                    ", but the result has ", form.shape);
  TORCH_CHECK_VALUE(out.is_contiguous(), name(i), " has strides ", out.strides(),
                    ", but must be contiguous");
  TORCH_CHECK_VALUE(!out.requires_grad(), name(i),
                    " requires grad, but results are not differentiated");
  for (const Tensor* input : inputs_) {
    TORCH_CHECK_VALUE(!input->defined() || !overlap(out, *input), name(i),
                      " shares memory with an argument that it is computed from");
  }
  for (size_t other = 0; other < i; ++other) {
    TORCH_CHECK_VALUE(!overlap(out, *given_[other]), name(i), " shares memory with ", name(other));
  }
}

void Results::open(at::Device device, std::initializer_list<Form> forms) {
  if (!given_) {
    const auto empty = backend_of(device).empty;
    for (size_t i = 0; i < forms.size(); ++i)
      made_[i] = empty(forms.begin()[i].shape, forms.begin()[i].type, device);
    return;
  }
  for (size_t i = 0; i < forms.size(); ++i) check(i, forms.begin()[i], device);
  for (size_t i = 0; i < forms.size(); ++i) {
    if (!given_[i]->is_inference()) given_[i]->unsafeGetTensorImpl()->bump_version();
  }
}

}  // namespace isf
