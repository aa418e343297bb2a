// MMA fragments from K-major tiles in shared memory, as TMA wrote them: rows of 128 bytes (e4m3) with the 128-byte swizzle,
// rows of 64 bytes (packed e2m1) with the 64-byte one. A tile starts at a multiple of the swizzle's period (1024, 512 bytes).
//
// In a fragment, lane l = 4 g + t holds rows g (and g + 8) and, of each 32 elements of k, elements 4 t .. + 3 and 16 + 4 t .. + 3;
// of each 64 packed elements, 8 t .. + 7 and 32 + 8 t .. + 7.
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

/// How the elements of a tile become the bytes that the MMA takes.
enum class Fragment { kBytes, kWidened, kContainers, kPacked };

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
