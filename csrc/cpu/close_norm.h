// The norm of T p - t' where p is so close to the optimum t' / T that the difference cancels, for
// one instruction set: CloseRow's of target.h and with its bounds, in doubles and in one look.
#pragma once

namespace isf {
namespace ISF_LEVEL {

// A vector in doubles takes one vector of them, or two.
template <class V>
constexpr int kParts = V::kCount / Doubles::kCount;
typedef float HalfFloats __attribute__((vector_size(kVectorBytes / 2)));
typedef int32_t HalfMask __attribute__((vector_size(kVectorBytes / 2)));

template <class Whole, class Half>
ISF_FN void take_half(const Whole& whole, int part, Half& half) {
  memcpy(&half, reinterpret_cast<const char*>(&whole) + part * sizeof half, sizeof half);
}
ISF_FN Doubles part_of(const Floats& v, int part) {
  HalfFloats half;
  take_half(v, part, half);
  return __builtin_convertvector(half, Doubles::Vector);
}
ISF_FN Doubles::Mask part_of(const Floats::Mask& v, int part) {
  HalfMask half;
  take_half(v, part, half);
  return __builtin_convertvector(half, Doubles::Mask);
}
ISF_FN Doubles part_of(const Doubles& v, int) { return v; }
ISF_FN Doubles::Mask part_of(const Doubles::Mask& v, int) { return v; }

ISF_FN void set_part(Floats& v, int part, Doubles x) {
  const HalfFloats half = __builtin_convertvector(x.v, HalfFloats);
  memcpy(reinterpret_cast<char*>(&v) + part * sizeof half, &half, sizeof half);
}
ISF_FN void set_part(Doubles& v, int, Doubles x) { v = x; }

// Of the classes other than y, with e_j = e^(z_j - max z) and a factor f near F = T / sum_j e_j:
//   d_j = f e_j - t'_j
//   sum (F e_j - t'_j)^2 = sum d_j^2 + (F - f) (2 sum d_j e_j + (F - f) sum e_j^2)
struct CloseSums {
  Doubles terms, targets, square, cross, power;  // of e, t', d^2, d e, e^2

  static ISF_MEMBER CloseSums nothing() {
    const Doubles zero = Doubles(0.0f);
    return {zero, zero, zero, zero, zero};
  }

  ISF_MEMBER void add(Doubles e, Doubles target, Doubles factor) {
    const Doubles d = fused(factor, e, Doubles(0.0f) - target);
    terms = terms + e;
    targets = targets + target;
    square = fused(d, d, square);
    cross = fused(d, e, cross);
    power = fused(e, e, power);
  }

  ISF_MEMBER void add(const CloseSums& other) {
    terms = terms + other.terms;
    targets = targets + other.targets;
    square = square + other.square;
    cross = cross + other.cross;
    power = power + other.power;
  }

  // With y's own e and t'.
  ISF_MEMBER Doubles norm(Doubles e, Doubles target, Doubles factor) const {
    const Doubles exact = (targets + target) / (terms + e), rest = exact - factor;
    const Doubles others = square + rest * fused(rest, power, cross + cross);
    const Doubles own = choose(target >= targets, targets - exact * terms, exact * e - target);
    return root(fused(own, own, larger(Doubles(0.0f), others)));
  }
};

// Terms that are added up before they join the sums.
constexpr int64_t kCloseTerms = 64;

// t' from t, in doubles.
struct CloseTarget {
  Doubles keep, spread;  // 1 - eps, eps / C

  ISF_MEMBER explicit CloseTarget(const RowProblem& problem)
      : keep(broadcast<Doubles>(1.0 - problem.label_smoothing)),
        spread(broadcast<Doubles>(problem.label_smoothing / static_cast<double>(problem.classes))) {
  }

  ISF_MEMBER Doubles of(Doubles given) const { return fused(keep, given, spread); }
};

// Of rows that are lanes of a tile; `factor` is T / sum_j e^(z_j - max z), but for roundings. Not
// inline: rows that need none of this keep their registers.
template <class V>
struct CloseTile {
  typedef typename V::Scalar T;
  const RowProblem& problem;
  V peak, factor, logit;  // max z, and z_y
  typename V::Mask y;
  CloseSums sums[kParts<V>];

