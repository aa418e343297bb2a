// fp8_einsum: what callers give becomes a batched GEMM; formats, recipes, strides, and every mistake by name.
#include <gtest/gtest.h>

#include <string>

#include "ops/einsum/einsum.hpp"
#include "recording_backend.hpp"

namespace deepwell {
namespace {

constexpr DeviceAddress kA = 0x10000000, kB = 0x20000000, kScaleA = 0x30000000, kScaleB = 0x40000000,
                        kD = 0x50000000, kC = 0x60000000;
constexpr char const* kExpression = "bhr,hdr->bhd";

TensorView strided(TensorView view, std::array<std::int64_t, 3> const& strides) {
  for (std::size_t i = 0; i < 3; ++i) view.strides[i] = strides[i];
  return view;
}

/// o_proj as vLLM calls it: T tokens, 8 heads, r 4096, d 1024, everything packed.
EinsumCall serving_call(std::int64_t t = 5, std::int64_t h = 8) {
  std::int64_t const padded = align_up(t, 4);
  EinsumCall call;
  call.a = strided(contiguous_view(kA, Dtype::kE4m3, {t, h, 4096}), {4096, t * 4096, 1});
  call.scale_a = strided(contiguous_view(kScaleA, Dtype::kI32, {t, h, 8}), {1, 8 * padded, padded});
  call.b = contiguous_view(kB, Dtype::kE4m3, {h, 1024, 4096});
  call.scale_b = strided(contiguous_view(kScaleB, Dtype::kI32, {h, 1024, 8}), {8192, 1, 1024});
  call.d = contiguous_view(kD, Dtype::kBf16, {t, h, 1024});
  call.recipe = {1, 1, 128};
  return call;
}

TEST(Einsum, AsServingCodeCallsIt) {
  GemmProblem const problem = check_einsum(kExpression, serving_call());
  EXPECT_EQ(problem.m, 5);
  EXPECT_EQ(problem.n, 1024);
  EXPECT_EQ(problem.k, 4096);
  EXPECT_EQ(problem.batch, 8);
  EXPECT_EQ(problem.a.pitch, 4096);
  EXPECT_EQ(problem.a.batch_stride, 5 * 4096);
  EXPECT_EQ(problem.b.pitch, 4096);
  EXPECT_EQ(problem.b.batch_stride, 1024 * 4096);
  EXPECT_EQ(problem.a.scale.row_stride, 4);
  EXPECT_EQ(problem.a.scale.batch_stride, 8 * 8 * 4);
  EXPECT_EQ(problem.a.scale.k_stride, 8 * 4);
  EXPECT_EQ(problem.b.scale.row_stride, 4);
  EXPECT_EQ(problem.b.scale.batch_stride, 8192 * 4);
  EXPECT_EQ(problem.b.scale.k_stride, 1024 * 4);
  EXPECT_EQ(problem.b.scale.gran, (Granularity{.mn = 1, .k = 128}));
  EXPECT_EQ(problem.d_pitch, 8 * 1024);
  EXPECT_EQ(problem.d_batch_stride, 1024);
}

TEST(Einsum, BothRecipesMeanTheSame) {
  EinsumCall call = serving_call();
  GemmProblem const first = check_einsum(kExpression, call);
  call.recipe = {1, 128, 128};
  GemmProblem const second = check_einsum(kExpression, call);
  EXPECT_EQ(first.a.scale.gran, second.a.scale.gran);
  EXPECT_EQ(first.b.scale.gran, second.b.scale.gran);
  // FP32 blocks beside packed scales of a, the other way round.
  call.scale_b = contiguous_view(kScaleB, Dtype::kF32, {8, 8, 32});
  for (std::array<int, 3> const& recipe : {std::array<int, 3>{1, 128, 128}, std::array<int, 3>{1, 1, 128}}) {
    call.recipe = recipe;
    GemmProblem const problem = check_einsum(kExpression, call);
    EXPECT_EQ(problem.b.scale.gran, (Granularity{.mn = 128, .k = 128}));
    EXPECT_EQ(problem.b.scale.kind, ScaleKind::kF32);
    EXPECT_EQ(problem.b.scale.batch_stride, 8 * 32 * 4);
  }
}

TEST(Einsum, AWeightThatAnotherKernelPrepared) {
  EinsumCall call = serving_call();
  call.b = contiguous_view(kB, Dtype::kE4m3, {8192, 4096});
  for (Dtype dtype : {Dtype::kUe8m0, Dtype::kF32}) {
    call.scale_b = contiguous_view(kScaleB, dtype, {64, 32});
    GemmProblem const problem = check_einsum(kExpression, call);
    EXPECT_EQ(problem.batch, 8);
    EXPECT_EQ(problem.n, 1024);
    EXPECT_EQ(problem.b.batch_stride, 1024 * 4096);
    EXPECT_EQ(problem.b.scale.gran, (Granularity{.mn = 128, .k = 128}));
    EXPECT_EQ(problem.b.scale.batch_stride, 8 * 32 * (bits_of(dtype) / 8));
  }
  call.scale_b = strided(contiguous_view(kScaleB, Dtype::kI32, {8192, 8}), {1, 8192, 0});
  GemmProblem const problem = check_einsum(kExpression, call);
  EXPECT_EQ(problem.b.scale.batch_stride, 1024 * 4);
  EXPECT_EQ(problem.b.scale.k_stride, 8192 * 4);
}

TEST(Einsum, HeadsLeftByTensorParallelism) {
  for (std::int64_t h : {4, 2, 1}) {
    EinsumCall call = serving_call(3, h);
    EXPECT_EQ(check_einsum(kExpression, call).batch, h);
    call.b = contiguous_view(kB, Dtype::kE4m3, {h * 1024, 4096});
    call.scale_b = contiguous_view(kScaleB, Dtype::kUe8m0, {h * 8, 32});
    EXPECT_EQ(check_einsum(kExpression, call).n, 1024);
  }
}

TEST(Einsum, OneTokenWithDegenerateStridesGoesThroughTma) {
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  EinsumCall call = serving_call(1);
  call.a.strides[0] = 1;
  call.scale_a = strided(call.scale_a, {1, 8, 1});
  call.d.strides[0] = 7;
  fp8_einsum(context, kExpression, call);
  ASSERT_EQ(backend.recorded().size(), 1u);
  auto const args = args_of<GemmArgs>(backend.recorded()[0]);
  EXPECT_EQ(args.y.data_source, Source::kTma);
  EXPECT_EQ(args.x.scale_source, Source::kTma);
  EXPECT_EQ(args.y.scale_source, Source::kWords) << "columns one word apart are no legal pitch";
  EXPECT_TRUE(args.quad_access);
  EXPECT_EQ(backend.recorded()[0].spec.grid[2], 8u);
}

TEST(Einsum, Fp4Weights) {
  EinsumCall call = serving_call();
  call.b = contiguous_view(kB, Dtype::kI8, {8, 1024, 2048});
  call.scale_b = strided(contiguous_view(kScaleB, Dtype::kI32, {8, 1024, 32}), {32768, 1, 1024});
  GemmProblem const problem = check_einsum(kExpression, call);
  EXPECT_EQ(problem.b.dtype, Dtype::kE2m1);
  EXPECT_EQ(problem.b.scale.gran, (Granularity{.mn = 1, .k = 32}));
  EXPECT_EQ(problem.a.scale.gran, (Granularity{.mn = 1, .k = 128}));
}

TEST(Einsum, ShortKIsAmbiguousOnlyWhereTheRecipeIsNoHelp) {
  EinsumCall call;
  call.a = contiguous_view(kA, Dtype::kE4m3, {4, 2, 128});
  call.scale_a = contiguous_view(kScaleA, Dtype::kF32, {4, 2, 1});
  call.b = contiguous_view(kB, Dtype::kE4m3, {2, 256, 128});
  call.scale_b = strided(contiguous_view(kScaleB, Dtype::kI32, {2, 256, 1}), {256, 1, 256});
  call.d = contiguous_view(kD, Dtype::kBf16, {4, 2, 256});
  call.recipe = {1, 1, 128};
  EXPECT_EQ(check_einsum(kExpression, call).b.scale.gran.k, 128);
  call.recipe = {1, 128, 128};
  try {
    check_einsum(kExpression, call);
    FAIL() << "accepted";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "scale_b.shape");
    EXPECT_NE(error.got().find("more than one"), std::string::npos) << error.got();
  }
  // 32 elements of k have one scale either way.
  call.a = contiguous_view(kA, Dtype::kE4m3, {4, 2, 32});
  call.b = contiguous_view(kB, Dtype::kE4m3, {2, 256, 32});
  EXPECT_NO_THROW(check_einsum(kExpression, call));
}

TEST(Einsum, BlocksThatStraddleHeads) {
  EinsumCall call;
  call.a = contiguous_view(kA, Dtype::kE4m3, {4, 2, 256});
  call.scale_a = contiguous_view(kScaleA, Dtype::kF32, {4, 2, 2});
  call.b = contiguous_view(kB, Dtype::kE4m3, {2, 192, 256});
  call.scale_b = contiguous_view(kScaleB, Dtype::kF32, {2, 2, 2});
  call.d = contiguous_view(kD, Dtype::kBf16, {4, 2, 192});
  EXPECT_EQ(check_einsum(kExpression, call).b.scale.gran.mn, 128);
  call.b = contiguous_view(kB, Dtype::kE4m3, {384, 256});
  EXPECT_NO_THROW(check_einsum(kExpression, call)) << "scales with an axis of heads are clear";
  call.scale_b = contiguous_view(kScaleB, Dtype::kF32, {4, 2});
  EXPECT_THROW(check_einsum(kExpression, call), Error);
}

TEST(Einsum, StridedOutputsAndAddends) {
  EinsumCall call = serving_call();
  call.d = strided(call.d, {1024, 5 * 1024, 1});
  call.c = contiguous_view(kC, Dtype::kBf16, {5, 8, 1024});
  GemmProblem const problem = check_einsum(kExpression, call);
  EXPECT_EQ(problem.d_pitch, 1024);
  EXPECT_EQ(problem.d_batch_stride, 5 * 1024);
  EXPECT_EQ(problem.c, kC);
  EXPECT_EQ(problem.c_pitch, 8 * 1024);
  EXPECT_EQ(problem.c_batch_stride, 1024);
}

TEST(Einsum, NoTokensLaunchNothing) {
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  EinsumCall call = serving_call(0);
  call.a.data = call.scale_a.data = call.d.data = 0;
  fp8_einsum(context, kExpression, call);
  EXPECT_EQ(backend.launches(), 0u);
}

struct Mistake {
  char const* name;
  void (*make)(EinsumCall&);
  char const* argument;
  char const* expected;  // part of it
};

void PrintTo(Mistake const& mistake, std::ostream* out) { *out << mistake.name; }

// clang-format off
Mistake const kMistakes[] = {
    {"ARank2", [](EinsumCall& c) { c.a = contiguous_view(kA, Dtype::kE4m3, {5, 4096}); }, "a.rank", "3"},
    {"BRank1", [](EinsumCall& c) { c.b = contiguous_view(kB, Dtype::kE4m3, {4096}); }, "b.rank", "[h, d, r]"},
    {"BRank4", [](EinsumCall& c) { c.b = contiguous_view(kB, Dtype::kE4m3, {1, 8, 1024, 4096}); }, "b.rank", "[h d, r]"},
    {"ScaleARank2", [](EinsumCall& c) { c.scale_a = contiguous_view(kScaleA, Dtype::kF32, {5, 32}); }, "scale_a.rank", "3"},
    {"ScaleBRank1", [](EinsumCall& c) { c.scale_b = contiguous_view(kScaleB, Dtype::kF32, {64}); }, "scale_b.rank", "[h rows, columns]"},
    {"DRank2", [](EinsumCall& c) { c.d = contiguous_view(kD, Dtype::kBf16, {5, 8192}); }, "d.rank", "3"},
    {"HeadsDiffer", [](EinsumCall& c) { c.b.shape[0] = 4; }, "b.shape", "[8, d, r] or [8 d, r]"},
    {"HeadsDoNotDivide", [](EinsumCall& c) { c.b = contiguous_view(kB, Dtype::kE4m3, {8190, 4096}); }, "b.shape", "[8 d, r]"},
    {"RDiffers", [](EinsumCall& c) { c.b.shape[2] = 2048; }, "b.shape", "r = 4096"},
    {"RNotAMultiple", [](EinsumCall& c) { c.a.shape[2] = c.b.shape[2] = 4080; }, "k", "32"},
    {"DShapeB", [](EinsumCall& c) { c.d.shape[0] = 4; }, "d.shape", "[5, 8, 1024]"},
    {"DShapeD", [](EinsumCall& c) { c.d.shape[2] = 1000; }, "d.shape", "[5, 8, 1024]"},
    {"ADtype", [](EinsumCall& c) { c.a.dtype = Dtype::kBf16; }, "a.dtype", "e4m3"},
    {"DDtype", [](EinsumCall& c) { c.d.dtype = Dtype::kF16; }, "d.dtype", "bf16 or f32"},
    {"ScaleBDtype", [](EinsumCall& c) { c.scale_b.dtype = Dtype::kI64; }, "scale_b.dtype", "f32"},
    {"ALastStride", [](EinsumCall& c) { c.a = strided(c.a, {1, 5, 40}); }, "a.strides", "last stride of 1"},
    {"DOverlapsItself", [](EinsumCall& c) { c.d = strided(c.d, {1024, 1024, 1}); }, "d.strides", "overlap"},
    {"ScaleAShape", [](EinsumCall& c) { c.scale_a.shape[2] = 9; }, "scale_a.shape", "[5, 8, 32] for (1, 32), [5, 8, 8] for (1, 128)"},
    {"ScaleAHeads", [](EinsumCall& c) { c.scale_a.shape[1] = 4; }, "scale_a.shape", "[5, 8, 8]"},
    {"ScaleBShape", [](EinsumCall& c) { c.scale_b = contiguous_view(kScaleB, Dtype::kF32, {8, 9, 32}); }, "scale_b.shape", "[8, 8, 32] for (128, 128)"},
    {"ScaleBShape2d", [](EinsumCall& c) { c.scale_b = contiguous_view(kScaleB, Dtype::kF32, {63, 32}); }, "scale_b.shape", "[64, 32] for (128, 128)"},
    {"RawWherePackedFits", [](EinsumCall& c) { c.scale_b = contiguous_view(kScaleB, Dtype::kF32, {8, 1024, 8}); }, "scale_b.shape", "[8, 1024, 32] for (1, 128)"},
    {"Recipe", [](EinsumCall& c) { c.recipe = {1, 64, 128}; }, "recipe", "1 or 128"},
    {"NullB", [](EinsumCall& c) { c.b.data = 0; }, "b.data", "address"},
    {"DOverlapsA", [](EinsumCall& c) { c.d.data = kA + 4096; }, "d", "apart from a"},
    {"DOverlapsScaleB", [](EinsumCall& c) { c.d.data = kScaleB; }, "d", "apart from scale_b"},
    {"CShape", [](EinsumCall& c) { c.c = contiguous_view(kC, Dtype::kBf16, {5, 8, 1023}); }, "c.shape", "d's"},
    {"CMisplaced", [](EinsumCall& c) { c.c = contiguous_view(kD + 64, Dtype::kBf16, {5, 8, 1024}); }, "d", "apart from c"},
};
// clang-format on

class EinsumMistake : public testing::TestWithParam<Mistake> {};

TEST_P(EinsumMistake, IsNamed) {
  EinsumCall call = serving_call();
  GetParam().make(call);
  try {
    check_einsum(kExpression, call);
    FAIL() << "accepted";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), GetParam().argument);
    EXPECT_FALSE(error.got().empty());
    EXPECT_NE(error.expected().find(GetParam().expected), std::string::npos) << error.expected();
  }
}

INSTANTIATE_TEST_SUITE_P(All, EinsumMistake, testing::ValuesIn(kMistakes),
                         [](auto const& info) { return std::string(info.param.name); });

TEST(Einsum, AnotherExpressionIsUnsupported) {
  for (char const* expression : {"bhd,hdr->bhr", "bhd,bhr->hdr", "bhr,hdr->bdh", ""}) {
    try {
      check_einsum(expression, serving_call());
      FAIL() << expression;
    } catch (Error const& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_EQ(error.argument(), "expression");
      EXPECT_EQ(error.got(), expression);
      EXPECT_EQ(error.expected(), kExpression);
    }
  }
}

}  // namespace
}  // namespace deepwell
