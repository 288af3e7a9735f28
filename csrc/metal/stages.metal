// A draw in stages, for rows that are in several parts (csrc/stages.h). One threadgroup each.
#include "stripes.h"

using namespace isf;
using namespace isf::mps;

// In the order of impsamp_fast/ops/_metal_stages.py.
struct PartPlan {
  int64_t rows, n, method, stripe;
};

// What a part's rows are drawn by.
struct PartWeights {
  device const float* given;
  Sampling<float> sampling;

  ISF_MEMBER PartWeights(device const float* weights, device const float* largest,
                         device const int64_t* all_rows)
      : given(weights),
        sampling(
            Sampling<float>::by_scores(weight_bits(*largest), static_cast<int32_t>(*all_rows))) {}

  ISF_MEMBER float weight(int64_t row) const { return sampling.weight(given[row], true); }
  ISF_MEMBER uint64_t fixed(int64_t row) const {
    return to_fixed_point(weight(row), sampling.shift);
  }
};

struct PartPlaces {
  device int64_t* index;
  device float* prob;

  ISF_MEMBER void store(int64_t i, int64_t row, float p) const {
    index[i] = row;
    prob[i] = p;
  }
};

// The bits of a size, a sum and a count.
ISF_FN CertainRows certain_in(device const int64_t* found) {
  const CertainRows rows = {static_cast<uint64_t>(found[0]), static_cast<uint64_t>(found[1]),
                            found[2]};
  return rows;
}

// How many rows are drawn from a beginning of all rows.
ISF_FN int64_t place_of(CertainPart reached, CertainRows found, uint64_t seed, int64_t n) {
  const SystematicPoints points = found.points(random_number(seed, 0), n);
  return reached.certain + static_cast<int64_t>(found.left(n) ? points.below(reached.rest) : 0);
}

#define ISF_PART device const T *weights, device const T *largest, device const int64_t *all_rows
#define ISF_STAGE [[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void

template <class T>
ISF_STAGE draw_scan(device const T* weights, device T* largest, device int64_t* positive,
                    device int64_t* status, constant PartPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  ScoreScan<T> found = ScoreScan<T>::nothing();
  for (int row = team.thread_index(); row < plan.rows; row += team.size) {
    found.add(weights[row], row, true);
  }
  found = team.merge(found);
  if (team.thread_index() != 0) return;
  const bool bad = found.largest > largest_finite_bits(T());
  *largest = bad ? not_a_number(T()) : number_from(found.largest);
  *positive = found.positive;
  *status = bad ? 1 + static_cast<int64_t>(found.first_bad) : 0;
}

template <class T>
ISF_STAGE draw_total(ISF_PART, device int64_t* total, constant PartPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const PartWeights part(weights, largest, all_rows);
  uint64_t sum = 0;
  for (int64_t row = team.thread_index(); row < plan.rows; row += team.size) {
    sum += part.fixed(row);
  }
  sum = team.reduce(sum, Sum(), static_cast<uint64_t>(0));
  if (team.thread_index() == 0) *total = static_cast<int64_t>(sum);
}