  // From the tile's columns with a masked class for y, and those of its probabilities, or null.
  __attribute__((noinline)) void add_columns(const V* column, const V* probability) {
    const CloseTarget target(problem);
    const T* class_weight = static_cast<const T*>(problem.class_weight);
    for (int part = 0; part < kParts<V>; ++part) {
      const Doubles most = part_of(peak, part), f = part_of(factor, part), zero = Doubles(0.0f);
      const Doubles::Mask own = part_of(y, part);
      Doubles::Mask c = {};
      sums[part] = CloseSums::nothing();
      for (int64_t j = 0; j < problem.classes;) {
        CloseSums block = CloseSums::nothing();
        for (const int64_t stop = j + kCloseTerms; j < problem.classes && j < stop; ++j, c += 1) {
          Doubles t = probability ? target.of(part_of(probability[j], part)) : target.spread;
          if (class_weight) t = t * broadcast<Doubles>(class_weight[j]);
          block.add(exp_term(part_of(column[j], part) - most), choose(c == own, zero, t), f);
        }
        sums[part].add(block);
      }
    }
  }

  // Of one lane, from its contiguous logits; for class indices without class weights.
  template <class Element>
  __attribute__((noinline)) void add_row(const Element* row, int lane) {
    typedef typename V::Integer Integer;
    const Doubles most = broadcast<Doubles>(peak.v[lane]), f = broadcast<Doubles>(factor.v[lane]),
                  zero = Doubles(0.0f), target = CloseTarget(problem).spread;
    const int64_t own = y[lane] / V::kCount * V::kCount;
    CloseSums all = CloseSums::nothing();
    for (int64_t j = 0; j < problem.classes;) {
      CloseSums block = CloseSums::nothing();
      const int64_t stop = j + kCloseTerms * Doubles::kCount;
      for (; j < problem.classes && j < stop; j += V::kCount) {
        const int64_t left = problem.classes - j;
        if (left >= V::kCount && j != own) {
          const V z = load(row + j);
          for (int part = 0; part < kParts<V>; ++part) {
            block.add(exp_term(part_of(z, part) - most), target, f);
          }
          continue;
        }
        const typename V::Mask at = lane_numbers<V>();
        const typename V::Mask blank =
            (at == static_cast<Integer>(y[lane] - j)) |
            (at >= static_cast<Integer>(left < V::kCount ? left : V::kCount));
        const V masked = V(-__builtin_inff());
        const V z = left < V::kCount ? load_part(row + j, left, 0.0f) : load(row + j);
        const V others = choose(blank, masked, z);
        for (int part = 0; part < kParts<V>; ++part) {
          block.add(exp_term(part_of(others, part) - most),
                    choose(part_of(blank, part), zero, target), f);
        }
      }
      all.add(block);
    }
    CloseSums& tile = sums[lane / Doubles::kCount];
    const int at = lane % Doubles::kCount;
    tile.terms.v[at] = sum_of_lanes(all.terms);
    tile.targets.v[at] = sum_of_lanes(all.targets);
    tile.square.v[at] = sum_of_lanes(all.square);
    tile.cross.v[at] = sum_of_lanes(all.cross);
    tile.power.v[at] = sum_of_lanes(all.power);
  }

  // `given` is t_y, and `weight` w_y.
  __attribute__((noinline)) V norm(V given, V weight) const {
    const CloseTarget target(problem);
    V result;
    for (int part = 0; part < kParts<V>; ++part) {
      const Doubles e = exp_term(part_of(logit, part) - part_of(peak, part));
      const Doubles own = target.of(part_of(given, part)) * part_of(weight, part);
      set_part(result, part, sums[part].norm(e, own, part_of(factor, part)));
    }
    return result;
  }
};

}  // namespace ISF_LEVEL
}  // namespace isf
