// Reading logits and features of any element type as vectors of the result type. Part of the
// kernels of one instruction set.
#pragma once

namespace isf {
namespace ISF_LEVEL {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

template <class Element>
struct ResultOf {
  typedef float Type;
};
template <>
struct ResultOf<double> {
  typedef double Type;
};

typedef uint16_t Shorts __attribute__((vector_size(kVectorBytes / 2)));
typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));

ISF_FN Floats widen(const float* p, Floats) { return Floats::load(p); }
ISF_FN Doubles widen(const double* p, Doubles) { return Doubles::load(p); }

ISF_FN Words load_shorts(const void* p) {
  Shorts shorts;
  memcpy(&shorts, p, sizeof shorts);
  return __builtin_convertvector(shorts, Words);
}

ISF_FN Floats widen(const BFloat16* p, Floats) {
  return same_bits<Floats::Vector>(load_shorts(p) << 16);
}

ISF_FN Floats widen(const Half* p, Floats) {
#if defined(ISF_AVX512)
  return Floats::Vector(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(ISF_AVX2)
  return Floats::Vector(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  // The exponent moves by 2^112 in one multiplication, which also normalises subnormal halves; 31
  // stands for inf and NaN.
  const Words h = load_shorts(p);
  const Words moved = same_bits<Words>(same_bits<Floats::Vector>((h & 0x7fffu) << 13) * 0x1p112f);
  const Words special = same_bits<Words>((h & 0x7c00u) == 0x7c00u) & 0x7f800000u;
  return same_bits<Floats::Vector>(moved | special | (h & 0x8000u) << 16);
#endif
}

// A vector of contiguous elements.
template <class Element, class V = Lanes<typename ResultOf<Element>::Type>>
ISF_FN V load(const Element* p) {
  return widen(p, V());
}

// The first `count` of them, at most a vector; the other lanes are `fill`.
#if defined(ISF_AVX512)
ISF_FN Doubles widen_part(const double* p, __mmask8 part) {
  return Doubles::Vector(_mm512_maskz_loadu_pd(part, p));
}
ISF_FN Floats widen_part(const float* p, __mmask16 part) {
  return Floats::Vector(_mm512_maskz_loadu_ps(part, p));
}
ISF_FN Floats widen_part(const BFloat16* p, __mmask16 part) {
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(part, p));
  return same_bits<Floats::Vector>(_mm512_slli_epi32(words, 16));
}
ISF_FN Floats widen_part(const Half* p, __mmask16 part) {
  return Floats::Vector(_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(part, p)));
}

template <class Element, class V = Lanes<typename ResultOf<Element>::Type>>
ISF_FN V load_part(const Element* p, int64_t count, float fill) {
  const auto part = static_cast<uint16_t>((1u << count) - 1);
  return choose(lane_numbers<V>() < static_cast<typename V::Integer>(count), widen_part(p, part),
                V(fill));
}
#else
template <class Element, class V = Lanes<typename ResultOf<Element>::Type>>
ISF_FN V load_part(const Element* p, int64_t count, float fill) {
  alignas(64) Element part[V::kCount];
  memset(part, 0, sizeof part);
  memcpy(part, p, static_cast<size_t>(count) * sizeof(Element));
  V x = load(part);
  for (int64_t i = count; i < V::kCount; ++i) x.v[i] = fill;
  return x;
}
#endif

// One element of each of several consecutive rows.
template <class Element>
struct Column {
  typedef Lanes<typename ResultOf<Element>::Type> V;
  const Element* first;
  int64_t stride;
  int64_t last;  // the last lane with a row of its own; the lanes behind it read the same row
  bool near;     // the offsets fit 32 bits
  typename V::Mask offset;

  // Rows row, row + 1, ..., as far as `end` allows.
  ISF_MEMBER Column(const void* base, int64_t stride, int64_t row, int64_t end)
      : first(static_cast<const Element*>(base) + row * stride),
        stride(stride),
        last(end - row < V::kCount ? end - row - 1 : V::kCount - 1),
        near(stride >= 0 && stride <= INT32_MAX / V::kCount) {
    for (int lane = 0; lane < V::kCount; ++lane) offset[lane] = lane;
    const typename V::Mask bound = static_cast<typename V::Integer>(last) - typename V::Mask{};
    offset =
        (offset < bound ? offset : bound) * static_cast<typename V::Integer>(near ? stride : 0);
  }

  // The elements at distance `at` from the first column.
  ISF_MEMBER V load_at(int64_t at) const {
    return stride == 1 && last == V::kCount - 1 ? load(first + at) : gather(first + at);
  }

  template <class Any>
  ISF_MEMBER V gather(const Any* p) const {
    alignas(64) Element lanes[V::kCount];
    for (int lane = 0; lane < V::kCount; ++lane)
      lanes[lane] = p[(lane < last ? lane : last) * stride];
    return load(lanes);
  }

  ISF_MEMBER V gather(const float* p) const {
#if defined(ISF_AVX512)
    if (near) return V(_mm512_i32gather_ps(same_bits<__m512i>(offset), p, 4));
#elif defined(ISF_AVX2)
    if (near) return V(_mm256_i32gather_ps(p, same_bits<__m256i>(offset), 4));
#endif
    return gather<float>(p);
  }
};

#if defined(ISF_AVX512)
// Lane j of row[i] becomes lane i of row[j]: each of the four rounds interleaves the first half of
// the rows with the second, which rotates the eight bits of an element's position by one.
ISF_FN void transpose(Floats (&row)[16]) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high =
      _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#pragma GCC unroll 4
  for (int round = 0; round < 4; ++round) {
    Floats next[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      next[2 * i].v = _mm512_permutex2var_ps(row[i].v, low, row[i + 8].v);
      next[2 * i + 1].v = _mm512_permutex2var_ps(row[i].v, high, row[i + 8].v);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) row[i] = next[i];
  }
}

// The columns of 16 rows whose elements are contiguous.
template <class Element>
ISF_FN void load_rows(const Element* row, int64_t row_stride, int64_t columns, Floats* column) {
  if (columns == 2 && row_stride == 2) {
    const __m512i one = _mm512_set1_epi32(1);
    const __m512i even = _mm512_slli_epi32(same_bits<__m512i>(lane_numbers<Floats>()), 1);
    const Floats low = load(row), high = load(row + 16);
    column[0].v = _mm512_permutex2var_ps(low.v, even, high.v);
    column[1].v = _mm512_permutex2var_ps(low.v, _mm512_or_si512(even, one), high.v);
    return;
  }
  for (int64_t j = 0; j < columns; j += 16) {
    const int64_t count = columns - j < 16 ? columns - j : 16;
    Floats block[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) block[i] = load_part(row + i * row_stride + j, count, 0.0f);
    transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      if (i < count) column[j + i] = block[i];
    }
  }
}
#endif

// The columns of the rows [row, end), as far as a vector has lanes: column[j].v[lane] is element j
// of row + lane.
template <class Element, class V = typename Column<Element>::V>
void load_columns(const void* base, int64_t row_stride, int64_t column_stride, int64_t columns,
                  int64_t row, int64_t end, V* column) {
  const Column<Element> source(base, row_stride, row, end);
#if defined(ISF_AVX512)
  if constexpr (V::kCount == 16) {
    if (column_stride == 1 && end - row >= 16) {
      return load_rows(source.first, row_stride, columns, column);
    }
  }
#endif
  for (int64_t j = 0; j < columns; ++j) column[j] = source.load_at(j * column_stride);
}

}  // namespace ISF_LEVEL
}  // namespace isf
