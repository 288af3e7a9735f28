// The requests of row statistics and of the last layer (tests/cuda/shim/server.cpp).
#pragma once

#include "queue.h"

namespace shim {

// A RowProblem, in the order in which tests/cuda/shim_device.py sends one.
inline isf::RowProblem read_rows(Request& request) {
  isf::RowProblem rows = {};
  rows.logits = request.buffer();
  rows.rows = request.integer();
  rows.classes = request.integer();
  rows.row_stride = request.integer();
  rows.class_stride = request.integer();
  rows.target = request.buffer();
  rows.target_is_int64 = request.integer() != 0;
  rows.target_stride = request.integer();
  rows.ignore.index = request.integer();
  rows.ignore.any = request.integer() != 0;
  rows.probability = request.buffer();
  rows.sum_tolerance = request.real();
  rows.class_weight = request.buffer();
  rows.label_smoothing = request.real();
  for (void*& statistic : rows.statistic) statistic = request.buffer();
  return rows;
}

inline isf::Features read_features(Request& request) {
  isf::Features features = {};
  features.rows = request.buffer();
  features.element = static_cast<isf::Element>(request.integer());
  features.row_stride = request.integer();
  features.width = request.integer();
  return features;
}

// Runs the request if it is one of these; false if it is not.
inline bool run_row_request(Request& request, int& error) {
  if (request.name() == "row_statistics") {
    const isf::RowProblem rows = read_rows(request);
    const auto element = static_cast<isf::Element>(request.integer());
    const bool soft_target = request.integer() != 0;
    const isf::cuda::Queue queue = queue_of(request);
    error = isf::cuda::row_statistics(rows, element, soft_target, queue);
    return true;
  }
  if (request.name() == "last_layer") {
    const isf::Features features = read_features(request);
    void* score = request.buffer();
    const bool score_is_double = request.integer() != 0;
    const int64_t rows = request.integer();
    const isf::cuda::Queue queue = queue_of(request);
    error = isf::cuda::last_layer(features, score, score_is_double, rows, queue);
    return true;
  }
  return false;
}

}  // namespace shim
