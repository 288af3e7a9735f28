// Draws that are too large for one block: a few launches around CUB's prefix sums, or its sort for
// the methods that take the first rows of an order. What one launch finds out, the next ones read
// from device memory: the host decides nothing.
#include "grid_draw.h"

#include "cub.cuh"
#include "grid.cuh"
#include "rescale.cuh"
#include "without_replacement.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kMostParts = kThreads;  // parts of a summary, so that a thread reads one
constexpr int kRowsPerThread = 8;     // at least, where there are enough

// Certain rows are looked for in rounds over all rows. The first ones are launches of the whole
// grid: one block would take long to read so many rows.
constexpr int kGridRounds = 6;

// What a round of the search has come to.
struct CertainRound {
  CertainRows found;
  bool done;  // no further row is certain
};

// What the launches hand on; all in device memory.
template <class T>
struct GridMemory {
  const T* scores;
  int parts;
  ScoreScan<T>* scans;   // [parts]
  uint64_t* score_sums;  // [parts] of scores in fixed point, for their mean
  TauSums* tau_sums;     // [parts]
  Sampling<T>* sampling;
  CertainRows* certain;
  CertainRound* rounds;        // [kGridRounds]
  CertainPart* certain_parts;  // [kGridRounds, parts]
  uint64_t* sums;              // [rows] fixed points, then their prefix sums
  uint64_t* counts;            // [rows] of certain rows
  uint64_t *key, *sorted_key;  // [rows]
  uint32_t *row, *sorted_row;  // [rows]
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    summarize(const __grid_constant__ DrawPlan plan, const __grid_constant__ GridMemory<T> memory) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  ScoreScan<T> mine = ScoreScan<T>::nothing();
  for (int64_t row = first_of_grid(); row < plan.rows; row += threads_of_grid()) {
    mine.add(memory.scores[row], static_cast<int>(row), !is_ignored(plan.ignored, row));
  }
  mine = block_merge(mine, slots);
  if (threadIdx.x == 0) memory.scans[blockIdx.x] = mine;
}

// What the scores become, as far as their scans tell. Every block merges those for itself.
template <class T>
__device__ __forceinline__ Sampling<T> sampling_of(const DrawPlan& plan,
                                                   const GridMemory<T>& memory, Slots& slots) {
  const int thread = static_cast<int>(threadIdx.x);
  const ScoreScan<T> all =
      block_merge(thread < memory.parts ? memory.scans[thread] : ScoreScan<T>::nothing(), slots);
  return Sampling<T>::of(all, plan.rules(), mixture_of<T>(plan.smoothing));
}

// The sums of the scores, which smoothed ones need the mean of.
template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_scores(const __grid_constant__ DrawPlan plan,
               const __grid_constant__ GridMemory<T> memory) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const Sampling<T> sampling = sampling_of(plan, memory, slots);
  if (!sampling.needs_mean()) return;
  uint64_t sum = 0;
  for (int64_t row = first_of_grid(); row < plan.rows; row += threads_of_grid()) {
    sum += to_fixed_point(memory.scores[row], sampling.shift);
  }
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) memory.score_sums[blockIdx.x] = sum;
}

// Fixed points of the weights, or the keys that their rows are ordered by.
template <class T>
__global__ void __launch_bounds__(kThreads)
    prepare(const __grid_constant__ DrawPlan plan, const __grid_constant__ GridMemory<T> memory) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const SeedWords words(plan.seed);
  const int thread = static_cast<int>(threadIdx.x);
  Sampling<T> sampling = sampling_of(plan, memory, slots);
  if (sampling.needs_mean()) {
    const uint64_t part = thread < memory.parts ? memory.score_sums[thread] : 0;
    sampling.smooth(block_sum(part, slots), plan.rules(), mixture_of<T>(plan.smoothing));
  }
  const Weights<T> weights = {memory.scores, &plan.ignored, sampling};
  if (first_of_grid() == 0) {
    *memory.sampling = weights.sampling;
    *plan.status = weights.sampling.status;
  }
  if (weights.sampling.status) return;
  const uint64_t seed = words.value();
  const int row_bits = bits_for(static_cast<uint64_t>(plan.rows));
  const bool race = plan.method == Method::kRace;
  TauSums mine = TauSums::nothing();
  for (int64_t row = first_of_grid(); row < plan.rows; row += threads_of_grid()) {
    const uint64_t fixed = weights.fixed(row);
    mine.sum += fixed;
    mine.squares += square_of(fixed, row_bits, T());
    if (!memory.sums) {
      memory.row[row] = static_cast<uint32_t>(row);
      memory.key[row] = order_key(weights, race, row, seed);
    } else {
      memory.sums[row] = fixed;
    }
  }
  mine = block_merge(mine, slots);
  if (thread == 0) memory.tau_sums[blockIdx.x] = mine;
}

