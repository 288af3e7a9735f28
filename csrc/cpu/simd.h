// A vector register of numbers for one instruction set, with the operations that rowmath.h asks of
// its V.
//
// Included once per instruction set, inside its namespace and its target pragma. GCC's and Clang's
// vector extension does the arithmetic; only what it cannot say (fused multiply-add, maximum,
// conversions) is spelled out per instruction set.
#pragma once

namespace isf {
namespace ISF_LEVEL {

#if defined(ISF_AVX512)
constexpr int kVectorBytes = 64;
#elif defined(ISF_AVX2)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Mask __attribute__((vector_size(kVectorBytes)));
  typedef int32_t Integer;
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Mask __attribute__((vector_size(kVectorBytes)));
  typedef int64_t Integer;
};

template <class T>
struct Lanes {
  static constexpr int kCount = kVectorBytes / sizeof(T);
  typedef T Scalar;
  typedef typename VectorOf<T>::Type Vector;
  typedef typename VectorOf<T>::Mask Mask;
  typedef typename VectorOf<T>::Integer Integer;
  Vector v;

  Lanes() = default;
  ISF_MEMBER Lanes(Vector vector) : v(vector) {}
  ISF_MEMBER explicit Lanes(float x) : v(T(x) - Vector{}) {}

  ISF_MEMBER static Lanes load(const T* p) {
    Lanes x;
    memcpy(&x.v, p, sizeof x.v);
    return x;
  }
  ISF_MEMBER void store(T* p) const { memcpy(p, &v, sizeof v); }

  ISF_MEMBER friend Lanes operator+(Lanes a, Lanes b) { return a.v + b.v; }
  ISF_MEMBER friend Lanes operator-(Lanes a, Lanes b) { return a.v - b.v; }
  ISF_MEMBER friend Lanes operator*(Lanes a, Lanes b) { return a.v * b.v; }
  ISF_MEMBER friend Lanes operator/(Lanes a, Lanes b) { return a.v / b.v; }
  ISF_MEMBER friend Mask operator<(Lanes a, Lanes b) { return a.v < b.v; }
  ISF_MEMBER friend Mask operator>(Lanes a, Lanes b) { return a.v > b.v; }
  ISF_MEMBER friend Mask operator>=(Lanes a, Lanes b) { return a.v >= b.v; }
  ISF_MEMBER friend Mask operator==(Lanes a, Lanes b) { return a.v == b.v; }
  ISF_MEMBER friend Lanes choose(Mask condition, Lanes a, Lanes b) { return condition ? a.v : b.v; }
};

typedef Lanes<float> Floats;
typedef Lanes<double> Doubles;

template <class To, class From>
ISF_FN To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "a reinterpretation keeps the size");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

template <class V>
ISF_FN typename V::Mask lane_numbers() {
  typename V::Mask lane;
  for (int i = 0; i < V::kCount; ++i) lane[i] = i;
  return lane;
}

// 64-bit integers to those of a mask, all of which fit; in registers, since a load of two halves
// just stored has to wait.
ISF_FN void narrow(const VectorOf<double>::Mask (&wide)[2], VectorOf<float>::Mask& result) {
  typedef int32_t Half __attribute__((vector_size(kVectorBytes / 2)));
  const Half low = __builtin_convertvector(wide[0], Half),
             high = __builtin_convertvector(wide[1], Half);
#if defined(ISF_AVX512)
  result = same_bits<VectorOf<float>::Mask>(_mm512_inserti64x4(
      _mm512_castsi256_si512(same_bits<__m256i>(low)), same_bits<__m256i>(high), 1));
#elif defined(ISF_AVX2)
  result = same_bits<VectorOf<float>::Mask>(_mm256_inserti128_si256(
      _mm256_castsi128_si256(same_bits<__m128i>(low)), same_bits<__m128i>(high), 1));
#else
  memcpy(&result, &low, sizeof low);
  memcpy(reinterpret_cast<char*>(&result) + sizeof low, &high, sizeof high);
#endif
}
ISF_FN void narrow(const VectorOf<double>::Mask (&wide)[1], VectorOf<double>::Mask& result) {
  result = wide[0];
}

// Whether a bit is set in any lane of a mask.
template <class Mask>
ISF_FN bool any_bit(Mask mask) {
#if defined(ISF_AVX512)
  return _mm512_test_epi64_mask(same_bits<__m512i>(mask), same_bits<__m512i>(mask)) != 0;
#else
  const VectorOf<double>::Mask words = same_bits<VectorOf<double>::Mask>(mask);
  int64_t all = 0;
  for (int i = 0; i < kVectorBytes / 8; ++i) all |= words[i];
  return all != 0;
#endif
}

