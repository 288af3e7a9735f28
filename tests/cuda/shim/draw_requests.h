// The requests of draws and selections (tests/cuda/shim/server.cpp).
#pragma once

#include "queue.h"
#include "row_requests.h"

namespace shim {

inline isf::cuda::SeedSource read_seed(Request& request) {
  isf::cuda::SeedSource seed = {};
  seed.seed_at = static_cast<const int64_t*>(request.buffer());
  seed.seed = static_cast<uint64_t>(request.integer());
  seed.from_generator = request.integer() != 0;
  seed.offset_at = static_cast<const int64_t*>(request.buffer());
  seed.offset = static_cast<uint64_t>(request.integer());
  return seed;
}

inline int run_draw(Request& request) {
  isf::cuda::DrawProblem draw = {};
  draw.weights = request.buffer();
  draw.is_double = request.integer() != 0;
  draw.rows = request.integer();
  draw.n = request.integer();
  draw.method = static_cast<isf::Method>(request.integer());
  draw.seed = read_seed(request);
  draw.index = static_cast<int64_t*>(request.buffer());
  draw.prob = request.buffer();
  draw.status = static_cast<int64_t*>(request.buffer());
  return isf::cuda::draw(draw, queue_of(request));
}

inline isf::cuda::PartProblem read_part(Request& request) {
  isf::cuda::PartProblem part = {};
  part.weights = request.buffer();
  part.is_double = request.integer() != 0;
  part.rows = request.integer();
  part.largest = request.buffer();
  part.all_rows = static_cast<const int64_t*>(request.buffer());
  return part;
}

inline int run_draw_scan(Request& request) {
  isf::cuda::ScanProblem scan = {};
  scan.weights = request.buffer();
  scan.is_double = request.integer() != 0;
  scan.rows = request.integer();
  scan.largest = request.buffer();
  scan.positive = static_cast<int64_t*>(request.buffer());
  scan.status = static_cast<int64_t*>(request.buffer());
  return isf::cuda::draw_scan(scan, queue_of(request));
}

inline int run_draw_total(Request& request) {
  const isf::cuda::PartProblem part = read_part(request);
  int64_t* const total = static_cast<int64_t*>(request.buffer());
  return isf::cuda::draw_total(part, total, queue_of(request));
}

inline int run_draw_part(Request& request) {
  isf::cuda::PartDrawProblem draw = {};
  draw.part = read_part(request);
  draw.n = request.integer();
  draw.method = static_cast<isf::Method>(request.integer());
  draw.total = static_cast<const int64_t*>(request.buffer());
  draw.before = static_cast<const int64_t*>(request.buffer());
  draw.seed = static_cast<const int64_t*>(request.buffer());
  draw.index = static_cast<int64_t*>(request.buffer());
  draw.prob = request.buffer();
  return isf::cuda::draw_part(draw, queue_of(request));
}

inline int run_draw_first(Request& request) {
  isf::cuda::FirstProblem first = {};
  first.part = read_part(request);
  first.n = request.integer();
  first.method = static_cast<isf::Method>(request.integer());
  first.first_row = static_cast<const int64_t*>(request.buffer());
  first.seed = static_cast<const int64_t*>(request.buffer());
  first.key = static_cast<int64_t*>(request.buffer());
  first.index = static_cast<int64_t*>(request.buffer());
  return isf::cuda::draw_first(first, queue_of(request));
}

inline int run_draw_arrival_prob(Request& request) {
  const isf::cuda::PartProblem drawn = read_part(request);
  const auto* const next = static_cast<const int64_t*>(request.buffer());
  void* const prob = request.buffer();
  return isf::cuda::draw_arrival_prob(drawn, next, prob, queue_of(request));
}

inline int run_draw_certain(Request& request) {
  isf::cuda::CertainProblem certain = {};
  certain.part = read_part(request);
  certain.n = request.integer();
  certain.found = static_cast<const int64_t*>(request.buffer());
  certain.counted = static_cast<int64_t*>(request.buffer());
  return isf::cuda::draw_certain(certain, queue_of(request));
}

inline int run_draw_by_size(Request& request) {
  isf::cuda::SizeProblem draw = {};
  draw.part = read_part(request);
  draw.n = request.integer();
  draw.found = static_cast<const int64_t*>(request.buffer());
  draw.before = static_cast<const int64_t*>(request.buffer());
  draw.seed = static_cast<const int64_t*>(request.buffer());
  draw.index = static_cast<int64_t*>(request.buffer());
  draw.prob = request.buffer();
  return isf::cuda::draw_by_size(draw, queue_of(request));
}

inline int run_select(Request& request) {
  isf::cuda::SelectProblem select = {};
  select.rows = read_rows(request);
  select.element = static_cast<isf::Element>(request.integer());
  select.soft_target = request.integer() != 0;
  select.score = static_cast<isf::Statistic>(request.integer());
  select.score_copy = request.buffer();
  select.features = read_features(request);
  select.choice.n = request.integer();
  select.choice.method = static_cast<isf::Method>(request.integer());
  select.choice.correction = static_cast<isf::Correction>(request.integer());
  select.choice.exponent = request.real();
  select.choice.smoothing = request.real();
  select.seed = read_seed(request);
  select.index = static_cast<int64_t*>(request.buffer());
  select.weight = request.buffer();
  select.tau = request.buffer();
  select.status = static_cast<int64_t*>(request.buffer());
  return isf::cuda::select(select, queue_of(request));
}

inline int run_smooth(Request& request) {
  isf::cuda::SmoothProblem smooth = {};
  smooth.score = request.buffer();
  smooth.is_double = request.integer() != 0;
  smooth.rows = request.integer();
  smooth.ignored = static_cast<const bool*>(request.buffer());
  smooth.share = request.real();
  smooth.weights = request.buffer();
  smooth.tau = request.buffer();
  return isf::cuda::smooth(smooth, queue_of(request));
}

inline int run_correct(Request& request) {
  isf::cuda::CorrectProblem correct = {};
  correct.correcting.n = request.integer();
  correct.correcting.rows = request.integer();
  correct.correcting.kind = static_cast<isf::DrawKind>(request.integer());
  correct.correcting.correction = static_cast<isf::Correction>(request.integer());
  correct.correcting.exponent = request.real();
  correct.is_double = request.integer() != 0;
  correct.drawn_by = request.buffer();
  correct.weight = request.buffer();
  return isf::cuda::correct(correct, queue_of(request));
}

// Runs the request if it is of a draw or of a part of one; false if it is not.
inline bool run_draw_request(Request& request, int& error) {
  static constexpr struct {
    const char* name;
    int (*run)(Request&);
  } kRequests[] = {{"draw", run_draw},
                   {"draw_scan", run_draw_scan},
                   {"draw_total", run_draw_total},
                   {"draw_part", run_draw_part},
                   {"draw_first", run_draw_first},
                   {"draw_arrival_prob", run_draw_arrival_prob},
                   {"draw_certain", run_draw_certain},
                   {"draw_by_size", run_draw_by_size},
                   {"select", run_select},
                   {"smooth", run_smooth},
                   {"correct", run_correct}};
  for (const auto& known : kRequests) {
    if (request.name() != known.name) continue;
    error = known.run(request);
    return true;
  }
  return false;
}

}  // namespace shim