// What the passes before a round have found, lowered to what is certain by that. Every block merges
// their parts for itself.
template <class T>
__device__ __forceinline__ CertainRound certain_before(const DrawPlan& plan,
                                                       const GridMemory<T>& memory, int round,
                                                       Slots& slots) {
  CertainRound now = {CertainRows::none(), false};
  CertainPart part = CertainPart::nothing();
  const int thread = static_cast<int>(threadIdx.x);
  if (round > 0) {
    now = memory.rounds[round - 1];
    if (now.done) return now;
    if (thread < memory.parts) part = memory.certain_parts[(round - 1) * memory.parts + thread];
  } else if (thread < memory.parts) {  // none is certain so far
    part.rest = memory.tau_sums[thread].sum;
  }
  block_merge(part, slots).store(now.found);
  now.done = !now.found.lower(plan.n);
  return now;
}

// A round of the search for certain rows, by all blocks.
template <class T>
__global__ void __launch_bounds__(kThreads)
    lower_certain(const __grid_constant__ DrawPlan plan,
                  const __grid_constant__ GridMemory<T> memory, const int round) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  if (memory.sampling->status) return;
  const CertainRound now = certain_before(plan, memory, round, slots);
  if (first_of_grid() == 0) memory.rounds[round] = now;
  if (now.done) return;
  CertainPart mine = CertainPart::nothing();
  for (int64_t row = first_of_grid(); row < plan.rows; row += threads_of_grid()) {
    mine.add(memory.sums[row], now.found.from);
  }
  mine = block_merge(mine, slots);
  if (threadIdx.x == 0) memory.certain_parts[round * memory.parts + blockIdx.x] = mine;
}

// The rounds that are left after those of the whole grid, by one block.
template <class T>
__global__ void __launch_bounds__(1024)
    find_certain_rows(const __grid_constant__ DrawPlan plan,
                      const __grid_constant__ GridMemory<T> memory) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  if (memory.sampling->status) return;
  CertainRound now = certain_before(plan, memory, kGridRounds, slots);
  while (!now.done) {
    CertainPart mine = CertainPart::nothing();
    for (int64_t row = threadIdx.x; row < plan.rows; row += blockDim.x) {
      mine.add(memory.sums[row], now.found.from);
    }
    block_merge(mine, slots).store(now.found);
    now.done = !now.found.lower(plan.n);
  }
  if (threadIdx.x == 0) *memory.certain = now.found;
}

// Parts the certain rows from the others.
template <class T>
__global__ void __launch_bounds__(kThreads)
    part_certain(const __grid_constant__ DrawPlan plan,
                 const __grid_constant__ GridMemory<T> memory) {
  if (memory.sampling->status) return;
  const uint64_t from = memory.certain->from;
  for (int64_t row = first_of_grid(); row < plan.rows; row += threads_of_grid()) {
    const uint64_t fixed = memory.sums[row];
    memory.sums[row] = fixed < from ? fixed : 0;
    memory.counts[row] = fixed >= from;
  }
}

