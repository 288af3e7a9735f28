// A draw by one block, in one launch: nothing is handed over between launches or blocks, and
// prefix sums stay in shared memory.
//
// With replacement, as select() mostly draws, two barriers do it: one for the largest weight, on
// which the fixed point depends, and one for the sums of the warps. A point is then searched among
// the warps' sums, which a warp holds in its lanes, among the stripes of that warp, and among the
// rows of that stripe, whose fixed points are made again from their weights.
#pragma once

#include "block.cuh"
#include "certainties.cuh"
#include "points.cuh"
#include "rescale.cuh"
#include "sampling.cuh"
#include "sort.cuh"

namespace isf {
namespace cuda {

template <class T, Way kWay>
class BlockDraw {
 public:
  __device__ __forceinline__ BlockDraw(const Drawing& drawing, const Layout& layout,
                                       const T* scores, unsigned char* shared)
      : drawing_(drawing),
        layout_(layout),
        seed_(drawing.seed),
        slots_(shared),
        moments_(reinterpret_cast<Moments*>(shared + Slots::kAllBytes)),
        main_(shared + Slots::kAllBytes + (drawing.tau ? blockDim.x * sizeof(Moments) : 0)),
        thread_(static_cast<int>(threadIdx.x)),
        threads_(static_cast<int>(blockDim.x)) {
    weights_.scores = scores;
    weights_.ignored = &drawing.ignored;
  }

  // Shared memory that is not in use before run() comes to its first barrier.
  __device__ __forceinline__ unsigned char* idle_memory() const {
    return reinterpret_cast<unsigned char*>(moments_);
  }

  // For all threads, which have seen all scores among them; `largest` is the largest of the
  // weight_bits that this one has seen. Other threads' scores are read only behind a barrier.
  __device__ __forceinline__ void run(BitsOf<T> largest) {
    const bool early = kWay == Way::kPoints && draws();
    const Randoms randoms =
        early ? Randoms::of(drawing_.method, seed_.value(), static_cast<uint64_t>(thread_))
              : Randoms{0, 0};
    largest = block_max(largest, slots_);
    const bool plain = kWay == Way::kPoints && largest != 0 &&
                       largest <= Numbers<T>::kLargestFinite && drawing_.smoothing == 0;
    weights_.sampling = plain ? Sampling<T>::by_scores(largest, drawing_.rows)
                              : Sampling<T>::of(summary(), drawing_);
    if (thread_ == 0) *drawing_.status = weights_.sampling.status;
    if (weights_.sampling.status) {
      return store_failure(drawing_, weights_.sampling, thread_, threads_);
    }
    if (drawing_.tau) gather_moments();
    if constexpr (kWay == Way::kPoints) at_points(randoms);
    if constexpr (kWay == Way::kOrder) first_of_order();
    if constexpr (kWay == Way::kSize) proportional_to_size();
    if (drawing_.tau) store_tau();
    if (is_rescaled(drawing_.outcome)) {
      __syncthreads();
      const auto drawn_by = [&](int64_t i) { return weights_[drawing_.index[i]]; };
      rescale<T>(drawing_, drawn_by, slots_);
    }
  }

 private:
  // Whether the warp has draws to make.
  __device__ __forceinline__ bool draws() const { return thread_ - lane_index() < drawing_.n; }

  __device__ __forceinline__ Summary<T> summary() {
    Summary<T> mine = Summary<T>::nothing();
    for (int row = thread_; row < drawing_.rows; row += threads_) {
      mine.add(weights_.scores[row], row, drawing_.ignored);
    }
    return block_merge(mine, slots_);
  }

  // Each thread's part of tau goes to shared memory, and the last warp, which seldom has rows to
  // draw, adds the parts up behind the next barrier.
  __device__ __forceinline__ void gather_moments() {
    const double scale = weights_.sampling.scale(drawing_.rows);
    Moments mine = Moments::nothing();
    for (int row = thread_; row < drawing_.rows; row += threads_) {
      mine.add(static_cast<double>(weights_[row]) * scale);
    }
    moments_[thread_] = mine;
  }

  __device__ __forceinline__ void store_tau() const {
    if (thread_ < threads_ - kWarp) return;
    Moments all = Moments::nothing();
    for (int i = lane_index(); i < threads_; i += kWarp) all.merge(moments_[i]);
    all = warp_merge(all);
    if (lane_index() == 0) *static_cast<T*>(drawing_.tau) = static_cast<T>(all.tau(drawing_.rows));
  }

  __device__ __forceinline__ int first_row(int stripe) const {
    return stripe << layout_.stripe_bits;
  }
  __device__ __forceinline__ int end_row(int stripe) const {
    const int begin = first_row(stripe), size = 1 << layout_.stripe_bits;
    return drawing_.rows - begin < size ? drawing_.rows : begin + size;
  }

