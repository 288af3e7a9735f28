// Row statistics: one pass over the logits, mapped to the device by the number of classes.
//   few          lanes of a warp share a row (small_rows.cuh)
//   many         a warp or a block has a row (wide_rows.cuh)
//   many, but few rows: a row is cut into slices, a block each, whose sums a second kernel joins
#include <algorithm>
#include <cstdlib>

#include "cuda.h"
#include "small_rows.cuh"
#include "soft_rows.cuh"
#include "wide_rows.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kSmallThreads = 128;

// Each group of lanes works on `rounds` rows (1, or as many as it has lanes) one after the other,
// and then finishes them all at once, a lane each.
template <class Element, bool kWithSlope>
__global__ void __launch_bounds__(kSmallThreads)
    small_rows(const RowProblem problem, int lanes, int rounds) {
  typedef Real<ResultOf<Element>> V;
  const int lane = lane_index(), groups = kWarp / lanes, turn = lane & (rounds - 1);
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * warp_count() + warp_index();
  // Neighbouring groups have neighbouring rows.
  const int64_t first = warp * groups * rounds + lane / lanes;
  const int64_t row = first + turn * groups;
  const Target target =
      row < problem.rows ? read_target(problem, row) : Target{0, RowKind::kIgnored};
  RowSums<V> sums = empty_row_sums<V>();
  for (int round = 0; round < rounds; ++round) {
    const int source = (lane & ~(lanes - 1)) + round;
    const int column = __shfl_sync(kAllLanes, target.column, source);
    const bool wanted = __shfl_sync(kAllLanes, target.kind == RowKind::kFine, source);
    const RowSums<V> found =
        group_sums<Element, kWithSlope>(problem, first + round * groups, column, wanted, lanes);
    if (round == turn) sums = found;
  }
  if (row < problem.rows && (lane & (lanes - 1)) < rounds) {
    finish_row<Element>(problem, row, target, sums);
  }
}

int64_t quotient_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

dim3 grid(int64_t x, int64_t y = 1) {
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y));
}

template <class Element>
int launch_small(const RowProblem& problem, int lanes, const Queue& queue) {
  // One lane finishes a row in about the time that it takes to add up 16 columns: where rows are
  // many, no lane should be idle meanwhile.
  const bool many = problem.rows >= static_cast<int64_t>(queue.multiprocessors) * 2048;
  const int rounds = many ? lanes : 1;
  const int rows_per_block = kSmallThreads / lanes * rounds;
  return launch(
      problem.statistic[kEntropy] ? small_rows<Element, true> : small_rows<Element, false>,
      grid(quotient_up(problem.rows, rows_per_block)), kSmallThreads, 0, queue.stream, problem,
      lanes, rounds);
}

// How wide rows are spread over the device.
struct Spread {
  int team;        // threads with one row: a warp, or a block
  int64_t slices;  // of a row, a team each
  int64_t slice;   // columns in each but the last
};

Spread spread_of(int64_t rows, int64_t classes, int64_t vector_size, int multiprocessors) {
  constexpr int64_t kEnough = 16;  // vectors that a thread takes at least, before there are more
  const int64_t vectors = classes / vector_size;
  const int64_t wanted = static_cast<int64_t>(multiprocessors) * 512;  // threads
  int team = kWarp;
  while (team < kWideThreads &&
         (vectors > kEnough * team || (rows * team < wanted && vectors > kEnough / 2 * team))) {
    team *= 2;
  }
  // A team of several warps is a whole block, and blocks are not made smaller than these.
  if (team > kWarp) team = std::max(team, kWideTeamsThreads);
  Spread spread = {team, 1, classes};
  const int64_t parts =
      std::min({wanted / (rows * team), vectors / (kEnough / 4 * team), kMostSlices});
  if (parts > 1) {
    spread.slice = quotient_up(quotient_up(classes, parts), 1024) * 1024;
    spread.slices = quotient_up(classes, spread.slice);
  }
  return spread;
}

template <class Element>
int launch_wide(const RowProblem& problem, const Queue& queue) {
  typedef ResultOf<Element> T;
  typedef RowSums<Real<T>> Sums;
  const bool entropy = problem.statistic[kEntropy] != nullptr;
  const Spread spread =
      spread_of(problem.rows, problem.classes, Vector<Element>::kCount, queue.multiprocessors);
  const int threads = std::max(spread.team, kWideTeamsThreads);
  const dim3 blocks = grid(quotient_up(problem.rows, threads / spread.team), spread.slices);
  Sums* partial = nullptr;
  if (spread.slices > 1) {
    const int64_t count = problem.rows * spread.slices;
    partial =
        static_cast<Sums*>(queue.allocate(queue.owner, static_cast<size_t>(count) * sizeof(Sums)));
  }
  const int error =
      launch(entropy ? wide_rows<Element, true> : wide_rows<Element, false>, blocks, threads, 0,
             queue.stream, problem, spread.team, static_cast<int>(spread.slice), partial);
  if (error != 0 || !partial) return error;
  return launch(join_slices<Element>, grid(quotient_up(problem.rows, kJoinThreads / kWarp)),
                kJoinThreads, 0, queue.stream, problem, static_cast<int>(spread.slices),
                static_cast<const Sums*>(partial));
}

// The lanes that share a row, or 0 for more than a warp's.
int lanes_of(const RowProblem& problem, int multiprocessors) {
  constexpr int64_t kColumns = 8;  // of one lane
  const int64_t threads = static_cast<int64_t>(multiprocessors) * 1024;
  int lanes = 1;
  if (problem.class_stride != 1 && std::abs(problem.row_stride) < std::abs(problem.class_stride)) {
    // Neighbouring rows are neighbours in memory: then lanes read best with a row each.
    while (lanes < kWarp && problem.rows * lanes < threads && lanes * kColumns < problem.classes) {
      lanes *= 2;
    }
    if (problem.rows * lanes >= threads / 4) return lanes;
  }
  while (lanes < kWarp && lanes * kColumns < problem.classes) lanes *= 2;
  return lanes * kColumns < problem.classes ? 0 : lanes;
}

template <class Element>
int launch_rows(const RowProblem& problem, bool soft_target, const Queue& queue) {
  if (soft_target) return launch_soft<Element>(problem, queue);
  const int lanes = lanes_of(problem, queue.multiprocessors);
  return lanes ? launch_small<Element>(problem, lanes, queue)
               : launch_wide<Element>(problem, queue);
}

}  // namespace

int row_statistics(const RowProblem& problem, Element element, bool soft_target,
                   const Queue& queue) {
  if (problem.rows == 0) return 0;
  switch (element) {
    case kFloat:
      return launch_rows<float>(problem, soft_target, queue);
    case kDouble:
      return launch_rows<double>(problem, soft_target, queue);
    case kHalf:
      return launch_rows<Half>(problem, soft_target, queue);
    default:
      return launch_rows<BFloat16>(problem, soft_target, queue);
  }
}

}  // namespace cuda
}  // namespace isf