// The first of `count` lanes whose bits are set, or -1.
template <class Mask>
ISF_FN int64_t first_lane(Mask mask, int64_t count) {
  if (any_bit(mask)) {
    for (int64_t lane = 0; lane < count; ++lane) {
      if (mask[lane]) return lane;
    }
  }
  return -1;
}

ISF_FN Floats fused(Floats a, Floats b, Floats c) {
#if defined(ISF_AVX512)
  return Floats::Vector(_mm512_fmadd_ps(a.v, b.v, c.v));
#elif defined(ISF_AVX2)
  return Floats::Vector(_mm256_fmadd_ps(a.v, b.v, c.v));
#else
  return a * b + c;
#endif
}

// A NaN in b wins, as x86's maximum has it.
ISF_FN Floats larger(Floats a, Floats b) {
#if defined(ISF_AVX512)
  return Floats::Vector(_mm512_max_ps(a.v, b.v));
#elif defined(ISF_AVX2)
  return Floats::Vector(_mm256_max_ps(a.v, b.v));
#else
  return choose(a > b, a, b);
#endif
}

ISF_FN Floats root(Floats a) {
#if defined(ISF_AVX512)
  return Floats::Vector(_mm512_sqrt_ps(a.v));
#elif defined(ISF_AVX2)
  return Floats::Vector(_mm256_sqrt_ps(a.v));
#else
  for (int i = 0; i < Floats::kCount; ++i) a.v[i] = sqrtf(a.v[i]);
  return a;
#endif
}

ISF_FN Floats magnitude(Floats a) {
  return same_bits<Floats::Vector>(same_bits<Floats::Mask>(a.v) & 0x7fffffff);
}

ISF_FN Floats power_of_two(Floats shifted) {
  return same_bits<Floats::Vector>((same_bits<Floats::Mask>(shifted.v) << 23) + 0x3f800000);
}

ISF_FN Floats split(Floats x, Floats& exponent) {
  const Floats::Mask offset = same_bits<Floats::Mask>(x.v) - 0x3f2aaaab;
  exponent.v = __builtin_convertvector(offset >> 23, Floats::Vector);
  return same_bits<Floats::Vector>((offset & 0x7fffff) + 0x3f2aaaab);
}

using isf::exp_term;

#if defined(ISF_AVX512)
// The same in fewer operations: of 2^t, t = k + f with k a multiple of 1/32, the fraction of k is
// looked up, and a parabola will do for 2^f, relative error 6e-8.
ISF_FN Floats exp_term(Floats d) {
  alignas(64) static const float root[32] = {
      // 2^(i / 32)
      1.0f,        1.02189715f, 1.04427378f, 1.0671404f,  1.09050773f, 1.11438674f, 1.13878863f,
      1.16372486f, 1.18920712f, 1.21524736f, 1.24185781f, 1.26905096f, 1.29683955f, 1.32523664f,
      1.35425555f, 1.38390988f, 1.41421356f, 1.44518081f, 1.47682615f, 1.50916443f, 1.54221083f,
      1.57598085f, 1.61049033f, 1.64575548f, 1.68179283f, 1.7186193f,  1.75625216f, 1.79470908f,
      1.83400809f, 1.87416763f, 1.91520656f, 1.95714412f};
  const Floats t = larger(Floats(-87.0f), d), shifter(1.5f * (1 << 18));  // rounds to 1/32
  const Floats shifted = fused(t, Floats(kLog2e), shifter), k = shifted - shifter;
  const Floats f = Floats::Vector(_mm512_fmsub_ps(t.v, Floats(kLog2e).v, k.v));
  const Floats of_fraction = Floats::Vector(_mm512_permutex2var_ps(
      _mm512_load_ps(root), same_bits<__m512i>(shifted.v), _mm512_load_ps(root + 16)));
  const Floats slope = fused(f, Floats(0.24022651f), Floats(0.69315734f));
  return Floats::Vector(_mm512_scalef_ps(fused(of_fraction * f, slope, of_fraction).v, k.v));
}
#endif

ISF_FN Doubles fused(Doubles a, Doubles b, Doubles c) {
#if defined(ISF_AVX512)
  return Doubles::Vector(_mm512_fmadd_pd(a.v, b.v, c.v));
#elif defined(ISF_AVX2)
  return Doubles::Vector(_mm256_fmadd_pd(a.v, b.v, c.v));
#else
  return a * b + c;
#endif
}

ISF_FN Doubles larger(Doubles a, Doubles b) {
#if defined(ISF_AVX512)
  return Doubles::Vector(_mm512_max_pd(a.v, b.v));
#elif defined(ISF_AVX2)
  return Doubles::Vector(_mm256_max_pd(a.v, b.v));
#else
  return choose(a > b, a, b);
#endif
}

