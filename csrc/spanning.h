// The greedy choice of DivBS, on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

namespace isf {

using at::Tensor;

// n rows whose gradients span most of a vector, [n] int64, in the order in which they are taken.
// The gradient of a row is the outer product of its dz and h. The row of the largest product with
// what is left of the vector is next; where no more than `small` of the largest is left, the next
// in order that has a score, and then the next of the others, whose dz and h are zero.
Tensor spanning_rows(const Tensor& dz,         // [K, C] float32 or float64
                     const Tensor& h,          // [K, D], likewise
                     const Tensor& product,    // [K], likewise: of the gradients with the vector
                     const Tensor& has_score,  // [K] bool
                     const Tensor& order,      // [K] int64: all rows
                     int64_t n, double small);

}  // namespace isf
