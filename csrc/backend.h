// A device's side of the operators. ops.cpp checks the arguments and finds a place for the results,
// and the backend of the tensors' device fills it. The backends are the only registry of devices: a
// new one is a folder whose ops.cpp adds its own.
#pragma once

#include <ATen/core/Tensor.h>

#include "arguments.h"
#include "problem.h"
#include "rows.h"

namespace isf {

using at::Tensor;

struct RowTask {
  const Rows& rows;
  RowProblem problem;   // with the statistics asked for
  Statistic statistic;  // the one that is multiplied by the features' factor
  Tensor features;      // [K, D] with unit stride in D; undefined if there is no such factor
};

struct DrawTask {
  const Tensor& weights;  // [K] float32 or float64, contiguous
  int64_t n;
  Method method;
  const Seed& seed;
  const Tensor& index;  // [n] int64
  const Tensor& prob;   // [n] of the weights' type
};

// Some of the rows that are drawn from, and what is known of all of them.
struct Part {
  Tensor weights;         // [k] float32 or float64, contiguous; k may be 0
  const Tensor& largest;  // [] of the weights' type
  const Tensor& rows;     // [] int64
};

struct ScanTask {
  const Tensor& weights;   // [k] as a part's
  const Tensor& largest;   // [] of the weights' type
  const Tensor& positive;  // [] int64
  const Tensor& status;    // [] int64
};

struct TotalTask {
  const Part& part;
  const Tensor& total;  // [] int64
};

struct PartTask {
  const Part& part;
  int64_t n;
  Method method;         // with replacement
  const Tensor& total;   // [] int64
  const Tensor& before;  // [] int64
  const Tensor& seed;    // [] int64
  const Tensor& index;   // [n] int64
  const Tensor& prob;    // [n] of the weights' type
};

struct FirstTask {
  const Part& part;
  int64_t n;
  Method method;            // by an order
  const Tensor& first_row;  // [] int64
  const Tensor& seed;       // [] int64
  const Tensor& key;        // [n] int64
  const Tensor& index;      // [n] int64
};

struct ArrivalTask {
  const Part& drawn;   // the rows of a race that are drawn
  const Tensor& next;  // [] int64
  const Tensor& prob;  // [n] of the weights' type
};

struct CertainTask {
  const Part& part;
  int64_t n;
  const Tensor& found;    // [3] int64
  const Tensor& counted;  // [3] int64
};

struct SizeTask {
  const Part& part;
  int64_t n;
  const Tensor& found;   // [3] int64
  const Tensor& before;  // [2] int64
  const Tensor& seed;    // [] int64
  const Tensor& index;   // [n] int64
  const Tensor& prob;    // [n] of the weights' type
};

struct SelectTask {
  const RowTask& scores;
  Choice choice;
  const Seed& seed;
  const Tensor& index;   // [n] int64
  const Tensor& weight;  // [n], and all below, of the result type
  const Tensor& score;   // [...], the statistic of `scores` unless that is the loss
  const Tensor& loss;    // [...], the loss of `scores`
  const Tensor& tau;     // []
  const Tensor& status;  // [] int64
};

// From scores to what rows are drawn by.
struct SmoothTask {
  const Tensor& score;    // [K] float32 or float64, contiguous
  const Tensor& ignored;  // [K] bool, contiguous; undefined if no row is
  double share;           // of the mean
  const Tensor& weights;  // [K], and tau, of the scores' type
  const Tensor& tau;      // []
};

// From probabilities to weights.
struct CorrectTask {
  Correcting correcting;
  const Tensor& drawn_by;  // [n] of the weights' type: what the drawn rows were drawn by
  const Tensor& weight;    // [n] float32 or float64, contiguous; holds the probabilities before
};

// A backend that can see what is wrong with the values raises; another one marks it, as
// csrc/cuda/cuda.h says.
struct Backend {
  // An uninitialised tensor like at::empty's, without the dispatcher's share of the cost.
  Tensor (*empty)(at::IntArrayRef shape, at::ScalarType type, at::Device device);
  void (*score)(const RowTask& task);
  void (*draw)(const DrawTask& task);
  void (*select)(const SelectTask& task);
  void (*smooth)(const SmoothTask& task);
  void (*correct)(const CorrectTask& task);
  void (*draw_scan)(const ScanTask& task);
  void (*draw_total)(const TotalTask& task);
  void (*draw_part)(const PartTask& task);
  void (*draw_first)(const FirstTask& task);
  void (*draw_arrival_prob)(const ArrivalTask& task);
  void (*draw_certain)(const CertainTask& task);
  void (*draw_by_size)(const SizeTask& task);
};

// Adds a device when the library is loaded.
struct AddBackend {
  AddBackend(at::DeviceType device, const Backend& backend);
};

// Of a device that check_device() has accepted.
const Backend& backend_of(at::Device device);

// Throws unless there are kernels for the tensor's device and layout.
void check_device(const Tensor& tensor, const char* name);

Element element_of(at::ScalarType type);
Features features_of(const Tensor& rows);  // [K, D] with unit stride in D; or undefined

}  // namespace isf
