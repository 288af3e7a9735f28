// The rules of choosing rows by their scores: what the scores become, how rows are drawn by it, and
// what their probabilities are.
//
// One statement for every device. Float results are the same bits everywhere, whatever the order of
// summation: sums over rows are sums of 64-bit integers, and single values are float operations
// that IEEE 754 rounds alike, as product() and sum() where a compiler might fuse them. Doubles,
// which Metal never sees, take the same path in double precision.
//
// A row is a candidate if it may be drawn at all: if it has a target, where rows have one.
#pragma once

#include "cdf.h"
#include "philox.h"
#include "rowmath.h"

namespace isf {

enum class Method { kMultinomial, kStratified, kSystematic, kRace, kPps, kTopk };

ISF_FN constexpr bool with_replacement(Method method) {
  return method == Method::kMultinomial || method == Method::kStratified ||
         method == Method::kSystematic;
}

// How a draw was made, which decides what its probabilities are.
enum class DrawKind { kWithReplacement, kWithoutReplacement, kDeterministic };

ISF_FN constexpr DrawKind kind_of(Method method) {
  return with_replacement(method)  ? DrawKind::kWithReplacement
         : method == Method::kTopk ? DrawKind::kDeterministic
                                   : DrawKind::kWithoutReplacement;
}

template <class T>
using BitsOf = decltype(bits_of(T()));

ISF_FN constexpr uint32_t largest_finite_bits(float) { return 0x7f7fffffu; }
ISF_FN float number_from(uint32_t bits) { return float_from(bits); }
ISF_FN float square_root(float x) { return root(x); }
#if !defined(__METAL_VERSION__)
ISF_FN constexpr uint64_t largest_finite_bits(double) { return 0x7fefffffffffffffull; }
ISF_FN double number_from(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
ISF_FN double square_root(double x) { return sqrt(x); }
#endif

// The mean of `count` numbers from their sum in fixed point, at most `largest`: each of them was
// rounded by less than a unit, so that with count <= 2^B its relative error is below 2^(2 B - 62),
// and 2^-22 for the roundings here.
template <class T>
ISF_FN T mean_of(uint64_t sum, uint64_t count, int shift, T largest) {
  Decomposed mean = decompose(nearest<T>(sum) / nearest<T>(count));
  mean.exponent -= shift;
  const T rounded = composed<T>(mean);
  return rounded < largest ? rounded : largest;
}

// ------------------------------------------------------------------ From scores to weights to draw

// What a look at all scores finds, in whatever order.
template <class T>
struct ScoreScan {
  BitsOf<T> largest;   // of weight_bits(score): beyond the largest finite number if one is bad
  int32_t positive;    // how many scores are
  int32_t candidates;  // how many rows are
  int32_t first_fine;  // the first candidate whose score is not bad; 2^31 - 1 if there is none
  int32_t first_bad;   // the first row whose score is

  static ISF_MEMBER ScoreScan nothing() {
    ScoreScan scan = {};
    scan.first_fine = scan.first_bad = 0x7fffffff;
    return scan;
  }

  ISF_MEMBER void add(T score, int32_t row, bool is_candidate) {
    const BitsOf<T> bits = weight_bits(score);
    const bool bad = bits > largest_finite_bits(T());
    largest = bits > largest ? bits : largest;
    positive += bits != 0;
    if (bad && row < first_bad) first_bad = row;
    if (!is_candidate) return;
    ++candidates;
    if (!bad && row < first_fine) first_fine = row;
  }

  ISF_MEMBER void merge(ScoreScan other) {
    largest = other.largest > largest ? other.largest : largest;
    positive += other.positive;
    candidates += other.candidates;
    first_fine = other.first_fine < first_fine ? other.first_fine : first_fine;
    first_bad = other.first_bad < first_bad ? other.first_bad : first_bad;
  }
};

// With smoothing a, rows are drawn by (1 - a) score + a mean(score of the candidates).
template <class T>
struct Mixture {
  T keep, share;  // 1 - a and a, rounded one by one
};

#if !defined(__METAL_VERSION__)
template <class T>
ISF_FN Mixture<T> mixture_of(double smoothing) {
  const Mixture<T> mixture = {static_cast<T>(1.0 - smoothing), static_cast<T>(smoothing)};
  return mixture;
}
#endif

// What a draw of n of `rows` is asked for.
struct DrawRules {
  int32_t rows, n;
  Method method;
};

// What rows are drawn by: their scores, which are zero where there is no target; equal weights of
// the candidates, where all scores are zero; or smoothed scores.
enum class Basis { kScores, kEqual, kSmoothed };

// How scores become weights, and what keeps rows from being drawn.
//
// A status other than 0 says that they cannot be drawn:
//   1 + row       the first row whose score is negative or not finite
//   -1 - m        without replacement: n rows were asked for and only m have a weight; -1 where no
//                 row is a candidate
template <class T>
struct Sampling {
  int64_t status;
  Basis basis;
  int32_t fine;        // with a positive status: a fine candidate, or 2^31 - 1
  int shift;           // of the weights' fixed point, once smooth() is called if it must be
  T keep, lift;        // a smoothed weight is keep * score + lift
  T largest;           // score
  int32_t candidates;  // for smooth()

  // By the scores as they are, or equally where all are zero; `largest` are the bits of the
  // largest, which is finite.
  static ISF_MEMBER Sampling by_scores(BitsOf<T> largest, int32_t rows) {
    Sampling s = {};
    s.basis = largest ? Basis::kScores : Basis::kEqual;
    s.largest = largest ? number_from(largest) : T(1);
    s.shift = fixed_point_shift(s.largest, static_cast<uint64_t>(rows));
    return s;
  }

  static ISF_MEMBER Sampling of(ScoreScan<T> scan, DrawRules rules, Mixture<T> mixture) {
    Sampling s = {};
    if (scan.largest > largest_finite_bits(T())) {
      s.status = 1 + static_cast<int64_t>(scan.first_bad);
      s.fine = scan.first_fine;
      return s;
    }
    if (scan.candidates == 0) {
      s.status = -1;
      return s;
    }
    s = by_scores(scan.largest, rules.rows);
    s.candidates = scan.candidates;
    if (s.basis == Basis::kScores && mixture.share != T(0)) {
      s.basis = Basis::kSmoothed;
      s.keep = mixture.keep;
    }
    const int32_t weighted = s.basis == Basis::kScores ? scan.positive : scan.candidates;
    if (!with_replacement(rules.method) && rules.n > weighted) {
      s.status = -1 - static_cast<int64_t>(weighted);
    }
    return s;
  }

  // Whether smooth() must be called.
  ISF_MEMBER bool needs_mean() const { return basis == Basis::kSmoothed && status == 0; }

  // `sum` is that of the candidates' scores in fixed point, by `shift`.
  ISF_MEMBER void smooth(uint64_t sum, DrawRules rules, Mixture<T> mixture) {
    lift = product(mixture.share, mean_of(sum, static_cast<uint64_t>(candidates), shift, largest));
    shift = fixed_point_shift(smoothed(largest), static_cast<uint64_t>(rules.rows));
  }

  // Grows with the score, and is at most the largest of them. At least the smallest number: a
  // chance must not be rounded away, nor flushed to zero as a GPU may do with a subnormal one.
  ISF_MEMBER T smoothed(T score) const {
    const T chance = isf::sum(product(keep, score), lift);
    const T least = number_from(BitsOf<T>(1));
    return bits_of(chance) == 0 ? least : (chance > largest ? largest : chance);
  }

  // What a row is drawn by. Only where the basis is another than kScores is it asked whether the
  // row is a candidate.
  ISF_MEMBER T weight(T score, bool is_candidate) const {
    if (basis == Basis::kScores) return score;
    if (!is_candidate) return T(0);
    return basis == Basis::kEqual ? T(1) : smoothed(score);
  }
};

// ---------------------------------------------------------------------------- With replacement

// The point of each draw in [0, total): the row is drawn whose part of the cumulative sum it falls
// into.
struct DrawPoints {
  Method method;
  uint64_t total;
  SystematicPoints systematic;

  // `first` is the first random number of the seed, which all systematic draws share.
  static ISF_MEMBER DrawPoints of(Method method, uint64_t first, uint64_t total, uint64_t n) {
    DrawPoints points = {};
    points.method = method;
    points.total = total;
    if (method == Method::kMultinomial) return points;
    const bool shifted = method == Method::kSystematic;
    points.systematic = SystematicPoints::of(shifted ? uniform_point(first, total) : 0, total, n);
    return points;
  }

  // Of draw i, whose random number is given.
  ISF_MEMBER uint64_t at(uint64_t i, uint64_t random) const {
    if (method == Method::kSystematic) return systematic.at(i);
    if (method == Method::kMultinomial) return uniform_point(random, total);
    const uint64_t low = systematic.at(i), high = systematic.at(i + 1);
    return low + high_product(random, high - low);
  }
};

// Where a part of the rows is among all: `before` is the sum of those before it.
struct Share {
  uint64_t total, before;
};

// The index of a draw whose row is in another part.
ISF_CONSTANT int64_t kElsewhere = -1;

// The probability of a row in one draw; relative error below 2^-22.
template <class T>
ISF_FN T draw_probability(uint64_t fixed, uint64_t total) {
  return nearest<T>(fixed) / nearest<T>(total);
}

// ------------------------------------------------------------- Without replacement: by an order

// A row's place in the order is that of its key, ties to the lower row. Positive floats order like
// their bits.

// Of the exponential race (Efraimidis and Spirakis 2006): the arrival's time.
ISF_CONSTANT uint32_t kNeverArrives = 0xffffffffu;

// Behind the key of every row, where keys are int64.
ISF_CONSTANT int64_t kBehindAll = 0x7fffffffffffffff;

// From the nearest floats of from_nearer_end(random) and of the weight in fixed point.
ISF_FN uint32_t race_key(float distance, uint32_t late, float rate) {
  const uint32_t key = bits_of(unit_exponential(distance, late) / rate);
  return key | (0 - static_cast<uint32_t>(rate == 0.0f));
}
ISF_FN uint32_t race_key(uint64_t fixed, uint64_t random) {
  return race_key(nearest<float>(from_nearer_end(random)), 0 - static_cast<uint32_t>(random >> 63),
                  nearest<float>(fixed));
}

ISF_FN float arrival_time(uint32_t key) {
  return float_from(key == kNeverArrives ? 0x7f800000u : key);
}

// Of the largest weights.
template <class T>
ISF_FN BitsOf<T> topk_key(T weight) {
  return static_cast<BitsOf<T>>(~weight_bits(weight));
}

// The probability that an arrival of this rate comes before a time T, 1 - e^(-rate T): given the
// time of the arrival after the drawn ones, the probability of a row to be among them (Duffield,
// Lund, Thorup 2007: priority sampling). In float the relative error is below 2e-6 (no product is
// fused with a sum but where decay_of() asks for it); that of double is the C library's.
ISF_FN float arrival_probability(uint64_t rate, float time, float) {
  return decay_of(product(nearest<float>(rate), time), 0.0f).complement();
}
#if !defined(__METAL_VERSION__)
ISF_FN double arrival_probability(uint64_t rate, float time, double) {
  return -expm1(-product(nearest<double>(rate), static_cast<double>(time)));
}
#endif

// ------------------------------------------------- Without replacement: in proportion to the size

// Systematic sampling with inclusion probability min(1, n' f / R): rows of at least R / n' are
// certain, and leave the sum R and the number n' until none is left that large (Saerndal, Swensson,
// Wretman 1992, section 3.6.2; Madow 1949 for the systematic pass over the others).
struct CertainRows {
  uint64_t from;    // the smallest size that is certain
  uint64_t rest;    // R: the sum of the others
  int64_t certain;  // how many are certain

  static ISF_MEMBER CertainRows none() {
    const CertainRows none = {~static_cast<uint64_t>(0), 0, 0};
    return none;
  }

  ISF_MEMBER uint64_t left(int64_t n) const { return static_cast<uint64_t>(n - certain); }

  // After a pass over the rows found `rest` and `certain` by `from`: lowers `from` to what is
  // certain then. False if that is nothing more.
  ISF_MEMBER bool lower(int64_t n) {
    if (left(n) == 0) return false;
    const uint64_t bound = (rest + left(n) - 1) / left(n);
    if (bound >= from) return false;
    from = bound;
    return true;
  }

  // The points of the rows that are not certain, in [0, rest); there are left(n).
  ISF_MEMBER SystematicPoints points(uint64_t random, int64_t n) const {
    return SystematicPoints::of(uniform_point(random, rest), rest ? rest : 1,
                                left(n) ? left(n) : 1);
  }

  // The inclusion probability; relative error below 2^-21.
  template <class T>
  ISF_MEMBER T probability(uint64_t size, uint64_t left) const {
    if (size >= from) return T(1);
    const T p = product(nearest<T>(left), nearest<T>(size)) / nearest<T>(rest);
    return p < T(1) ? p : T(1);
  }
};

// What a pass over some of the rows finds of them.
struct CertainPart {
  uint64_t rest;
  int64_t certain;

  static ISF_MEMBER CertainPart nothing() {
    const CertainPart part = {0, 0};
    return part;
  }
  ISF_MEMBER void add(uint64_t size, uint64_t from) {
    certain += size >= from;
    rest += size >= from ? 0 : size;
  }
  ISF_MEMBER void merge(CertainPart other) {
    rest += other.rest;
    certain += other.certain;
  }
  ISF_MEMBER void store(ISF_THREAD CertainRows& rows) const {
    rows.rest = rest;
    rows.certain = certain;
  }
};

// ------------------------------------------------------------------------------------------- tau

// tau = sqrt(K sum g^2) with g the normalised weights, from the sums of the fixed points and of
// their squares. A square is that of the 32 upper bits, cut by B more so that K <= 2^B of them fit
// in a sum: the relative error of tau is below 2^(2 B - 63) + 2^(B / 2 - 30) + 2^-22, which at
// K = 2^20 is 2^-19.
struct TauSums {
  uint64_t sum, squares;

  static ISF_MEMBER TauSums nothing() {
    const TauSums sums = {0, 0};
    return sums;
  }
  ISF_MEMBER void merge(TauSums other) {
    sum += other.sum;
    squares += other.squares;
  }
};

ISF_FN uint64_t square_of(uint64_t fixed, int row_bits, float) {
  const uint64_t upper = static_cast<uint32_t>(fixed >> (31 - row_bits));
  return upper * upper >> row_bits;
}
ISF_FN float square_unit(float) { return 4.611686018427388e18f; }  // 2^62, over 2^B
#if !defined(__METAL_VERSION__)
// Of all 64 bits: below 2^(2 B - 62).
ISF_FN uint64_t square_of(uint64_t fixed, int row_bits, double) {
  const uint64_t upper = fixed << row_bits;
  return high_product(upper, upper) >> row_bits;
}
ISF_FN double square_unit(double) { return 18446744073709551616.0; }  // 2^64
#endif

template <class T>
ISF_FN T tau_of(TauSums sums, uint64_t rows) {
  const T total = nearest<T>(sums.sum);
  const T unit = square_unit(T()) / static_cast<T>(static_cast<uint64_t>(1) << bits_for(rows));
  return square_root(product(static_cast<T>(rows), static_cast<T>(sums.squares)) / total / total *
                     unit);
}

}  // namespace isf
