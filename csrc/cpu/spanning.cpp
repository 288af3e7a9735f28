#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu.h"

namespace isf {
namespace cpu {

namespace {

// Multiplications that pay for a task of their own.
constexpr int64_t kProductsPerTask = 1 << 17;

// The rows in tiles, and which are still to be had.
template <class T>
class Spanning {
 public:
  explicit Spanning(const SpanningRows<T>& rows)
      : rows_(rows),
        tiles_((rows.count + kSpanTile - 1) / kSpanTile),
        most_lines_(rows.classes + rows.width + std::min(rows.n, rows.count)),
        lines_(scratch<T>(tiles_ * most_lines_ * kSpanTile)),
        row_(scratch<T>(most_lines_)),
        product_(scratch<T>(tiles_ * kSpanTile)),
        open_(scratch<T>(tiles_ * kSpanTile)),
        largest_(scratch<T>(tiles_)) {
    std::fill_n(product_.get(), tiles_ * kSpanTile, T(0));
    std::fill_n(open_.get(), tiles_ * kSpanTile, T(0));
    std::copy_n(rows.product, rows.count, product_.get());
    std::fill_n(open_.get(), rows.count, T(1));
    for (int64_t tile = 0; tile < tiles_; ++tile) {
      fill_lines(tile, 0, rows.dz, rows.classes);
      fill_lines(tile, rows.classes, rows.h, rows.width);
      look_at(tile);
    }
    least_ = rows.small * *std::max_element(largest_.get(), largest_.get() + tiles_);
  }

  void take(int64_t* index) {
    for (int64_t i = 0; i < rows_.n; ++i) {
      const int64_t row = next();
      index[i] = row;
      open_[row] = 0;
      if (!deflate(row)) look_at(row / kSpanTile);
    }
  }

 private:
  T* line(int64_t tile, int64_t number) {
    return lines_.get() + (tile * most_lines_ + number) * kSpanTile;
  }

  // The columns of values [rows, width] as lines of a tile.
  void fill_lines(int64_t tile, int64_t first, const T* values, int64_t width) {
    const int64_t begin = tile * kSpanTile,
                  rows = std::min<int64_t>(kSpanTile, rows_.count - begin);
    for (int64_t number = 0; number < width; ++number) {
      T* there = line(tile, first + number);
      for (int64_t i = 0; i < rows; ++i) there[i] = values[(begin + i) * width + number];
      std::fill(there + rows, there + kSpanTile, T(0));
    }
  }

  T size_of(int64_t row) const { return std::abs(product_[row]) * open_[row]; }

  // Finds the largest product with the residual again.
  void look_at(int64_t tile) {
    T largest = 0;
    for (int64_t row = tile * kSpanTile; row < (tile + 1) * kSpanTile; ++row) {
      largest = std::max(largest, size_of(row));
    }
    largest_[tile] = largest;
  }

  // The row of the largest product; where nothing is left of the residual, the next in order.
  int64_t next() {
    const T* tile = std::max_element(largest_.get(), largest_.get() + tiles_);
    if (*tile > least_) {
      int64_t row = (tile - largest_.get()) * kSpanTile;
      while (size_of(row) != *tile) ++row;
      return row;
    }
    for (; with_score_ < rows_.count; ++with_score_) {
      const int64_t row = rows_.order[with_score_];
      if (open_[row] != 0 && rows_.has_score[row]) return row;
    }
    while (open_[rows_.order[without_]] == 0) ++without_;
    return rows_.order[without_];
  }

  // Takes the direction of a row, as far as it is new, out of the residual; whether it is.
  bool deflate(int64_t row) {
    const int64_t tile = row / kSpanTile, known = rows_.classes + rows_.width;
    for (int64_t i = 0; i < known + found_; ++i) row_[i] = line(tile, i)[row % kSpanTile];
    const auto square = [this](int64_t begin, int64_t end) {
      T sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += row_[i] * row_[i];
      return sum;
    };
    const T whole = square(0, rows_.classes) * square(rows_.classes, known);
    const T rest = whole - square(known, known + found_);
    if (!(rest > rows_.small * whole)) return false;
    const T length = std::sqrt(rest);
    const Span span = {rows_.classes, rows_.width,
                       found_,        most_lines_ * kSpanTile,
                       1 / length,    product_[row] / length,
                       row_.get(),    open_.get(),
                       lines_.get(),  product_.get(),
                       largest_.get()};
    const int64_t grain = std::max<int64_t>(1, kProductsPerTask / ((known + found_) * kSpanTile));
    at::parallel_for(0, tiles_, grain, [&](int64_t begin, int64_t end) {
      kernels().span[std::is_same_v<T, double>](span, begin, end);
    });
    ++found_;
    return true;
  }

  const SpanningRows<T>& rows_;
  const int64_t tiles_, most_lines_;
  const Scratch<T> lines_, row_, product_, open_, largest_;
  T least_;
  int64_t found_ = 0, with_score_ = 0, without_ = 0;
};

}  // namespace

template <class T>
void spanning_rows(const SpanningRows<T>& rows, int64_t* index) {
  Spanning<T>(rows).take(index);
}

template void spanning_rows(const SpanningRows<float>&, int64_t*);
template void spanning_rows(const SpanningRows<double>&, int64_t*);

}  // namespace cpu
}  // namespace isf
