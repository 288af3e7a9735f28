// The operators for autograd, which differentiates none of them. Tensors that ask for gradients
// pass through to the kernels; torch.func would take the result for a constant in silence, and that
// is an error.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include "ops.h"

namespace isf {

namespace {

bool is_differentiated(const at::Tensor& tensor) {
  return tensor.defined() && tensor.key_set().has(c10::DispatchKey::FuncTorchGradWrapper) &&
         (tensor.requires_grad() || tensor._fw_grad(/*level=*/0).defined());
}

// Boxed: sizes and seeds that torch.compile keeps symbolic must stay so.
void pass_through(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                  torch::jit::Stack* stack) {
  if (at::GradMode::is_enabled()) {
    for (const c10::IValue& argument : torch::jit::last(*stack, op.schema().arguments().size())) {
      TORCH_CHECK(
          !argument.isTensor() || !is_differentiated(argument.toTensor()), op.schema().name(),
          " is not differentiated, but torch.func is to differentiate its result; detach its "
          "arguments to take the result for a constant");
    }
  }
  op.redispatchBoxed(keys & c10::after_autograd_keyset, stack);
}

template <class... Op>
void implement(torch::Library& library, List<Op...>) {
  for (const std::string name : {Op::name...}) {
    library.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&pass_through>());
    library.impl((name + ".out").c_str(),
                 torch::CppFunction::makeFromBoxedFunction<&pass_through>());
  }
}

}  // namespace

TORCH_LIBRARY_IMPL(impsamp_fast, Autograd, m) { implement(m, Operators()); }

}  // namespace isf
