// The operators on the CPU, over plain pointers: threads around the kernels of the best instruction
// set.
#pragma once

#include <c10/util/FunctionRef.h>

#include <cstdint>

#include "kernels.h"

namespace isf {

namespace cpu {

// The kernels for this processor, as torch chose (ATEN_CPU_CAPABILITY lowers the choice).
const Kernels& kernels();

// Fills the statistics that the problem asks for. Returns the first faulty row, or -1.
int64_t row_statistics(const RowProblem& problem, Element element, bool soft_target);

// Multiplies scores [rows] by the features' factor. Returns the first row with a bad feature, or
// kNoFault.
int64_t last_layer(const Features& features, void* score, int64_t rows);

// What a look at all weights [rows] finds. `name` is for the error: a weight that is negative or
// not finite.
template <class T>
WeightScan scan(const T* weights, int64_t rows, const char* name);

// Draws n rows by their weights [rows] into index [n] and prob [n]. All zero means uniform. `seed`
// is asked only once nothing can go wrong any more, and not by "topk". `name` is for errors: a
// weight that is negative or not finite, or fewer positive weights than a method without
// replacement needs. Returns the largest weight.
template <class T>
T draw(const T* weights, int64_t rows, int64_t n, Method method, c10::function_ref<uint64_t()> seed,
       int64_t* index, T* prob, const char* name);

// In a fixed order, so that the result does not depend on the threads.
template <class T>
Moments moments(const T* weights, double scale, int64_t count) {
  return kernels().moments[sizeof(T) == sizeof(double)](weights, scale, count);
}

}  // namespace cpu
}  // namespace isf
