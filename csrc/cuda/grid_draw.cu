// Draws that are too large for one block: a few launches around CUB's prefix sums, or its sort for
// the methods that take the first rows of an order. What one launch finds out, the next ones read
// from device memory: the host decides nothing.
#include "grid_draw.h"

#include "certainties.cuh"
#include "cub.cuh"
#include "points.cuh"
#include "rescale.cuh"
#include "sampling.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMostParts = kThreads;  // parts of a summary, so that a thread reads one
constexpr int kRowsPerThread = 8;     // at least, where there are enough

// What the launches hand on; all in device memory.
template <class T>
struct Work {
  const T* scores;
  int parts;
  Summary<T>* summary;  // [parts]
  Moments* moments;     // [parts]
  Sampling<T>* sampling;
  Certainties* certainties;
  uint64_t* sums;              // [rows] fixed points, then their prefix sums
  uint64_t* counts;            // [rows] of certain rows
  uint64_t *key, *sorted_key;  // [rows]
  uint32_t *row, *sorted_row;  // [rows]
};

__device__ __forceinline__ int64_t first_of_grid() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64_t threads_of_grid() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    summarize(const __grid_constant__ Drawing drawing, const __grid_constant__ Work<T> work) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  Summary<T> mine = Summary<T>::nothing();
  for (int64_t row = first_of_grid(); row < drawing.rows; row += threads_of_grid()) {
    mine.add(work.scores[row], static_cast<int>(row), drawing.ignored);
  }
  mine = block_merge(mine, slots);
  if (threadIdx.x == 0) work.summary[blockIdx.x] = mine;
}

// Fixed points of the weights, or the keys that their rows are ordered by. Every block merges the
// summaries for itself.
template <class T>
__global__ void __launch_bounds__(kThreads)
    prepare(const __grid_constant__ Drawing drawing, const __grid_constant__ Work<T> work) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const SeedWords words(drawing.seed);
  const int thread = static_cast<int>(threadIdx.x);
  const Summary<T> all =
      block_merge(thread < work.parts ? work.summary[thread] : Summary<T>::nothing(), slots);
  const Weights<T> weights = {work.scores, &drawing.ignored, Sampling<T>::of(all, drawing)};
  if (first_of_grid() == 0) {
    *work.sampling = weights.sampling;
    *drawing.status = weights.sampling.status;
  }
  if (weights.sampling.status) return;
  const uint64_t seed = words.value();
  const double scale = weights.sampling.scale(drawing.rows);
  Moments mine = Moments::nothing();
  for (int64_t row = first_of_grid(); row < drawing.rows; row += threads_of_grid()) {
    const T weight = weights[row];
    const uint64_t fixed = to_fixed_point(weight, weights.sampling.shift);
    mine.add(static_cast<double>(weight) * scale);
    if (work.sums) {
      work.sums[row] = fixed;
    } else {
      work.row[row] = static_cast<uint32_t>(row);
      work.key[row] = drawing.method == Method::kTopk ? static_cast<BitsOf<T>>(~weight_bits(weight))
                      : fixed
                          ? bits_of(arrival(random_number(seed, static_cast<uint64_t>(row)), fixed))
                          : 0xffffffffu;
    }
  }
  mine = block_merge(mine, slots);
  if (thread == 0) work.moments[blockIdx.x] = mine;
}

// Which rows are certain, by one block.
template <class T>
__global__ void __launch_bounds__(1024) find_certainties(const __grid_constant__ Drawing drawing,
                                                         const __grid_constant__ Work<T> work) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  if (work.sampling->status) return;
  Certainties found = Certainties::none();
  do {
    Certainties::Rest mine = {0, 0, 0};
    for (int64_t row = threadIdx.x; row < drawing.rows; row += blockDim.x) {
      mine.add(work.sums[row], found.from);
    }
    found.set(block_merge(mine, slots));
  } while (found.lower(drawing.n));
  if (threadIdx.x == 0) *work.certainties = found;
}

