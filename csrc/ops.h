// The operators: argument checks and allocation; the backend of the device does the work.
// bindings.cpp and the torch.library schemas share them. Those that end in _out fill tensors of the
// caller's, and take a seed that is on the device.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

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
    std::optional<int64_t> ignore_index);
void row_stats_out(const Tensor& logits, const Tensor& target, double label_smoothing,
                   const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index,
                   const Tensor& loss, const Tensor& grad_norm, const Tensor& p_true,
                   const Tensor& margin, const Tensor& entropy);

// score: [...].
Tensor score(const Tensor& logits,                   // [..., C]
             const Tensor& target,                   // [...] or [..., C]
             const std::string& kind,                //
             const std::optional<Tensor>& features,  // [..., D]
             double label_smoothing,                 //
             const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index);
void score_out(const Tensor& logits, const Tensor& target, const std::string& kind,
               const std::optional<Tensor>& features, double label_smoothing,
               const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index,
               const Tensor& score);

// index [n], prob [n].
std::tuple<Tensor, Tensor> draw(const Tensor& weights,  // [K]
                                int64_t n, const std::string& method, std::optional<int64_t> seed,
                                const std::optional<at::Generator>& generator);
void draw_out(const Tensor& weights, int64_t n, const std::string& method,
              std::optional<int64_t> seed, const std::optional<at::Generator>& generator,
              const std::optional<Tensor>& device_seed,  // []
              const Tensor& index, const Tensor& prob);

// index [n], weight [n], score [...], loss [...], tau [], status [].
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> select(
    const Tensor& logits,  // [..., C]
    const Tensor& target,  // [...] or [..., C]
    int64_t n, const std::string& score, const std::string& method, const std::string& correction,
    std::optional<double> exponent,
    const std::optional<Tensor>& features,  // [..., D]
    double smoothing, std::optional<int64_t> seed, const std::optional<at::Generator>& generator,
    double label_smoothing, const std::optional<Tensor>& class_weight,
    std::optional<int64_t> ignore_index);
void select_out(const Tensor& logits, const Tensor& target, int64_t n, const std::string& score,
                const std::string& method, const std::string& correction,
                std::optional<double> exponent, const std::optional<Tensor>& features,
                double smoothing, std::optional<int64_t> seed,
                const std::optional<at::Generator>& generator, double label_smoothing,
                const std::optional<Tensor>& class_weight, std::optional<int64_t> ignore_index,
                const std::optional<Tensor>& device_seed,  // []
                const Tensor& index, const Tensor& weight, const Tensor& score_out,
                const Tensor& loss, const Tensor& tau, const Tensor& status);

// What rows are drawn by [K], and its tau [].
std::tuple<Tensor, Tensor> smoothed(const Tensor& score,  // [K]
                                    double smoothing,
                                    const std::optional<Tensor>& ignored);  // [K] bool

// weight [n].
Tensor corrected(const Tensor& prob,      // [n]
                 const Tensor& drawn_by,  // [n]
                 int64_t rows, const std::string& kind, const std::string& correction,
                 std::optional<double> exponent);

// Registers all of them as the kernels of the library's device.
void implement(torch::Library& library);

}  // namespace isf
