// The GEMM plan's shared header: tile walks, shared-memory maps, derived sizes.
#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "deepwell/gemm.h"

namespace deepwell {
namespace {

GemmPlan large_plan() {
  return {.x = Dtype::kE4m3,
          .y = Dtype::kE2m1,
          .d = Dtype::kBf16,
          .grouping = Grouping::kNone,
          .x_scale = ScaleKind::kUe8m0,
          .y_scale = ScaleKind::kF32,
          .x_gran_k = 128,
          .y_gran_k = 32,
          .swap = false,
          .tile_rows = 128,
          .tile_cols = 128,
          .warps_rows = 2,
          .warps_cols = 4,
          .warps_k = 1,
          .k_tiles = 1,
          .stages = 2,
          .native_e2m1 = false,
          .every_reader_arrives = false};
}

TEST(TileWalk, VisitsEveryTileOnce) {
  for (int rows : {1, 2, 7, 8, 9, 16, 17, 31}) {
    for (int cols : {1, 2, 5, 8, 13}) {
      TileWalk const walk{rows, cols};
      std::set<std::pair<int, int>> seen;
      for (int index = 0; index < rows * cols; ++index) {
        TileWalk::Tile const tile = walk.at(index);
        ASSERT_GE(tile.row, 0);
        ASSERT_LT(tile.row, rows) << rows << "x" << cols << " at " << index;
        ASSERT_GE(tile.col, 0);
        ASSERT_LT(tile.col, cols) << rows << "x" << cols << " at " << index;
        ASSERT_TRUE(seen.emplace(tile.row, tile.col).second) << rows << "x" << cols << " at " << index;
      }
    }
  }
}

TEST(TileWalk, StaysInABandOfRowsUntilItsColumnsAreDone) {
  TileWalk const walk{20, 6};
  for (int index = 0; index < 8 * 6; ++index) EXPECT_LT(walk.at(index).row, 8);
  EXPECT_EQ(walk.at(8 * 6).row, 8);
}

TEST(GemmPlan, SmemMapOfAKnownPlan) {
  GemmSmemMap const map = smem_map(large_plan());
  EXPECT_EQ(map.x_stage_bytes, 128 * 128);
  EXPECT_EQ(map.y_stage_bytes, 128 * 64);
  EXPECT_EQ(map.x, 0);
  EXPECT_EQ(map.y, 2 * 128 * 128);
  EXPECT_EQ(map.scale_x, map.y + 2 * 128 * 64);
  EXPECT_EQ(map.scale_y, map.scale_x + 2 * 512);
  // The tile of d, 128 rows of 128 + 8 floats, takes the ring's place and is longer than this plan's ring.
  EXPECT_EQ(map.d, 0);
  EXPECT_GT(128 * 136 * 4, map.scale_y + y_scale_slots(large_plan()).bytes * 2);
  EXPECT_EQ(map.full, 128 * 136 * 4);
  EXPECT_EQ(map.empty, map.full + 16);
  EXPECT_EQ(map.total, map.empty + 16);
}

TEST(GemmPlan, AStageOfSeveralKTiles) {
  GemmPlan plan = large_plan();
  plan.k_tiles = 4;
  GemmSmemMap const map = smem_map(plan);
  EXPECT_EQ(map.x_tile_bytes, 128 * 128);
  EXPECT_EQ(map.x_stage_bytes, 4 * 128 * 128);
  EXPECT_EQ(map.y_stage_bytes, 4 * 128 * 64);
}

TEST(ScaleSlots, HaveAWordOfExponentsOrASectorOfValues) {
  ScaleSlots const words = scale_slots(ScaleKind::kUe8m0, 128, 128, 1, 4);
  EXPECT_EQ(words.tiles, 4);
  EXPECT_EQ(words.words, 1);
  EXPECT_EQ(words.pitch, 128);
  EXPECT_EQ(words.slots, 2);
  EXPECT_EQ(words.bytes, 512);
  ScaleSlots const values = scale_slots(ScaleKind::kF32, 128, 128, 1, 4);
  EXPECT_EQ(values.tiles, 8);
  EXPECT_EQ(values.words, 8);
  EXPECT_EQ(values.slots, 2);
  EXPECT_EQ(values.bytes, 8 * 132 * 4);
  ScaleSlots const fine = scale_slots(ScaleKind::kF32, 32, 64, 1, 4);
  EXPECT_EQ(fine.tiles, 2);
  EXPECT_EQ(fine.words, 8);
  ScaleSlots const of_stages = scale_slots(ScaleKind::kUe8m0, 32, 64, 2, 4);
  EXPECT_EQ(of_stages.tiles, 2);
  EXPECT_EQ(of_stages.words, 2);
  EXPECT_EQ(of_stages.slots, 4);
}

TEST(ScaleSlots, AreReadBeforeTheyAreOverwritten) {
  for (ScaleKind const kind : {ScaleKind::kUe8m0, ScaleKind::kF32}) {
    for (int const gran_k : {32, 128}) {
      for (int const k_tiles : {1, 2, 4}) {
        for (int stages = 2; stages <= 12; ++stages) {
          ScaleSlots const s = scale_slots(kind, gran_k, 8, k_tiles, stages);
          for (int first = 0; first < 16; first += k_tiles) {
            std::vector<int> last_use(static_cast<std::size_t>(s.slots), -stages);
            for (int stage = 0; stage < 64; ++stage) {
              int const k_tile = first + stage * k_tiles;
              auto& use = last_use[static_cast<std::size_t>((k_tile / s.tiles - first / s.tiles) % s.slots)];
              if (stage == 0 || k_tile % s.tiles == 0) {
                ASSERT_LE(use, stage - stages) << "a stage that may still be read uses the slot";
              }
              use = stage;
            }
          }
        }
      }
    }
  }
}

TEST(GemmPlan, OnlyFourBitPairsWithExponentScalesUseTheLongMma) {
  GemmPlan plan = large_plan();
  EXPECT_FALSE(uses_k64(plan));
  plan.x = Dtype::kE2m1;
  EXPECT_FALSE(uses_k64(plan));
  plan.y_scale = ScaleKind::kUe8m0;
  EXPECT_TRUE(uses_k64(plan));
  plan.x_scale = ScaleKind::kF32;
  EXPECT_FALSE(uses_k64(plan));
}

}  // namespace
}  // namespace deepwell