// Parts the certain rows from the others.
template <class T>
__global__ void __launch_bounds__(kThreads)
    part_certain(const __grid_constant__ Drawing drawing, const __grid_constant__ Work<T> work) {
  if (work.sampling->status) return;
  const uint64_t from = work.certainties->from;
  for (int64_t row = first_of_grid(); row < drawing.rows; row += threads_of_grid()) {
    const uint64_t fixed = work.sums[row];
    work.sums[row] = fixed < from ? fixed : 0;
    work.counts[row] = fixed >= from;
  }
}

template <class T>
__device__ __forceinline__ void store_at_points(const Drawing& drawing, const Work<T>& work,
                                                uint64_t seed) {
  const uint64_t total = work.sums[drawing.rows - 1];
  const double unit = 1.0 / static_cast<double>(total);
  const int64_t first = first_of_grid();
  const Randoms randoms = Randoms::of(drawing.method, seed, static_cast<uint64_t>(first));
  const Points points(drawing.method, randoms, total, static_cast<uint64_t>(drawing.n));
  for (int64_t i = first; i < drawing.n; i += threads_of_grid()) {
    const auto draw = static_cast<uint64_t>(i);
    const uint64_t point = points.of(draw, i == first ? randoms.first : random_number(seed, draw));
    int64_t row = 0;
    for (int64_t length = drawing.rows; length > 1; length -= length / 2) {
      row += work.sums[row + length / 2 - 1] <= point ? length / 2 : 0;
    }
    const uint64_t fixed = work.sums[row] - (row ? work.sums[row - 1] : 0);
    store(drawing, i, row, static_cast<T>(static_cast<double>(fixed) * unit));
  }
}

template <class T>
__device__ __forceinline__ void store_by_size(const Drawing& drawing, const Work<T>& work,
                                              uint64_t seed) {
  const Certainties found = *work.certainties;
  const uint64_t left = found.left(drawing.n);
  const uint64_t offset = uniform_point(random_number(seed, 0), found.rest);
  const Comb comb(offset, found.rest ? found.rest : 1, left ? left : 1);
  for (int64_t row = first_of_grid(); row < drawing.rows; row += threads_of_grid()) {
    const uint64_t sum = row ? work.sums[row - 1] : 0, certain = row ? work.counts[row - 1] : 0;
    const uint64_t fixed = work.sums[row] - sum, drawn = left ? comb.below(sum) : 0;
    if (work.counts[row] != certain) {
      store(drawing, static_cast<int64_t>(certain + drawn), row, T(1));
    } else if (drawn < left && comb.point(drawn) < sum + fixed) {
      store(drawing, static_cast<int64_t>(certain + drawn), row, found.prob<T>(fixed, left));
    }
  }
}

template <class T>
__device__ __forceinline__ void store_first(const Drawing& drawing, const Work<T>& work,
                                            const Weights<T>& weights) {
  constexpr uint64_t kAbsent = 0xffffffffu;
  const bool race = drawing.method == Method::kRace;
  const uint64_t next = race && drawing.n < drawing.rows ? work.sorted_key[drawing.n] : kAbsent;
  const double time =
      next == kAbsent ? static_cast<double>(INFINITY) : float_from(static_cast<uint32_t>(next));
  for (int64_t i = first_of_grid(); i < drawing.n; i += threads_of_grid()) {
    const int64_t row = work.sorted_row[i];
    const double prob = race ? -expm1(-static_cast<double>(weights.fixed(row)) * time) : 1.0;
    store(drawing, i, row, static_cast<T>(prob));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pick(const __grid_constant__ Drawing drawing, const __grid_constant__ Work<T> work) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const Weights<T> weights = {work.scores, &drawing.ignored, *work.sampling};
  if (weights.sampling.status) {
    return store_failure(drawing, weights.sampling, first_of_grid(), threads_of_grid());
  }
  if (drawing.tau && blockIdx.x == 0) {
    const int thread = static_cast<int>(threadIdx.x);
    const Moments all =
        block_merge(thread < work.parts ? work.moments[thread] : Moments::nothing(), slots);
    if (thread == 0) *static_cast<T*>(drawing.tau) = static_cast<T>(all.tau(drawing.rows));
  }
  const uint64_t seed = SeedWords(drawing.seed).value();
  if (!work.sums) {
    store_first(drawing, work, weights);
  } else if (work.counts) {
    store_by_size(drawing, work, seed);
  } else {
    store_at_points(drawing, work, seed);
  }
}

template <class T>
__global__ void __launch_bounds__(1024)
    rescale_all(const __grid_constant__ Drawing drawing, const __grid_constant__ Work<T> work) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const Weights<T> weights = {work.scores, &drawing.ignored, *work.sampling};
  if (weights.sampling.status) return;
  rescale<T>(drawing, [&](int64_t i) { return weights[drawing.index[i]]; }, slots);
}

