// A draw in stages, for rows that are in several parts. One block finds the largest weight and adds
// up; all of them find rows.
#include "cub.cuh"
#include "grid.cuh"

namespace isf {
namespace cuda {

namespace {

constexpr int kOneBlock = 1024;

// What rows are drawn by, as fixed points.
template <class T>
struct PartWeights {
  const T* weight;
  int rows;
  const T* largest;
  const int64_t* all_rows;

  explicit PartWeights(const PartProblem& part)
      : weight(static_cast<const T*>(part.weights)),
        rows(static_cast<int>(part.rows)),
        largest(static_cast<const T*>(part.largest)),
        all_rows(part.all_rows) {}

  __device__ __forceinline__ Sampling<T> sampling() const {
    return Sampling<T>::by_scores(weight_bits(*largest), static_cast<int32_t>(*all_rows));
  }

  __device__ __forceinline__ T weight_of(int64_t row, const Sampling<T>& sampling) const {
    return sampling.weight(weight[row], true);
  }
  __device__ __forceinline__ uint64_t fixed(int64_t row, const Sampling<T>& sampling) const {
    return to_fixed_point(weight_of(row, sampling), sampling.shift);
  }
};

template <class T>
__global__ void __launch_bounds__(kOneBlock)
    scan(const T* weight, int rows, T* largest, int64_t* positive, int64_t* status) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  ScoreScan<T> found = ScoreScan<T>::nothing();
  for (int row = static_cast<int>(threadIdx.x); row < rows; row += blockDim.x) {
    found.add(weight[row], row, true);
  }
  found = block_merge(found, slots);
  if (threadIdx.x != 0) return;
  const bool bad = found.largest > largest_finite_bits(T());
  *largest = bad ? not_a_number(T()) : number_from(found.largest);
  *positive = found.positive;
  *status = bad ? 1 + static_cast<int64_t>(found.first_bad) : 0;
}

template <class T>
__global__ void __launch_bounds__(kOneBlock)
    add_up(const __grid_constant__ PartWeights<T> weights, int64_t* total) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const Sampling<T> sampling = weights.sampling();
  uint64_t sum = 0;
  for (int row = static_cast<int>(threadIdx.x); row < weights.rows; row += blockDim.x) {
    sum += weights.fixed(row, sampling);
  }
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) *total = static_cast<int64_t>(sum);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    fill_fixed(const __grid_constant__ PartWeights<T> weights, uint64_t* fixed) {
  const Sampling<T> sampling = weights.sampling();
  for (int64_t row = first_of_grid(); row < weights.rows; row += threads_of_grid()) {
    fixed[row] = weights.fixed(row, sampling);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pick_at_points(const __grid_constant__ DrawPlan plan, const uint64_t* sums,
                   const int64_t* total, const int64_t* before) {
  const Share share = {static_cast<uint64_t>(*total), static_cast<uint64_t>(*before)};
  store_at_points<T>(plan, sums, share, SeedWords(plan.seed).value());
}

// What a part's rows are ordered by.
template <class T>
__global__ void __launch_bounds__(kThreads)
    fill_order(const __grid_constant__ PartWeights<T> weights, bool race, const int64_t* first_row,
               const int64_t* seed, uint64_t* key, uint32_t* row_of) {
  const Sampling<T> sampling = weights.sampling();
  const auto first = static_cast<uint64_t>(*first_row), number = static_cast<uint64_t>(*seed);
  for (int64_t row = first_of_grid(); row < weights.rows; row += threads_of_grid()) {
    const uint64_t random = random_number(number, first + static_cast<uint64_t>(row));
    row_of[row] = static_cast<uint32_t>(row);
    key[row] = race ? race_key(weights.fixed(row, sampling), random)
                    : topk_key(weights.weight_of(row, sampling));
  }
}

// The first n of the sorted rows, as far as they have a weight; `last` is the key of one that has
// none.
__global__ void __launch_bounds__(kThreads)
    store_first(const uint64_t* sorted_key, const uint32_t* sorted_row, int rows, uint64_t last,
                int64_t n, int64_t* key, int64_t* index) {
  for (int64_t i = first_of_grid(); i < n; i += threads_of_grid()) {
    const bool drawable = i < rows && sorted_key[i] != last;
    key[i] = drawable ? static_cast<int64_t>(sorted_key[i]) : kBehindAll;
    index[i] = drawable ? static_cast<int64_t>(sorted_row[i]) : kElsewhere;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    store_arrival_prob(const __grid_constant__ PartWeights<T> drawn, const int64_t* next, T* prob) {
  const Sampling<T> sampling = drawn.sampling();
  const float time = arrival_time(static_cast<uint32_t>(*next));
  for (int64_t i = first_of_grid(); i < drawn.rows; i += threads_of_grid()) {
    prob[i] = arrival_probability(drawn.fixed(i, sampling), time, T());
  }
}

// The bits of a size, a sum and a count, as the operators have them.
__device__ __forceinline__ CertainRows certain_in(const int64_t* found) {
  return {static_cast<uint64_t>(found[0]), static_cast<uint64_t>(found[1]), found[2]};
}

template <class T>
__global__ void __launch_bounds__(kOneBlock)
    count_certain(const __grid_constant__ PartWeights<T> weights, int64_t n, const int64_t* found,
                  int64_t* counted) {
  ISF_DYNAMIC_SHARED(shared);
  Slots slots(shared);
  const Sampling<T> sampling = weights.sampling();
  CertainRows rows = certain_in(found);
  rows.lower(n);
  CertainPart part = CertainPart::nothing();
  for (int row = static_cast<int>(threadIdx.x); row < weights.rows; row += blockDim.x) {
    part.add(weights.fixed(row, sampling), rows.from);
  }
  block_merge(part, slots).store(rows);
  if (threadIdx.x != 0) return;
  counted[0] = static_cast<int64_t>(rows.from);
  counted[1] = static_cast<int64_t>(rows.rest);
  counted[2] = rows.certain;
}

// Parts the certain rows from the others, and leaves the draws to other parts.
template <class T>
__global__ void __launch_bounds__(kThreads)
    part_certain(const __grid_constant__ PartWeights<T> weights,
                 const __grid_constant__ DrawPlan plan, const int64_t* found, uint64_t* sums,
                 uint64_t* counts) {
  const Sampling<T> sampling = weights.sampling();
  const uint64_t from = certain_in(found).from;
  for (int64_t row = first_of_grid(); row < weights.rows; row += threads_of_grid()) {
    const uint64_t fixed = weights.fixed(row, sampling);
    sums[row] = fixed < from ? fixed : 0;
    counts[row] = fixed >= from;
  }
  for (int64_t i = first_of_grid(); i < plan.n; i += threads_of_grid()) {
    store(plan, i, kElsewhere, T(0));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pick_by_size(const __grid_constant__ DrawPlan plan, const uint64_t* sums,
                 const uint64_t* counts, const int64_t* found, const int64_t* before) {
  const CertainPart earlier = {static_cast<uint64_t>(before[0]), before[1]};
  store_by_size<T>(plan, sums, counts, certain_in(found), earlier, SeedWords(plan.seed).value());
}

template <class T>
int scan_typed(const ScanProblem& problem, const Queue& queue) {
  Launches launches(queue);
  launches.run(scan<T>, 1, kOneBlock, static_cast<const T*>(problem.weights),
               static_cast<int>(problem.rows), static_cast<T*>(problem.largest), problem.positive,
               problem.status);
  return launches.error;
}

template <class T>
int total_typed(const PartProblem& part, int64_t* total, const Queue& queue) {
  Launches launches(queue);
  launches.run(add_up<T>, 1, kOneBlock, PartWeights<T>(part), total);
  return launches.error;
}

template <class Problem>
DrawPlan plan_of(const Problem& problem, Method method) {
  DrawPlan plan = {};
  plan.rows = static_cast<int>(problem.part.rows);
  plan.n = static_cast<int>(problem.n);
  plan.method = method;
  plan.seed.seed_at = problem.seed;
  plan.outcome = Outcome::kProb;
  plan.index = problem.index;
  plan.result = problem.prob;
  return plan;
}

template <class T>
int part_typed(const PartDrawProblem& problem, const Queue& queue) {
  const PartWeights<T> weights(problem.part);
  const int blocks = 8 * queue.multiprocessors;
  const DrawPlan plan = plan_of(problem, problem.method);
  uint64_t* const sums = allocate<uint64_t>(queue, weights.rows);
  Launches launches(queue);
  launches.run(fill_fixed<T>, blocks_for(weights.rows, blocks), kThreads, weights, sums);
  if (launches.error == cudaSuccess) launches.error = prefix_sums(sums, weights.rows, queue);
  launches.run(pick_at_points<T>, blocks_for(plan.n, blocks), kThreads, plan, sums, problem.total,
               problem.before);
  return launches.error;
}

template <class T>
int first_typed(const FirstProblem& problem, const Queue& queue) {
  const PartWeights<T> weights(problem.part);
  const int blocks = 8 * queue.multiprocessors;
  const bool race = problem.method == Method::kRace, wide = !race && sizeof(T) == sizeof(double);
  uint64_t* const key = allocate<uint64_t>(queue, weights.rows);
  uint64_t* const sorted_key = allocate<uint64_t>(queue, weights.rows);
  uint32_t* const row = allocate<uint32_t>(queue, weights.rows);
  uint32_t* const sorted_row = allocate<uint32_t>(queue, weights.rows);
  Launches launches(queue);
  launches.run(fill_order<T>, blocks_for(weights.rows, blocks), kThreads, weights, race,
               problem.first_row, problem.seed, key, row);
  if (launches.error == cudaSuccess) {
    launches.error =
        sort_by_key(key, sorted_key, row, sorted_row, weights.rows, wide ? 64 : 32, queue);
  }
  const uint64_t last = wide ? ~uint64_t{0} : uint64_t{0xffffffff};
  launches.run(store_first, blocks_for(problem.n, blocks), kThreads, sorted_key, sorted_row,
               weights.rows, last, problem.n, problem.key, problem.index);
  return launches.error;
}

template <class T>
int arrival_prob_typed(const PartProblem& drawn, const int64_t* next, void* prob,
                       const Queue& queue) {
  Launches launches(queue);
  launches.run(store_arrival_prob<T>, blocks_for(drawn.rows, 8 * queue.multiprocessors), kThreads,
               PartWeights<T>(drawn), next, static_cast<T*>(prob));
  return launches.error;
}

template <class T>
int certain_typed(const CertainProblem& problem, const Queue& queue) {
  Launches launches(queue);
  launches.run(count_certain<T>, 1, kOneBlock, PartWeights<T>(problem.part), problem.n,
               problem.found, problem.counted);
  return launches.error;
}

template <class T>
int by_size_typed(const SizeProblem& problem, const Queue& queue) {
  const PartWeights<T> weights(problem.part);
  const int blocks = blocks_for(weights.rows, 8 * queue.multiprocessors);
  const DrawPlan plan = plan_of(problem, Method::kPps);
  uint64_t* const sums = allocate<uint64_t>(queue, weights.rows);
  uint64_t* const counts = allocate<uint64_t>(queue, weights.rows);
  Launches launches(queue);
  launches.run(part_certain<T>, blocks, kThreads, weights, plan, problem.found, sums, counts);
  for (uint64_t* const values : {sums, counts}) {
    if (launches.error == cudaSuccess) launches.error = prefix_sums(values, weights.rows, queue);
  }
  launches.run(pick_by_size<T>, blocks, kThreads, plan, sums, counts, problem.found,
               problem.before);
  return launches.error;
}

}  // namespace

int draw_scan(const ScanProblem& problem, const Queue& queue) {
  return problem.is_double ? scan_typed<double>(problem, queue) : scan_typed<float>(problem, queue);
}

int draw_total(const PartProblem& part, int64_t* total, const Queue& queue) {
  return part.is_double ? total_typed<double>(part, total, queue)
                        : total_typed<float>(part, total, queue);
}

int draw_part(const PartDrawProblem& problem, const Queue& queue) {
  return problem.part.is_double ? part_typed<double>(problem, queue)
                                : part_typed<float>(problem, queue);
}

int draw_first(const FirstProblem& problem, const Queue& queue) {
  return problem.part.is_double ? first_typed<double>(problem, queue)
                                : first_typed<float>(problem, queue);
}

int draw_arrival_prob(const PartProblem& drawn, const int64_t* next, void* prob,
                      const Queue& queue) {
  return drawn.is_double ? arrival_prob_typed<double>(drawn, next, prob, queue)
                         : arrival_prob_typed<float>(drawn, next, prob, queue);
}

int draw_certain(const CertainProblem& problem, const Queue& queue) {
  return problem.part.is_double ? certain_typed<double>(problem, queue)
                                : certain_typed<float>(problem, queue);
}

int draw_by_size(const SizeProblem& problem, const Queue& queue) {
  return problem.part.is_double ? by_size_typed<double>(problem, queue)
                                : by_size_typed<float>(problem, queue);
}

}  // namespace cuda
}  // namespace isf
