// What training has shown about each of N samples, in tensors on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace isf {

using at::Tensor;

// Remembers, in place and in order, what n rows have shown of the samples `index`. The five tensors
// of the memory are contiguous, and there is one wherever there are rows for it. A faulty row has a
// loss or probability that is not finite, or -2^63 for a label: it is an error, or where there is a
// place to count it, it is left out.
void memory_update(const Tensor& index,                          // [n] int64 or int32
                   const std::optional<Tensor>& losses,          // [n] floating point
                   const std::optional<Tensor>& p_true,          // [n] floating point
                   const std::optional<Tensor>& predicted,       // [n] int64 or int32
                   const Tensor& seen,                           // [N] int32: updates so far
                   const std::optional<Tensor>& loss,            // [N] float32: the last one
                   const std::optional<Tensor>& p_true_mean,     // [N] float32
                   const std::optional<Tensor>& p_true_squares,  // [N] float32: of deviations
                   const std::optional<Tensor>& labels,        // [N, history] uint8, int16 or int32
                   const std::optional<Tensor>& faulty_rows);  // [] int64

// The entropy of each sample's labels divided by ln classes, [N] float32; NaN where there are none.
Tensor label_entropy(const Tensor& labels,  // [N, history] uint8, int16 or int32, contiguous
                     const Tensor& seen,    // [N] int32, contiguous
                     int64_t classes);

}  // namespace isf
