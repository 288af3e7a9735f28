// The results of an operator: new tensors, or those that its caller has a place for (`out=`).
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <string>

namespace isf {

using at::Tensor;

struct Form {
  at::IntArrayRef shape;
  at::ScalarType type;
};

class Results {
 public:
  // New ones, which `made` is to hold.
  Results(c10::ArrayRef<const char*> names, Tensor* made) : names_(names), made_(made) {}
  // The caller's. `inputs` are what the operator reads, undefined where there is none.
  Results(c10::ArrayRef<const char*> names, const Tensor* const* given,
          c10::ArrayRef<const Tensor*> inputs)
      : names_(names), given_(given), inputs_(inputs) {}

  // Makes the new tensors. Or throws unless each of the caller's can take its result where it is:
  // of that form, on the device, contiguous, and in memory of its own; then tells autograd that
  // they are written to. Comes last of what may throw before the kernels run.
  void open(at::Device device, std::initializer_list<Form> forms);

  const Tensor& operator[](size_t i) const { return given_ ? *given_[i] : made_[i]; }

 private:
  std::string name(size_t i) const;
  void check(size_t i, const Form& form, at::Device device) const;

  c10::ArrayRef<const char*> names_;
  Tensor* made_ = nullptr;
  const Tensor* const* given_ = nullptr;
  c10::ArrayRef<const Tensor*> inputs_;
};

}  // namespace isf
