// What the load warp does for one operand: a stage's tile of data, and a slot of its rows' scales, from a tensor map, in four-byte words,
// or byte by byte, as the arguments say. Data outside the tensor arrive as zeros, scales of rows outside as those of the last row.
#pragma once

#include "deepwell/gemm.h"
#include "deepwell/prim/fragments.cuh"
#include "deepwell/ptx/async_copy.cuh"
#include "deepwell/ptx/memory.cuh"

namespace deepwell {

/// Copies rows `first_row` .. of k tile `k_tile` byte by byte into the layout that TMA would have written.
template <int kRowBytes, int kTileRows>
__device__ __forceinline__ void load_tile_plain(SmemAddr tile, GemmOperandArgs const& operand, int first_row,
                                                int k_tile, int batch, int k_bytes, int lane) {
  unsigned char const* const base = operand.data + batch * operand.data_batch_stride;
  for (int word = lane; word < kTileRows * (kRowBytes / 4); word += 32) {
    int const row = word / (kRowBytes / 4);
    int const byte = word % (kRowBytes / 4) * 4;
    int64 const at = static_cast<int64>(k_tile) * kRowBytes + byte;
    uint32 value = 0;
    if (first_row + row < operand.rows) {
      unsigned char const* const from = base + (first_row + row) * operand.data_pitch + at;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (at + i < k_bytes) value |= load_global_u8(from + i) << (8 * i);
      }
    }
    store_shared_u32(tile + (swizzled_chunk<kRowBytes>(row, byte / 16) + byte % 16), value);
  }
}

/// Brings the scales of `kTileRows` rows to a slot that begins with the operand's `first_word`th word of each row: exponents up to
/// `k_groups`, the operand's scales along k; of FP32 values those from `begin` to `end`, which the product uses. The rest of the slot stays as it is. Returns through the barrier protocol of the caller: words by cp.async, bytes by
/// plain stores.
template <ScaleKind kKind, ScaleSlots kSlots, int kTileRows, bool kBytes>
__device__ __forceinline__ void load_scales(SmemAddr to, GemmOperandArgs const& operand, int first_row,
                                            int first_word, int begin, int end, int batch, int k_groups,
                                            int lane) {
  unsigned char const* const base = operand.scale + batch * operand.scale_batch_stride;
  auto const bring = [&](uint32 in_tile, uint32 in_slot) {
    int const row = first_row + static_cast<int>(in_tile);
    unsigned char const* const from =
        base +
        ((row < operand.rows ? row : operand.rows - 1) >> operand.gran_mn_log2) * operand.scale_row_stride;
    SmemAddr const at = to + 4 * (in_slot * kSlots.pitch + in_tile);
    int const word = first_word + static_cast<int>(in_slot);
    if constexpr (kKind == ScaleKind::kF32) {
      if (word >= begin && word < end) cp_async_4(at, from + word * operand.scale_k_stride);
    } else if (!kBytes || operand.scale_source == Source::kWords) {
      if (4 * word < k_groups) cp_async_4(at, from + word * operand.scale_k_stride);
    } else {
      uint32 value = 0;
#pragma unroll
      for (int byte = 0; byte < 4; ++byte) {
        int const group = 4 * word + byte;
        if (group < k_groups) value |= load_global_u8(from + group * operand.scale_k_stride) << (8 * byte);
      }
      store_shared_u32(at, value);
    }
  };
  constexpr uint32 kAll = kTileRows * kSlots.words;
  auto const in_turn = [&](auto&& each) {
#pragma unroll 2
    for (uint32 first = 0; first < kAll; first += 32) {
      if (kAll % 32 == 0 || first + lane < kAll) each(first + lane);
    }
  };
  // Neighbouring lanes fetch what lies together.
  if (kKind == ScaleKind::kF32 && operand.scale_k_stride == 4 && k_groups > 1) {
    in_turn([&](uint32 i) { bring(i / kSlots.words, i % kSlots.words); });
  } else {
    in_turn([&](uint32 i) { bring(i % kTileRows, i / kTileRows); });
  }
}

}  // namespace deepwell
