// The two ends of a draw for themselves: from scores to what rows are drawn by, and from the
// probabilities of drawn rows to their weights. One threadgroup each.
#include "weights.h"

using namespace isf;
using namespace isf::mps;

template <class T>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void smooth(
    device const T* scores, device const int32_t* mask, device T* weight, device T* tau,
    constant DrawPlan& plan, ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  Weights weights = {plan, scores, mask, Sampling<T>()};
  weights.sample(team);
  const bool failed = weights.sampling.status != 0;
  for (int64_t row = team.thread_index(); row < plan.rows; row += team.size) {
    weight[row] = failed ? not_a_number(0.0f) : weights.weight(row);
  }
  const float all = weights.tau(team);
  if (team.thread_index() == 0) *tau = failed ? not_a_number(0.0f) : all;
}

// What drawn rows were drawn by, as it is given.
struct Given {
  device const float* drawn_by;
  ISF_MEMBER float of(int64_t i) const { return drawn_by[i]; }
};

// Weights, in place of the probabilities.
template <class T>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void correct(device const T* drawn_by,
                                                                         device T* weight,
                                                                         constant DrawPlan& plan,
                                                                         ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const Outcome outcome = static_cast<Outcome>(plan.outcome);
  if (is_rescaled(outcome)) {
    const Given given = {drawn_by};
    Rescaling<Given>(plan, weight, given, team).run();
    return;
  }
  const T numerator = unbiased_numerator<T>(static_cast<DrawKind>(plan.kind), plan.n, plan.rows);
  for (int64_t i = team.thread_index(); i < plan.n; i += team.size) {
    weight[i] = outcome == Outcome::kOne ? 1.0f : numerator / weight[i];
  }
}

ISF_KERNEL(smooth_float, smooth<float>);
ISF_KERNEL(correct_float, correct<float>);
