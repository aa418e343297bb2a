// Every mistake that a caller of the GEMM can make gets an Error with argument, value and expectation; what is legal passes.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

constexpr DeviceAddress kA = 0x10000000, kB = 0x20000000, kScaleA = 0x30000000, kScaleB = 0x40000000,
                        kD = 0x50000000, kC = 0x60000000;

/// a [64, 512] e4m3, b [256, 512] e4m3, FP32 scales per (1, 128) and (128, 128), d bf16.
GemmCall good_call() {
  GemmCall call;
  call.a = contiguous_view(kA, Dtype::kE4m3, {64, 512});
  call.b = contiguous_view(kB, Dtype::kE4m3, {256, 512});
  call.scale_a = contiguous_view(kScaleA, Dtype::kF32, {64, 4});
  call.scale_b = contiguous_view(kScaleB, Dtype::kF32, {2, 4});
  call.d = contiguous_view(kD, Dtype::kBf16, {64, 256});
  return call;
}

TensorView packed_scales(DeviceAddress data, std::int64_t rows, std::int64_t words) {
  TensorView view = contiguous_view(data, Dtype::kI32, {rows, words});
  view.strides = {1, align_up(rows, 4)};
  return view;
}

struct Mistake {
  char const* name;
  void (*make)(GemmCall&);
  char const* argument;
  char const* got;       // part of it
  char const* expected;  // part of it
};

void PrintTo(Mistake const& mistake, std::ostream* out) { *out << mistake.name; }

