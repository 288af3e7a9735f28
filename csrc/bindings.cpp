// The eager path: pybind11 straight to torch's dispatcher, about half the call cost of torch.ops.
// The interpreter lock is released for the whole call, and c10's errors reach Python as ValueError,
// TypeError and IndexError.
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "ops.h"
#include "sample_memory.h"
#include "spanning.h"
#include "without_trace.h"

namespace {

// An integer must be one: pybind11's conversions would cut a number like 2.5 off.
template <class T>
pybind11::arg argument() {
  constexpr bool integer = std::is_same_v<T, int64_t> || std::is_same_v<T, std::optional<int64_t>>;
  return pybind11::arg().noconvert(integer);
}

// All that the operators do for autograd is to tell torch.func what they do not do (autograd.cpp):
// where no transform is active, the boxing that this takes is saved.
class SkipAutograd {
 public:
  SkipAutograd() {
    const auto modes = c10::impl::tls_local_dispatch_key_set().included_;
    if (!modes.has(c10::DispatchKey::FuncTorchDynamicLayerFrontMode)) guard_.emplace();
  }

 private:
  std::optional<at::AutoDispatchBelowAutograd> guard_;
};

// Binds an operator's overload; `kernel` tells its type.
template <class Result, class... Args>
void bind_overload(pybind11::module& m, const std::string& name, const char* overload,
                   Result (*)(Args...)) {
  const auto op = c10::Dispatcher::singleton()
                      .findSchemaOrThrow(("impsamp_fast::" + name).c_str(), overload)
                      .typed<Result(Args...)>();
  const std::string bound = *overload ? name + "_" + overload : name;
  m.def(bound.c_str(), torch::wrap_pybind_function_no_gil([op](Args... args) -> Result {
          const SkipAutograd skip;
          return op.call(std::forward<Args>(args)...);
        }),
        argument<Args>()...);
}

template <class... Op>
void bind_all(pybind11::module& m, isf::List<Op...>) {
  (bind_overload(m, Op::name, "", isf::Operator<Op>::fresh), ...);
  (bind_overload(m, Op::name, "out", isf::Operator<Op>::out), ...);
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  bind_all(m, isf::Operators());
  bind_overload(m, "memory_update", "", isf::memory_update);
  bind_overload(m, "spanning_rows", "", isf::spanning_rows);
  m.def("without_trace", &isf::without_trace);
}