template <class T>
ISF_STAGE draw_part(ISF_PART, device const int64_t* total, device const int64_t* before,
                    device const int64_t* seed, device int64_t* index, device T* prob,
                    constant PartPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  ISF_SHARED(uint64_t, memory, kDrawWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const PartWeights part(weights, largest, all_rows);
  const Stripes<PartWeights> rows = {part, plan.rows, plan.stripe, memory, team};
  const PartPlaces places = {index, prob};
  const uint64_t own = rows.add_up(), all = static_cast<uint64_t>(*total);
  const uint64_t earlier = static_cast<uint64_t>(*before), number = static_cast<uint64_t>(*seed);
  const Method method = static_cast<Method>(plan.method);
  const bool systematic = method == Method::kSystematic;
  const DrawPoints points = DrawPoints::of(method, systematic ? random_number(number, 0) : 0, all,
                                           static_cast<uint64_t>(plan.n));
  for (int64_t i = team.thread_index(); i < plan.n; i += team.size) {
    const uint64_t draw = static_cast<uint64_t>(i);
    const uint64_t random = systematic ? 0 : random_number(number, draw);
    const uint64_t point = points.at(draw, random) - earlier;
    int64_t row = kElsewhere;
    const uint64_t here = point < own ? rows.find(point, row) : 0;
    places.store(i, row, point < own ? draw_probability<T>(here, all) : 0.0f);
  }
}

// The first n of the sorted rows, as far as they have a weight.
template <class T>
ISF_STAGE draw_first(ISF_PART, device const int64_t* first_row, device const int64_t* seed,
                     device int64_t* key, device int64_t* index, device uint64_t* keys,
                     constant PartPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const PartWeights part(weights, largest, all_rows);
  const bool race = static_cast<Method>(plan.method) == Method::kRace;
  order_rows(keys, part, plan.rows, race, static_cast<uint64_t>(*seed),
             static_cast<uint64_t>(*first_row), team);
  for (int64_t i = team.thread_index(); i < plan.n; i += team.size) {
    const uint64_t bits = i < plan.rows ? keys[i] >> 32 : 0xffffffffu;
    const bool drawable = bits != 0xffffffffu;
    key[i] = drawable ? static_cast<int64_t>(bits) : kBehindAll;
    index[i] = drawable ? static_cast<int64_t>(static_cast<uint32_t>(keys[i])) : kElsewhere;
  }
}

template <class T>
ISF_STAGE draw_arrival_prob(ISF_PART, device const int64_t* next, device T* prob,
                            constant PartPlan& plan, ISF_POSITION) {
  const PartWeights part(weights, largest, all_rows);
  const float time = arrival_time(static_cast<uint32_t>(*next));
  for (int64_t i = thread_index; i < plan.rows; i += threads) {
    prob[i] = arrival_probability(part.fixed(i), time, T());
  }
}

template <class T>
ISF_STAGE draw_certain(ISF_PART, device const int64_t* found, device int64_t* counted,
                       constant PartPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const PartWeights part(weights, largest, all_rows);
  CertainRows rows = certain_in(found);
  rows.lower(plan.n);
  CertainPart counts = CertainPart::nothing();
  for (int64_t row = team.thread_index(); row < plan.rows; row += team.size) {
    counts.add(part.fixed(row), rows.from);
  }
  team.merge(counts).store(rows);
  if (team.thread_index() != 0) return;
  counted[0] = static_cast<int64_t>(rows.from);
  counted[1] = static_cast<int64_t>(rows.rest);
  counted[2] = rows.certain;
}

template <class T>
ISF_STAGE draw_by_size(ISF_PART, device const int64_t* found, device const int64_t* before,
                       device const int64_t* seed, device int64_t* index, device T* prob,
                       constant PartPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  ISF_SHARED(uint64_t, memory, kDrawWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const PartWeights part(weights, largest, all_rows);
  const Stripes<PartWeights> rows = {part, plan.rows, plan.stripe, memory, team};
  const PartPlaces places = {index, prob};
  const CertainRows certain = certain_in(found);
  const CertainPart earlier = {static_cast<uint64_t>(before[0]), before[1]};
  const uint64_t number = static_cast<uint64_t>(*seed);
  const CertainPart reached = store_by_size(rows, certain, earlier, number, plan.n, places);
  const int64_t begin = place_of(earlier, certain, number, plan.n);
  const int64_t end = place_of(reached, certain, number, plan.n);
  for (int64_t i = team.thread_index(); i < plan.n; i += team.size) {
    if (i < begin || i >= end) places.store(i, kElsewhere, 0.0f);
  }
}

ISF_KERNEL(draw_scan_float, draw_scan<float>);
ISF_KERNEL(draw_total_float, draw_total<float>);
ISF_KERNEL(draw_part_float, draw_part<float>);
ISF_KERNEL(draw_first_float, draw_first<float>);
ISF_KERNEL(draw_arrival_prob_float, draw_arrival_prob<float>);
ISF_KERNEL(draw_certain_float, draw_certain<float>);
ISF_KERNEL(draw_by_size_float, draw_by_size<float>);
