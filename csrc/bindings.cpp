// The eager path: pybind11 straight to the operators, about half the call cost of torch.ops. The
// interpreter lock is released for the whole call, and c10's errors reach Python as ValueError,
// TypeError and IndexError.
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/record_function.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "sample_memory.h"
#include "ops.h"

namespace {

// Whether the dispatcher would do nothing but call the kernel. It has more to do for tensors that
// are not what their memory says (fake, functorch's, negated views) and under modes that watch
// operators.
bool is_plain(const at::Tensor& tensor) {
  using c10::DispatchKey;
  constexpr c10::DispatchKeySet special(
      {DispatchKey::Python, DispatchKey::PythonTLSSnapshot, DispatchKey::Conjugate,
       DispatchKey::Negative, DispatchKey::ZeroTensor, DispatchKey::Functionalize,
       DispatchKey::Batched, DispatchKey::FuncTorchBatched, DispatchKey::FuncTorchGradWrapper,
       DispatchKey::NestedTensor});
  return !tensor.key_set().has_any(special);
}
bool is_plain(const std::optional<at::Tensor>& tensor) { return !tensor || is_plain(*tensor); }
template <class Other>
bool is_plain(const Other&) {
  return true;
}

// Python names the argument.
void refuse_nested(const at::Tensor& tensor) {
  TORCH_CHECK_TYPE(!tensor.is_nested(), "a tensor is nested, but must be strided");
}
void refuse_nested(const std::optional<at::Tensor>& tensor) {
  if (tensor) refuse_nested(*tensor);
}
template <class Other>
void refuse_nested(const Other&) {}

bool no_mode_is_active() {
  constexpr c10::DispatchKeySet usual =
      c10::default_included_set | c10::autograd_dispatch_keyset | c10::autocast_dispatch_keyset |
      c10::DispatchKeySet({c10::DispatchKey::ADInplaceOrView, c10::DispatchKey::BackendSelect});
  return usual.has_all(c10::impl::tls_local_dispatch_key_set().included_);
}

// The operator `name`, called directly where that makes no difference.
template <class Result, class... Args>
auto eager(const char* name, const char* overload, Result (*kernel)(Args...)) {
  const auto direct = [name, overload, kernel](Args... args) -> Result {
    if ((is_plain(args) && ...) && no_mode_is_active()) {
      RECORD_FUNCTION(name, c10::ArrayRef<const c10::IValue>{});
      return kernel(std::forward<Args>(args)...);
    }
    (refuse_nested(args), ...);
    return c10::Dispatcher::singleton()
        .findSchemaOrThrow(name, overload)
        .typed<Result(Args...)>()
        .call(std::forward<Args>(args)...);
  };
  return torch::wrap_pybind_function_no_gil(direct);
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("row_stats", eager("impsamp_fast::row_stats", "", isf::row_stats));
  m.def("score", eager("impsamp_fast::score", "", isf::score));
  m.def("draw", eager("impsamp_fast::draw", "", isf::draw));
  m.def("select", eager("impsamp_fast::select", "", isf::select));
  m.def("row_stats_out", eager("impsamp_fast::row_stats", "out", isf::row_stats_out));
  m.def("score_out", eager("impsamp_fast::score", "out", isf::score_out));
  m.def("draw_out", eager("impsamp_fast::draw", "out", isf::draw_out));
  m.def("select_out", eager("impsamp_fast::select", "out", isf::select_out));
  m.def("smoothed", eager("impsamp_fast::smoothed", "", isf::smoothed));
  m.def("corrected", eager("impsamp_fast::corrected", "", isf::corrected));
  m.def("memory_update", eager("impsamp_fast::memory_update", "", isf::memory_update));
}
