// What a GEMM launch looks like: sources, tensor maps, strides, grid; and what the call remembers.
#include <gtest/gtest.h>

#include "base/options.hpp"
#include "ops/gemm/gemm.hpp"
#include "recording_backend.hpp"

namespace deepwell {
namespace {

constexpr DeviceAddress kA = 0x10000000, kB = 0x20000000, kScaleA = 0x30000000, kScaleB = 0x40000000,
                        kD = 0x50000000, kC = 0x60000000;

ScaleOperand packed(DeviceAddress data, std::int64_t rows, int gran_k) {
  return {.kind = ScaleKind::kUe8m0,
          .packed = true,
          .gran = {.mn = 1, .k = gran_k},
          .data = data,
          .row_stride = 4,
          .k_stride = 4 * align_up(rows, 4)};
}

/// a [m, k] e4m3 packed per 128, b [n, k] e2m1 packed per 32.
GemmProblem problem_of(std::int64_t m, std::int64_t n, std::int64_t k) {
  GemmProblem problem;
  problem.m = m;
  problem.n = n;
  problem.k = k;
  problem.a = {.dtype = Dtype::kE4m3, .data = kA, .pitch = k, .scale = packed(kScaleA, m, 128)};
  problem.b = {.dtype = Dtype::kE2m1, .data = kB, .pitch = k / 2, .scale = packed(kScaleB, n, 32)};
  problem.d = kD;
  problem.d_pitch = n;
  return problem;
}

GemmLaunch prepare(RecordingBackend& backend, GemmProblem const& problem) {
  return prepare_gemm(backend, problem, choose_gemm(shape_of(problem), backend.device().arch).ranked.front());
}

TEST(GemmLaunch, FewRowsSwapTheOperands) {
  RecordingBackend backend;
  GemmProblem const problem = problem_of(4, 1000, 4224);
  GemmLaunch const launch = prepare(backend, problem);
  GemmArgs const& args = launch.args;
  EXPECT_EQ(reinterpret_cast<DeviceAddress>(args.x.data), kB);
  EXPECT_EQ(reinterpret_cast<DeviceAddress>(args.y.data), kA);
  EXPECT_EQ(args.x.rows, 1000);
  EXPECT_EQ(args.y.rows, 4);
  EXPECT_EQ(args.x.data_pitch, 2112);
  EXPECT_EQ(args.row_tiles, 32);
  EXPECT_EQ(args.col_tiles, 1);
  EXPECT_EQ(args.k, 4224);
  EXPECT_EQ(launch.spec.grid[0], 32u);
  EXPECT_EQ(launch.spec.grid[1], static_cast<unsigned>(args.splits));
  EXPECT_EQ(launch.spec.grid[2], 1u);
  GemmPlan const plan = choose_gemm(shape_of(problem), backend.device().arch).ranked.front().plan;
  EXPECT_EQ(launch.spec.threads, static_cast<unsigned>(threads(plan)));
  EXPECT_EQ(launch.spec.dynamic_smem_bytes, static_cast<unsigned>(smem_map(plan).total));
  ASSERT_GT(args.splits, 1);
  EXPECT_EQ(launch.spec.cluster, (std::array<std::uint32_t, 3>{1, launch.spec.grid[1], 1}));
}

TEST(GemmLaunch, ManyRowsKeepTheOrder) {
  RecordingBackend backend;
  GemmLaunch const launch = prepare(backend, problem_of(300, 5000, 512));
  EXPECT_EQ(reinterpret_cast<DeviceAddress>(launch.args.x.data), kA);
  EXPECT_EQ(launch.args.row_tiles, 3);
  EXPECT_EQ(launch.args.col_tiles, 40);
  EXPECT_EQ(launch.args.splits, 1);
  EXPECT_EQ(launch.spec.cluster, (std::array<std::uint32_t, 3>{1, 1, 1}));
}

TEST(GemmLaunch, TensorMaps) {
  RecordingBackend backend;
  prepare(backend, problem_of(300, 5000, 1056));
  ASSERT_EQ(backend.maps.size(), 4u);  // x data, x scale, y data, y scale
  TensorMapSpec const& a = backend.maps[0];
  EXPECT_EQ(a.element, TensorMapSpec::Element::kU8);
  EXPECT_EQ(a.swizzle, TensorMapSpec::Swizzle::k128B);
  EXPECT_EQ(a.rank, 3);
  EXPECT_EQ(a.base, kA);
  EXPECT_EQ(a.dims[0], 1056u);
  EXPECT_EQ(a.dims[1], 300u);
  EXPECT_EQ(a.dims[2], 1u);
  EXPECT_EQ(a.strides_bytes[0], 1056u);
  EXPECT_EQ(a.box[0], 128u);
  EXPECT_EQ(a.box[1], 128u);
  EXPECT_EQ(a.box[2], 1u);
  TensorMapSpec const& scale_a = backend.maps[1];
  EXPECT_EQ(scale_a.element, TensorMapSpec::Element::kI32);
  EXPECT_EQ(scale_a.swizzle, TensorMapSpec::Swizzle::kNone);
  EXPECT_EQ(scale_a.dims[0], 300u);
  EXPECT_EQ(scale_a.dims[1], 3u);  // 9 groups of 128 in words of four
  EXPECT_EQ(scale_a.strides_bytes[0], 1200u);
  EXPECT_EQ(scale_a.box[0], 128u);
  EXPECT_EQ(scale_a.box[1], 1u);
  TensorMapSpec const& b = backend.maps[2];
  EXPECT_EQ(b.swizzle, TensorMapSpec::Swizzle::k64B);
  EXPECT_EQ(b.dims[0], 528u);
  EXPECT_EQ(b.dims[1], 5000u);
  EXPECT_EQ(b.box[0], 64u);
  EXPECT_EQ(backend.maps[3].dims[1], 9u);  // 33 groups of 32
}

TEST(GemmLaunch, DataSources) {
  RecordingBackend backend;
  auto const source = [&](auto change) {
    GemmProblem problem = problem_of(300, 512, 512);
    change(problem);
    return prepare(backend, problem).args.x.data_source;
  };
  EXPECT_EQ(source([](GemmProblem&) {}), Source::kTma);
  EXPECT_EQ(source([](GemmProblem& p) { p.a.data += 1; }), Source::kPlain);
  EXPECT_EQ(source([](GemmProblem& p) { p.a.data += 8; }), Source::kPlain);
  EXPECT_EQ(source([](GemmProblem& p) { p.a.data += 16; }), Source::kTma);
  EXPECT_EQ(source([](GemmProblem& p) { p.a.pitch = 520; }), Source::kPlain);
  EXPECT_EQ(source([](GemmProblem& p) { p.a.pitch = 528; }), Source::kTma);
  EXPECT_EQ(source([](GemmProblem& p) { p.a.pitch = 0; }), Source::kPlain);
  EXPECT_EQ(source([](GemmProblem& p) { p.a.pitch = std::int64_t{1} << 41; }), Source::kPlain);
  EXPECT_EQ(source([](GemmProblem& p) {
              p.batch = 2;
              p.a.batch_stride = 8;
            }),
            Source::kPlain);
  EXPECT_EQ(source([](GemmProblem& p) {
              p.batch = 2;
              p.a.batch_stride = 1 << 20;
            }),
            Source::kTma);
}

TEST(GemmLaunch, OneRowHasALegalPitchWhateverItIs) {
  RecordingBackend backend;
  GemmProblem problem = problem_of(1, 512, 512);
  problem.a.pitch = 3;
  GemmLaunch const launch = prepare(backend, problem);
  EXPECT_EQ(launch.args.y.data_source, Source::kTma);
  ASSERT_EQ(backend.maps.size(), 4u);
  EXPECT_EQ(backend.maps[2].strides_bytes[0] % 16, 0u);
  EXPECT_GT(backend.maps[2].strides_bytes[0], 0u);
}

TEST(GemmLaunch, ScaleSources) {
  RecordingBackend backend;
  auto const args_for = [&](ScaleOperand const& scale, std::int64_t k = 512) {
    GemmProblem problem = problem_of(300, 512, k);
    problem.a.scale = scale;
    return prepare(backend, problem).args.x;
  };
  ScaleOperand scale = packed(kScaleA, 300, 128);
  EXPECT_EQ(args_for(scale).scale_source, Source::kTma);
  scale.data += 4;
  EXPECT_EQ(args_for(scale).scale_source, Source::kWords);
  scale = packed(kScaleA, 300, 32);
  scale.k_stride = 301 * 4;
  EXPECT_EQ(args_for(scale).scale_source, Source::kWords);
  EXPECT_EQ(args_for(scale).scale_k_stride, 301 * 4);
  scale.k_stride = 304 * 4;
  EXPECT_EQ(args_for(scale).scale_source, Source::kTma);
  scale.row_stride = 16;
  EXPECT_EQ(args_for(scale).scale_source, Source::kWords);

  ScaleOperand const floats{.kind = ScaleKind::kF32,
                            .packed = false,
                            .gran = {.mn = 1, .k = 128},
                            .data = kScaleA + 4,
                            .row_stride = 52,
                            .k_stride = 8};
  EXPECT_EQ(args_for(floats).scale_source, Source::kWords);
  EXPECT_EQ(args_for(floats).scale_k_stride, 8);

  ScaleOperand bytes{.kind = ScaleKind::kUe8m0,
                     .packed = false,
                     .gran = {.mn = 128, .k = 128},
                     .data = kScaleA,
                     .row_stride = 4,
                     .k_stride = 1};
  EXPECT_EQ(args_for(bytes).scale_source, Source::kWords);
  EXPECT_EQ(args_for(bytes).scale_k_stride, 4) << "per word";
  EXPECT_EQ(args_for(bytes).gran_mn_log2, 7);
  bytes.row_stride = 5;
  EXPECT_EQ(args_for(bytes).scale_source, Source::kPlain);
  EXPECT_EQ(args_for(bytes).scale_k_stride, 1) << "per byte";
  bytes.row_stride = 4;
  EXPECT_EQ(args_for(bytes, 384).scale_source, Source::kPlain) << "the last word would leave the row";
  bytes.data += 1;
  EXPECT_EQ(args_for(bytes).scale_source, Source::kPlain);
  bytes.data -= 1;
  bytes.k_stride = 2;
  EXPECT_EQ(args_for(bytes).scale_source, Source::kPlain);
  EXPECT_EQ(args_for(bytes).scale_k_stride, 2);
}

TEST(GemmLaunch, QuadAccess) {
  RecordingBackend backend;
  auto const quads = [&](auto change) {
    GemmProblem problem = problem_of(300, 512, 512);
    change(problem);
    return prepare(backend, problem).args.quad_access != 0;
  };
  EXPECT_TRUE(quads([](GemmProblem&) {}));
  EXPECT_FALSE(quads([](GemmProblem& p) { p.d_pitch = 514; }));
  EXPECT_FALSE(quads([](GemmProblem& p) { p.d += 4; }));
  EXPECT_TRUE(quads([](GemmProblem& p) { p.d += 8; }));
  EXPECT_FALSE(quads([](GemmProblem& p) {
    p.d += 8;
    p.d_type = Dtype::kF32;
  }));
  EXPECT_FALSE(quads([](GemmProblem& p) {
    p.c = kC;
    p.c_pitch = 514;
  }));
  EXPECT_TRUE(quads([](GemmProblem& p) {
    p.c = kC;
    p.c_pitch = 516;
  }));
  EXPECT_FALSE(quads([](GemmProblem& p) {
    p.batch = 2;
    p.d_batch_stride = 514;
    p.a.batch_stride = 16;
    p.b.batch_stride = 16;
  }));
}

TEST(GemmLaunch, EmptyKReadsNothing) {
  RecordingBackend backend;
  GemmProblem problem = problem_of(4, 512, 0);
  problem.a.data = problem.b.data = problem.a.scale.data = problem.b.scale.data = 0;
  GemmLaunch const launch = prepare(backend, problem);
  EXPECT_TRUE(backend.maps.empty());
  EXPECT_EQ(launch.args.k, 0);
  EXPECT_EQ(launch.args.splits, 1);
  EXPECT_EQ(launch.args.k_tiles_per_split, 0);
}

TEST(GemmLaunch, OffsetsBeyond32Bits) {
  RecordingBackend backend;
  GemmProblem problem = problem_of(300000, 129280, 32);
  problem.a.pitch = std::int64_t{1} << 33;
  problem.d_pitch = std::int64_t{1} << 34;
  GemmLaunch const launch = prepare(backend, problem);
  EXPECT_EQ(launch.args.x.data_pitch, std::int64_t{1} << 33);
  EXPECT_EQ(launch.args.d_pitch, std::int64_t{1} << 34);
  EXPECT_EQ(launch.spec.grid[0], 2344u * 1010u);
}

TEST(GemmRun, EmptyOutputsLaunchNothing) {
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  run_gemm(context, problem_of(0, 1024, 4096), nullptr);
  run_gemm(context, problem_of(4, 0, 4096), nullptr);
  EXPECT_EQ(backend.launches(), 0u);
  run_gemm(context, problem_of(4, 64, 0), nullptr);
  EXPECT_EQ(backend.launches(), 1u);
}

TEST(GemmRun, PdlAndStreamReachTheLaunch) {
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  context.set_pdl(true);
  int stream = 0;
  run_gemm(context, problem_of(4, 1024, 4096), &stream);
  ASSERT_EQ(backend.recorded().size(), 1u);
  EXPECT_TRUE(backend.recorded()[0].spec.programmatic_dependent_launch);
  EXPECT_EQ(backend.recorded()[0].spec.stream, &stream);
}

TEST(GemmRun, AlignmentNeverChangesTheKernel) {
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  GemmProblem problem = problem_of(4, 1024, 4096);
  run_gemm(context, problem, nullptr);
  problem.a.data += 1;
  problem.b.pitch += 1;
  problem.a.scale.data += 4;
  problem.d += 2;
  run_gemm(context, problem, nullptr);
  auto const launches = backend.recorded();
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_EQ(launches[0].entry, launches[1].entry);
  EXPECT_EQ(launches[0].spec.grid, launches[1].spec.grid);
  EXPECT_EQ(context.kernels().counts().loaded, 1u);
}

TEST(GemmRun, TheBuildForRaceCheckersIsAnotherKernel) {
  ScopedOption const option(Option::kEveryReaderArrives, "1");
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  run_gemm(context, problem_of(4, 1024, 4096), nullptr);
  EXPECT_NE(backend.recorded()[0].entry.find("_era1"), std::string::npos);
}

TEST(GemmRun, ABadCallLaunchesNothing) {
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  GemmCall call;
  call.a = contiguous_view(kA, Dtype::kE4m3, {64, 512});
  call.b = contiguous_view(kB, Dtype::kE4m3, {256, 512});
  call.scale_a = contiguous_view(kScaleA, Dtype::kF32, {64, 4});
  call.scale_b = contiguous_view(kScaleB, Dtype::kF32, {2, 4});
  call.d = contiguous_view(kD, Dtype::kBf16, {64, 256});
  fp8_fp4_gemm_nt(context, call);
  EXPECT_EQ(backend.launches(), 1u);
  call.d.shape[0] = 63;
  EXPECT_THROW(fp8_fp4_gemm_nt(context, call), Error);
  EXPECT_EQ(backend.launches(), 1u);
}

}  // namespace
}  // namespace deepwell
