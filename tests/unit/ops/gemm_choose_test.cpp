// The choice of a GEMM kernel: number of plans, splits, determinism, shared memory, names and keys.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

GemmShape shape_for(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {.m = m,
          .n = n,
          .k = k,
          .batch = 1,
          .a = Dtype::kE4m3,
          .b = Dtype::kE2m1,
          .d = Dtype::kBf16,
          .a_gran_k = 128,
          .b_gran_k = 32};
}

std::vector<std::pair<std::int64_t, std::int64_t>> weight_shapes() {
  return {{4096, 4096}, {1024, 4096}, {8192, 1024}, {129280, 4096}, {24, 16384},
          {4096, 32},   {2112, 7168}, {576, 7168},  {1, 128}};
}

TEST(GemmChoice, AtMostSixPlansPerWeightOverAllM) {
  for (Arch const& arch : all_archs()) {
    for (auto const& [n, k] : weight_shapes()) {
      std::set<std::string> chosen;
      std::set<std::string> announced;
      for (GemmPlan const& plan : plans_for(shape_for(0, n, k), arch)) announced.insert(plan_name(plan));
      for (std::int64_t m = 1; m <= 8192; m += m < 300 ? 1 : 37) {
        GemmDecision const decision = choose_gemm(shape_for(m, n, k), arch);
        ASSERT_FALSE(decision.ranked.empty());
        chosen.insert(plan_name(decision.ranked.front().plan));
      }
      EXPECT_LE(announced.size(), 6u);
      EXPECT_TRUE(std::includes(announced.begin(), announced.end(), chosen.begin(), chosen.end()))
          << n << " x " << k;
      EXPECT_GE(chosen.size(), 3u) << "few and many rows must not share one plan";
    }
  }
}

TEST(GemmChoice, FewRowsPutTheWeightOnTheMmasRowSide) {
  Arch const& arch = arch_by_target("sm_120a");
  for (auto const& [n, k] : weight_shapes()) {
    for (std::int64_t m : {1, 4, 8, 9, 16, 17, 32, 33, 64, 65, 128, 4096}) {
      GemmPlan const plan = choose_gemm(shape_for(m, n, k), arch).ranked.front().plan;
      EXPECT_EQ(plan.swap, m <= 64) << m << " " << n << " " << k;
      if (plan.swap) {
        EXPECT_GE(plan.tile_cols, m) << "one column tile holds all of m";
      }
      EXPECT_EQ(plan.x, plan.swap ? Dtype::kE2m1 : Dtype::kE4m3);
      EXPECT_EQ(plan.x_gran_k, plan.swap ? 32 : 128);
      EXPECT_EQ(plan.y_gran_k, plan.swap ? 128 : 32);
    }
  }
}

TEST(GemmChoice, TheSmallestTileThatHoldsAllRows) {
  Arch const& arch = arch_by_target("sm_120a");
  for (std::int64_t m = 1; m <= 64; ++m) {
    int const expected = m <= 8 ? 8 : m <= 16 ? 16 : m <= 32 ? 32 : 64;
    EXPECT_EQ(choose_gemm(shape_for(m, 4096, 4096), arch).ranked.front().plan.tile_cols, expected) << m;
  }
}

TEST(GemmChoice, SplitsCoverKWithoutAnEmptyOne) {
  Arch const& arch = arch_by_target("sm_120a");
  for (auto const& [n, k] : weight_shapes()) {
    for (std::int64_t m : {1, 8, 16, 33, 64, 65, 128, 200, 1024}) {
      for (GemmCandidate const& candidate : choose_gemm(shape_for(m, n, k), arch).ranked) {
        std::int64_t const k_tiles = ceil_div(k, kTileK);
        EXPECT_GE(candidate.splits, 1);
        EXPECT_GE(static_cast<std::int64_t>(candidate.splits) * candidate.k_tiles_per_split, k_tiles);
        EXPECT_LT(static_cast<std::int64_t>(candidate.splits - 1) * candidate.k_tiles_per_split, k_tiles);
      }
    }
  }
  EXPECT_GT(choose_gemm(shape_for(4, 1024, 4096), arch).ranked.front().splits, 1);
  EXPECT_EQ(choose_gemm(shape_for(4096, 4096, 4096), arch).ranked.front().splits, 1);
}

