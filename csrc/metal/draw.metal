// Draws by one threadgroup, and the first step towards an order of many rows.
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

// In the order of impsamp_fast/ops/_metal_draw.py.
struct TilePlan {
  int64_t tiles, tiles_of_group;
};

template <class T>
[[kernel, max_total_threads_per_threadgroup(kMostThreads)]] void draw_tiles(
    device const T* scores, ISF_DRAW_BUFFERS, constant DrawPlan& plan, constant TilePlan& tiles,
    ISF_POSITION) {
  ISF_SHARED(uint64_t, slots, kTeamWords);
  ISF_SHARED(uint64_t, memory, kDrawWords);
  Team team = Team::whole(static_cast<int>(threads), static_cast<int>(thread_index), slots);
  const DrawBuffers buffers = {scores, targets_drawn, seed, index, result, tau, status, keys};
  const int64_t first = group_index * tiles.tiles_of_group, end = first + tiles.tiles_of_group;
  Draw(plan, buffers, memory, team).sort_tiles(first, end < tiles.tiles ? end : tiles.tiles);
}

ISF_KERNEL(draw_tiles_float, draw_tiles<float>);
ISF_KERNEL(draw_points_float, draw<kPoints>);
ISF_KERNEL(draw_order_float, draw<kOrder>);
ISF_KERNEL(draw_size_float, draw<kSize>);
