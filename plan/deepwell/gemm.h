// What host and device share about the block-scaled GEMM d = a b^T (+ c): the plan (one value = one compiled kernel), the
// kernel's arguments, the shared-memory map, and the order in which CTAs visit tiles.
//
// The kernel knows two operands by the side of the MMA on which they stand: `x` gives the 16-row side, `y` the 8-column side.
// Normally x = a and y = b. With `swap` x = b (weights) and y = a (tokens): few tokens then fill a tile of 8 columns.
#pragma once

#include "deepwell/common.h"

namespace deepwell {

/// How an operand's scales reach the kernel.
enum class ScaleKind : int {
  kUe8m0,  // exponent bytes, four to a word along k
  kF32,    // FP32 values, honoured as they are
};

/// How rows of a and matrices of b belong together.
enum class Grouping : int {
  kNone,        // a batch of products: a[z] b[z]^T
  kContiguous,  // rows of one a belong to groups by a list of ids (prim/groups.cuh): row times b[group]^T
  kMasked,      // a[z] b[z]^T, of which the first rows only, as a list of counts says
};

DW_HD constexpr char const* name_of(Grouping grouping) {
  switch (grouping) {
    case Grouping::kNone: return "none";
    case Grouping::kContiguous: return "contiguous";
    case Grouping::kMasked: return "masked";
  }
  return "?";
}

inline constexpr int kTileK =
    128;  // elements of k of a tile in shared memory: a row of it is what TMA swizzles
inline constexpr int kStepK = 32;  // elements of k per scale group of the finest granularity, and per k32 MMA

/// All that specialises the kernel at compile time.
struct GemmPlan {
  Dtype x, y;  // kE4m3 or kE2m1
  Dtype d;     // kBf16 or kF32
  Grouping grouping;
  ScaleKind x_scale, y_scale;
  int x_gran_k, y_gran_k;      // elements of k per scale: 32 or 128
  bool swap;                   // x is b: the MMA's rows are columns of d
  int tile_rows, tile_cols;    // CTA tile: rows of x, rows of y
  int warps_rows, warps_cols;  // how the math warps split the tile
  int warps_k;  // groups of math warps that take a stage's k tiles in turn, each with sums of its own
  int k_tiles;  // of a stage of the ring: 1, 2 or 4
  int stages;   // depth of the ring
  // e2m1 stays in its container in a mixed product; else it is widened to e4m3 (same value).
  bool native_e2m1;
  // Each lane releases a stage by itself, for tools that do not follow __syncwarp.
  bool every_reader_arrives;
  bool operator==(GemmPlan const&) const = default;
};

// The one list of the fields: text, key, hash and printer are made from it. V(type, name).
// clang-format off
#define DW_GEMM_PLAN_FIELDS(V)                                        \
  V(Dtype, x) V(Dtype, y) V(Dtype, d) V(Grouping, grouping)           \
  V(ScaleKind, x_scale) V(ScaleKind, y_scale)                         \
  V(int, x_gran_k) V(int, y_gran_k)                                   \
  V(bool, swap)                                                       \
  V(int, tile_rows) V(int, tile_cols)                                 \
  V(int, warps_rows) V(int, warps_cols) V(int, warps_k)               \
  V(int, k_tiles) V(int, stages)                                      \
  V(bool, native_e2m1) V(bool, every_reader_arrives)
// clang-format on

DW_HD constexpr int math_warps(GemmPlan const& p) { return p.warps_rows * p.warps_cols * p.warps_k; }
/// One warp loads. Beside the eight math warps of a large tile it stands in a warpgroup of its own, whose registers go to the
/// math warps; the swapped tiles need fewer and leave room for a second CTA on the SM.
DW_HD constexpr bool moves_registers(GemmPlan const& p) { return !p.swap && math_warps(p) == 8; }
DW_HD constexpr int threads(GemmPlan const& p) { return (math_warps(p) + (moves_registers(p) ? 4 : 1)) * 32; }

/// Bytes of one row of an operand's tile in shared memory: 128 (e4m3) or 64 (packed e2m1), also the span of its swizzle.
DW_HD constexpr int row_bytes(Dtype operand) { return kTileK * bits_of(operand) / 8; }

/// Scale words (4 bytes each) that one k tile needs for one row: one word of four exponents, or its FP32 values.
DW_HD constexpr int scale_words(ScaleKind kind, int gran_k) {
  return kind == ScaleKind::kF32 ? kTileK / gran_k : 1;
}

/// How an operand's scales lie in shared memory: in slots that are filled in turn, by the first stage that needs one. A slot serves as
/// many k tiles as share a word of exponents or, of FP32 values, a sector of global memory.
struct ScaleSlots {
  int tiles;  // k tiles of a slot, of which the first is a multiple of it; a power of two, and at least a stage's
  int words;  // of a row
  int pitch;  // words from one word of a row to its next; the rows' lie together
  int slots;
  int bytes;  // of a slot, a multiple of 128
};

DW_HD constexpr ScaleSlots scale_slots(ScaleKind kind, int gran_k, int rows, int k_tiles, int stages) {
  constexpr int kSectorWords = 8;
  bool const f32 = kind == ScaleKind::kF32;
  int const together = f32 ? kSectorWords / scale_words(kind, gran_k) : gran_k == 128 ? 4 : 1;
  ScaleSlots s{};
  s.tiles = together > k_tiles ? together : k_tiles;
  s.words = !f32 && gran_k == 128 ? 1 : s.tiles * scale_words(kind, gran_k);
  s.pitch = rows + (f32 ? 4 : 0);  // FP32 values arrive several of a row at once: these go to different banks
  // A product begins with slot 0, or with its first stage's where each stage has one, when nobody reads any. Stage i is filled when stage i - `stages` has been released; if a slot begins
  // with it, the one that it overwrites was last used by stage i - 1 - (slots - 1) * stages_of_slot. That has to be the same or earlier.
  int const stages_of_slot = s.tiles / k_tiles;
  s.slots = static_cast<int>(ceil_div(stages + stages_of_slot - 1, stages_of_slot));
  s.bytes = static_cast<int>(align_up(s.words * s.pitch * 4, 128));
  return s;
}

/// Whether the MMA of a target with block scaling takes four-bit operands as they are, 64 elements of k at a time.
DW_HD constexpr bool uses_k64(GemmPlan const& p) {
  return p.x == Dtype::kE2m1 && p.y == Dtype::kE2m1 && p.x_scale == ScaleKind::kUe8m0 &&
         p.y_scale == ScaleKind::kUe8m0;
}

/// The CTA tile as rows and columns of d.
DW_HD constexpr int tile_m(GemmPlan const& p) { return p.swap ? p.tile_cols : p.tile_rows; }
DW_HD constexpr int tile_n(GemmPlan const& p) { return p.swap ? p.tile_rows : p.tile_cols; }

DW_HD constexpr ScaleSlots x_scale_slots(GemmPlan const& p) {
  return scale_slots(p.x_scale, p.x_gran_k, p.tile_rows, p.k_tiles, p.stages);
}
DW_HD constexpr ScaleSlots y_scale_slots(GemmPlan const& p) {
  return scale_slots(p.y_scale, p.y_gran_k, p.tile_cols, p.k_tiles, p.stages);
}

/// Floats between rows of d's tile in shared memory, where sums are staged when the ring is done: the padding keeps the
/// fragments' writes free of bank conflicts.
DW_HD constexpr int epilogue_pitch(GemmPlan const& p) { return tile_n(p) + (p.swap ? 4 : 8); }

/// Bytes of d's tile there, of one group of warps.
DW_HD constexpr int staged_bytes(GemmPlan const& p) { return tile_m(p) * epilogue_pitch(p) * 4; }

/// Where k is split over a cluster's CTAs, each sums a part of the tile. Small tiles' sums are sent to the CTA that adds them, which has
/// a place for them; those of large ones, for which there is no such place, are fetched by it.
DW_HD constexpr bool sends_sums(GemmPlan const& p) {
  return p.grouping == Grouping::kNone && tile_m(p) * tile_n(p) <= 512;
}

/// Most CTAs of a cluster on any target.
inline constexpr int kMaxSplits = 8;

/// Byte offsets in dynamic shared memory: the host sizes the launch with it, the kernel addresses with it.
struct GemmSmemMap {
  int d;     // [warps_k][tile_m][epilogue_pitch] floats, in the place of the ring after its last stage
  int x, y;  // [stages][k_tiles][rows of the tile][row_bytes], swizzled
  int scale_x, scale_y;            // ScaleSlots: [slots][words][pitch], 4 bytes each
  int sent;                        // [splits][quads of a part] of four floats (sends_sums)
  int full, empty;                 // [stages] mbarriers
  int all_sent;                    // an mbarrier (sends_sums)
  int owners;                      // [tile_m] words: the group of each row (kContiguous)
  int x_tile_bytes, y_tile_bytes;  // of one k tile
  int x_stage_bytes, y_stage_bytes;
  int total;
};

DW_HD constexpr GemmSmemMap smem_map(GemmPlan const& p) {
  GemmSmemMap m{};
  m.x_tile_bytes = p.tile_rows * row_bytes(p.x);
  m.y_tile_bytes = p.tile_cols * row_bytes(p.y);
  m.x_stage_bytes = p.k_tiles * m.x_tile_bytes;
  m.y_stage_bytes = p.k_tiles * m.y_tile_bytes;
  Bump bump;
  m.x = bump.take(p.stages * m.x_stage_bytes, 1024);
  m.y = bump.take(p.stages * m.y_stage_bytes, 1024);
  m.scale_x = bump.take(x_scale_slots(p).slots * x_scale_slots(p).bytes, 128);
  m.scale_y = bump.take(y_scale_slots(p).slots * y_scale_slots(p).bytes, 128);
  m.d = 0;
  int const d_bytes = p.warps_k * staged_bytes(p);
  bump.used = bump.used > d_bytes ? bump.used : d_bytes;
  m.sent =
      sends_sums(p) ? bump.take(2 * 4 * tile_m(p) * tile_n(p), 16) : 0;  // twice: parts are powers of two
  m.full = bump.take(p.stages * 8, 8);
  m.empty = bump.take(p.stages * 8, 8);
  m.all_sent = sends_sums(p) ? bump.take(8, 8) : 0;
  m.owners = p.grouping == Grouping::kContiguous ? bump.take(tile_m(p) * 4, 4) : 0;
  m.total = bump.used;
  return m;
}

/// How the load warp brings a stage's share of a tensor.
enum class Source : int {
  kTma,    // a tensor map: 16-byte base and pitches
  kWords,  // scales: 4-byte words through cp.async, any stride
  kPlain,  // bytes through registers, any alignment
};

/// One operand as the kernel sees it. Strides are in bytes.
struct GemmOperandArgs {
  TensorMap data_map;          // (k bytes, rows, batch), box (row_bytes, tile rows, 1)
  TensorMap scale_map;         // kUe8m0 words, (rows, words, batch), box (tile rows, words of a slot, 1)
  unsigned char const* data;   // [batch, rows, k] e4m3 or [batch, rows, k / 2] packed e2m1
  unsigned char const* scale;  // [batch, ceil(rows / gran_mn), ceil(k / gran_k)] values, bytes or words
  long long data_pitch, data_batch_stride;
  long long scale_row_stride, scale_k_stride, scale_batch_stride;
  Source data_source, scale_source;
  unsigned scale_copy_bytes;  // of a slot, where a tensor map brings it
  int rows;
  int gran_mn_log2;  // 0 or 7: rows that share a scale
};

/// What the load warp has to do for a stage.
enum class Loads : int {
  kCopies,  // tensor maps bring everything: one lane starts the copies
  kWords,   // some scales come in words
  kAny,     // something comes byte by byte
};

struct GemmArgs {
  // What the load warp reads before its first copy lies together.
  Loads loads;
  unsigned stage_copy_bytes;  // of a stage without scales, those that tensor maps bring
  int k;                      // elements, a multiple of 32
  int row_tiles, col_tiles;
  int splits;             // CTAs that share a tile along k: a cluster
  int k_tiles_per_split;  // a multiple of the plan's k_tiles
  int groups;             // kContiguous: matrices of b
  int block;          // kContiguous: rows of a block, whose padding is written if one of its rows has a group
  int const* layout;  // kContiguous: [m] groups of rows; kMasked: [batch] numbers of rows
  unsigned* notes;    // the device's counters, groupings only
  GemmOperandArgs x, y;
  void* d;                            // [batch, m, n]
  void const* c;                      // [batch, m, n] of d's type, or null
  long long d_pitch, d_batch_stride;  // elements
  long long c_pitch, c_batch_stride;  // elements
  int quad_access;                    // four neighbouring columns of d (and c) may be accessed as one
};

/// Which tile a CTA works on. Tiles are visited in bands of kBand row tiles, so that CTAs that run together share operands.
struct TileWalk {
  static constexpr int kBand = 8;
  int row_tiles, col_tiles;
  struct Tile {
    int row, col;
  };
  DW_HD constexpr Tile at(int index) const {
    if (col_tiles == 1) return {index, 0};
    int const band_size = kBand * col_tiles;
    int const band = index / band_size;
    int const first = band * kBand;
    int const height = row_tiles - first < kBand ? row_tiles - first : kBand;
    int const within = index - band * band_size;
    return {first + within % height, within / height};
  }
};

}  // namespace deepwell
