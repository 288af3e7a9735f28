// Weights raised to a power, for one instruction set: some count leading zeros in one operation.
#pragma once

namespace isf {
namespace ISF_LEVEL {

template <class T>
void raise_kernel(Exponent exponent, const void* drawn_by, int64_t n, cpu::RaisedRow* row,
                  void* weights) {
  T* weight = static_cast<T*>(weights);
  const T* by = static_cast<const T*>(drawn_by);
  WeightExtremes<T> extremes = WeightExtremes<T>::nothing();
  for (int64_t i = 0; i < n; ++i) {
    const Decomposed u = decompose_long(weight[i]);
    row[i].log = scaled_log2(u);
    row[i].kept = product(u, by[i]);
    extremes.merge({weight[i], weight[i], row[i].kept.top()});
  }
  const auto power = PowerOf::of(extremes, exponent);
  int raised_top = WeightExtremes<T>::nothing().kept_top;
  for (int64_t i = 0; i < n; ++i) {
    row[i].power = power(row[i].log);
    row[i].raised = product(row[i].power, by[i]);
    const int top = row[i].raised.top();
    raised_top = top > raised_top ? top : raised_top;
  }
  const auto count = static_cast<uint64_t>(n);
  const int kept_shift = shift_for(extremes.kept_top, count),
            raised_shift = shift_for(raised_top, count);
  PowerSums sums = PowerSums::nothing();
  for (int64_t i = 0; i < n; ++i) {
    sums.merge(
        {to_fixed_point(row[i].kept, kept_shift), to_fixed_point(row[i].raised, raised_shift)});
  }
  const auto factor = PowerFactor<T>::of(sums, kept_shift, raised_shift);
  for (int64_t i = 0; i < n; ++i) weight[i] = factor(row[i].power);
}

}  // namespace ISF_LEVEL
}  // namespace isf
