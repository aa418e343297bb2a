// Brings scales into column-by-column layout: FP32 unchanged, or FP32 and exponent bytes packed four to a word. One thread makes
// the words of one row; threads of a warp write neighbours.
//
// An FP32 scale becomes the byte e of 2^(e - 127). Zero becomes 0. Values that this loses are noted and become
//   a positive value between two powers of two   the larger one (from 2^-127 on: smaller values become 2^-127)
//   above 2^127                                  2^127, the largest
//   negative                                     what its magnitude becomes
//   infinite, NaN                                255, NaN
#pragma once

#include "deepwell/ptx/memory.cuh"
#include "deepwell/ptx/reduce.cuh"
#include "deepwell/ptx/sync.cuh"
#include "deepwell/scale_layout.h"

namespace deepwell {

template <ScaleLayoutPlan P>
struct ScaleLayout {
  static constexpr int kThreads = kScaleLayoutThreads;
  static constexpr bool kPacked = P.to == Dtype::kI32;
  static_assert(P.from == Dtype::kF32 || (P.from == Dtype::kUe8m0 && kPacked),
                "exponent bytes are only ever packed");

  __device__ static void run(ScaleLayoutArgs const& args) {
    grid_dependency_wait();
    grid_launch_dependents();
    int const row = blockIdx.x * kThreads + threadIdx.x;
    uint32 lossy = 0;
    if (row < args.rows) {
      int64 const source_row = row / args.rows_per_scale;
      for (int group = blockIdx.z; group < args.groups; group += gridDim.z) {
        unsigned char const* const from =
            args.from + group * args.from_group_stride + source_row * args.from_row_stride;
        unsigned* const to = args.to + group * args.to_group_stride + row;
        for (int column = blockIdx.y; column < args.out_columns; column += gridDim.y) {
          to[column * args.to_column_stride] = word_of(args, from, column, lossy);
        }
      }
    }
    if constexpr (P.from == Dtype::kF32 && kPacked) {
      uint32 const sum = sum_over_lanes(lossy);
      if (sum != 0 && lane_id() == 0) add_relaxed_gpu(args.notes + static_cast<int>(Note::kLossyScale), sum);
    }
  }

  __device__ static uint32 word_of(ScaleLayoutArgs const& args, unsigned char const* from, int column,
                                   uint32& lossy) {
    if constexpr (!kPacked) {
      return load_global_u32(from + column * args.from_column_stride);
    } else {
      uint32 word = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int const source = 4 * column + i;
        if (source < args.columns) word |= byte_at(from + source * args.from_column_stride, lossy) << (8 * i);
      }
      return word;
    }
  }

  __device__ static uint32 byte_at(unsigned char const* from, uint32& lossy) {
    if constexpr (P.from == Dtype::kF32) {
      return exponent_byte(load_global_u32(from), lossy);
    } else {
      return load_global_u8(from);
    }
  }

  /// The byte of an FP32 scale; counts it in `lossy` if the byte is not its value.
  __device__ static uint32 exponent_byte(uint32 bits, uint32& lossy) {
    uint32 const magnitude = bits & 0x7fffffffu;
    if (magnitude == 0) return 0;
    if (magnitude >= 0x7f800000u) {
      ++lossy;
      return 255;
    }
    constexpr uint32 kSmallest = 0x00400000u;  // 2^-127
    uint32 const mantissa = magnitude & 0x7fffffu;
    bool const exact =
        bits == magnitude && (magnitude == kSmallest || (mantissa == 0 && magnitude > kSmallest));
    if (!exact) ++lossy;
    if (magnitude <= kSmallest) return 0;
    uint32 const up = (magnitude + 0x7fffffu) >> 23;
    return up > 254 ? 254 : up;
  }
};

}  // namespace deepwell