TEST(GemmChoice, EmptyKHasOneSplitWithoutTiles) {
  GemmCandidate const candidate = choose_gemm(shape_for(4, 64, 0), arch_by_target("sm_120a")).ranked.front();
  EXPECT_EQ(candidate.splits, 1);
  EXPECT_EQ(candidate.k_tiles_per_split, 0);
}

TEST(GemmChoice, SameAnswerOnEveryBoardOfAFamily) {
  for (auto const& [n, k] : weight_shapes()) {
    for (std::int64_t m : {1, 8, 16, 33, 64, 65, 128, 200, 1024}) {
      GemmCandidate const reference =
          choose_gemm(shape_for(m, n, k), arch_by_target("sm_120a")).ranked.front();
      for (char const* target : {"sm_121a", "sm_120f"}) {
        GemmCandidate const other = choose_gemm(shape_for(m, n, k), arch_by_target(target)).ranked.front();
        EXPECT_EQ(reference.plan, other.plan);
        EXPECT_EQ(reference.splits, other.splits);
        EXPECT_EQ(reference.k_tiles_per_split, other.k_tiles_per_split);
      }
    }
  }
}

TEST(GemmChoice, RankedByCostAndCostsAreFinite) {
  for (Arch const& arch : all_archs()) {
    GemmDecision const decision = choose_gemm(shape_for(4, 4096, 4096), arch);
    ASSERT_GE(decision.ranked.size(), 2u);
    for (std::size_t i = 0; i < decision.ranked.size(); ++i) {
      EXPECT_GT(decision.ranked[i].cost_us, 0);
      EXPECT_FALSE(decision.ranked[i].cost_terms.empty());
      for (auto const& [name, value] : decision.ranked[i].cost_terms) EXPECT_GE(value, 0) << name;
      if (i > 0) {
        EXPECT_GE(decision.ranked[i].cost_us, decision.ranked[i - 1].cost_us);
      }
    }
    GemmFloor const floor = gemm_floor(shape_for(4, 4096, 4096), arch);
    EXPECT_LT(std::max(floor.memory_us, floor.math_us), decision.ranked.front().cost_us);
  }
}

TEST(GemmChoice, RefusalsCarryTheirReason) {
  Arch const& arch = arch_by_target("sm_120a");
  auto const reason = [&](GemmShape const& shape) {
    GemmDecision const decision = choose_gemm(shape, arch);
    EXPECT_TRUE(decision.ranked.empty());
    EXPECT_EQ(decision.rejected.size(), 1u);
    return decision.rejected.empty() ? std::string() : decision.rejected.front().reason;
  };
  GemmShape shape = shape_for(4, 64, 48);
  EXPECT_NE(reason(shape).find("48"), std::string::npos);
  shape = shape_for(4, 64, 64);
  shape.a = Dtype::kBf16;
  EXPECT_NE(reason(shape).find("bf16"), std::string::npos);
  shape = shape_for(4, 64, 64);
  shape.d = Dtype::kF16;
  EXPECT_NE(reason(shape).find("f16"), std::string::npos);
  shape = shape_for(4, 64, 64);
  shape.b_gran_k = 64;
  EXPECT_NE(reason(shape).find("64"), std::string::npos);
  shape = shape_for(4, 64, 64);
  shape.batch = 70000;
  EXPECT_NE(reason(shape).find("70000"), std::string::npos);
  shape = shape_for(2147483000, 2147483000, 64);
  EXPECT_NE(reason(shape).find("grid"), std::string::npos);
}

