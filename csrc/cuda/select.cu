// From logits to a mini-batch. Where the rows fit one block, one launch does it all: the block
// scores the rows, keeps the scores in shared memory and draws from there. Elsewhere, and where the
// device has too little of that memory, the kernels of row statistics and of draws run one after
// the other.
#include "block_draw.cuh"
#include "copy.cuh"
#include "small_rows.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kMostFusedRows = 4096, kMostFusedClasses = 64;
// One multiprocessor reads this much about as fast as a second launch starts.
constexpr int64_t kMostFusedLogits = 65536;

// How a block scores the rows: in rounds of one row for each group of lanes.
struct BlockScoring {
  RowProblem rows;
  RowProblem round;  // what the rows of a round have in common, where they are read
  Statistic statistic;
  void *loss, *score;  // [rows] of the result type
  int lanes;           // of a row
  int score_bytes;     // of the scores in shared memory, in multiples of 16

  // Contiguous logits are copied to shared memory in units of 4 or 8 bytes: a row there is an odd
  // number of units, so that the rows of a warp lie in different banks.
  bool staged;
  uint32_t row_units, pitch_units;
  uint32_t per_row;  // 2^32 / row_units, rounded up
};

template <class Element>
constexpr bool is_wide = sizeof(ResultOf<Element>) == sizeof(double);

template <class Element>
constexpr int kUnit = is_wide<Element> ? 8 : 4;

// Copies rows to shared memory. A warp reads neighbouring units, and no read waits for another.
// The quotient of i and a row's units is the upper half of a product.
template <int kBytes>
__device__ __forceinline__ void copy_logits(const BlockScoring& scoring, const unsigned char* from,
                                            int rows, unsigned char* to) {
  const uint32_t count = static_cast<uint32_t>(rows) * scoring.row_units;
  const uint32_t padding = scoring.pitch_units - scoring.row_units;
#pragma unroll 4
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) {
    const auto row = static_cast<uint32_t>(uint64_t{i} * scoring.per_row >> 32);
    copy_to_shared<kBytes>(to + (i + padding * row) * kBytes, from + size_t{i} * kBytes);
  }
}

// The rows from `first` on as a problem of their own. Their targets and logits are brought to
// shared memory together.
template <class Element>
__device__ __forceinline__ RowProblem round_from(const BlockScoring& scoring, int first,
                                                 unsigned char* stage) {
  const int thread = static_cast<int>(threadIdx.x);
  const int abreast = static_cast<int>(blockDim.x) / scoring.lanes;
  const int left = static_cast<int>(scoring.rows.rows) - first;
  const int rows = left < abreast ? left : abreast;
  const int index_bytes = scoring.rows.target_is_int64 ? 8 : 4;
  const Element* const logits = row_of<Element>(scoring.rows, first);
  const unsigned char* target = static_cast<const unsigned char*>(scoring.rows.target) +
                                first * scoring.rows.target_stride * index_bytes;
  RowProblem round = scoring.round;
  round.rows = rows;
  round.logits = logits;
  round.target = target;
  if (!scoring.staged) return round;
  if (first) __syncthreads();  // all have done with the rows before
  unsigned char* const staged_logits = stage + abreast * 8;
  if (thread < rows) {
    target += thread * scoring.rows.target_stride * index_bytes;
    if (index_bytes == 8) {
      copy_to_shared<8>(stage + thread * 8, target);
    } else {
      copy_to_shared<4>(stage + thread * 4, target);
    }
  }
  copy_logits<kUnit<Element>>(scoring, reinterpret_cast<const unsigned char*>(logits), rows,
                              staged_logits);
  wait_for_copies();
  __syncthreads();
  round.logits = staged_logits;
  round.target = stage;
  return round;
}

template <class Element, Way kWay>
__global__ void __launch_bounds__(most_threads(kWay, is_wide<Element>), 1)
    select_kernel(const __grid_constant__ BlockScoring scoring,
                  const __grid_constant__ DrawPlan plan, const __grid_constant__ Layout layout) {
  typedef ResultOf<Element> T;
  ISF_DYNAMIC_SHARED(shared);
  T* const scores = reinterpret_cast<T*>(shared);
  BlockDraw<T, kWay> draw(plan, layout, scores, shared + scoring.score_bytes);
  BitsOf<T> largest = 0;
  const int thread = static_cast<int>(threadIdx.x), lanes = scoring.lanes;
#pragma unroll 1
  for (int first = 0; first < plan.rows; first += static_cast<int>(blockDim.x) / lanes) {
    const RowProblem round = round_from<Element>(scoring, first, draw.idle_memory());
    const int at = thread / lanes, row = first + at;
    const ScoredRow<T> scored = score_row<Element>(round, scoring.statistic, at, lanes);
    if (row >= plan.rows || thread % lanes) continue;
    static_cast<T*>(scoring.loss)[row] = scored.loss;
    static_cast<T*>(scoring.score)[row] = scored.score;
    scores[row] = scored.score;
    const BitsOf<T> bits = weight_bits(scored.score);
    largest = bits > largest ? bits : largest;
  }
  draw.run(largest);
}

DrawPlan plan_of(const SelectProblem& problem) {
  const Choice& choice = problem.choice;
  const RowProblem& rows = problem.rows;
  DrawPlan plan = {};
  plan.rows = static_cast<int>(rows.rows);
  plan.n = static_cast<int>(choice.n);
  plan.method = choice.method;
  plan.way = way_of(choice.method);
  plan.smoothing = choice.smoothing;
  plan.ignored = ignored_of(rows);
  plan.seed = problem.seed;
  set_correcting(plan, correcting_of(choice, rows.rows), problem.element == kDouble);
  plan.index = problem.index;
  plan.result = problem.weight;
  plan.tau = problem.tau;
  plan.status = problem.status;
  return plan;
}

