// What host and device share about the indexer's logits: the plans (one value = one compiled kernel), the arguments, the
// shared-memory map.
//
// Rows of queries come in requests of `rows` each; where keys are not in pages there is one request of all rows. A unit of work is
// up to plan.query_warps rows of one request against all keys that one of them sees, in tiles of plan.tile keys.
#pragma once

#include "deepwell/common.h"
#include "deepwell/notes.h"

namespace deepwell {

inline constexpr int kMqaMathWarps = 8;
inline constexpr int kMqaMostTile = 256;  // keys of a stage
inline constexpr int kMqaZeros = 128;     // bytes: the longest row of a key
/// One warp loads, in a warpgroup of its own whose registers go to the math warps.
inline constexpr int kMqaThreads = 32 * (kMqaMathWarps + 4);

/// All that specialises the kernel at compile time.
struct MqaPlan {
  bool paged;
  int heads;     // 8, 16, 32 or 64: heads of a query, filled up with zeros
  int head_dim;  // 32, 64 or 128
  int page;      // keys of a page: 32, 64 or 128; `tile` where keys are not in pages
  int tile;      // keys of a stage: 128 or kMqaMostTile
  int query_warps;  // 1, 2, 4 or 8 rows of a unit; as many groups of warps share the math warps, each splits the keys of a tile
  int stages;  // depth of the ring
  // Each lane releases a stage by itself, for tools that do not follow __syncwarp.
  bool every_reader_arrives;
  bool operator==(MqaPlan const&) const = default;
};

// The one list of the fields: text, key and source are made from it. V(type, name).
// clang-format off
#define DW_MQA_PLAN_FIELDS(V)                                       \
  V(bool, paged) V(int, heads) V(int, head_dim) V(int, page)        \
  V(int, tile) V(int, query_warps) V(int, stages) V(bool, every_reader_arrives)
// clang-format on

/// What the load warp says about a stage: words in shared memory. A stage holds keys and their scales, or rows of queries and their
/// weights, which take the same places: heads * head_dim bytes and heads floats for each row.
struct MqaHeader {
  unsigned kind;  // MqaStage bits
  int first;      // the key that the tile begins with, or the first of the rows
  unsigned
      which;  // keys: bit i says that page i of the tile is there. Queries: the row of the unit that the first of the rows is
  int unused;
  int ranges[2 * kMqaMathWarps];  // queries: what each row of the unit sees
};
enum MqaStage : unsigned { kMqaQueries = 1, kMqaLast = 2 };

/// Where a CTA's share of the tiles begins, and what it takes to find out.
struct MqaShareScratch {
  unsigned long long sums[kMqaThreads / 32];  // tiles of the units that each warp's threads look at
  int unit, tile;
};

/// Byte offsets in dynamic shared memory.
struct MqaSmemMap {
  int keys;         // [stages][tile][head_dim] e4m3, swizzled over the length of a row
  int scales;       // [stages][tile] floats
  int headers;      // [stages] MqaHeader
  int zeros;        // kMqaZeros bytes, what a key is that a row does not see
  int share;        // MqaShareScratch
  int full, empty;  // [stages] mbarriers
  int keys_stage_bytes, scales_stage_bytes;
  int total;
};

/// Rows of queries that a stage has place for, and that one copy brings.
DW_HD constexpr int stage_rows(MqaPlan const& p) { return p.tile / p.heads; }
DW_HD constexpr int copy_rows(MqaPlan const& p) {
  return stage_rows(p) < p.query_warps ? stage_rows(p) : p.query_warps;
}

DW_HD constexpr MqaSmemMap smem_map(MqaPlan const& p) {
  MqaSmemMap m{};
  m.keys_stage_bytes = p.tile * p.head_dim;
  m.scales_stage_bytes = p.tile * 4;
  Bump bump;
  m.keys = bump.take(p.stages * m.keys_stage_bytes, 1024);
  m.scales = bump.take(p.stages * m.scales_stage_bytes, 128);
  m.zeros = bump.take(kMqaZeros, 128);
  m.headers = bump.take(p.stages * static_cast<int>(sizeof(MqaHeader)), 16);
  m.share = bump.take(sizeof(MqaShareScratch), 8);
  m.full = bump.take(p.stages * 8, 8);
  m.empty = bump.take(p.stages * 8, 8);
  m.total = bump.used;
  return m;
}

/// The rows and what each of them sees: what a schedule depends on.
struct MqaWork {
  int const* starts;  // [rows], first key of each row; null where keys are in pages: then it is 0
  int const* ends;    // [requests, rows], one past the last key
  int requests, rows;
  int keys;       // keys that exist; where they are in pages, the largest length
  int width;      // keys that a row may have
  int unit_rows;  // rows of a unit, a power of two
  int units_per_request;
};

struct MqaArgs {
  MqaWork work;
  TensorMap
      key_map;  // (head_dim, keys of a page, pages), box (head_dim, page, 1), or (head_dim, keys, 1) without pages
  TensorMap scale_map;  // (page, pages, 1) or (keys, 1, 1) floats
  TensorMap query_map;  // (head_dim, heads, lines), box (head_dim, plan.heads, copy_rows)
  TensorMap
      weight_map;  // (heads, lines, 1) floats, box (plan.heads, copy_rows, 1); lines: rows of all requests
  unsigned char const* q;  // e4m3 [requests, rows, heads, head_dim]
  unsigned char const*
      keys;  // e4m3 [keys, head_dim], or [pages] of values [page, head_dim] and then scales [page]
  unsigned char const* scales;                              // floats [keys]; not used with pages
  unsigned char const* weights;                             // floats [lines, heads]
  int const* block_table;                                   // [requests, table_columns]
  float* logits;                                            // [lines, columns]
  long long q_request_stride, q_row_stride, q_head_stride;  // bytes
  long long keys_stride;                                    // bytes between pages, or between keys
  long long weights_pitch;                                  // bytes
  long long table_pitch, logits_pitch;                      // elements
  int heads;
  int pages, table_columns;
  int columns;       // of the result
  int compressed;    // a row's first key is its column 0; else key j is column j
  int fill;          // -inf to the columns outside of a row's keys
  int key_copies;    // keys and scales come by tensor maps; else byte by byte
  int query_copies;  // so do queries and weights
  unsigned* notes;   // the device's counters
};

/// The schedule of a paged call: for each of `shares` equal shares of the tiles, the unit and the tile in it where the share begins;
/// one more entry stands for the end. Advisory: the logits kernel finds its shares by itself.
struct MqaScheduleArgs {
  MqaWork work;
  int tile;       // keys
  int* schedule;  // [shares + 1, 2]
};

}  // namespace deepwell
