// Warp-level matrix multiply-accumulate, d += a b, 16 rows by 8 columns (PTX ISA 9.7.14.5).
#pragma once

#include "deepwell/common.h"
#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// mma.sync.m16n8k32 of 8-bit e4m3 operands without scales.
__device__ __forceinline__ void mma_e4m3_m16n8k32(float (&d)[4], uint32 const (&a)[4], uint32 const (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// mma.sync.m16n8k8 of TF32: of each 32-bit operand the lower 13 bits are not looked at.
__device__ __forceinline__ void mma_tf32_m16n8k8(float (&d)[4], uint32 const (&a)[4], uint32 const (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// mma.sync.m16n8k16 of f16 operands.
__device__ __forceinline__ void mma_f16_m16n8k16(float (&d)[4], uint32 const* a, uint32 const* b) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// mma.sync kind::mxf8f6f4 with one UE8M0 scale per 32 elements of k. Row r of a takes byte kByteA of `scale_a` in lane
/// 4 (r % 8) + 2 kThreadA + r / 8; column n of b takes byte kByteB of `scale_b` in lane 4 n + kThreadB. An e2m1 operand stands
/// in bits 5..2 of its byte.
template <Dtype kA, Dtype kB, int kByteA, int kThreadA, int kByteB, int kThreadB>
__device__ __forceinline__ void mma_mx_m16n8k32(float (&d)[4], uint32 const (&a)[4], uint32 const (&b)[2],
                                                uint32 scale_a, uint32 scale_b) {
#define DW_EMIT(TA, TB)                                                                                  \
  asm("mma.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32." TA "." TB        \
      ".f32.ue8m0 "                                                                                      \
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3}, {%10}, {%12, %13}, {%11}, {%14, " \
      "%15};"                                                                                            \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                   \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(scale_a), "r"(scale_b),    \
        "n"(kByteA), "n"(kThreadA), "n"(kByteB), "n"(kThreadB))
  if constexpr (kA == Dtype::kE4m3 && kB == Dtype::kE4m3) {
    DW_EMIT("e4m3", "e4m3");
  } else if constexpr (kA == Dtype::kE4m3 && kB == Dtype::kE2m1) {
    DW_EMIT("e4m3", "e2m1");
  } else if constexpr (kA == Dtype::kE2m1 && kB == Dtype::kE4m3) {
    DW_EMIT("e2m1", "e4m3");
  } else {
    DW_EMIT("e2m1", "e2m1");
  }
#undef DW_EMIT
}

/// mma.sync kind::mxf4nvf4 of packed e2m1 with one UE8M0 scale per 32 elements of k: bytes kByte (k 0..31) and kByte + 1
/// (k 32..63), kByte 0 or 2; lanes as above.
template <int kByteA, int kThreadA, int kByteB, int kThreadB>
__device__ __forceinline__ void mma_mxf4_m16n8k64(float (&d)[4], uint32 const (&a)[4], uint32 const (&b)[2],
                                                  uint32 scale_a, uint32 scale_b) {
  asm("mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::2X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3}, {%10}, {%12, %13}, {%11}, {%14, %15};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(scale_a), "r"(scale_b),
        "n"(kByteA), "n"(kThreadA), "n"(kByteB), "n"(kThreadB));
}

}  // namespace deepwell
