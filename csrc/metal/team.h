// The threads that work on one thing: neighbouring lanes of a SIMD group, a power of two, or a
// whole threadgroup. They reduce, merge and add up with one barrier at most.
#pragma once

#include "device.h"

namespace isf {
namespace mps {

struct Sum {
  template <class T>
  ISF_MEMBER T operator()(T a, T b) const {
    return a + b;
  }
};
struct Maximum {
  template <class T>
  ISF_MEMBER T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Minimum {
  template <class T>
  ISF_MEMBER T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};
struct Merged {
  template <class Part>
  ISF_MEMBER Part operator()(Part a, Part b) const {
    a.merge(b);
    return a;
  }
};

// Of one slot for a SIMD group of a team, and of two sets of slots: a SIMD group that is past the
// barrier of one exchange may fill the other set while others still read the first, and cannot be
// two exchanges ahead.
ISF_CONSTANT int kSlotWords = 3;
ISF_CONSTANT int kTeamWords = 2 * kSlotWords * kMostThreads / kSimd;

class Team {
 public:
  // `slots` has room for kTeamWords.
  ISF_MEMBER Team(int size, int thread_of_group, threadgroup uint64_t* slots)
      : size(size),
        thread_(thread_of_group & (size - 1)),
        lane_(thread_of_group & (kSimd - 1)),
        slots_(slots),
        turn_(0) {}
  // Any number of SIMD groups: the whole threadgroup.
  static ISF_MEMBER Team whole(int size, int thread_of_group, threadgroup uint64_t* slots) {
    Team team(size, thread_of_group, slots);
    team.thread_ = thread_of_group;
    return team;
  }

  int size;

  ISF_MEMBER int thread_index() const { return thread_; }

  // Called by all threads of the threadgroup; every thread gets its team's. op(identity, x) is x.
  template <class T, class Op>
  ISF_MEMBER T reduce(T value, Op op, T identity) {
    value = of_lanes(value, op, size < kSimd ? size : kSimd);
    if (size <= kSimd) return value;
    threadgroup T* const slot = next_slots<T>();
    if (lane_ == 0) copy_to(slot + simd_index(), value);
    threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    return of_lanes(lane_ < simd_count() ? copied(slot + lane_) : identity, op, kSimd);
  }

  // What all threads hold, merged by Part::merge.
  template <class Part>
  ISF_MEMBER Part merge(Part part) {
    return reduce(part, Merged(), Part::nothing());
  }

  // Whether it is so for any thread among those that exchange when teams reduce.
  ISF_MEMBER bool any_together(bool condition) const {
    const int found = condition;
    return (size <= kSimd ? of_lanes(found, Maximum(), kSimd) : found) != 0;
  }

  // The sum over the threads before this one, and over all; of a whole threadgroup.
  template <class Unsigned>
  ISF_MEMBER Unsigned sum_before(Unsigned value, thread Unsigned& total) {
    const Unsigned here = scanned(value);
    threadgroup Unsigned* const slot = next_slots<Unsigned>();
    if (lane_ == kSimd - 1) slot[simd_index()] = here;
    threadgroup_barrier(metal::mem_flags::mem_threadgroup);
    const Unsigned sums = scanned(lane_ < simd_count() ? slot[lane_] : Unsigned(0));
    total = shuffled(sums, kSimd - 1);
    const int simd = simd_index();
    const Unsigned earlier = shuffled(sums, simd ? simd - 1 : 0);
    return (simd ? earlier : 0) + here - value;
  }

 private:
  ISF_MEMBER int simd_index() const { return thread_ / kSimd; }
  ISF_MEMBER int simd_count() const { return size / kSimd; }

  template <class T, class Op>
  ISF_MEMBER T of_lanes(T value, Op op, int lanes) const {
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
      value = op(value, shuffled(value, lane_ ^ distance));
    }
    return value;
  }

  // The sums over the lanes up to each.
  template <class Unsigned>
  ISF_MEMBER Unsigned scanned(Unsigned value) const {
    for (int distance = 1; distance < kSimd; distance *= 2) {
      const Unsigned before = shuffled(value, lane_ < distance ? lane_ : lane_ - distance);
      if (lane_ >= distance) value += before;
    }
    return value;
  }

  template <class T>
  ISF_MEMBER threadgroup T* next_slots() {
    static_assert(sizeof(T) <= kSlotWords * sizeof(uint64_t), "a slot is too small");
    threadgroup T* const set = reinterpret_cast<threadgroup T*>(slots_ + turn_);
    turn_ ^= kTeamWords / 2;
    return set;
  }

  int thread_, lane_;
  threadgroup uint64_t* slots_;
  int turn_;
};

}  // namespace mps
}  // namespace isf
