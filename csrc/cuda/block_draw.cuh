// A draw by one block, in one launch: nothing is handed over between launches or blocks, and
// prefix sums stay in shared memory.
//
// With replacement, as select() mostly draws, two barriers do it: one for the largest weight, on
// which the fixed point depends, and one for the sums of the warps. A point is then searched among
// the warps' sums, which a warp holds in its lanes, among the stripes of that warp, and among the
// rows of that stripe, whose fixed points are made again from their weights.
#pragma once

#include "block.cuh"
#include "rescale.cuh"
#include "sampling.cuh"
#include "sort.cuh"
#include "without_replacement.cuh"

namespace isf {
namespace cuda {

template <class T, Way kWay>
class BlockDraw {
 public:
  __device__ __forceinline__ BlockDraw(const DrawPlan& plan, const Layout& layout, const T* scores,
                                       unsigned char* shared)
      : plan_(plan),
        layout_(layout),
        seed_(plan.seed),
        slots_(shared),
        tau_sums_(reinterpret_cast<TauSums*>(shared + Slots::kAllBytes)),
        main_(shared + Slots::kAllBytes + (plan.tau ? blockDim.x * sizeof(TauSums) : 0)),
        thread_(static_cast<int>(threadIdx.x)),
        threads_(static_cast<int>(blockDim.x)) {
    weights_.scores = scores;
    weights_.ignored = &plan.ignored;
  }

  // Shared memory that is not in use before run() comes to its first barrier.
  __device__ __forceinline__ unsigned char* idle_memory() const {
    return reinterpret_cast<unsigned char*>(tau_sums_);
  }

  // For all threads, which have seen all scores among them; `largest` is the largest of the
  // weight_bits that this one has seen. Other threads' scores are read only behind a barrier.
  __device__ __forceinline__ void run(BitsOf<T> largest) {
    const bool early = kWay == Way::kPoints && draws();
    const Randoms randoms =
        early ? Randoms::of(plan_.method, seed_.value(), static_cast<uint64_t>(thread_))
              : Randoms{0, 0};
    largest = block_max(largest, slots_);
    const bool plain = kWay == Way::kPoints && largest != 0 &&
                       largest <= largest_finite_bits(T()) && plan_.smoothing == 0;
    weights_.sampling = plain ? Sampling<T>::by_scores(largest, plan_.rows) : sampling_of_all();
    if (thread_ == 0) *plan_.status = weights_.sampling.status;
    if (weights_.sampling.status) {
      return store_failure(plan_, weights_.sampling, thread_, threads_);
    }
    if (plan_.tau) gather_tau_sums();
    if constexpr (kWay == Way::kPoints) at_points(randoms);
    if constexpr (kWay == Way::kOrder) first_of_order();
    if constexpr (kWay == Way::kSize) proportional_to_size();
    if (plan_.tau) store_tau();
    if (is_rescaled(plan_.outcome)) {
      __syncthreads();
      Rescaling<T>(plan_, slots_).run([&](int64_t i) { return weights_[plan_.index[i]]; });
    }
  }

 private:
  // Whether the warp has draws to make.
  __device__ __forceinline__ bool draws() const { return thread_ - lane_index() < plan_.n; }

  __device__ __forceinline__ Sampling<T> sampling_of_all() {
    ScoreScan<T> mine = ScoreScan<T>::nothing();
    for (int row = thread_; row < plan_.rows; row += threads_) {
      mine.add(weights_.scores[row], row, weights_.is_candidate(row));
    }
    const Mixture<T> mixture = mixture_of<T>(plan_.smoothing);
    Sampling<T> sampling = Sampling<T>::of(block_merge(mine, slots_), plan_.rules(), mixture);
    if (!sampling.needs_mean()) return sampling;
    uint64_t sum = 0;
    for (int row = thread_; row < plan_.rows; row += threads_) {
      sum += to_fixed_point(weights_.scores[row], sampling.shift);
    }
    sampling.smooth(block_sum(sum, slots_), plan_.rules(), mixture);
    return sampling;
  }

  // Each thread's part of tau goes to shared memory, and the last warp, which seldom has rows to
  // draw, adds the parts up behind the next barrier.
  __device__ __forceinline__ void gather_tau_sums() {
    const int row_bits = bits_for(static_cast<uint64_t>(plan_.rows));
    TauSums mine = TauSums::nothing();
    // Unrolled, this would spill: the registers of 1024 threads are few.
#pragma unroll 1
    for (int row = thread_; row < plan_.rows; row += threads_) {
      const uint64_t fixed = weights_.fixed(row);
      mine.sum += fixed;
      mine.squares += square_of(fixed, row_bits, T());
    }
    tau_sums_[thread_] = mine;
  }

