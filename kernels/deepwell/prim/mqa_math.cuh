// What a math warp of the indexer's logits does with keys: one row of queries, all its heads in registers, against 16 or 32 keys of a
// stage at a time.
//
// Heads are multiplied in blocks of up to 32. While the MMAs of a block run, the products of the block before become sums: an MMA's
// latency, and that of loading and converting keys, is filled with the arithmetic that is left of other keys.
#pragma once

#include "deepwell/mma/unscaled.cuh"
#include "deepwell/mqa_logits.h"
#include "deepwell/prim/fragments.cuh"
#include "deepwell/prim/mqa_work.cuh"
#include "deepwell/ptx/warp.cuh"

namespace deepwell {

/// What the load warp fills and the math warps read, in shared memory.
struct MqaStageAt {
  SmemAddr keys, scales, header, full, zeros;
};

template <MqaPlan P, class Target>
struct MqaMath {
  using Mma = UnscaledE4m3<Target>;
  static constexpr int kHeadTiles = P.heads / 8;
  static constexpr int kSteps = P.head_dim / 32;
  static constexpr int kBlockTiles = kHeadTiles < 4 ? kHeadTiles : 4;  // heads that are multiplied together
  static constexpr int kBlocks = kHeadTiles / kBlockTiles;
  static constexpr int kWarpKeys = P.tile / (kMqaMathWarps / P.query_warps);  // of a tile
  static constexpr int kGroup = kWarpKeys >= 32 ? 2 : 1;  // times 16 keys, whose logits are stored together
  static constexpr uint32 kMinusInfinity = 0xff800000u;

  static_assert(P.page % (16 * kGroup) == 0, "logits that are stored together are of one page");

  /// A warp's row of a unit.
  struct Row {
    MqaRange range;
    float* out;  // of key 0
    uint32 q[kSteps][kHeadTiles][Mma::kWordsB];
    float weight[kHeadTiles][2];
  };

  /// Fragments of all heads; `first` is the stage's row of the first one.
  __device__ static void load_heads(Row& row, SmemAddr rows, int first, int lane) {
    // One ldmatrix brings four matrices of 8 heads x 16 bytes: two steps of one tile, or one step of two tiles.
    constexpr int kStepsAtOnce = kSteps == 1 ? 1 : 2;
    constexpr int kTilesAtOnce = kSteps == 1 && kHeadTiles > 1 ? 2 : 1;
    int const matrix = lane / 8;
    int const chunk = kStepsAtOnce == 2 ? matrix : matrix % 2;
    int const of = first + lane % 8 + (kTilesAtOnce == 2 ? matrix / 2 * 8 : 0);
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; tile += kTilesAtOnce) {
#pragma unroll
      for (int step = 0; step < kSteps; step += kStepsAtOnce) {
        uint32 bytes[4];
        ldmatrix_x4(bytes, rows + swizzled_chunk<P.head_dim>(of + 8 * tile, 2 * step + chunk));
        Mma::prepare_b({bytes[0], bytes[1]}, row.q[step][tile]);
        if constexpr (kStepsAtOnce == 2) Mma::prepare_b({bytes[2], bytes[3]}, row.q[step + 1][tile]);
        if constexpr (kTilesAtOnce == 2) Mma::prepare_b({bytes[2], bytes[3]}, row.q[step][tile + 1]);
      }
    }
  }

  /// Products of 16 keys with a block of heads.
  using Products = float[kBlockTiles][4];

  /// What is left to do for the 16 kGroup keys that were multiplied last.
  struct Pending {
    Products products;     // of the last block
    float sum[kGroup][2];  // of 16 keys each, without that block: for keys g and g + 8
    int key;               // of all keys, the one that this lane stores; -1: none
    float scale;           // of that key
    bool present;          // this lane stores, and the key is not on a page that is missing
  };

