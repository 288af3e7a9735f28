// What the kernels of an instruction set offer to the rest of the library. Nothing of torch here:
// the files that are compiled for an instruction set must not emit code that another file could be
// linked to.
#pragma once

#include <stdint.h>

#include "../problem.h"

namespace isf {
namespace cpu {

// Fills the statistics of the rows [begin, end), for class indices from the sums of the rows' parts
// if there are any: `parts` is what PartKernel made of all rows, or null. Returns the first row
// with a bad logit, target or probability, or one of the two values here.
constexpr int64_t kNoFault = -1, kNoMemory = INT64_MIN;
typedef int64_t (*RowKernel)(const RowProblem&, int64_t begin, int64_t end, const void* parts);

// Rows that are contiguous and of many classes are summed up in parts of kPart of them, so that
// threads can share a row. Stores the sums of the parts [begin, end), counted over all rows, at
// most kPartBytes each.
typedef void (*PartKernel)(const RowProblem&, int64_t begin, int64_t end, void* parts);
constexpr int64_t kPart = 16384, kPartBytes = 6 * 64;
constexpr int64_t parts_of(int64_t classes) { return (classes + kPart - 1) / kPart; }

// score[i] *= sqrt(1 + |features[i]|^2) for the rows [begin, end); rows of `width` contiguous
// elements. A row of score 0 stays as it is. Returns the first row with a feature that is not
// finite, or kNoFault.
typedef int64_t (*FeatureKernel)(const void* features, int64_t row_stride, int64_t width,
                                 void* score, int64_t begin, int64_t end);

// What a scan over weights finds: the bits of the largest, and in `bad` the first that is negative
// or not finite, or -1.
struct WeightScan {
  uint64_t largest;
  int64_t positive, bad;
};
typedef WeightScan (*ScanKernel)(const void* weights, int64_t begin,
                                 int64_t end);  // fewer than 2^31 rows at a time

// The sum of choice.h's square_of() over `count` fixed points.
typedef uint64_t (*SquaresKernel)(const int64_t* fixed, int row_bits, int64_t count);

// fixed[i] = the fixed-point weight of row i, for the rows [begin, end). Returns their sum.
typedef uint64_t (*FixedPointKernel)(const void* weights, int shift, int64_t* fixed, int64_t begin,
                                     int64_t end);

// number[i] = random number first + i of a seed, for i < kNumbers and an even first.
constexpr int kNumbers = 32;
typedef void (*NumbersKernel)(uint64_t seed, uint64_t first, uint64_t* number);

// key[i] = choice.h's race_key() of row first_row + i, whose weight in fixed point is fixed[i], for
// i < count.
typedef void (*RaceKernel)(const int64_t* fixed, uint64_t first_row, uint64_t seed, uint32_t* key,
                           int64_t count);

// A row's key over its number: what rows are ordered by.
ISF_FN uint64_t ordered(uint32_t key, uint64_t row) { return uint64_t{key} << 32 | row; }
__extension__ typedef unsigned __int128 WideKey;
ISF_FN WideKey ordered(uint64_t key, uint64_t row) { return WideKey{key} << 64 | row; }
template <class Key>
using Ordered = decltype(ordered(Key(), 0));

// Writes those of `count` keys that are at most `most` over their rows, of which the first key's is
// `row`. Returns how many they are; there is room for all.
typedef int64_t (*FilterKernel)(const void* keys, int64_t count, uint64_t most, uint64_t row,
                                void* ordered_keys);

// prob[i] = choice.h's arrival_probability() of kNumbers rates.
typedef void (*ArrivalKernel)(const uint64_t* rate, float time, float* prob);

// How many searches advance together, which overlaps their cache misses.
constexpr int kSearches = 32;

// Moves each first[k] to the first of the `length` ascending sums from there that exceeds point[k],
// given that the last one does. Sums and points are below 2^63, and signed because that is what
// vector comparisons take.
typedef void (*SearchKernel)(const int64_t* sums, int64_t length, const int64_t* point,
                             int64_t* first);

// Turns unbiased weights [n] into those of correction.h's powers; drawn_by [n] is what the
// rows were drawn by, and `scratch` [n] is overwritten.
struct RaisedRow {
  int64_t log;
  Decomposed kept, power, raised;
};
typedef void (*RaiseKernel)(Exponent exponent, const void* drawn_by, int64_t n, RaisedRow* scratch,
                            void* weight);

// Rows that span the mean of their gradients, each the outer product of a row of dz [rows, C] and
// one of h [rows, D]. Rows are in tiles of kSpanTile. A tile has a line of kSpanTile numbers for
// each column of dz, then of h, and then for each direction that was found: the products of the
// gradients with it.
constexpr int kSpanTile = 64;
struct Span {
  int64_t classes, width, found;  // lines of a tile
  int64_t tile_size;              // numbers from one tile to the next
  double scale;                   // 1 / the length of what is new of the row taken
  double part;                    // the product of its direction with the residual
  const void* row;                // its number in each of the lines
  const void* open;               // [rows]: 1 for a row that may be taken, 0 for others
  void* lines;
  void* product;  // [rows]: of the gradients with the residual
  void* largest;  // [tiles]: the largest size of those that may be taken
};
// Adds the direction of the row taken to the lines of the tiles [begin, end), and takes its part
// out of the residual.
typedef void (*SpanKernel)(const Span& span, int64_t begin, int64_t end);

struct Kernels {
  RowKernel hard_target[kElements];  // class indices, without smoothing or without class weights
  PartKernel hard_target_parts[kElements];
  RowKernel soft_target[kElements];  // everything else
  FeatureKernel last_layer[kElements];
  ScanKernel scan_weights[2];  // float, double
  SquaresKernel squares[2];
  FixedPointKernel to_fixed_point[2];
  NumbersKernel random_numbers;
  RaceKernel race;
  FilterKernel filter[2];  // 32-bit keys, 64-bit keys
  ArrivalKernel arrival_probabilities;
  SearchKernel search;
  RaiseKernel raise[2];
  SpanKernel span[2];
};

extern const Kernels kernels_baseline, kernels_avx2, kernels_avx512;

}  // namespace cpu
}  // namespace isf
