// A device's side of the operators. ops.cpp checks the arguments and finds a place for the results,
// and the backend of the tensors' device fills it.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>

#include "problem.h"
#include "rows.h"

namespace isf {

using at::Tensor;

// What decides a draw. At most one of them is given; with none, the device's default generator.
struct Seed {
  std::optional<int64_t> number;
  const std::optional<at::Generator>& generator;  // of the draw's device
  std::optional<Tensor> tensor;                   // int64 [], on the draw's device
};

struct Scoring {
  const Rows& rows;
  RowProblem problem;   // with the statistics asked for
  Statistic statistic;  // the one that is multiplied by the features' factor
  Tensor features;      // [K, D] with unit stride in D; undefined if there is no such factor
};

struct Drawing {
  Tensor weights;  // [K] float32 or float64, contiguous
  int64_t n;
  Method method;
};

struct Selected {
  const Tensor& index;   // [n] int64
  const Tensor& weight;  // [n], and all below, of the result type
  const Tensor& score;   // [...], the problem's statistic unless that is the loss
  const Tensor& loss;    // [...], the problem's
  const Tensor& tau;     // []
  const Tensor& status;  // [] int64
};

// What rows are drawn by, made of their scores.
struct Smoothing {
  Tensor score;    // [K] float32 or float64, contiguous
  Tensor ignored;  // [K] bool, contiguous; undefined if no row is
  double share;    // of the mean
};

// A backend that can see what is wrong with the values raises; another one marks it, as
// csrc/cuda/cuda.h says.
struct Backend {
  // An uninitialised tensor like at::empty's, without the dispatcher's share of the cost.
  Tensor (*empty)(at::IntArrayRef shape, at::ScalarType type, at::Device device);
  void (*score)(const Scoring& scoring);
  void (*draw)(const Drawing& drawing, const Seed& seed, const Tensor& index, const Tensor& prob);
  void (*select)(const Scoring& scoring, const Choice& choice, const Seed& seed,
                 const Selected& selected);
  void (*smooth)(const Smoothing& smoothing, const Tensor& weights, const Tensor& tau);
  // weight [n] holds the probabilities before; drawn_by [n] is what the drawn rows were drawn by.
  void (*correct)(const Correcting& correcting, const Tensor& drawn_by, const Tensor& weight);
};

// Each device's file adds its own when the library is loaded.
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
