// e4m3 x e4m3 without scales, 16 x 8 x 32, in the form that is fastest on the target. Products are exact, sums FP32.
//   block-scaled targets: the block-scaled MMA with scales of one, which runs at twice the rate of the unscaled one on some boards.
//   others: two f16 MMAs of 16. What is reused (b) is converted once, a just before use: the e4m3 MMA would convert both each time.
//     The first MMA takes elements 0 .. 15 of each 32, the second 16 .. 31, added to d in this order.
#pragma once

#include "deepwell/mma/target.cuh"
#include "deepwell/ptx/convert.cuh"
#include "deepwell/ptx/mma.cuh"

namespace deepwell {

template <class Target>
struct UnscaledE4m3 {
  static constexpr bool kF16 = !Target::kBlockScaled;
  static constexpr int kParts = kF16 ? 2 : 1;  // MMAs of a step, which are independent of other sums'
  static constexpr int kWordsA = kF16 ? 8 : 4;
  static constexpr int kWordsB = kF16 ? 4 : 2;

  /// Bytes as ldmatrix brings them -> what mma() takes.
  __device__ __forceinline__ static void prepare_a(uint32 const (&bytes)[4], uint32 (&a)[kWordsA]) {
    if constexpr (kF16) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int const step = i / 2, row = i % 2;
        a[4 * step + row] = cvt_f16x2_e4m3x2<false>(bytes[i]);
        a[4 * step + 2 + row] = cvt_f16x2_e4m3x2<true>(bytes[i]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = bytes[i];
    }
  }

  /// Bytes 4 t .. + 3 and 16 + 4 t .. + 3 of column g -> what mma() takes.
  __device__ __forceinline__ static void prepare_b(uint32 const (&bytes)[2], uint32 (&b)[kWordsB]) {
    if constexpr (kF16) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        b[2 * i] = cvt_f16x2_e4m3x2<false>(bytes[i]);
        b[2 * i + 1] = cvt_f16x2_e4m3x2<true>(bytes[i]);
      }
    } else {
      b[0] = bytes[0];
      b[1] = bytes[1];
    }
  }

  /// Part `part` of a step; the parts of a step in rising order.
  __device__ __forceinline__ static void mma(float (&d)[4], uint32 const (&a)[kWordsA],
                                             uint32 const (&b)[kWordsB], int part) {
    if constexpr (kF16) {
      mma_f16_m16n8k16(d, a + 4 * part, b + 2 * part);
    } else {
      constexpr uint32 kOnes = 0x7f7f7f7fu;
      mma_mx_m16n8k32<Dtype::kE4m3, Dtype::kE4m3, 0, 0, 0, 0>(d, a, b, kOnes, kOnes);
    }
  }
};

}  // namespace deepwell
