// Vectors of GCC and Clang for loops over tiles, lowered to what the target has, on every target.
#pragma once

#include <cstdint>
#include <cstring>

// A function of vectors becomes part of its caller, which says for what processor it is compiled. Vectors that may be wider
// than the registers of the target are passed by reference: by value they have no fixed calling convention.
#define DW_LANES_INLINE inline __attribute__((always_inline))

namespace deepwell::num {

using Bytes16 = std::uint8_t __attribute__((vector_size(16)));
using Shorts8 = std::uint16_t __attribute__((vector_size(16)));
using Words4 = std::uint32_t __attribute__((vector_size(16)));

/// Vectors of kLanes outputs. A comparison gives -1 where it holds; comparisons need kLanes elements to fit a register.
template <int kLanes>
struct Lanes {
  typedef std::uint32_t Words __attribute__((vector_size(4 * kLanes)));
  typedef std::int32_t Ints __attribute__((vector_size(4 * kLanes)));
  typedef std::uint8_t Bytes __attribute__((vector_size(4 * kLanes)));
  typedef std::int16_t Shorts __attribute__((vector_size(4 * kLanes)));
  typedef float Floats __attribute__((vector_size(4 * kLanes)));
  typedef std::int64_t Longs __attribute__((vector_size(8 * kLanes)));
  typedef double Doubles __attribute__((vector_size(8 * kLanes)));
};

template <class Vector>
DW_LANES_INLINE void load(Vector& to, void const* from) {
  std::memcpy(&to, from, sizeof to);
}
template <class Vector>
DW_LANES_INLINE void store(void* to, Vector const& from) {
  std::memcpy(to, &from, sizeof from);
}

// x[0] y[0] x[1] y[1] ... of the lower and of the upper halves.
DW_LANES_INLINE Bytes16 interleave_low(Bytes16 x, Bytes16 y) {
  return __builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
DW_LANES_INLINE Bytes16 interleave_high(Bytes16 x, Bytes16 y) {
  return __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
DW_LANES_INLINE Shorts8 interleave_low(Shorts8 x, Shorts8 y) {
  return __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
}
DW_LANES_INLINE Shorts8 interleave_high(Shorts8 x, Shorts8 y) {
  return __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
}
DW_LANES_INLINE Words4 interleave_low(Words4 x, Words4 y) {
  return __builtin_shufflevector(x, y, 0, 4, 1, 5);
}
DW_LANES_INLINE Words4 interleave_high(Words4 x, Words4 y) {
  return __builtin_shufflevector(x, y, 2, 6, 3, 7);
}

// Every second element of x and then of y.
DW_LANES_INLINE Words4 even_of(Words4 x, Words4 y) { return __builtin_shufflevector(x, y, 0, 2, 4, 6); }
DW_LANES_INLINE Words4 odd_of(Words4 x, Words4 y) { return __builtin_shufflevector(x, y, 1, 3, 5, 7); }

template <class Code>
struct VectorOf;
template <>
struct VectorOf<std::uint8_t> {
  using Type = Bytes16;
};
template <>
struct VectorOf<std::uint16_t> {
  using Type = Shorts8;
};
template <>
struct VectorOf<std::uint32_t> {
  using Type = Words4;
};

/// to[i] = table[codes[i]] for 32-bit elements. Written out: as a loop over elements it is vectorised to its harm.
template <class Element>
DW_LANES_INLINE void look_up(Element const* table, std::uint8_t const* codes, int count, Element* to) {
  static_assert(sizeof(Element) == 4);
  typedef Element Vector __attribute__((vector_size(16)));
  for (int i = 0; i < count; i += 4) {
    store(to + i, Vector{table[codes[i]], table[codes[i + 1]], table[codes[i + 2]], table[codes[i + 3]]});
  }
}

/// [8][k] to [k][8]. k is a multiple of the elements of a vector.
template <class Code>
DW_LANES_INLINE void transpose_8_rows(Code const* from, int k, Code* to) {
  using Vector = typename VectorOf<Code>::Type;
  constexpr int kElements = 16 / sizeof(Code);
  for (int first = 0; first < k; first += kElements) {
    Vector rows[8], next[8];
    for (int i = 0; i < 8; ++i) load(rows[i], from + i * k + first);
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < 4; ++i) {
        next[2 * i] = interleave_low(rows[i], rows[i + 4]);
        next[2 * i + 1] = interleave_high(rows[i], rows[i + 4]);
      }
      for (int i = 0; i < 8; ++i) rows[i] = next[i];
    }
    for (int i = 0; i < 8; ++i) store(to + first * 8 + i * kElements, rows[i]);
  }
}

}  // namespace deepwell::num