TEST(GemmPlans, SharedMemoryFitsAndIsLaidOutWithoutOverlap) {
  for (Arch const& arch : all_archs()) {
    std::vector<GemmPlan> const plans = all_gemm_plans(arch);
    // Formats and scales; types of d, groupings; tiles for few rows of weights and many. Beside these, more stages for the dense
    // products of the least rows, in two tiles, where they fit.
    std::size_t const with_more_stages = arch.block_scaled_mma ? 128 : 64 * 2 * 2;
    EXPECT_EQ(plans.size(), 4u * 4 * 4 * (2 + 2) * (5 + 3) + with_more_stages) << arch.target;
    for (GemmPlan const& plan : plans) {
      GemmSmemMap const map = smem_map(plan);
      SCOPED_TRACE(plan_name(plan));
      ASSERT_LE(map.total, arch.smem_per_cta);
      ASSERT_GE(plan.stages, 2);
      int const pieces[][2] = {{map.x, plan.stages * map.x_stage_bytes},
                               {map.y, plan.stages * map.y_stage_bytes},
                               {map.scale_x, x_scale_slots(plan).slots * x_scale_slots(plan).bytes},
                               {map.scale_y, y_scale_slots(plan).slots * y_scale_slots(plan).bytes},
                               {map.sent, sends_sums(plan) ? 2 * 4 * tile_m(plan) * tile_n(plan) : 0},
                               {map.full, 8 * plan.stages},
                               {map.empty, 8 * plan.stages},
                               {map.all_sent, sends_sums(plan) ? 8 : 0},
                               {map.owners, plan.grouping == Grouping::kContiguous ? 4 * tile_m(plan) : 0}};
      int end = 0;
      for (auto const& [at, bytes] : pieces) {
        if (bytes == 0) continue;
        ASSERT_GE(at, end);
        end = at + bytes;
      }
      ASSERT_EQ(end, map.total);
      ASSERT_EQ(map.x % 1024, 0);
      ASSERT_EQ(map.y % 1024, 0);
      ASSERT_EQ(map.x_stage_bytes % 1024, 0);
      ASSERT_EQ(map.y_stage_bytes % (8 * row_bytes(plan.y)), 0)
          << "a swizzled tile starts at a multiple of its period";
      ASSERT_EQ(map.scale_x % 128, 0);
      ASSERT_EQ(map.scale_y % 128, 0);
      ASSERT_EQ(map.full % 8, 0);
      ASSERT_EQ(plan.tile_rows % (16 * plan.warps_rows), 0);
      ASSERT_EQ(plan.tile_cols % (8 * plan.warps_cols), 0);
      ASSERT_LE(threads(plan), 1024);
    }
  }
}

TEST(GemmPlans, WhatIsChosenIsOneOfAll) {
  for (Arch const& arch : all_archs()) {
    std::set<std::string> all;
    for (GemmPlan const& plan : all_gemm_plans(arch)) all.insert(plan_name(plan));
    for (std::int64_t const n : {64, 4096, 4224, 4225, 12800, 12801, 51201, 129280}) {
      for (Grouping const grouping : {Grouping::kNone, Grouping::kContiguous, Grouping::kMasked}) {
        for (std::int64_t const rows : {8, 16, 32, 64, 128}) {
          for (std::int64_t const groups : {1, 2, 6, 48, 256}) {
            std::int64_t const k = groups == 1 ? 8192 : 4096;
            GemmShape shape = shape_for(grouping == Grouping::kContiguous ? rows * groups : rows, n, k);
            shape.grouping = grouping;
            shape.groups = groups, shape.group_rows = rows;
            if (grouping != Grouping::kContiguous) shape.batch = groups;
            for (Dtype const b : {Dtype::kE4m3, Dtype::kE2m1}) {
              shape.b = b;
              EXPECT_TRUE(all.contains(plan_name(choose_gemm(shape, arch).ranked.front().plan)))
                  << n << " " << rows << " " << groups;
            }
          }
        }
      }
    }
  }
}

TEST(GemmPlans, OneMoreStageWouldNotFitOrIsNotWanted) {
  Arch const& arch = arch_by_target("sm_120a");
  for (GemmPlan plan : all_gemm_plans(arch)) {
    int const most = plan.k_tiles > 1 ? (plan.tile_cols == 32 ? 3 : 4) : plan.swap ? 8 : 4;
    bool const alone = plan.k_tiles > 1 && plan.tile_cols <= 16 && plan.stages == 6;  // few tiles of weights
    if (plan.stages == most || alone) continue;
    ++plan.stages;
    EXPECT_GT(smem_map(plan).total, plan.swap ? arch.smem_per_sm / 2 - 1024 : arch.smem_per_cta)
        << plan_name(plan);
  }
}