// clang-format off
Mistake const kMistakes[] = {
    {"ARank3", [](GemmCall& c) { c.a = contiguous_view(kA, Dtype::kE4m3, {1, 64, 512}); }, "a.rank", "3", "2"},
    {"ARank1", [](GemmCall& c) { c.a = contiguous_view(kA, Dtype::kE4m3, {512}); }, "a.rank", "1", "2"},
    {"BRank3", [](GemmCall& c) { c.b = contiguous_view(kB, Dtype::kE4m3, {1, 256, 512}); }, "b.rank", "3", "2"},
    {"DRank3", [](GemmCall& c) { c.d = contiguous_view(kD, Dtype::kBf16, {1, 64, 256}); }, "d.rank", "3", "2"},
    {"CRank3", [](GemmCall& c) { c.c = contiguous_view(kC, Dtype::kBf16, {1, 64, 256}); }, "c.rank", "3", "2"},
    {"ScaleARank1", [](GemmCall& c) { c.scale_a = contiguous_view(kScaleA, Dtype::kF32, {64}); }, "scale_a.rank", "1", "2"},
    {"ScaleBRank3", [](GemmCall& c) { c.scale_b = contiguous_view(kScaleB, Dtype::kF32, {1, 2, 4}); }, "scale_b.rank", "3", "2"},
    {"ScaleBAbsent", [](GemmCall& c) { c.scale_b = TensorView{.dtype = Dtype::kF32}; }, "scale_b.rank", "0", "2"},
    {"ADtypeBf16", [](GemmCall& c) { c.a.dtype = Dtype::kBf16; }, "a.dtype", "bf16", "e4m3"},
    {"BDtypeF32", [](GemmCall& c) { c.b.dtype = Dtype::kF32; }, "b.dtype", "f32", "e2m1"},
    {"BDtypeUe8m0", [](GemmCall& c) { c.b.dtype = Dtype::kUe8m0; }, "b.dtype", "ue8m0", "e4m3"},
    {"DDtypeF16", [](GemmCall& c) { c.d.dtype = Dtype::kF16; }, "d.dtype", "f16", "bf16 or f32"},
    {"DDtypeE4m3", [](GemmCall& c) { c.d.dtype = Dtype::kE4m3; }, "d.dtype", "e4m3", "bf16 or f32"},
    {"CDtypeOther", [](GemmCall& c) { c.c = contiguous_view(kC, Dtype::kF32, {64, 256}); }, "c.dtype", "f32", "bf16"},
    {"ScaleADtypeBf16", [](GemmCall& c) { c.scale_a.dtype = Dtype::kBf16; }, "scale_a.dtype", "bf16", "f32"},
    {"ScaleBDtypeI64", [](GemmCall& c) { c.scale_b.dtype = Dtype::kI64; }, "scale_b.dtype", "i64", "i32"},
    {"ScaleADtypeI8", [](GemmCall& c) { c.scale_a.dtype = Dtype::kI8; }, "scale_a.dtype", "i8", "u8"},
    {"KMismatch", [](GemmCall& c) { c.b = contiguous_view(kB, Dtype::kE4m3, {256, 480}); }, "b.shape", "k = 480", "k = 512"},
    {"KMismatchPacked", [](GemmCall& c) { c.b = contiguous_view(kB, Dtype::kI8, {256, 512}); }, "b.shape", "k = 1024", "k = 512"},
    {"KNotAMultipleOf32", [](GemmCall& c) {
       c.a = contiguous_view(kA, Dtype::kE4m3, {64, 500});
       c.b = contiguous_view(kB, Dtype::kE4m3, {256, 500});
     }, "k", "500", "32"},
    {"DShapeM", [](GemmCall& c) { c.d = contiguous_view(kD, Dtype::kBf16, {63, 256}); }, "d.shape", "[63, 256]", "[64, 256]"},
    {"DShapeN", [](GemmCall& c) { c.d = contiguous_view(kD, Dtype::kBf16, {64, 255}); }, "d.shape", "[64, 255]", "[64, 256]"},
    {"CShape", [](GemmCall& c) { c.c = contiguous_view(kC, Dtype::kBf16, {1, 256}); }, "c.shape", "[1, 256]", "[64, 256]"},
    {"ALastStride", [](GemmCall& c) { c.a.strides = {1, 64}; }, "a.strides", "(1, 64)", "last stride of 1"},
    {"BLastStride", [](GemmCall& c) { c.b.strides = {1024, 2}; }, "b.strides", "(1024, 2)", "last stride of 1"},
    {"DLastStride", [](GemmCall& c) { c.d.strides = {512, 2}; }, "d.strides", "(512, 2)", "last stride of 1"},
    {"DRowsOverlap", [](GemmCall& c) { c.d.strides = {255, 1}; }, "d.strides", "(255, 1)", "overlap"},
    {"DRowsShared", [](GemmCall& c) { c.d.strides = {0, 1}; }, "d.strides", "(0, 1)", "overlap"},
    {"CLastStride", [](GemmCall& c) { c.c = contiguous_view(kC, Dtype::kBf16, {64, 256}); c.c.strides = {1, 64}; }, "c.strides", "(1, 64)", "last stride of 1"},
    {"NegativeStride", [](GemmCall& c) { c.a.strides = {-512, 1}; }, "a.strides", "(-512, 1)", "not negative"},
    {"NegativeSize", [](GemmCall& c) { c.a.shape = {-1, 512}; }, "a.shape", "[-1, 512]", "not negative"},
    {"NegativeScaleSize", [](GemmCall& c) { c.scale_b.shape = {2, -4}; }, "scale_b.shape", "[2, -4]", "not negative"},
    {"OverflowingSizes", [](GemmCall& c) { c.a.shape = {std::int64_t{1} << 40, std::int64_t{1} << 40}; }, "a.shape", "1099511627776", "64-bit"},
    {"OverflowingStride", [](GemmCall& c) { c.b.strides = {std::int64_t{1} << 60, 1}; }, "b.shape", "1152921504606846976", "64-bit"},
    {"AddressWraps", [](GemmCall& c) { c.a.data = ~DeviceAddress{0} - 100; }, "a.shape", "[64, 512]", "64-bit"},
    {"MTooLarge", [](GemmCall& c) { c.a.shape = {std::int64_t{1} << 31, 512}; c.a.strides = {512, 1}; }, "m", "2147483648", "at most"},
    {"NullA", [](GemmCall& c) { c.a.data = 0; }, "a.data", "null", "address"},
    {"NullScaleB", [](GemmCall& c) { c.scale_b.data = 0; }, "scale_b.data", "null", "address"},
    {"NullD", [](GemmCall& c) { c.d.data = 0; }, "d.data", "null", "address"},
    {"NullC", [](GemmCall& c) { c.c = contiguous_view(0, Dtype::kBf16, {64, 256}); }, "c.data", "null", "address"},
    {"MisalignedScaleA", [](GemmCall& c) { c.scale_a.data += 2; }, "scale_a.data", "0x30000002", "multiple of 4"},
    {"MisalignedPackedScale", [](GemmCall& c) { c.scale_b = packed_scales(kScaleB + 1, 256, 1); }, "scale_b.data", "0x40000001", "multiple of 4"},
    {"MisalignedDBf16", [](GemmCall& c) { c.d.data += 1; }, "d.data", "0x50000001", "multiple of 2"},
    {"MisalignedDF32", [](GemmCall& c) { c.d = contiguous_view(kD + 2, Dtype::kF32, {64, 256}); }, "d.data", "0x50000002", "multiple of 4"},
    {"MisalignedC", [](GemmCall& c) { c.c = contiguous_view(kC + 1, Dtype::kBf16, {64, 256}); }, "c.data", "0x60000001", "multiple of 2"},
    {"ScaleARows", [](GemmCall& c) { c.scale_a = contiguous_view(kScaleA, Dtype::kF32, {63, 4}); }, "scale_a.shape", "[63, 4]", "[64, 4]"},
    {"ScaleAColumns", [](GemmCall& c) { c.scale_a = contiguous_view(kScaleA, Dtype::kF32, {64, 16}); }, "scale_a.shape", "[64, 16]", "[64, 4]"},
    {"ScaleBRowsPerRow", [](GemmCall& c) { c.scale_b = contiguous_view(kScaleB, Dtype::kF32, {256, 4}); }, "scale_b.shape", "[256, 4]", "[2, 4]"},
    {"BytesOfAnotherGranularity", [](GemmCall& c) { c.scale_b = contiguous_view(kScaleB, Dtype::kUe8m0, {256, 16}); }, "scale_b.shape", "[256, 16]", "[2, 4]"},
    {"PackedShape", [](GemmCall& c) { c.scale_b = packed_scales(kScaleB, 256, 4); }, "scale_b.shape", "[256, 4]", "[256, 1]"},
    {"PackedRowStride", [](GemmCall& c) {
       c.recipe_a = c.recipe_b = {1, 32};
       c.scale_a = packed_scales(kScaleA, 64, 4);
       c.scale_b = contiguous_view(kScaleB, Dtype::kI32, {256, 4});
     }, "scale_b.strides", "(4, 1)", "(1, at least 256)"},
    {"PackedColumnsOverlap", [](GemmCall& c) {
       c.recipe_a = c.recipe_b = {1, 32};
       c.scale_a = packed_scales(kScaleA, 64, 4);
       c.scale_b = packed_scales(kScaleB, 256, 4);
       c.scale_b.strides = {1, 252};
     }, "scale_b.strides", "(1, 252)", "(1, at least 256)"},
    {"PackedWithBlocksOfRows", [](GemmCall& c) { c.recipe = {1, 128, 128}; c.scale_b = packed_scales(kScaleB, 256, 1); }, "scale_b.dtype", "128 rows", "per row"},
    {"RecipeAndRecipeA", [](GemmCall& c) { c.recipe = {1, 128, 128}; c.recipe_a = {1, 128}; c.recipe_b = {128, 128}; }, "recipe", "together", "either"},
    {"RecipeAAlone", [](GemmCall& c) { c.recipe_a = {1, 128}; }, "recipe_b", "absent", "recipe_a"},
    {"RecipeBAlone", [](GemmCall& c) { c.recipe_b = {128, 128}; }, "recipe_a", "absent", "recipe_b"},
    {"RecipeGranK", [](GemmCall& c) { c.recipe = {1, 128, 64}; }, "recipe", "64", "32 or 128"},
    {"RecipeGranMn", [](GemmCall& c) { c.recipe_a = {1, 128}; c.recipe_b = {64, 128}; }, "recipe_b", "64", "1 or 128"},
    {"RecipeZero", [](GemmCall& c) { c.recipe_a = {0, 128}; c.recipe_b = {1, 128}; }, "recipe_a", "(0, 128)", "1 or 128"},
    {"DOverlapsA", [](GemmCall& c) { c.d.data = kA + 256; }, "d", "overlaps a", "apart from a"},
    {"DOverlapsB", [](GemmCall& c) { c.d.data = kB - 256; }, "d", "overlaps b", "apart from b"},
    {"DOverlapsScaleA", [](GemmCall& c) { c.d.data = kScaleA + 64 * 16 - 16; }, "d", "overlaps scale_a", "apart from scale_a"},
    {"DOverlapsScaleB", [](GemmCall& c) { c.d.data = kScaleB; }, "d", "overlaps scale_b", "apart from scale_b"},
    {"COverlapsDElsewhere", [](GemmCall& c) { c.c = contiguous_view(kD + 512, Dtype::kBf16, {64, 256}); }, "d", "overlaps c", "apart from c"},
    {"CIsDWithOtherStrides", [](GemmCall& c) { c.c = c.d; c.c.strides = {512, 1}; }, "c.strides", "(512, 1)", "(256, 1)"},
};
// clang-format on

