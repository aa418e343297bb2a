// Checks of grouped calls, and what becomes of them: problem, form of tile, alignment.
#include <gtest/gtest.h>

#include <string>

#include "ops/gemm/grouped.hpp"

namespace deepwell {
namespace {

constexpr DeviceAddress kA = 0x10000000, kB = 0x20000000, kScaleA = 0x30000000, kScaleB = 0x40000000,
                        kD = 0x50000000, kLayout = 0x60000000;

/// As vLLM calls the first product of FP4 experts.
GroupedGemmCall good_call() {
  GroupedGemmCall call;
  call.a = contiguous_view(kA, Dtype::kE4m3, {96, 512});
  call.scale_a = contiguous_view(kScaleA, Dtype::kF32, {96, 4});
  call.b = contiguous_view(kB, Dtype::kI8, {8, 256, 256});
  call.scale_b = contiguous_view(kScaleB, Dtype::kI32, {8, 256, 4});
  call.scale_b.strides = {1024, 1, 256};
  call.layout = contiguous_view(kLayout, Dtype::kI32, {96});
  call.d = contiguous_view(kD, Dtype::kBf16, {96, 256});
  call.recipe.recipe_a = {1, 128};
  call.recipe.recipe_b = {1, 32};
  call.alignment = 16;
  return call;
}

GroupedGemmCall masked_call() {
  GroupedGemmCall call = good_call();
  call.grouping = Grouping::kMasked;
  call.a = contiguous_view(kA, Dtype::kE4m3, {8, 12, 512});
  call.scale_a = contiguous_view(kScaleA, Dtype::kF32, {8, 12, 4});
  call.layout = contiguous_view(kLayout, Dtype::kI32, {8});
  call.d = contiguous_view(kD, Dtype::kBf16, {8, 12, 256});
  call.expected_rows = 5;
  return call;
}

TEST(GroupedCheck, AGoodCallBecomesAProblem) {
  GemmProblem const p = check_grouped_gemm(good_call());
  EXPECT_EQ(p.grouping, Grouping::kContiguous);
  EXPECT_EQ(p.m, 96);
  EXPECT_EQ(p.n, 256);
  EXPECT_EQ(p.k, 512);
  EXPECT_EQ(p.batch, 1);
  EXPECT_EQ(p.groups, 8);
  EXPECT_EQ(p.group_rows, 16);
  EXPECT_EQ(p.layout, kLayout);
  EXPECT_EQ(p.b.batch_stride, 256 * 256);
  EXPECT_EQ(p.b.scale.batch_stride, 4096);
  EXPECT_EQ(p.b.scale.k_stride, 1024);
  EXPECT_EQ(p.a.scale.row_stride, 16);
}

TEST(GroupedCheck, AMaskedCallBecomesABatch) {
  GemmProblem const p = check_grouped_gemm(masked_call());
  EXPECT_EQ(p.grouping, Grouping::kMasked);
  EXPECT_EQ(p.m, 12);
  EXPECT_EQ(p.batch, 8);
  EXPECT_EQ(p.groups, 8);
  EXPECT_EQ(p.group_rows, 5);
  EXPECT_EQ(p.d_batch_stride, 12 * 256);
  EXPECT_EQ(p.a.batch_stride, 12 * 512);
  EXPECT_EQ(p.a.scale.batch_stride, 12 * 16);
}

struct Mistake {
  char const* name;
  void (*make)(GroupedGemmCall&);
  char const* argument;
};
void PrintTo(Mistake const& mistake, std::ostream* out) { *out << mistake.name; }

// clang-format off
Mistake const kMistakes[] = {
    {"ARank", [](GroupedGemmCall& c) { c.a = contiguous_view(kA, Dtype::kE4m3, {1, 96, 512}); }, "a.rank"},
    {"BRank", [](GroupedGemmCall& c) { c.b = contiguous_view(kB, Dtype::kI8, {256, 256}); }, "b.rank"},
    {"BNoGroups", [](GroupedGemmCall& c) { c.b = contiguous_view(kB, Dtype::kI8, {0, 256, 256}); }, "b.shape"},
    {"BOtherK", [](GroupedGemmCall& c) { c.b = contiguous_view(kB, Dtype::kI8, {8, 256, 128}); }, "b.shape"},
    {"KNotOf32", [](GroupedGemmCall& c) { c.a = contiguous_view(kA, Dtype::kE4m3, {96, 40}); c.b = contiguous_view(kB, Dtype::kI8, {8, 256, 20}); }, "k"},
    {"BNMajor", [](GroupedGemmCall& c) { c.b.strides = {65536, 1, 256}; }, "b.strides"},
    {"LayoutI64", [](GroupedGemmCall& c) { c.layout.dtype = Dtype::kI64; }, "grouped_layout.dtype"},
    {"LayoutShort", [](GroupedGemmCall& c) { c.layout = contiguous_view(kLayout, Dtype::kI32, {95}); }, "grouped_layout.shape"},
    {"LayoutStrided", [](GroupedGemmCall& c) { c.layout.strides[0] = 2; }, "grouped_layout.strides"},
    {"LayoutRank", [](GroupedGemmCall& c) { c.layout = contiguous_view(kLayout, Dtype::kI32, {96, 1}); }, "grouped_layout.rank"},
    {"LayoutNull", [](GroupedGemmCall& c) { c.layout.data = 0; }, "grouped_layout.data"},
    {"DShape", [](GroupedGemmCall& c) { c.d = contiguous_view(kD, Dtype::kBf16, {96, 255}); }, "d.shape"},
    {"DType", [](GroupedGemmCall& c) { c.d.dtype = Dtype::kF16; }, "d.dtype"},
    {"DOverLayout", [](GroupedGemmCall& c) { c.layout.data = kD + 64; }, "d"},
    {"DOverB", [](GroupedGemmCall& c) { c.d.data = kB; }, "d"},
    {"ScaleAShape", [](GroupedGemmCall& c) { c.scale_a = contiguous_view(kScaleA, Dtype::kF32, {96, 16}); }, "scale_a.shape"},
    {"ScaleBGroups", [](GroupedGemmCall& c) { c.scale_b.shape[0] = 7; }, "scale_b.shape"},
    {"ScaleBStrides", [](GroupedGemmCall& c) { c.scale_b.strides = {1024, 4, 1}; }, "scale_b.strides"},
    {"ScaleBPerBlock", [](GroupedGemmCall& c) { c.recipe.recipe_b = {128, 32}; }, "scale_b.dtype"},
    {"RecipeHalf", [](GroupedGemmCall& c) { c.recipe.recipe_b.reset(); }, "recipe_b"},
    {"Alignment0", [](GroupedGemmCall& c) { c.alignment = 0; }, "alignment"},
    {"MaskedRank", [](GroupedGemmCall& c) { c.grouping = Grouping::kMasked; }, "a.rank"},
    {"MaskedGroups", [](GroupedGemmCall& c) { c = masked_call(); c.a = contiguous_view(kA, Dtype::kE4m3, {7, 12, 512}); }, "a.shape"},
    {"MaskedCounts", [](GroupedGemmCall& c) { c = masked_call(); c.layout = contiguous_view(kLayout, Dtype::kI32, {96}); }, "masked_m.shape"},
    {"MaskedExpected", [](GroupedGemmCall& c) { c = masked_call(); c.expected_rows = -1; }, "expected_m"},
    {"MaskedD", [](GroupedGemmCall& c) { c = masked_call(); c.d = contiguous_view(kD, Dtype::kBf16, {96, 256}); }, "d.rank"},
};
// clang-format on

class GroupedMistakes : public testing::TestWithParam<Mistake> {};

TEST_P(GroupedMistakes, AreNamed) {
  GroupedGemmCall call = good_call();
  GetParam().make(call);
  try {
    check_grouped_gemm(call);
    FAIL() << "was accepted";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument) << error.what();
    EXPECT_EQ(error.argument(), GetParam().argument) << error.what();
    EXPECT_FALSE(error.expected().empty());
  }
}

INSTANTIATE_TEST_SUITE_P(All, GroupedMistakes, testing::ValuesIn(kMistakes),
                         [](auto const& info) { return std::string(info.param.name); });

int tile_of(GroupedGemmCall const& call) {
  GemmDecision const decision = choose_gemm(shape_of(check_grouped_gemm(call)), arch_by_target("sm_120a"));
  if (decision.ranked.size() != 1) return -1;
  EXPECT_EQ(decision.ranked.front().splits, 1);
  return tile_m(decision.ranked.front().plan);
}

TEST(GroupedChoice, NoTileHoldsTwoBlocks) {
  GroupedGemmCall call = good_call();
  int const expected[][2] = {{1, 8},   {8, 8},   {12, 8},  {16, 16},   {24, 8},   {32, 32},
                             {48, 16}, {64, 64}, {96, 32}, {128, 128}, {240, 16}, {256, 128}};
  for (auto [alignment, tile] : expected) {
    call.alignment = alignment;
    EXPECT_EQ(tile_of(call), tile) << alignment;
  }
}

TEST(GroupedChoice, MaskedTilesHoldWhatIsExpected) {
  GroupedGemmCall call = masked_call();
  int const expected[][2] = {{1, 8}, {8, 8}, {9, 16}, {17, 32}, {33, 64}, {65, 128}, {0, 16}};
  for (auto [rows, tile] : expected) {
    call.expected_rows = rows;
    EXPECT_EQ(tile_of(call), tile) << rows;
  }
}

TEST(GroupedChoice, TheAlignmentIsTwiceTheAverage) {
  EXPECT_EQ(best_alignment(6, 256), 8);
  EXPECT_EQ(best_alignment(384, 256), 8);
  EXPECT_EQ(best_alignment(8 * 256, 256), 16);
  EXPECT_EQ(best_alignment(9 * 256, 256), 32);
  EXPECT_EQ(best_alignment(32 * 256, 256), 64);
  EXPECT_EQ(best_alignment(96 * 256, 256), 128);
  EXPECT_EQ(best_alignment(0, 0), 8);
}

}  // namespace
}  // namespace deepwell