template <class T>
__device__ __forceinline__ void store_first(const DrawPlan& plan, const GridMemory<T>& memory,
                                            const Weights<T>& weights) {
  const bool race = plan.method == Method::kRace;
  const float time =
      arrival_time(race && plan.n < plan.rows ? static_cast<uint32_t>(memory.sorted_key[plan.n])
                                              : kNeverArrives);
  for (int64_t i = first_of_grid(); i < plan.n; i += threads_of_grid()) {
    const int64_t row = memory.sorted_row[i];
    store(plan, i, row, order_probability(weights, race, row, time));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pick(const __grid_constant__ DrawPlan plan, const __grid_constant__ GridMemory<T> memory) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const Weights<T> weights = {memory.scores, &plan.ignored, *memory.sampling};
  if (weights.sampling.status) {
    return store_failure(plan, weights.sampling, first_of_grid(), threads_of_grid());
  }
  if (plan.tau && blockIdx.x == 0) {
    const int thread = static_cast<int>(threadIdx.x);
    const TauSums all =
        block_merge(thread < memory.parts ? memory.tau_sums[thread] : TauSums::nothing(), slots);
    if (thread == 0) {
      *static_cast<T*>(plan.tau) = tau_of<T>(all, static_cast<uint64_t>(plan.rows));
    }
  }
  const uint64_t seed = SeedWords(plan.seed).value();
  if (!memory.sums) {
    store_first(plan, memory, weights);
  } else if (memory.counts) {
    store_by_size<T>(plan, memory.sums, memory.counts, *memory.certain, CertainPart::nothing(),
                     seed);
  } else {
    const Share all = {memory.sums[plan.rows - 1], 0};
    store_at_points<T>(plan, memory.sums, all, seed);
  }
}

template <class T>
__global__ void __launch_bounds__(1024) rescale_all(const __grid_constant__ DrawPlan plan,
                                                    const __grid_constant__ GridMemory<T> memory) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const Weights<T> weights = {memory.scores, &plan.ignored, *memory.sampling};
  if (weights.sampling.status) return;
  Rescaling<T>(plan, slots).run([&](int64_t i) { return weights[plan.index[i]]; });
}

template <class T>
int grid_draw_typed(const DrawPlan& plan, const T* scores, const Queue& queue) {
  const int64_t rows = plan.rows;
  const bool sorts = plan.way == Way::kOrder, by_size = plan.way == Way::kSize;
  GridMemory<T> memory = {};
  memory.scores = scores;
  memory.parts = blocks_for((rows + kRowsPerThread - 1) / kRowsPerThread, kMostParts);
  memory.scans = allocate<ScoreScan<T>>(queue, memory.parts);
  memory.tau_sums = allocate<TauSums>(queue, memory.parts);
  if (plan.smoothing != 0) memory.score_sums = allocate<uint64_t>(queue, memory.parts);
  memory.sampling = allocate<Sampling<T>>(queue, 1);
  if (sorts) {
    memory.key = allocate<uint64_t>(queue, rows);
    memory.sorted_key = allocate<uint64_t>(queue, rows);
    memory.row = allocate<uint32_t>(queue, rows);
    memory.sorted_row = allocate<uint32_t>(queue, rows);
  } else {
    memory.sums = allocate<uint64_t>(queue, rows);
  }
  if (by_size) {
    memory.certain = allocate<CertainRows>(queue, 1);
    memory.rounds = allocate<CertainRound>(queue, kGridRounds);
    memory.certain_parts = allocate<CertainPart>(queue, int64_t{kGridRounds} * memory.parts);
    memory.counts = allocate<uint64_t>(queue, rows);
  }
  Launches launches(queue);
  launches.run(summarize<T>, memory.parts, kThreads, plan, memory);
  if (memory.score_sums) launches.run(sum_scores<T>, memory.parts, kThreads, plan, memory);
  launches.run(prepare<T>, memory.parts, kThreads, plan, memory);
  if (by_size) {
    for (int round = 0; round < kGridRounds; ++round) {
      launches.run(lower_certain<T>, memory.parts, kThreads, plan, memory, round);
    }
    launches.run(find_certain_rows<T>, 1, 1024, plan, memory);
    launches.run(part_certain<T>, memory.parts, kThreads, plan, memory);
  }
  const bool wide = plan.method == Method::kTopk && sizeof(T) == sizeof(double);
  if (memory.sums && launches.error == cudaSuccess) {
    launches.error = prefix_sums(memory.sums, rows, queue);
  }
  if (memory.counts && launches.error == cudaSuccess) {
    launches.error = prefix_sums(memory.counts, rows, queue);
  }
  if (sorts && launches.error == cudaSuccess) {
    launches.error = sort_by_key(memory.key, memory.sorted_key, memory.row, memory.sorted_row, rows,
                                 wide ? 64 : 32, queue);
  }
  const int64_t stores = by_size ? rows : plan.n;
  launches.run(pick<T>, blocks_for(stores, 8 * queue.multiprocessors), kThreads, plan, memory);
  if (is_rescaled(plan.outcome)) launches.run(rescale_all<T>, 1, 1024, plan, memory);
  return launches.error;
}

}  // namespace

int grid_draw(const DrawPlan& plan, const void* scores, bool is_double, const Queue& queue) {
  return is_double ? grid_draw_typed(plan, static_cast<const double*>(scores), queue)
                   : grid_draw_typed(plan, static_cast<const float*>(scores), queue);
}

}  // namespace cuda
}  // namespace isf
