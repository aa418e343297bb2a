// MMA fragments from K-major tiles in shared memory, as TMA wrote them: rows of 128 bytes (e4m3) with the 128-byte swizzle,
// rows of 64 bytes (packed e2m1) with the 64-byte one. A tile starts at a multiple of the swizzle's period (1024, 512 bytes).
//
// In a fragment, lane l = 4 g + t holds rows g (and g + 8) and, of each 32 elements of k, elements 4 t .. + 3 and 16 + 4 t .. + 3;
// of each 64 packed elements, 8 t .. + 7 and 32 + 8 t .. + 7.
// Where the MMA takes f16 for want of e2m1 (kMoved, kInterleaved), a step of 32 elements is two MMAs, of the even and of the odd
// elements: lane 4 g + t holds elements 8 t, 8 t + 4, 8 t + 2, 8 t + 6 of the first and the ones after them of the second.
#pragma once

#include "deepwell/prim/e2m1.cuh"
#include "deepwell/ptx/matrix.cuh"
#include "deepwell/ptx/memory.cuh"

namespace deepwell {

/// Byte offset of 16-byte chunk `chunk` of row `row`.
template <int kRowBytes>
__device__ __forceinline__ uint32 swizzled_chunk(int row, int chunk) {
  static_assert(kRowBytes == 128 || kRowBytes == 64 || kRowBytes == 32);
  int const mask = kRowBytes == 128 ? (row & 7) : kRowBytes == 64 ? ((row >> 1) & 3) : ((row >> 2) & 1);
  return row * kRowBytes + ((chunk ^ mask) << 4);
}

/// The offset of a place `2 * pairs` chunks after the one at `offset`, whose chunk number has none of the bits of `2 * pairs`: chunks
/// are permuted by an exclusive or.
__device__ __forceinline__ uint32 pairs_after(uint32 offset, int pairs) { return offset ^ (pairs << 5); }

/// How the elements of a tile become the bytes that the MMA takes.
enum class Fragment {
  kBytes,        // e4m3 as it is
  kWidened,      // e2m1 as e4m3 of the same value
  kContainers,   // e2m1 in bits 5..2 of bytes
  kPacked,       // e2m1, two a byte
  kInterleaved,  // e4m3 as f16
  kMoved,        // e2m1 as f16 of -2^-14 times the value
};
/// MMAs of a k step, whose fragments follow each other.
__device__ constexpr int mmas_of(Fragment form) {
  return form == Fragment::kInterleaved || form == Fragment::kMoved ? 2 : 1;
}

// Words that a k step's fragment is loaded as, before it is expanded to what the MMAs take.
__device__ constexpr int row_words(Fragment form) { return form == Fragment::kMoved ? 2 : 4; }
__device__ constexpr int col_words(Fragment form) { return form == Fragment::kMoved ? 1 : 2; }

/// Four e4m3 elements as f16.
__device__ __forceinline__ void e4m3_to_f16(uint32& first, uint32& second, uint32 bytes) {
  first = cvt_f16x2_e4m3x2<false>(bytes);
  second = cvt_f16x2_e4m3x2<true>(bytes);
}

/// The fragments of 16 rows for one k step.
template <Fragment kForm>
__device__ __forceinline__ void expand_row_fragment(uint32 (&to)[4 * mmas_of(kForm)],
                                                    uint32 const (&words)[row_words(kForm)]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if constexpr (kForm == Fragment::kMoved) {
      e2m1_even_to_f16(to[half], to[half + 2], words[half]);
      e2m1_odd_to_f16(to[half + 4], to[half + 6], words[half]);
    } else if constexpr (kForm == Fragment::kInterleaved) {
      e4m3_to_f16(to[half], to[half + 2], prmt(words[2 * half], words[2 * half + 1], 0x6240));
      e4m3_to_f16(to[half + 4], to[half + 6], prmt(words[2 * half], words[2 * half + 1], 0x7351));
    } else {
      to[half] = words[half];
      to[half + 2] = words[half + 2];
    }
  }
}

/// The fragments of 8 columns for one k step.
template <Fragment kForm>
__device__ __forceinline__ void expand_col_fragment(uint32 (&to)[2 * mmas_of(kForm)],
                                                    uint32 const (&words)[col_words(kForm)]) {
  if constexpr (kForm == Fragment::kMoved) {
    e2m1_even_to_f16(to[0], to[1], words[0]);
    e2m1_odd_to_f16(to[2], to[3], words[0]);
  } else if constexpr (kForm == Fragment::kInterleaved) {
    e4m3_to_f16(to[0], to[1], prmt(words[0], words[1], 0x6240));
    e4m3_to_f16(to[2], to[3], prmt(words[0], words[1], 0x7351));
  } else {
    to[0] = words[0];
    to[1] = words[1];
  }
}

