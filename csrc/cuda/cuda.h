// The operators on CUDA, over plain pointers to device memory. Nothing of torch here: the kernels
// compile beside any torch, and on the host in tests (tests/cuda/shim).
//
// A launcher checks nothing that the host cannot see and waits for nothing. What is wrong with the
// values is found on the device: a row with a bad logit, target, probability or feature gets NaN in
// every statistic, and a draw says in its status what kept it from drawing.
#pragma once

#include <stddef.h>

#include "../problem.h"

typedef struct CUstream_st* cudaStream_t;

namespace isf {
namespace cuda {

// Where kernels run.
struct Queue {
  cudaStream_t stream;
  int multiprocessors;
  size_t shared_memory;  // that a block may ask for
  // Device memory, aligned to 256 bytes, that stays until the operator's kernels have run.
  void* (*allocate)(void* owner, size_t bytes);
  void* owner;
};

// Where the seed of a draw comes from. It is read on the device: a captured graph that is replayed
// must not draw the same rows again.
struct SeedSource {
  const int64_t* seed_at;  // if not null, the seed is here, and `seed` is of no use
  uint64_t seed;
  // If set, the seed is a generator's, and the draw's own seed is the random number of that seed at
  // the generator's offset.
  bool from_generator;
  const int64_t* offset_at;  // if not null, added to `offset`
  uint64_t offset;           // a multiple of 4, as curand's offsets are
};

// What a draw's status says.
//   0             all is well
//   1 + row       the first row whose weight is negative or not finite
//   -1 - positive without replacement: n rows were asked for and only this many weights are
//                 positive; -1 where every row is ignored
// With another status than 0 the draw's prob is NaN and its weights are 0. Its indices are i mod
// rows; but with a positive status all of them are the first row that is neither ignored nor
// faulty, if there is one: a loss can be computed of it.

struct DrawProblem {
  const void* weights;  // [rows], float or double
  bool is_double;
  int64_t rows, n;
  Method method;
  SeedSource seed;
  int64_t* index;   // [n]
  void* prob;       // [n] of the weights' type
  int64_t* status;  // []
};

struct ScanProblem {
  const void* weights;  // [rows], float or double
  bool is_double;
  int64_t rows;
  void* largest;      // [] of the weights' type; NaN where the status is not 0
  int64_t* positive;  // []
  int64_t* status;    // []: 1 + row, or 0
};

// Some of the rows that are drawn from, and what is known of all of them.
struct PartProblem {
  const void* weights;  // [rows], float or double; rows may be 0
  bool is_double;
  int64_t rows;
  const void* largest;      // [] of the weights' type
  const int64_t* all_rows;  // []
};

// index and prob are kElsewhere and 0 where another part has the row. Where a weight of any part is
// faulty they mean nothing.
struct PartDrawProblem {
  PartProblem part;
  int64_t n;
  Method method;          // with replacement
  const int64_t* total;   // []
  const int64_t* before;  // []
  const int64_t* seed;    // []
  int64_t* index;         // [n]
  void* prob;             // [n] of the weights' type
};

// kBehindAll and kElsewhere behind the last row that has a weight.
struct FirstProblem {
  PartProblem part;
  int64_t n;
  Method method;             // by an order
  const int64_t* first_row;  // []
  const int64_t* seed;       // []
  int64_t* key;              // [n]
  int64_t* index;            // [n]
};

// found, of all rows, and counted, of the part: the size that rows are certain from, which the
// round lowers if it can; the sum of the others; how many are certain.
struct CertainProblem {
  PartProblem part;
  int64_t n;
  const int64_t* found;  // [3]
  int64_t* counted;      // [3]
};

struct SizeProblem {
  PartProblem part;
  int64_t n;
  const int64_t* found;   // [3], of all rows
  const int64_t* before;  // [2]: sum and count of the rows before these
  const int64_t* seed;    // []
  int64_t* index;         // [n]
  void* prob;             // [n] of the weights' type
};

struct SelectProblem {
  // statistic[kLoss] and statistic[score] are the outputs for loss and score. Other statistics are
  // null.
  RowProblem rows;
  Element element;
  bool soft_target;
  Statistic score;
  void* score_copy;   // a second place for the score where that is the loss, or null
  Features features;  // for the score of the last layer
  Choice choice;
  SeedSource seed;
  int64_t* index;   // [n]
  void* weight;     // [n] of the result type
  void* tau;        // [] of the result type
  int64_t* status;  // []
};

// A failed one leaves NaN in all weights and in tau.
struct SmoothProblem {
  const void* score;  // [rows], float or double
  bool is_double;
  int64_t rows;
  const bool* ignored;  // [rows], or null
  double share;         // of the mean
  void* weights;        // [rows] of the scores' type
  void* tau;            // [] likewise
};

struct CorrectProblem {
  Correcting correcting;
  bool is_double;
  const void* drawn_by;  // [n], what the drawn rows were drawn by
  void* weight;          // [n] of the same type: the probabilities, in place of which weights come
};

// Each returns the first error of its launches, as a cudaError_t: 0 if there was none.
int row_statistics(const RowProblem& problem, Element element, bool soft_target,
                   const Queue& queue);
// Multiplies scores [rows] by sqrt(1 + |h|^2); a row of score 0 stays as it is.
int last_layer(const Features& features, void* score, bool score_is_double, int64_t rows,
               const Queue& queue);
int draw(const DrawProblem& problem, const Queue& queue);
int draw_scan(const ScanProblem& problem, const Queue& queue);
int draw_total(const PartProblem& part, int64_t* total, const Queue& queue);
int draw_part(const PartDrawProblem& problem, const Queue& queue);
int draw_first(const FirstProblem& problem, const Queue& queue);
// Fills prob, of the weights' type, for drawn rows.
int draw_arrival_prob(const PartProblem& drawn, const int64_t* next, void* prob,
                      const Queue& queue);
int draw_certain(const CertainProblem& problem, const Queue& queue);
// What `found` and `before` say must be of weights that n rows can be drawn from.
int draw_by_size(const SizeProblem& problem, const Queue& queue);
int select(const SelectProblem& problem, const Queue& queue);
int smooth(const SmoothProblem& problem, const Queue& queue);
int correct(const CorrectProblem& problem, const Queue& queue);

}  // namespace cuda
}  // namespace isf