  __device__ static void add_block(float (&sum)[2], Products const& products, Row const& row, int block) {
#pragma unroll
    for (int tile = 0; tile < kBlockTiles; ++tile) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float const weight = row.weight[block * kBlockTiles + tile][e % 2];
        sum[e / 2] = fma_rn(relu_or_nan(products[tile][e]), weight, sum[e / 2]);
      }
    }
  }
  __device__ static void add_last_block(Pending& last, Row const& row) {
    add_block(last.sum[kGroup - 1], last.products, row, kBlocks - 1);
  }

  /// The lanes' sums together, and the logits of 16 kGroup keys stored, one a lane. Counts logits that would have been NaN.
  __device__ static void finish(Pending& last, Row const& row, int lane, uint32& nans) {
    float half[kGroup];
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      bool const odd = lane % 2 != 0;  // keeps the sum of key g + 8, gives that of key g
      float const kept = odd ? last.sum[i][1] : last.sum[i][0];
      half[i] = kept + shuffle_xor<1>(odd ? last.sum[i][0] : last.sum[i][1]);
    }
    bool const second = lane % 4 >= 2;  // of the 16 keys
    float const mine =
        (second ? half[kGroup - 1] : half[0]) + shuffle_xor<2>(second ? half[0] : half[kGroup - 1]);
    float const scaled = mine * last.scale;
    bool const is_nan = scaled != scaled;
    nans += last.present && is_nan ? 1 : 0;
    float const logit = last.present && !is_nan ? scaled : bits_to_f32(kMinusInfinity);
    if (last.key >= 0) store_global_f32(row.out + last.key, logit);
    last.key = -1;
    last.present = false;
  }

  /// Multiplies the row with 16 kGroup keys, from `key` of the tile on, which are keys `from` .. of all. Between its MMAs it does what
  /// is left of the keys before (with kFirst nothing is), and it leaves its own last block to whoever comes next.
  template <bool kFirst>
  __device__ static void take_keys(Pending& last, Row const& row, MqaStageAt const& stage, int key, int from,
                                   bool present, int lane, uint32& nans) {
    Products products;
    float sum[kGroup][2] = {};
    uint32 bytes[kSteps][4];
    // Chunk lane / 16 of row lane % 16, whose swizzle is the same in every 16 rows.
    uint32 const at = swizzled_chunk<P.head_dim>(lane % 16, lane / 16) % P.head_dim;
    load_keys(bytes, row, stage, key, from, present, at, lane);
#pragma unroll
    for (int half = 0; half < kGroup; ++half) {
      uint32 a[kSteps][Mma::kWordsA];
#pragma unroll
      for (int step = 0; step < kSteps; ++step) Mma::prepare_a(bytes[step], a[step]);
      if (half + 1 < kGroup) load_keys(bytes, row, stage, key + 16, from + 16, present, at, lane);
#pragma unroll
      for (int block = 0; block < kBlocks; ++block) {
        int const index = half * kBlocks + block;
        multiply(index % 2 == 0 ? products : last.products, a, row, block);
        if (index > 0) {
          Products const& before = index % 2 == 0 ? last.products : products;
          add_block(sum[(index - 1) / kBlocks], before, row, (index - 1) % kBlocks);
        } else if constexpr (!kFirst) {
          add_last_block(last, row);
          finish(last, row, lane, nans);
        }
      }
    }
    int const place = lane % 4 * 8 + lane / 4;
    bool const stores = place < 16 * kGroup && from + place >= row.range.lo && from + place < row.range.hi;
    last.key = stores ? from + place : -1;
    last.present = stores && present;
    last.scale = 0.0f;
    if (last.present) last.scale = load_shared_f32(stage.scales + 4 * (key + place));
#pragma unroll
    for (int i = 0; i < 2 * kGroup; ++i) last.sum[i / 2][i % 2] = sum[i / 2][i % 2];
    if constexpr (kGroup * kBlocks % 2 != 0) {
#pragma unroll
      for (int i = 0; i < 4 * kBlockTiles; ++i) last.products[i / 4][i % 4] = products[i / 4][i % 4];
    }
  }

  /// 16 keys, `at` the place of the lane's first chunk in its row; a key that the row does not see is a row of zeros.
  __device__ static void load_keys(uint32 (&bytes)[kSteps][4], Row const& row, MqaStageAt const& stage,
                                   int key, int from, bool present, uint32 at, int lane) {
    int const mine = from + lane % 16;
    bool const seen = present && mine >= row.range.lo && mine < row.range.hi;
    SmemAddr const chunk = seen ? stage.keys + ((key + lane % 16) * P.head_dim + at) : stage.zeros + at;
#pragma unroll
    for (int step = 0; step < kSteps; ++step)  // chunk 2 step + lane / 16 under the same swizzle
      ldmatrix_x4(bytes[step], SmemAddr{chunk.value ^ static_cast<uint32>(32 * step)});
  }

  __device__ static void multiply(Products& products, uint32 const (&a)[kSteps][Mma::kWordsA], Row const& row,
                                  int block) {
#pragma unroll
    for (int i = 0; i < 4 * kBlockTiles; ++i) products[i / 4][i % 4] = 0.0f;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int part = 0; part < Mma::kParts; ++part) {
#pragma unroll
        for (int tile = 0; tile < kBlockTiles; ++tile)
          Mma::mma(products[tile], a[step], row.q[step][block * kBlockTiles + tile], part);
      }
    }
  }
};

}  // namespace deepwell