ISF_FN Doubles root(Doubles a) {
#if defined(ISF_AVX512)
  return Doubles::Vector(_mm512_sqrt_pd(a.v));
#elif defined(ISF_AVX2)
  return Doubles::Vector(_mm256_sqrt_pd(a.v));
#else
  for (int i = 0; i < Doubles::kCount; ++i) a.v[i] = sqrt(a.v[i]);
  return a;
#endif
}

ISF_FN Doubles magnitude(Doubles a) { return choose(a > Doubles(0.0f), a, Doubles(0.0f) - a); }

// The same number in every lane.
template <class V>
ISF_FN V broadcast(typename V::Scalar x) {
  return x - typename V::Vector{};
}

// e^d for d <= 0, relative error 2^-51; at least e^-350, whose square is a normal number.
ISF_FN Doubles exp_term(Doubles d) {
  const auto number = [](double x) { return broadcast<Doubles>(x); };
  const Doubles t = larger(number(-350.0), d), shifter = number(0x1.8p52);
  const Doubles shifted = fused(t, number(1.4426950408889634), shifter), k = shifted - shifter;
  // t - k ln 2, with ln 2 in two parts: the product with the first is exact.
  const Doubles r =
      fused(k, number(-1.9082149292705877e-10), fused(k, number(-0.6931471803691238), t));
  // e^r (minimax)
  static const double coefficient[] = {2.748844352290197e-07,
                                       2.7639768251354328e-06,
                                       2.480191768787707e-05,
                                       1.9841171384225596e-04,
                                       1.388888849913829e-03,
                                       8.333333384665794e-03,
                                       4.1666666668426014e-02,
                                       1.6666666666557742e-01,
                                       4.9999999999997286e-01,
                                       1.0000000000000064,
                                       1.0};
  Doubles e(0.0f);
#pragma GCC unroll 11
  for (const double c : coefficient) e = fused(e, r, number(c));
#if defined(ISF_AVX512)
  return Doubles::Vector(_mm512_scalef_pd(e.v, k.v));
#else
  const auto power = (same_bits<Doubles::Mask>(shifted.v) << 52) + 0x3ff0000000000000;
  return e * Doubles(same_bits<Doubles::Vector>(power));
#endif
}

// What a row needs once takes the C library's functions, lane by lane.
using isf::decay_of;
using isf::log1p_of;
ISF_FN Doubles log1p_of(Doubles x) {
  for (int i = 0; i < Doubles::kCount; ++i) x.v[i] = log1p(x.v[i]);
  return x;
}

// Adds up the lanes pairwise: lane i and lane i + width, for the widths count / 2, ..., 1.
template <class V>
ISF_FN typename V::Scalar sum_of_lanes(V x) {
  alignas(64) typename V::Scalar lane[V::kCount];
  x.store(lane);
#pragma GCC unroll 4
  for (int width = V::kCount / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = lane[i] + lane[i + width];
  }
  return lane[0];
}

template <class V>
ISF_FN typename V::Scalar largest_lane(V x) {
  alignas(64) typename V::Scalar lane[V::kCount];
  x.store(lane);
#pragma GCC unroll 4
  for (int width = V::kCount / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
  }
  return lane[0];
}

#if defined(ISF_AVX512)
ISF_FN float sum_of_lanes(Floats x) { return _mm512_reduce_add_ps(x.v); }
ISF_FN float largest_lane(Floats x) { return _mm512_reduce_max_ps(x.v); }
#endif

ISF_FN Floats lowest(Floats) { return Floats(-FLT_MAX); }
ISF_FN Floats smallest(Floats) { return Floats(FLT_MIN); }
ISF_FN Doubles lowest(Doubles) { return Doubles::Vector(-DBL_MAX - Doubles::Vector{}); }
ISF_FN Doubles smallest(Doubles) { return Doubles::Vector(DBL_MIN - Doubles::Vector{}); }

}  // namespace ISF_LEVEL

template <>
struct Decay<ISF_LEVEL::Doubles> {
  ISF_LEVEL::Doubles value, lost;
  ISF_MEMBER ISF_LEVEL::Doubles times(ISF_LEVEL::Doubles v) const { return value * v; }
  ISF_MEMBER ISF_LEVEL::Doubles complement() const { return ISF_LEVEL::Doubles(0.0f) - lost; }
};

namespace ISF_LEVEL {

ISF_FN Decay<Doubles> decay_of(Doubles d, Doubles error) {
  Decay<Doubles> result;
  for (int i = 0; i < Doubles::kCount; ++i) {
    result.lost.v[i] = expm1(-d.v[i] - error.v[i]);
    result.value.v[i] = exp(-d.v[i]) * (1.0 - error.v[i]);
  }
  return result;
}

}  // namespace ISF_LEVEL
}  // namespace isf
