// Draws by one threadgroup.
#include "draw.h"

using namespace isf;
using namespace isf::mps;

template <int kWay>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void draw(device const float* scores,
                                                                      ISF_DRAW_BUFFERS,
                                                                      constant DrawPlan& plan,
                                                                      ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  ISF_SHARED(uint64_t, memory, kDrawWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const DrawBuffers buffers = {scores, targets_drawn, seed, index, result, tau, status, keys};
  Draw(plan, buffers, memory, team).run<kWay>();
}

ISF_KERNEL(draw_points_float, draw<kPoints>);
ISF_KERNEL(draw_order_float, draw<kOrder>);
ISF_KERNEL(draw_size_float, draw<kSize>);
