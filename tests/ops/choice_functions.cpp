// The shared header's functions for Python (tests/ops/test_choice.py).
#include "correction.h"

using namespace isf;

extern "C" {

int64_t log2_of_float(float x) { return scaled_log2(decompose(x)); }
int64_t log2_of_double(double x) { return scaled_log2(decompose(x)); }

double power_of_ratio(double x, double largest, double k) {
  return composed<double>(
      power_below(scaled_log2(decompose(x)), scaled_log2(decompose(largest)), exponent_of(k)));
}

float arrival_probability_of(uint64_t rate, float time) {
  return arrival_probability(rate, time, 0.0f);
}

float draw_probability_of(uint64_t fixed, uint64_t total) {
  return draw_probability<float>(fixed, total);
}

float inclusion_probability_of(uint64_t fixed, uint64_t rest, uint64_t left) {
  CertainRows rows = CertainRows::none();
  rows.rest = rest;
  return rows.probability<float>(fixed, left);
}

uint64_t systematic_point(uint64_t i, uint64_t offset, uint64_t total, uint64_t count) {
  return SystematicPoints::of(offset, total, count).at(i);
}
uint64_t systematic_points_below(uint64_t x, uint64_t offset, uint64_t total, uint64_t count) {
  return SystematicPoints::of(offset, total, count).below(x);
}

float float_of(uint64_t mantissa, int exponent) { return composed<float>({mantissa, exponent}); }
double double_of(uint64_t mantissa, int exponent) { return composed<double>({mantissa, exponent}); }

float mean_of_floats(const float* x, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  const int shift = fixed_point_shift(largest, static_cast<uint64_t>(count));
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += to_fixed_point(x[i], shift);
  return mean_of(sum, static_cast<uint64_t>(count), shift, largest);
}

float tau_of_floats(const float* x, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  const auto rows = static_cast<uint64_t>(count);
  const int shift = fixed_point_shift(largest, rows);
  TauSums sums = TauSums::nothing();
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t fixed = to_fixed_point(x[i], shift);
    sums.merge({fixed, square_of(fixed, bits_for(rows), 0.0f)});
  }
  return tau_of<float>(sums, rows);
}

}  // extern "C"