  // The sum of value(fixed point) over the rows of a stripe. Those of a long one are read four at a
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
    const double unit = 1.0 / static_cast<double>(total);
    const Points points(drawing_.method, randoms, total, static_cast<uint64_t>(drawing_.n));
    // All lanes of a warp that draws search, since they hold the sums together.
    uint64_t random = randoms.first;
    for (int first = thread_ - lane_index(); first < drawing_.n; first += threads_) {
      const int i = first + lane_index();
      if (first >= threads_) random = random_number(randoms.seed, static_cast<uint64_t>(i));
      uint64_t point = points.of(static_cast<uint64_t>(i < drawing_.n ? i : 0), random);
      const int warp = search_warps(warp_sum, point);
      const uint64_t before = __shfl_sync(kAllLanes, warp_sum, warp ? warp - 1 : 0);
      point -= warp ? before : 0;
      int row;
      uint64_t fixed;
      search_stripes(sums + warp * kWarp * layout_.tiles, warp * kWarp * layout_.tiles, point, row,
                     fixed);
      if (i < drawing_.n) {
        store(drawing_, i, row, static_cast<T>(static_cast<double>(fixed) * unit));
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

  // The exponential race (Efraimidis and Spirakis 2006) and the largest weights: the first n keys,
  // in order. Given the time of the arrival after them, a row is among them with probability
  // 1 - e^(-w T), independently (Duffield, Lund, Thorup 2007).
  __device__ __forceinline__ void first_of_order() {
    typedef typename KeyOf<T>::Type Key;
    Key* const keys = reinterpret_cast<Key*>(main_);
    const bool race = drawing_.method == Method::kRace;
    const uint64_t seed = race ? seed_.value() : 0;
    int count = 2 * kWarp;
    while (count < drawing_.rows) count *= 2;
    for (int row = thread_; row < count; row += threads_) {
      keys[row] = row < drawing_.rows ? key_of<Key>(row, race, seed) : Key::last();
    }
    block_sort(keys, count);
    const Key next = drawing_.n < drawing_.rows ? keys[drawing_.n] : Key::last();
    const double time = next.is_last() ? static_cast<double>(INFINITY)
                                       : float_from(static_cast<uint32_t>(next.bits()));
    for (int i = thread_; i < drawing_.n; i += threads_) {
      const int row = keys[i].row();
      const double prob = race ? -expm1(-static_cast<double>(weights_.fixed(row)) * time) : 1.0;
      store(drawing_, i, row, static_cast<T>(prob));
    }
  }

  template <class Key>
  __device__ __forceinline__ Key key_of(int row, bool race, uint64_t seed) const {
    const auto at = static_cast<uint32_t>(row);
    if (!race) return Key::of(static_cast<BitsOf<T>>(~weight_bits(weights_[row])), at);
    const uint64_t fixed = weights_.fixed(row);
    return fixed ? Key::of(bits_of(arrival(random_number(seed, at), fixed)), at) : Key::last();
  }

  // Systematic sampling with inclusion probability min(1, n' f / R); see Certainties. The rows come
  // in ascending order: before a row's place are the certain rows before it and the points of the
  // comb below its part of the others' cumulative sum.
  __device__ __forceinline__ void proportional_to_size() {
    uint64_t* const sums = reinterpret_cast<uint64_t*>(main_);
    uint32_t* const certain = reinterpret_cast<uint32_t*>(sums + threads_ * layout_.tiles);
    const Certainties found = certainties();
    const uint64_t from = found.from, left = found.left(drawing_.n);
    const uint64_t warp_sum =
        scan_stripes(sums, [=](uint64_t fixed) { return fixed < from ? fixed : 0; });
    const uint32_t warp_certain =
        scan_stripes(certain, [=](uint64_t fixed) { return uint32_t{fixed >= from}; });
    const int warp = warp_index();
    const uint64_t sum_before = __shfl_sync(kAllLanes, warp_sum, warp ? warp - 1 : 0);
    const uint32_t certain_before = __shfl_sync(kAllLanes, warp_certain, warp ? warp - 1 : 0);
    const uint64_t offset = uniform_point(random_number(seed_.value(), 0), found.rest);
    const Comb comb(offset, found.rest ? found.rest : 1, left ? left : 1);
    for (int tile = 0; tile < layout_.tiles; ++tile) {
      const int local = tile * kWarp + lane_index();
      const int stripe = warp * kWarp * layout_.tiles + local;
      const uint64_t sum = (warp ? sum_before : 0) + (local ? sums[stripe - 1] : 0);
      const uint64_t place = (warp ? certain_before : 0) + (local ? certain[stripe - 1] : 0);
      store_stripe(stripe, found, left, comb, sum, place);
    }
  }

  __device__ __forceinline__ void store_stripe(int stripe, const Certainties& found, uint64_t left,
                                               const Comb& comb, uint64_t sum,
                                               uint64_t certain) const {
    uint64_t drawn = left ? comb.below(sum) : 0;
    uint64_t point = drawn < left ? comb.point(drawn) : ~uint64_t{0};
#pragma unroll 1
    for (int row = first_row(stripe), end = end_row(stripe); row < end; ++row) {
      const uint64_t fixed = weights_.fixed(row);
      const bool is_certain = fixed >= found.from;
      sum += is_certain ? 0 : fixed;
      if (!is_certain && point >= sum) continue;
      store(drawing_, static_cast<int64_t>(certain + drawn), row,
            is_certain ? T(1) : found.prob<T>(fixed, left));
      certain += is_certain;
      drawn += !is_certain;
      if (!is_certain) point = drawn < left ? comb.point(drawn) : ~uint64_t{0};
    }
  }

  __device__ __forceinline__ Certainties certainties() {
    Certainties found = Certainties::none();
    do {
      Certainties::Rest mine = {0, 0, 0};
      for (int row = thread_; row < drawing_.rows; row += threads_) {
        mine.add(weights_.fixed(row), found.from);
      }
      found.set(block_merge(mine, slots_));
    } while (found.lower(drawing_.n));
    return found;
  }

  const Drawing& drawing_;
  const Layout& layout_;
  Weights<T> weights_;
  SeedWords seed_;
  Slots slots_;
  Moments* moments_;
  unsigned char* main_;
  int thread_, threads_;
};

}  // namespace cuda
}  // namespace isf