TEST(GemmPlans, RepresentativesAreShippedPlansAndHaveEveryMix) {
  Arch const& arch = arch_by_target("sm_120a");
  std::set<std::string> all;
  for (GemmPlan const& plan : all_gemm_plans(arch)) all.insert(plan_name(plan));
  std::set<std::string> mixes;
  std::vector<GemmPlan> const some = representative_gemm_plans(arch);
  EXPECT_LT(some.size(), all.size() / 3);
  for (GemmPlan const& plan : some) {
    EXPECT_TRUE(all.contains(plan_name(plan)));
    mixes.insert(fmt::format(
        "{} {} {} {} {} {}", name_of(plan.swap ? plan.y : plan.x), name_of(plan.swap ? plan.x : plan.y),
        static_cast<int>(plan.swap ? plan.y_scale : plan.x_scale),
        static_cast<int>(plan.swap ? plan.x_scale : plan.y_scale), plan.swap ? plan.y_gran_k : plan.x_gran_k,
        plan.swap ? plan.x_gran_k : plan.y_gran_k));
  }
  EXPECT_EQ(mixes.size(), 64u);
}

template <class T>
T flipped(T value) {
  if constexpr (std::is_same_v<T, bool>) {
    return !value;
  } else if constexpr (std::is_same_v<T, Dtype>) {
    return value == Dtype::kE4m3   ? Dtype::kE2m1
           : value == Dtype::kE2m1 ? Dtype::kE4m3
           : value == Dtype::kBf16 ? Dtype::kF32
                                   : Dtype::kBf16;
  } else if constexpr (std::is_same_v<T, ScaleKind>) {
    return value == ScaleKind::kF32 ? ScaleKind::kUe8m0 : ScaleKind::kF32;
  } else if constexpr (std::is_same_v<T, Grouping>) {
    return value == Grouping::kNone ? Grouping::kContiguous : Grouping::kNone;
  } else {
    return static_cast<T>(static_cast<int>(value) + 1);
  }
}

TEST(GemmPlans, EveryFieldChangesKeyNameAndSource) {
  Arch const& arch = arch_by_target("sm_120a");
  GemmPlan const plan = choose_gemm(shape_for(4, 4096, 4096), arch).ranked.front().plan;
  int fields = 0;
#define DW_FLIP(type, name)                                                \
  {                                                                        \
    GemmPlan other = plan;                                                 \
    other.name = flipped(other.name);                                      \
    EXPECT_NE(plan_key(other), plan_key(plan)) << #name;                   \
    EXPECT_NE(plan_name(other), plan_name(plan)) << #name;                 \
    EXPECT_NE(gemm_source(other, arch), gemm_source(plan, arch)) << #name; \
    EXPECT_FALSE(other == plan) << #name;                                  \
    ++fields;                                                              \
  }
  DW_GEMM_PLAN_FIELDS(DW_FLIP)
#undef DW_FLIP
  // A field that the list forgot makes the struct larger than one declared from the list.
#define DW_DECLARE(type, name) type name;
  struct Mirror {
    DW_GEMM_PLAN_FIELDS(DW_DECLARE)
  };
#undef DW_DECLARE
  EXPECT_EQ(sizeof(Mirror), sizeof(GemmPlan));
  EXPECT_EQ(fields, 18);
}

TEST(GemmPlans, KeysOfAllPlansDiffer) {
  std::set<std::uint64_t> keys;
  std::set<std::string> names;
  for (Arch const& arch : all_archs()) {
    for (GemmPlan plan : all_gemm_plans(arch)) {
      for (bool arrives : {false, true}) {
        plan.every_reader_arrives = arrives;
        keys.insert(plan_key(plan));
        names.insert(plan_name(plan));
      }
    }
  }
  EXPECT_EQ(keys.size(), names.size());
}

TEST(GemmPlans, SourceNamesTargetAndEntry) {
  GemmPlan const plan = choose_gemm(shape_for(4, 4096, 4096), arch_by_target("sm_90a")).ranked.front().plan;
  std::string const source = gemm_source(plan, arch_by_target("sm_90a"));
  EXPECT_NE(source.find("deepwell::Sm90>"), std::string::npos);
  EXPECT_NE(source.find(plan_name(plan) + "("), std::string::npos);
  EXPECT_NE(source.find(".y = deepwell::Dtype::kE4m3"), std::string::npos);
  for (char c : plan_name(plan)) EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(c)) || c == '_') << c;
  EXPECT_NE(gemm_source(plan, arch_by_target("sm_120f")).find("deepwell::Sm120>"), std::string::npos);
}

}  // namespace
}  // namespace deepwell
