// ldmatrix: 8 x 16-byte matrices from shared memory (PTX ISA 9.7.14.5.15).
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// Four matrices. Lane l gives the address of row l % 8 of matrix l / 8 and receives bytes 4 (l % 4) .. + 3 of row l / 4 of each.
__device__ __forceinline__ void ldmatrix_x4(uint32 (&d)[4], SmemAddr row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(row.value)
               : "memory");
}

}  // namespace deepwell