  __device__ __forceinline__ void store_tau() const {
    if (thread_ < threads_ - kWarp) return;
    TauSums all = TauSums::nothing();
    for (int i = lane_index(); i < threads_; i += kWarp) all.merge(tau_sums_[i]);
    all = warp_merge(all);
    if (lane_index() == 0) {
      *static_cast<T*>(plan_.tau) = tau_of<T>(all, static_cast<uint64_t>(plan_.rows));
    }
  }

  __device__ __forceinline__ int first_row(int stripe) const {
    return stripe << layout_.stripe_bits;
  }
  __device__ __forceinline__ int end_row(int stripe) const {
    const int begin = first_row(stripe), size = 1 << layout_.stripe_bits;
    return plan_.rows - begin < size ? plan_.rows : begin + size;
  }

  // The sum of value(size) over the rows of a stripe. Those of a long one are read four at a
  // time, since neighbouring lanes read far from each other.
  template <class Sum, class Value>
  __device__ __forceinline__ Sum stripe_sum(int stripe, Value value) const {
    constexpr int kAbreast = 4;
    struct alignas(kAbreast * sizeof(T)) Four {
      T score[kAbreast];
    };
    Sum sum = 0;
    int row = first_row(stripe);
    const int end = end_row(stripe);
    if (layout_.stripe_bits >= 2 &&
        reinterpret_cast<uintptr_t>(weights_.scores) % sizeof(Four) == 0) {
#pragma unroll 1
      for (; row + kAbreast <= end; row += kAbreast) {
        const Four four = *reinterpret_cast<const Four*>(weights_.scores + row);
#pragma unroll
        for (int k = 0; k < kAbreast; ++k) {
          sum += value(weights_.fixed_from(four.score[k], row + k));
        }
      }
    }
#pragma unroll 1
    for (; row < end; ++row) sum += value(weights_.fixed(row));
    return sum;
  }

  // The prefix sums of the stripes, within each warp's part. Returns the warps' prefix sums, lane
  // by lane. Fills `sums`, which others may read behind the barrier in it.
  template <class Sum, class Value>
  __device__ __forceinline__ Sum scan_stripes(Sum* sums, Value value) {
    Sum before = 0;
    int stripe = warp_index() * kWarp * layout_.tiles + lane_index();
#pragma unroll 1
    for (int tile = 0; tile < layout_.tiles; ++tile, stripe += kWarp) {
      const Sum sum = warp_scan(stripe_sum<Sum>(stripe, value)) + before;
      before = __shfl_sync(kAllLanes, sum, kWarp - 1);
      sums[stripe] = sum;
    }
    return sums_of_warps(before, slots_);
  }

  // Multinomial, stratified and systematic draws.
  __device__ __forceinline__ void at_points(const Randoms& randoms) {
    uint64_t* const sums = reinterpret_cast<uint64_t*>(main_);
    const uint64_t warp_sum = scan_stripes(sums, [](uint64_t fixed) { return fixed; });
    const uint64_t total = __shfl_sync(kAllLanes, warp_sum, kWarp - 1);
    if (!draws()) return;
    const DrawPoints points =
        DrawPoints::of(plan_.method, randoms.first, total, static_cast<uint64_t>(plan_.n));
    // All lanes of a warp that draws search, since they hold the sums together.
    uint64_t random = randoms.first;
    for (int first = thread_ - lane_index(); first < plan_.n; first += threads_) {
      const int i = first + lane_index();
      if (first >= threads_) random = random_number(randoms.seed, static_cast<uint64_t>(i));
      uint64_t point = points.at(static_cast<uint64_t>(i < plan_.n ? i : 0), random);
      const int warp = search_warps(warp_sum, point);
      const uint64_t before = __shfl_sync(kAllLanes, warp_sum, warp ? warp - 1 : 0);
      point -= warp ? before : 0;
      int row;
      uint64_t fixed;
      search_stripes(sums + warp * kWarp * layout_.tiles, warp * kWarp * layout_.tiles, point, row,
                     fixed);
      if (i < plan_.n) {
        store(plan_, i, row, draw_probability<T>(fixed, total));
      }
    }
  }

  // The first warp whose sum exceeds the point.
  __device__ __forceinline__ int search_warps(uint64_t warp_sum, uint64_t point) const {
    int at = 0;
#pragma unroll
    for (int half = kWarp / 2; half; half /= 2) {
      const uint64_t probe = __shfl_sync(kAllLanes, warp_sum, at + half - 1);
      at += probe <= point ? half : 0;
    }
    return at;
  }

