// What host and device share about the product in front of hyper-connections, d = a b^T in TF32 beside the sums of squares of a's
// rows: the plan (one value = one compiled kernel), the kernel's arguments, the shared-memory map, and how k is divided.
#pragma once

#include "deepwell/common.h"

namespace deepwell {

inline constexpr int kHcBlockK = 64;  // elements of k per stage of the ring; a split owns whole blocks
inline constexpr int kHcMaxCols = 128;
inline constexpr int kHcMaxSplits = 1024;

/// All that specialises the kernel at compile time.
struct HcPrenormPlan {
  int tile_rows;   // rows of a per CTA
  int tile_cols;   // rows of b, all of them: a multiple of 8
  int warps_rows;  // how the math warps split the rows
  int warps_k;     // warps that take the same rows' blocks of k in turn
  // Depth of the ring, a multiple of warps_k: a warp then always comes back to stages whose every phase it has waited for. Were the
  // phase in between another warp's, it could still be running, and a wait by parity would take the one before it for the next.
  int stages;
  // Each lane releases a stage by itself, for tools that do not follow __syncwarp.
  bool every_reader_arrives;
  bool operator==(HcPrenormPlan const&) const = default;
};

// The one list of the fields: text, key and source are made from it. V(type, name).
// clang-format off
#define DW_HC_PRENORM_PLAN_FIELDS(V)                                  \
  V(int, tile_rows) V(int, tile_cols)                                 \
  V(int, warps_rows) V(int, warps_k)                                  \
  V(int, stages) V(bool, every_reader_arrives)
// clang-format on

DW_HD constexpr int math_warps(HcPrenormPlan const& p) { return p.warps_rows * p.warps_k; }
DW_HD constexpr int threads(HcPrenormPlan const& p) { return (math_warps(p) + 1) * 32; }

/// Floats between rows of staged sums: 8 or 24 modulo 32, so that neither the fragments' writes nor reads of 4 rows by 8 columns
/// meet bank conflicts.
DW_HD constexpr int sums_pitch(HcPrenormPlan const& p) {
  return p.tile_cols % 16 == 8 ? p.tile_cols : p.tile_cols + 8;
}
DW_HD constexpr int squares_pitch(HcPrenormPlan const& p) { return p.tile_rows + 8; }

/// Byte offsets in dynamic shared memory: the host sizes the launch with it, the kernel addresses with it.
struct HcPrenormSmemMap {
  int a;            // [stages][tile_rows][128 bytes], swizzled
  int b;            // [stages][2 halves of the block][tile_cols][128 bytes], swizzled
  int sums;         // [warps_k][tile_rows][sums_pitch] floats, in the place of the ring after its last stage
  int squares;      // [4 warps_k][squares_pitch] floats, behind it
  int full, empty;  // [stages] mbarriers
  int is_last;      // one word: this CTA adds up the pieces of its tile
  int a_stage_bytes, b_stage_bytes;
  int total;
};

DW_HD constexpr HcPrenormSmemMap smem_map(HcPrenormPlan const& p) {
  HcPrenormSmemMap m{};
  m.a_stage_bytes = p.tile_rows * kHcBlockK * 2;
  m.b_stage_bytes = p.tile_cols * kHcBlockK * 4;
  Bump bump;
  m.a = bump.take(p.stages * m.a_stage_bytes, 1024);
  m.b = bump.take(p.stages * m.b_stage_bytes, 1024);
  Bump after;
  m.sums = after.take(p.warps_k * p.tile_rows * sums_pitch(p) * 4, 16);
  m.squares = after.take(p.warps_k * 4 * squares_pitch(p) * 4, 16);
  bump.used = bump.used > after.used ? bump.used : after.used;
  m.full = bump.take(p.stages * 8, 8);
  m.empty = bump.take(p.stages * 8, 8);
  m.is_last = bump.take(4, 4);
  m.total = bump.used;
  return m;
}

/// Which 16-byte chunk (8 elements) of a row's block a lane reads for half `half` of its MMA steps; t = lane % 4. Lanes of
/// neighbouring rows then never meet in a bank, neither in a's rows nor in b's, both under the 128-byte swizzle.
DW_HD constexpr int hc_chunk_of(int t, int half) { return t + 4 * ((t & 1) ^ half); }

/// The element of a block that MMA step `step` (0 to 7) multiplies as its k index t (e = 0) or t + 4 (e = 1).
DW_HD constexpr int hc_element_of(int step, int t, int e) {
  return 8 * hc_chunk_of(t, step / 4) + 2 * (step % 4) + e;
}

/// Blocks [first, first + count).
struct HcBlocks {
  int first, count;
};
/// Part `index` of `parts` of a range: as even as can be, the first parts one longer.
DW_HD constexpr HcBlocks part_of(HcBlocks range, int index, int parts) {
  int const each = range.count / parts;
  int const longer = range.count % parts;
  return {range.first + index * each + (index < longer ? index : longer), each + (index < longer ? 1 : 0)};
}
/// Blocks of a k that is no multiple of 64: the last one is shorter.
DW_HD constexpr int hc_blocks(long long k) { return static_cast<int>(ceil_div(k, kHcBlockK)); }

struct HcPrenormArgs {
  TensorMap a_map;  // (k, m, 1) of bf16, box (64, tile_rows, 1)
  TensorMap b_map;  // (k, n, 1) of f32, box (32, tile_cols, 1)
  unsigned char const* a;
  unsigned char const* b;
  long long a_pitch, b_pitch;                                               // bytes
  float* d;                                                                 // [splits, m, n]
  float* sqr_sum;                                                           // [splits, m]
  long long d_split_stride, d_pitch, sqr_sum_split_stride, sqr_sum_stride;  // elements
  int m, n, k;
  int splits;  // as the caller sees them
  int pieces;  // CTAs that share a split of a tile
  int a_by_tma, b_by_tma;
  float* partials;     // [row tiles * splits][pieces][tile_rows * (tile_cols + 1)], with several pieces only
  unsigned* counters;  // [row tiles * splits], zero before and after each launch, with several pieces only
};

}  // namespace deepwell