/// Four packed e2m1 elements in the form that an 8-bit MMA takes.
template <Fragment kForm>
__device__ __forceinline__ uint32 widen_e2m1(uint32 packed) {
  if constexpr (kForm == Fragment::kContainers) {
    return e2m1x4_to_containers(packed);
  } else {
    return e2m1x4_to_e4m3x4(packed);
  }
}

/// The 16 rows from `row` on, a multiple of 8: words of all k steps of a stage (4 of 32 elements, or 2 of 64 packed ones).
template <Fragment kForm, int kSteps>
__device__ __forceinline__ void load_row_fragments(uint32 (&fragment)[kSteps][row_words(kForm)],
                                                   SmemAddr tile, int row, int lane) {
  if constexpr (kForm == Fragment::kBytes || kForm == Fragment::kPacked) {
    constexpr int kRowBytes = kForm == Fragment::kBytes ? 128 : 64;
    SmemAddr const rows = tile + row * kRowBytes;
    uint32 const offset = swizzled_chunk<kRowBytes>(lane % 16, lane / 16);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) ldmatrix_x4(fragment[step], rows + pairs_after(offset, step));
  } else if constexpr (kForm == Fragment::kMoved) {
    SmemAddr const rows = tile + row * 64;
    uint32 const offset = swizzled_chunk<64>(lane % 16, lane / 16);
#pragma unroll
    for (int pair = 0; pair < kSteps / 2; ++pair) {
      uint32 words[4];
      ldmatrix_x4(words, rows + pairs_after(offset, pair));
#pragma unroll
      for (int i = 0; i < 4; ++i) fragment[2 * pair + i / 2][i % 2] = words[i];
    }
  } else if constexpr (kForm == Fragment::kInterleaved) {
    SmemAddr const rows = tile + row * 128;
    uint32 const offset = swizzled_chunk<128>(lane / 4, lane % 4 / 2) + lane % 2 * 8;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32 words[2];
        load_shared_u32x2(words, rows + (pairs_after(offset, step) + 8 * 128 * half));
        fragment[step][2 * half] = words[0];
        fragment[step][2 * half + 1] = words[1];
      }
    }
  } else {
    int const g = lane / 4;
    int const t = lane % 4;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        SmemAddr const chunk = tile + swizzled_chunk<64>(row + g + 8 * half, step) + 2 * t;
        fragment[step][half] = widen_e2m1<kForm>(load_shared_u16(chunk));
        fragment[step][half + 2] = widen_e2m1<kForm>(load_shared_u16(chunk + 8));
      }
    }
  }
}

/// The 8 columns of the product that rows `row` .. + 7 of the y tile stand for, `row` a multiple of 8: words of all k steps of a stage.
template <Fragment kForm, int kSteps>
__device__ __forceinline__ void load_col_fragments(uint32 (&fragment)[kSteps][col_words(kForm)],
                                                   SmemAddr tile, int row, int lane) {
  if constexpr (kForm == Fragment::kBytes || kForm == Fragment::kPacked) {
    constexpr int kRowBytes = kForm == Fragment::kBytes ? 128 : 64;
    SmemAddr const rows = tile + row * kRowBytes;
    uint32 const offset = swizzled_chunk<kRowBytes>(lane % 8, lane / 8);
#pragma unroll
    for (int pair = 0; pair < kSteps / 2; ++pair) {
      uint32 chunks[4];
      ldmatrix_x4(chunks, rows + pairs_after(offset, 2 * pair));
      fragment[2 * pair][0] = chunks[0];
      fragment[2 * pair][1] = chunks[1];
      fragment[2 * pair + 1][0] = chunks[2];
      fragment[2 * pair + 1][1] = chunks[3];
    }
  } else if constexpr (kForm == Fragment::kMoved) {
    static_assert(kSteps == 4);
    uint32 words[4];
    ldmatrix_x4(words, tile + swizzled_chunk<64>(row + lane % 8, lane / 8));
#pragma unroll
    for (int step = 0; step < kSteps; ++step) fragment[step][0] = words[step];
  } else if constexpr (kForm == Fragment::kInterleaved) {
    SmemAddr const rows = tile + row * 128;
    uint32 const offset = swizzled_chunk<128>(lane / 4, lane % 4 / 2) + lane % 2 * 8;
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
      load_shared_u32x2(fragment[step], rows + pairs_after(offset, step));
  } else {
    int const g = lane / 4;
    int const t = lane % 4;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      SmemAddr const chunk = tile + swizzled_chunk<64>(row + g, step) + 2 * t;
      fragment[step][0] = widen_e2m1<kForm>(load_shared_u16(chunk));
      fragment[step][1] = widen_e2m1<kForm>(load_shared_u16(chunk + 8));
    }
  }
}

}  // namespace deepwell