class GemmMistake : public testing::TestWithParam<Mistake> {};

TEST_P(GemmMistake, IsNamed) {
  GemmCall call = good_call();
  ASSERT_NO_THROW(check_gemm(call));
  Mistake const& mistake = GetParam();
  mistake.make(call);
  try {
    check_gemm(call);
    FAIL() << "accepted";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), mistake.argument);
    EXPECT_NE(error.got().find(mistake.got), std::string::npos) << error.got();
    EXPECT_NE(error.expected().find(mistake.expected), std::string::npos) << error.expected();
  }
}

INSTANTIATE_TEST_SUITE_P(All, GemmMistake, testing::ValuesIn(kMistakes),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(GemmCheck, AGoodCall) {
  GemmProblem const problem = check_gemm(good_call());
  EXPECT_EQ(problem.m, 64);
  EXPECT_EQ(problem.n, 256);
  EXPECT_EQ(problem.k, 512);
  EXPECT_EQ(problem.batch, 1);
  EXPECT_EQ(problem.a.pitch, 512);
  EXPECT_EQ(problem.a.scale.kind, ScaleKind::kF32);
  EXPECT_EQ(problem.a.scale.gran, (Granularity{.mn = 1, .k = 128}));
  EXPECT_EQ(problem.b.scale.gran, (Granularity{.mn = 128, .k = 128}));
  EXPECT_EQ(problem.a.scale.row_stride, 16);
  EXPECT_EQ(problem.a.scale.k_stride, 4);
  EXPECT_EQ(problem.d_pitch, 256);
  EXPECT_EQ(problem.c, 0u);
}

TEST(GemmCheck, PackedScalesOfBMakeTheRecipePerRow) {
  GemmCall call = good_call();
  call.scale_a = packed_scales(kScaleA, 64, 1);
  call.scale_b = packed_scales(kScaleB, 256, 1);
  GemmProblem const problem = check_gemm(call);
  EXPECT_TRUE(problem.a.scale.packed);
  EXPECT_EQ(problem.b.scale.gran, (Granularity{.mn = 1, .k = 128}));
  EXPECT_EQ(problem.b.scale.row_stride, 4);
  EXPECT_EQ(problem.b.scale.k_stride, 256 * 4);
}

TEST(GemmCheck, Fp32OfABesidePackedOfB) {
  GemmCall call = good_call();
  call.b = contiguous_view(kB, Dtype::kI8, {256, 256});
  call.recipe_a = {1, 128};
  call.recipe_b = {1, 32};
  call.scale_b = packed_scales(kScaleB, 256, 4);
  GemmProblem const problem = check_gemm(call);
  EXPECT_EQ(problem.a.scale.kind, ScaleKind::kF32);
  EXPECT_EQ(problem.b.scale.kind, ScaleKind::kUe8m0);
  EXPECT_EQ(problem.b.dtype, Dtype::kE2m1);
  EXPECT_EQ(problem.b.pitch, 256);
  EXPECT_EQ(problem.b.scale.gran, (Granularity{.mn = 1, .k = 32}));
}

TEST(GemmCheck, BytesAnyStrides) {
  for (Dtype dtype : {Dtype::kUe8m0, Dtype::kU8}) {
    GemmCall call = good_call();
    call.scale_b = contiguous_view(kScaleB + 3, dtype, {2, 4});
    call.scale_b.strides = {1, 7};
    GemmProblem const problem = check_gemm(call);
    EXPECT_EQ(problem.b.scale.kind, ScaleKind::kUe8m0);
    EXPECT_FALSE(problem.b.scale.packed);
    EXPECT_EQ(problem.b.scale.row_stride, 1);
    EXPECT_EQ(problem.b.scale.k_stride, 7);
    EXPECT_EQ(problem.b.scale.gran.mn, 128);
  }
}

TEST(GemmCheck, PackedFp4ViewsOfAllThreeTypes) {
  for (Dtype dtype : {Dtype::kI8, Dtype::kU8, Dtype::kE2m1}) {
    GemmCall call = good_call();
    call.a = contiguous_view(kA + 1, dtype, {64, 256});
    GemmProblem const problem = check_gemm(call);
    EXPECT_EQ(problem.a.dtype, Dtype::kE2m1);
    EXPECT_EQ(problem.k, 512);
    EXPECT_EQ(problem.a.pitch, 256);
  }
}

TEST(GemmCheck, OneRowWithDegenerateStrides) {
  GemmCall call = good_call();
  call.a = contiguous_view(kA, Dtype::kE4m3, {1, 512});
  call.a.strides = {1, 1};
  call.scale_a = packed_scales(kScaleA, 1, 1);
  call.scale_a.strides = {77, 1};
  call.scale_b = packed_scales(kScaleB, 256, 1);
  call.scale_b.strides = {1, 1};
  call.d = contiguous_view(kD, Dtype::kBf16, {1, 256});
  call.d.strides = {3, 1};
  GemmProblem const problem = check_gemm(call);
  EXPECT_EQ(problem.m, 1);
  EXPECT_EQ(problem.d_pitch, 256);
}

TEST(GemmCheck, EmptySizesWithoutMemory) {
  for (int which = 0; which < 3; ++which) {
    GemmCall call;
    std::int64_t const m = which == 0 ? 0 : 64, n = which == 1 ? 0 : 256, k = which == 2 ? 0 : 512;
    call.a = contiguous_view(m * k == 0 ? 0 : kA, Dtype::kE4m3, {m, k});
    call.b = contiguous_view(n * k == 0 ? 0 : kB, Dtype::kE4m3, {n, k});
    call.scale_a = contiguous_view(m * k == 0 ? 0 : kScaleA, Dtype::kF32, {m, ceil_div(k, 128)});
    call.scale_b =
        contiguous_view(n * k == 0 ? 0 : kScaleB, Dtype::kF32, {ceil_div(n, 128), ceil_div(k, 128)});
    call.d = contiguous_view(m * n == 0 ? 0 : kD, Dtype::kF32, {m, n});
    GemmProblem problem;
    ASSERT_NO_THROW(problem = check_gemm(call)) << which;
    EXPECT_EQ(problem.m, m);
    EXPECT_EQ(problem.n, n);
    EXPECT_EQ(problem.k, k);
  }
}

TEST(GemmCheck, CInItsThreeForms) {
  GemmCall call = good_call();
  call.c = call.d;
  EXPECT_EQ(check_gemm(call).c, kD);
  call.c = contiguous_view(kC, Dtype::kBf16, {64, 256});
  call.c.strides = {300, 1};
  EXPECT_EQ(check_gemm(call).c_pitch, 300);
  call.c.strides = {0, 1};  // one row for all: read with its own pitch
  EXPECT_EQ(check_gemm(call).c_pitch, 0);
}

TEST(GemmCheck, ColumnSlicesOfOneMatrixAreApart) {
  GemmCall call = good_call();
  // a (bytes) and d (bf16) interleaved row by row in one buffer: pitch 1024 bytes each, a in [0, 512), d in [512, 1024).
  call.a.strides = {1024, 1};
  call.d = contiguous_view(kA + 512, Dtype::kBf16, {64, 256});
  call.d.strides = {512, 1};
  EXPECT_NO_THROW(check_gemm(call));
  call.d.data -= 2;
  EXPECT_THROW(check_gemm(call), Error);
}

TEST(GemmCheck, OddNAndAnyPitch) {
  GemmCall call = good_call();
  call.b = contiguous_view(kB + 5, Dtype::kE4m3, {255, 512});
  call.b.strides = {513, 1};
  call.d = contiguous_view(kD, Dtype::kBf16, {64, 255});
  GemmProblem const problem = check_gemm(call);
  EXPECT_EQ(problem.b.pitch, 513);
  EXPECT_EQ(problem.d_pitch, 255);
}

}  // namespace
}  // namespace deepwell
