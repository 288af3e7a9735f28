// The operators on the CPU, over plain pointers: threads around the kernels of the best instruction
// set.
#pragma once

#include <c10/util/FunctionRef.h>

#include <cstdint>

#include "kernels.h"
#include "scratch.h"

namespace isf {

namespace cpu {

// The kernels for this processor, as torch chose (ATEN_CPU_CAPABILITY lowers the choice).
const Kernels& kernels();

// Fills the statistics that the problem asks for. Returns the first faulty row, or -1.
int64_t row_statistics(const RowProblem& problem, Element element);

// Multiplies scores [rows] by the features' factor. Returns the first row with a bad feature, or
// kNoFault.
int64_t last_layer(const Features& features, void* score, int64_t rows);

// What a look at scores [rows] finds.
template <class T>
WeightScan scan_weights(const T* scores, int64_t rows);

// What rows are drawn by.
template <class T>
struct DrawWeights {
  const T* weight;  // [rows]
  Sampling<T> sampling;
  Scratch<T> made;  // where they are not the scores themselves

  uint64_t fixed(int64_t row) const { return to_fixed_point(weight[row], sampling.shift); }
};

// Of scores [rows], once it is known how they become weights.
template <class T>
DrawWeights<T> weights_of(const T* scores, int64_t rows, const Sampling<T>& sampling,
                          const Ignored& ignored);

// The same from a scan of them. `name` is for errors: a score that is negative or not finite, no
// candidate, or too few of them for a method without replacement.
template <class T>
DrawWeights<T> weights_of(const T* scores, const DrawRules& rules, double smoothing,
                          const Ignored& ignored, const char* name);

// Draws n rows into index [n] and prob [n]; fills tau [] unless it is null. `seed` is asked once,
// when nothing can go wrong any more, and not by "topk".
template <class T>
void draw(const DrawWeights<T>& weights, const DrawRules& rules, c10::function_ref<uint64_t()> seed,
          int64_t* index, T* prob, T* tau);

// The tau of weights.
template <class T>
T tau_of(const DrawWeights<T>& weights, int64_t rows);

// The sum of weights in fixed point.
template <class T>
uint64_t total_of(const DrawWeights<T>& weights, int64_t rows);

// The share of these rows in a draw with replacement from these and others: index [n] is kElsewhere
// and prob [n] is 0 where another part has the row. rules.rows are those here.
template <class T>
void draw_part(const DrawWeights<T>& weights, const DrawRules& rules, const Share& share,
               uint64_t seed, int64_t* index, T* prob);

// The first of these rows in the order of a race or of the largest weights: their keys [n] and
// index [n], kBehindAll and kElsewhere behind the last row that has a weight. Row 0 is
// `first_row` of all that are drawn from.
template <class T>
void draw_first(const DrawWeights<T>& weights, int64_t rows, Method method, uint64_t first_row,
                uint64_t seed, int64_t n, int64_t* key, int64_t* index);

// The probabilities of n drawn rows of a race, given the key of the row after them.
template <class T>
void draw_arrival_prob(const DrawWeights<T>& weights, int64_t n, uint32_t next, T* prob);

// Which of these rows are certain, if all are from a size on, and the sum of the others.
template <class T>
CertainPart draw_certain(const DrawWeights<T>& weights, int64_t rows, uint64_t from);

// The share of these rows in a draw in proportion to the size, as draw_part()'s; `found` is of all
// rows, and `before` of those before these.
template <class T>
void draw_by_size(const DrawWeights<T>& weights, const DrawRules& rules, const CertainRows& found,
                  const CertainPart& before, uint64_t seed, int64_t* index, T* prob);

// prob [n] -> weight [n], in place; drawn_by(i) is what the i-th row was drawn by.
template <class T>
void correct(const Correcting& correcting, c10::function_ref<T(int64_t)> drawn_by, T* weight);

// Rows whose gradients, outer products of dz [count, classes] and h [count, width], are to span a
// vector of which `product` [count] are their products with it.
template <class T>
struct SpanningRows {
  int64_t count, classes, width;
  const T *dz, *h, *product;
  const bool* has_score;  // [count]: all others are zero, and come last
  const int64_t* order;   // [count]: of rows where nothing is left to span
  int64_t n;
  double small;  // what rounding leaves of nothing, of its first size
};

// Takes n of them one by one into index [n].
template <class T>
void spanning_rows(const SpanningRows<T>& rows, int64_t* index);

}  // namespace cpu
}  // namespace isf
