// MMA fragments from K-major tiles in shared memory, as TMA wrote them: rows of 128 bytes (e4m3) with the 128-byte swizzle,
// rows of 64 bytes (packed e2m1) with the 64-byte one. A tile starts at a multiple of the swizzle's period (1024, 512 bytes).
//
// In a fragment, lane l = 4 g + t holds rows g (and g + 8) and, of each 32 elements of k, elements 4 t .. + 3 and 16 + 4 t .. + 3;
// of each 64 packed elements, 8 t .. + 7 and 32 + 8 t .. + 7.
// Where packed e2m1 meets e4m3 without a scale of its own in the MMA (kMoved, kInterleaved), both operands take the elements of
// 32 in another order: lane 4 g + t holds elements 8 t, 8 t + 2, 8 t + 4, 8 t + 6 and, in the second place, 8 t + 1, .. + 7.
#pragma once

#include "deepwell/prim/e2m1.cuh"
#include "deepwell/ptx/matrix.cuh"
#include "deepwell/ptx/memory.cuh"

namespace deepwell {

/// Byte offset of 16-byte chunk `chunk` of row `row`.
template <int kRowBytes>
__device__ __forceinline__ uint32 swizzled_chunk(int row, int chunk) {
  static_assert(kRowBytes == 128 || kRowBytes == 64);
  int const mask = kRowBytes == 128 ? (row & 7) : ((row >> 1) & 3);
  return row * kRowBytes + ((chunk ^ mask) << 4);
}

/// How the elements of a tile become the bytes that the MMA takes.
enum class Fragment {
  kBytes,        // e4m3 as it is
  kInterleaved,  // e4m3 beside kMoved
  kWidened,      // e2m1 as e4m3 of the same value
  kMoved,        // e2m1 as e4m3 of 2^-6 times the value
  kContainers,   // e2m1 in bits 5..2 of bytes
  kPacked,       // e2m1, two a byte
};

/// The four even and the four odd of eight neighbouring e4m3 elements.
__device__ __forceinline__ void load_interleaved(uint32& even, uint32& odd, SmemAddr from) {
  uint32 bytes[2];
  load_shared_u32x2(bytes, from);
  even = prmt(bytes[0], bytes[1], 0x6420);
  odd = prmt(bytes[0], bytes[1], 0x7531);
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

/// The 16 rows from `row` on: fragments of all k steps of a stage (4 of 32 elements, or 2 of 64 packed ones).
template <Fragment kForm, int kSteps>
__device__ __forceinline__ void load_row_fragments(uint32 (&fragment)[kSteps][4], SmemAddr tile, int row,
                                                   int lane) {
  if constexpr (kForm == Fragment::kBytes || kForm == Fragment::kPacked) {
    constexpr int kRowBytes = kForm == Fragment::kBytes ? 128 : 64;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      ldmatrix_x4(fragment[step], tile + swizzled_chunk<kRowBytes>(row + lane % 16, 2 * step + lane / 16));
    }
  } else if constexpr (kForm == Fragment::kMoved) {
#pragma unroll
    for (int pair = 0; pair < kSteps / 2; ++pair) {
      uint32 words[4];
      ldmatrix_x4(words, tile + swizzled_chunk<64>(row + lane % 16, 2 * pair + lane / 16));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        fragment[2 * pair + i / 2][i % 2] = e2m1_even_moved(words[i]);
        fragment[2 * pair + i / 2][i % 2 + 2] = e2m1_odd_moved(words[i]);
      }
    }
  } else if constexpr (kForm == Fragment::kInterleaved) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        SmemAddr const chunk = tile + swizzled_chunk<128>(row + lane / 4 + 8 * half, 2 * step + lane % 4 / 2);
        load_interleaved(fragment[step][half], fragment[step][half + 2], chunk + lane % 2 * 8);
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

/// The 8 columns of the product that rows `row` .. + 7 of the y tile stand for: fragments of all k steps of a stage.
template <Fragment kForm, int kSteps>
__device__ __forceinline__ void load_col_fragments(uint32 (&fragment)[kSteps][2], SmemAddr tile, int row,
                                                   int lane) {
  if constexpr (kForm == Fragment::kBytes || kForm == Fragment::kPacked) {
    constexpr int kRowBytes = kForm == Fragment::kBytes ? 128 : 64;
#pragma unroll
    for (int pair = 0; pair < kSteps / 2; ++pair) {
      uint32 chunks[4];
      ldmatrix_x4(chunks, tile + swizzled_chunk<kRowBytes>(row + lane % 8, 4 * pair + lane / 8));
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
    for (int step = 0; step < kSteps; ++step) {
      fragment[step][0] = e2m1_even_moved(words[step]);
      fragment[step][1] = e2m1_odd_moved(words[step]);
    }
  } else if constexpr (kForm == Fragment::kInterleaved) {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      SmemAddr const chunk = tile + swizzled_chunk<128>(row + lane / 4, 2 * step + lane % 4 / 2);
      load_interleaved(fragment[step][0], fragment[step][1], chunk + lane % 2 * 8);
    }
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