bool fits_one_launch(const SelectProblem& problem, const DrawPlan& plan) {
  const int64_t rows = problem.rows.rows, classes = problem.rows.classes;
  const bool is_double = problem.element == kDouble;
  const int64_t most = is_double ? 2 : 1;
  return !problem.soft_target && !problem.features.rows && rows * most <= kMostFusedRows &&
         classes <= kMostFusedClasses && rows * classes * most <= kMostFusedLogits &&
         fits_block(plan, is_double);
}

// As many lanes for a row as leave each 16 classes, or 8 where there are threads to spare.
int lanes_of(int64_t rows, int64_t classes, int threads) {
  int lanes = 1;
  while (classes > 16 * lanes || (classes > 8 * lanes && rows * 2 * lanes <= threads)) lanes *= 2;
  return lanes;
}

template <class Element>
BlockScoring scoring_of(const SelectProblem& problem, int threads) {
  const RowProblem& rows = problem.rows;
  BlockScoring scoring = {};
  scoring.rows = scoring.round = rows;
  scoring.statistic = problem.score;
  scoring.loss = rows.statistic[kLoss];
  scoring.score = problem.score_copy ? problem.score_copy : rows.statistic[problem.score];
  scoring.lanes = lanes_of(rows.rows, rows.classes, threads);
  scoring.score_bytes =
      (static_cast<int>(rows.rows) * static_cast<int>(sizeof(ResultOf<Element>)) + 15) / 16 * 16;
  const auto row_bytes = static_cast<uint32_t>(rows.classes) * sizeof(Element);
  scoring.staged = rows.class_stride == 1 && rows.row_stride == rows.classes &&
                   row_bytes % kUnit<Element> == 0 &&
                   reinterpret_cast<uintptr_t>(rows.logits) % kUnit<Element> == 0;
  if (scoring.staged) {
    scoring.row_units = row_bytes / kUnit<Element>;
    scoring.pitch_units = scoring.row_units | 1;
    scoring.per_row = 0xffffffffu / scoring.row_units + 1;
    scoring.round.row_stride = scoring.pitch_units * kUnit<Element> / sizeof(Element);
    scoring.round.target_stride = 1;
  }
  return scoring;
}

// False if it takes more shared memory than there is; otherwise `error` is the launch's.
template <class Element>
bool select_fused(const SelectProblem& problem, const DrawPlan& plan, const Queue& queue,
                  int& error) {
  const auto scoring = scoring_of<Element>(problem, most_threads(plan.way, is_wide<Element>));
  const int busy = plan.rows * scoring.lanes;
  const Layout layout = layout_of(plan, is_wide<Element>, busy > plan.n ? busy : plan.n);
  const auto kernel = plan.way == Way::kPoints  ? select_kernel<Element, Way::kPoints>
                      : plan.way == Way::kOrder ? select_kernel<Element, Way::kOrder>
                                                : select_kernel<Element, Way::kSize>;
  // Rows are staged where the draw's memory will be.
  const size_t stage = static_cast<size_t>(layout.threads / scoring.lanes) *
                       (sizeof(int64_t) + scoring.pitch_units * kUnit<Element>);
  const size_t draw = layout.shared_bytes - Slots::kAllBytes;
  const size_t shared =
      static_cast<size_t>(scoring.score_bytes) + Slots::kAllBytes + (stage > draw ? stage : draw);
  if (shared > queue.shared_memory) return false;
  error = launch(kernel, dim3(1), layout.threads, shared, queue.stream, scoring, plan, layout);
  return true;
}

// False if one launch cannot do it.
bool select_at_once(const SelectProblem& problem, const DrawPlan& plan, const Queue& queue,
                    int& error) {
  if (!fits_one_launch(problem, plan)) return false;
  switch (problem.element) {
    case kDouble:
      return select_fused<double>(problem, plan, queue, error);
    case kHalf:
      return select_fused<Half>(problem, plan, queue, error);
    case kBFloat16:
      return select_fused<BFloat16>(problem, plan, queue, error);
    default:
      return select_fused<float>(problem, plan, queue, error);
  }
}

}  // namespace

int select(const SelectProblem& problem, const Queue& queue) {
  const DrawPlan plan = plan_of(problem);
  int error = cudaSuccess;
  if (select_at_once(problem, plan, queue, error)) return error;
  const bool is_double = problem.element == kDouble;
  void* const scores = problem.rows.statistic[problem.score];
  error = row_statistics(problem.rows, problem.element, problem.soft_target, queue);
  if (error == cudaSuccess && problem.features.rows) {
    error = last_layer(problem.features, scores, is_double, problem.rows.rows, queue);
  }
  if (error == cudaSuccess && problem.score_copy) {
    const size_t bytes = is_double ? sizeof(double) : sizeof(float);
    error =
        cudaMemcpyAsync(problem.score_copy, scores, static_cast<size_t>(problem.rows.rows) * bytes,
                        cudaMemcpyDeviceToDevice, queue.stream);
  }
  return error == cudaSuccess ? draw_by(plan, scores, is_double, queue) : error;
}

}  // namespace cuda
}  // namespace isf