  // The row that a point inside a warp's part belongs to, and its fixed point; `sums` are those of
  // the warp's stripes, and `first` is the first of them.
  __device__ __forceinline__ void search_stripes(const uint64_t* sums, int first, uint64_t point,
                                                 int& row, uint64_t& fixed) const {
    int at = 0;
    for (int half = kWarp / 2 * layout_.tiles; half; half /= 2) {
      at += sums[at + half - 1] <= point ? half : 0;
    }
    const uint64_t before = at ? sums[at - 1] : 0;
    row = first + at;
    fixed = sums[at] - before;
    if (layout_.stripe_bits == 0) return;
    uint64_t sum = before + weights_.fixed(row = first_row(first + at));
    while (sum <= point) sum += weights_.fixed(++row);
    fixed = weights_.fixed(row);
  }

  // The race and the largest weights: the first n keys, in order.
  __device__ __forceinline__ void first_of_order() {
    typedef typename KeyOf<T>::Type Key;
    Key* const keys = reinterpret_cast<Key*>(main_);
    const bool race = plan_.method == Method::kRace;
    const uint64_t seed = race ? seed_.value() : 0;
    int count = 2 * kWarp;
    while (count < plan_.rows) count *= 2;
    for (int row = thread_; row < count; row += threads_) {
      keys[row] = row < plan_.rows ? key_of<Key>(row, race, seed) : Key::last();
    }
    block_sort(keys, count);
    const Key next = plan_.n < plan_.rows ? keys[plan_.n] : Key::last();
    const float time = arrival_time(static_cast<uint32_t>(next.bits()));
    for (int i = thread_; i < plan_.n; i += threads_) {
      const int row = keys[i].row();
      store(plan_, i, row, order_probability(weights_, race, row, time));
    }
  }

  template <class Key>
  __device__ __forceinline__ Key key_of(int row, bool race, uint64_t seed) const {
    return Key::of(order_key(weights_, race, row, seed), static_cast<uint32_t>(row));
  }

  // In proportion to the size. The rows come in ascending order: before a row's place are the
  // certain rows before it and the points below its part of the others' cumulative sum.
  __device__ __forceinline__ void proportional_to_size() {
    uint64_t* const sums = reinterpret_cast<uint64_t*>(main_);
    uint32_t* const certain = reinterpret_cast<uint32_t*>(sums + threads_ * layout_.tiles);
    const CertainRows found = certain_rows();
    const uint64_t from = found.from;
    const uint64_t warp_sum =
        scan_stripes(sums, [=](uint64_t size) { return size < from ? size : 0; });
    const uint32_t warp_certain =
        scan_stripes(certain, [=](uint64_t size) { return uint32_t{size >= from}; });
    const int warp = warp_index();
    const uint64_t sum_before = __shfl_sync(kAllLanes, warp_sum, warp ? warp - 1 : 0);
    const uint32_t certain_before = __shfl_sync(kAllLanes, warp_certain, warp ? warp - 1 : 0);
    const SystematicPoints points = found.points(random_number(seed_.value(), 0), plan_.n);
    for (int tile = 0; tile < layout_.tiles; ++tile) {
      const int local = tile * kWarp + lane_index();
      const int stripe = warp * kWarp * layout_.tiles + local;
      const uint64_t sum = (warp ? sum_before : 0) + (local ? sums[stripe - 1] : 0);
      const uint64_t place = (warp ? certain_before : 0) + (local ? certain[stripe - 1] : 0);
      store_stripe(stripe, found, points, sum, place);
    }
  }

  __device__ __forceinline__ void store_stripe(int stripe, const CertainRows& found,
                                               const SystematicPoints& points, uint64_t sum,
                                               uint64_t certain) const {
    const uint64_t left = found.left(plan_.n);
    uint64_t drawn = left ? points.below(sum) : 0;
    uint64_t point = drawn < left ? points.at(drawn) : ~uint64_t{0};
#pragma unroll 1
    for (int row = first_row(stripe), end = end_row(stripe); row < end; ++row) {
      const uint64_t size = weights_.fixed(row);
      const bool is_certain = size >= found.from;
      sum += is_certain ? 0 : size;
      if (!is_certain && point >= sum) continue;
      store(plan_, static_cast<int64_t>(certain + drawn), row, found.probability<T>(size, left));
      certain += is_certain;
      drawn += !is_certain;
      if (!is_certain) point = drawn < left ? points.at(drawn) : ~uint64_t{0};
    }
  }

  __device__ __forceinline__ CertainRows certain_rows() {
    CertainRows found = CertainRows::none();
    do {
      CertainPart mine = CertainPart::nothing();
      for (int row = thread_; row < plan_.rows; row += threads_) {
        mine.add(weights_.fixed(row), found.from);
      }
      block_merge(mine, slots_).store(found);
    } while (found.lower(plan_.n));
    return found;
  }

  const DrawPlan& plan_;
  const Layout& layout_;
  Weights<T> weights_;
  SeedWords seed_;
  Slots slots_;
  TauSums* tau_sums_;
  unsigned char* main_;
  int thread_, threads_;
};

}  // namespace cuda
}  // namespace isf