template <class Value>
Value* allocate(const Queue& queue, int64_t count) {
  return static_cast<Value*>(
      queue.allocate(queue.owner, static_cast<size_t>(count) * sizeof(Value)));
}

int blocks_for(int64_t threads, int most) {
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  return static_cast<int>(blocks < 1 ? 1 : (blocks < most ? blocks : most));
}

// Launches in order, until one fails.
class Launches {
 public:
  explicit Launches(const Queue& queue) : queue_(queue) {}

  template <class Kernel, class... Arguments>
  void run(Kernel kernel, int blocks, int threads, const Arguments&... arguments) {
    constexpr size_t shared = Slots::kAllBytes;
    if (error == cudaSuccess) {
      error = launch(kernel, dim3(static_cast<unsigned>(blocks)), threads, shared, queue_.stream,
                     arguments...);
    }
  }

  cudaError_t error = cudaSuccess;

 private:
  const Queue& queue_;
};

template <class T>
int grid_draw_typed(const Drawing& drawing, const T* scores, const Queue& queue) {
  const int64_t rows = drawing.rows;
  const bool sorts = drawing.way == Way::kOrder, by_size = drawing.way == Way::kSize;
  Work<T> work = {};
  work.scores = scores;
  work.parts = blocks_for((rows + kRowsPerThread - 1) / kRowsPerThread, kMostParts);
  work.summary = allocate<Summary<T>>(queue, work.parts);
  work.moments = allocate<Moments>(queue, work.parts);
  work.sampling = allocate<Sampling<T>>(queue, 1);
  if (sorts) {
    work.key = allocate<uint64_t>(queue, rows);
    work.sorted_key = allocate<uint64_t>(queue, rows);
    work.row = allocate<uint32_t>(queue, rows);
    work.sorted_row = allocate<uint32_t>(queue, rows);
  } else {
    work.sums = allocate<uint64_t>(queue, rows);
  }
  if (by_size) {
    work.certainties = allocate<Certainties>(queue, 1);
    work.counts = allocate<uint64_t>(queue, rows);
  }
  Launches launches(queue);
  launches.run(summarize<T>, work.parts, kThreads, drawing, work);
  launches.run(prepare<T>, work.parts, kThreads, drawing, work);
  if (by_size) {
    launches.run(find_certainties<T>, 1, 1024, drawing, work);
    launches.run(part_certain<T>, work.parts, kThreads, drawing, work);
  }
  const bool wide = drawing.method == Method::kTopk && sizeof(T) == sizeof(double);
  if (work.sums && launches.error == cudaSuccess) {
    launches.error = prefix_sums(work.sums, rows, queue);
  }
  if (work.counts && launches.error == cudaSuccess) {
    launches.error = prefix_sums(work.counts, rows, queue);
  }
  if (sorts && launches.error == cudaSuccess) {
    launches.error = sort_by_key(work.key, work.sorted_key, work.row, work.sorted_row, rows,
                                 wide ? 64 : 32, queue);
  }
  const int64_t stores = by_size ? rows : drawing.n;
  launches.run(pick<T>, blocks_for(stores, 8 * queue.multiprocessors), kThreads, drawing, work);
  if (is_rescaled(drawing.outcome)) launches.run(rescale_all<T>, 1, 1024, drawing, work);
  return launches.error;
}

}  // namespace

int grid_draw(const Drawing& drawing, const void* scores, bool is_double, const Queue& queue) {
  return is_double ? grid_draw_typed(drawing, static_cast<const double*>(scores), queue)
                   : grid_draw_typed(drawing, static_cast<const float*>(scores), queue);
}

}  // namespace cuda
}  // namespace isf
