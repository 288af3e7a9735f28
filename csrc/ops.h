// The operators: argument checks and allocation; csrc/cpu does the work. bindings.cpp and the
// torch.library schemas share them.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <tuple>

namespace isf {

using at::Tensor;

// loss, grad_norm, p_true, margin, entropy: each [...].
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> row_stats(
    const Tensor& logits,                       // [..., C]
    const Tensor& target,                       // [...] or [..., C]
    double label_smoothing,                     //
    const std::optional<Tensor>& class_weight,  // [C]
    int64_t ignore_index);

// score: [...].
Tensor score(const Tensor& logits,                   // [..., C]
             const Tensor& target,                   // [...] or [..., C]
             const std::string& kind,                //
             const std::optional<Tensor>& features,  // [..., D]
             double label_smoothing,                 //
             const std::optional<Tensor>& class_weight, int64_t ignore_index);

// index [n], prob [n].
std::tuple<Tensor, Tensor> draw(const Tensor& weights,  // [K]
                                int64_t n, const std::string& method, std::optional<int64_t> seed,
                                const std::optional<at::Generator>& generator);

// index [n], weight [n], score [...], loss [...], tau [], status [].
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> select(
    const Tensor& logits,  // [..., C]
    const Tensor& target,  // [...] or [..., C]
    int64_t n, const std::string& score, const std::string& method, const std::string& correction,
    std::optional<double> exponent,
    const std::optional<Tensor>& features,  // [..., D]
    double smoothing, std::optional<int64_t> seed, const std::optional<at::Generator>& generator,
    double label_smoothing, const std::optional<Tensor>& class_weight, int64_t ignore_index);

}  // namespace isf
