#include "spanning.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <vector>

#include "cpu/cpu.h"

namespace isf {

namespace {

Tensor checked(const Tensor& tensor, const char* name, at::ScalarType type, int64_t dim,
               int64_t K) {
  TORCH_CHECK_VALUE(tensor.is_cpu(), name, " is on ", tensor.device(), ", but must be on cpu");
  TORCH_CHECK_TYPE(tensor.scalar_type() == type, name, " has dtype ", tensor.scalar_type(),
                   ", but must be ", type);
  TORCH_CHECK_VALUE(tensor.dim() == dim && tensor.size(0) == K, name, " has shape ", tensor.sizes(),
                    ", but there are ", K, " rows");
  return tensor.contiguous();
}

// A row that is not there must not be looked at.
const int64_t* checked_order(const Tensor& order, int64_t K) {
  const int64_t* rows = order.const_data_ptr<int64_t>();
  std::vector<bool> is_there(K);
  for (int64_t i = 0; i < K; ++i) {
    TORCH_CHECK_INDEX(rows[i] >= 0 && rows[i] < K && !is_there[rows[i]],
                      "order must have each of the ", K, " rows once, but order[", i, "] is ",
                      rows[i]);
    is_there[rows[i]] = true;
  }
  return rows;
}

template <class T>
void run(const Tensor& dz, const Tensor& h, const Tensor& product, const Tensor& has_score,
         const Tensor& order, int64_t n, double small, const Tensor& index) {
  const int64_t K = dz.size(0);
  cpu::spanning_rows<T>({K, dz.size(1), h.size(1), dz.const_data_ptr<T>(), h.const_data_ptr<T>(),
                         product.const_data_ptr<T>(), has_score.const_data_ptr<bool>(),
                         checked_order(order, K), n, small},
                        index.mutable_data_ptr<int64_t>());
}

}  // namespace

Tensor spanning_rows(const Tensor& dz, const Tensor& h, const Tensor& product,
                     const Tensor& has_score, const Tensor& order, int64_t n, double small) {
  const at::ScalarType type = dz.scalar_type();
  TORCH_CHECK_TYPE(type == at::kFloat || type == at::kDouble, "dz has dtype ", type,
                   ", but must be float32 or float64");
  TORCH_CHECK_VALUE(dz.dim() == 2, "dz has shape ", dz.sizes(), ", but must be [K, C]");
  const int64_t K = dz.size(0);
  TORCH_CHECK_VALUE(n >= 1 && n <= K, "n is ", n, ", but there are ", K, " rows");
  const Tensor all[] = {checked(dz, "dz", type, 2, K), checked(h, "h", type, 2, K),
                        checked(product, "product", type, 1, K),
                        checked(has_score, "has_score", at::kBool, 1, K),
                        checked(order, "order", at::kLong, 1, K)};
  const Tensor index = at::empty({n}, order.options());
  const auto run_typed = type == at::kDouble ? run<double> : run<float>;
  run_typed(all[0], all[1], all[2], all[3], all[4], n, small, index);
  return index;
}

TORCH_LIBRARY_FRAGMENT(impsamp_fast, m) {
  m.def(
      "spanning_rows(Tensor dz, Tensor h, Tensor product, Tensor has_score, Tensor order, "
      "SymInt n, float small) -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(impsamp_fast, CPU, m) { m.impl("spanning_rows", spanning_rows); }

// Nothing here is differentiated.
TORCH_LIBRARY_IMPL(impsamp_fast, Autograd, m) {
  m.impl("spanning_rows", torch::CppFunction::makeFallthrough());
}

}  // namespace isf
