// The scalar types that rowmath.h computes with on the device: float itself, and Double, which
// brings the same operations in double precision from the C library.
#pragma once

#include <float.h>

#include "../target.h"
#include "device.h"

namespace isf {

// Beside rowmath.h's functions of float, which a namespace of its own would hide.
struct Double {
  double value;

  Double() = default;
  ISF_MEMBER explicit Double(double x) : value(x) {}

  ISF_MEMBER friend Double operator+(Double a, Double b) { return Double(a.value + b.value); }
  ISF_MEMBER friend Double operator-(Double a, Double b) { return Double(a.value - b.value); }
  ISF_MEMBER friend Double operator*(Double a, Double b) { return Double(a.value * b.value); }
  ISF_MEMBER friend Double operator/(Double a, Double b) { return Double(a.value / b.value); }
  ISF_MEMBER friend bool operator<(Double a, Double b) { return a.value < b.value; }
  ISF_MEMBER friend bool operator>(Double a, Double b) { return a.value > b.value; }
  ISF_MEMBER friend bool operator>=(Double a, Double b) { return a.value >= b.value; }
};

ISF_FN Double fused(Double a, Double b, Double c) { return a * b + c; }
ISF_FN Double root(Double a) { return Double(sqrt(a.value)); }
ISF_FN Double lowest(Double) { return Double(-DBL_MAX); }
ISF_FN Double smallest(Double) { return Double(DBL_MIN); }
ISF_FN Double choose(bool condition, Double a, Double b) { return condition ? a : b; }
ISF_FN Double larger(Double a, Double b) { return a > b ? a : b; }
ISF_FN Double magnitude(Double a) { return Double(fabs(a.value)); }
ISF_FN Double exp_term(Double d) { return Double(exp(d.value)); }
ISF_FN Double log1p_of(Double x) { return Double(log1p(x.value)); }

template <>
struct Decay<Double> {
  Double value, lost;
  ISF_MEMBER Double times(Double v) const { return value * v; }
  ISF_MEMBER Double complement() const { return Double(-lost.value); }
};

ISF_FN Decay<Double> decay_of(Double d, Double error) {
  return {Double(exp(-d.value) * (1.0 - error.value)), Double(expm1(-d.value - error.value))};
}

namespace cuda {

template <class T>
struct RealType {
  typedef T Type;
};
template <>
struct RealType<double> {
  typedef Double Type;
};
// What rowmath.h takes for statistics of type T.
template <class T>
using Real = typename RealType<T>::Type;

ISF_FN float plain(float x) { return x; }
ISF_FN double plain(Double x) { return x.value; }

}  // namespace cuda
}  // namespace isf
