// The hyper-connections' product: checks by name, the choice, and what is launched.
#include "ops/hc_prenorm/hc_prenorm.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "recording_backend.hpp"

namespace deepwell {
namespace {

constexpr DeviceAddress kA = 0x100000000, kB = 0x200000000, kD = 0x300000000, kSqr = 0x400000000;
constexpr std::int64_t kLargest = std::numeric_limits<int>::max();

HcPrenormCall call_of(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t splits) {
  HcPrenormCall call;
  call.a = contiguous_view(kA, Dtype::kBf16, {m, k});
  call.b = contiguous_view(kB, Dtype::kF32, {n, k});
  if (splits == 0) {
    call.d = contiguous_view(kD, Dtype::kF32, {m, n});
    call.sqr_sum = contiguous_view(kSqr, Dtype::kF32, {m});
  } else {
    call.num_splits = splits;
    call.d = contiguous_view(kD, Dtype::kF32, {splits, m, n});
    call.sqr_sum = contiguous_view(kSqr, Dtype::kF32, {splits, m});
  }
  return call;
}

template <class F>
void expect_bad(char const* argument, F&& change, std::int64_t splits = 0) {
  HcPrenormCall call = call_of(40, 24, 4096, splits);
  change(call);
  try {
    check_hc_prenorm(call);
    FAIL() << argument << " accepted";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), argument);
    EXPECT_FALSE(error.got().empty());
    EXPECT_FALSE(error.expected().empty());
  }
}

using Call = HcPrenormCall;

TEST(HcPrenormChecks, MistakesAreNamed) {
  expect_bad("a.dtype", [](Call& c) { c.a.dtype = Dtype::kF16; });
  expect_bad("b.dtype", [](Call& c) { c.b.dtype = Dtype::kBf16; });
  expect_bad("d.dtype", [](Call& c) { c.d.dtype = Dtype::kBf16; });
  expect_bad("sqr_sum.dtype", [](Call& c) { c.sqr_sum.dtype = Dtype::kI32; });
  expect_bad("a.rank", [](Call& c) { c.a = contiguous_view(kA, Dtype::kBf16, {1, 40, 4096}); });
  expect_bad("d.rank", [](Call& c) { c.num_splits = 1; });
  expect_bad(
      "d.rank", [](Call& c) { c.num_splits.reset(); }, 2);
  expect_bad("sqr_sum.rank", [](Call& c) { c.sqr_sum = contiguous_view(kSqr, Dtype::kF32, {40, 1}); });
  expect_bad(
      "num_splits", [](Call& c) { c.num_splits = 0; }, 2);
  expect_bad(
      "num_splits", [](Call& c) { c.num_splits = -1; }, 2);
  expect_bad(
      "num_splits", [](Call& c) { c.num_splits = kHcMaxSplits + 1; }, 2);
  expect_bad("a.shape", [](Call& c) { c.a = contiguous_view(kA, Dtype::kBf16, {40, 0}); });
  expect_bad("a.shape", [](Call& c) { c.a = contiguous_view(kA, Dtype::kBf16, {kLargest, 4096}); });
  expect_bad("b.shape", [](Call& c) { c.b = contiguous_view(kB, Dtype::kF32, {0, 4096}); });
  expect_bad("b.shape", [](Call& c) { c.b = contiguous_view(kB, Dtype::kF32, {129, 4096}); });
  expect_bad("b.shape", [](Call& c) { c.b = contiguous_view(kB, Dtype::kF32, {24, 4095}); });
  expect_bad("d.shape", [](Call& c) { c.d = contiguous_view(kD, Dtype::kF32, {40, 25}); });
  expect_bad(
      "d.shape",
      [](Call& c) {
        c.d = contiguous_view(kD, Dtype::kF32, {3, 40, 24});
      },
      2);
  expect_bad("sqr_sum.shape", [](Call& c) { c.sqr_sum = contiguous_view(kSqr, Dtype::kF32, {41}); });
  expect_bad("a.strides", [](Call& c) { c.a.strides = {1, 40}; });
  expect_bad("b.strides", [](Call& c) { c.b.strides = {1, 24}; });
  expect_bad("d.strides", [](Call& c) { c.d.strides = {1, 40}; });
  expect_bad("d.strides", [](Call& c) { c.d.strides = {23, 1}; });
  expect_bad(
      "d.strides",
      [](Call& c) {
        c.d.strides = {40 * 24 - 1, 24, 1};
      },
      2);
  expect_bad("sqr_sum.strides", [](Call& c) { c.sqr_sum.strides = {0}; });
  expect_bad(
      "sqr_sum.strides",
      [](Call& c) {
        c.sqr_sum.strides = {39, 1};
      },
      2);
  expect_bad("a.data", [](Call& c) { c.a.data = 0; });
  expect_bad("a.data", [](Call& c) { c.a.data += 1; });
  expect_bad("b.data", [](Call& c) { c.b.data += 2; });
  expect_bad("d.data", [](Call& c) { c.d.data += 2; });
  expect_bad("d", [](Call& c) { c.d.data = kA + 64; });
  expect_bad("d", [](Call& c) { c.d.data = kB + 64; });
  expect_bad("sqr_sum", [](Call& c) { c.sqr_sum.data = kA + 64; });
  expect_bad("sqr_sum", [](Call& c) { c.sqr_sum.data = kD; });
}

TEST(HcPrenormChecks, StridesBecomeTheProblems) {
  HcPrenormCall call = call_of(40, 24, 4096, 3);
  call.a.strides = {5000, 1};
  call.b.strides = {4097, 1};
  call.d.strides = {2000, 30, 1};
  call.sqr_sum.strides = {1, 4};  // splits are neighbours
  HcPrenormProblem const problem = check_hc_prenorm(call);
  EXPECT_EQ(problem.a_pitch, 10000);
  EXPECT_EQ(problem.b_pitch, 4 * 4097);
  EXPECT_EQ(problem.d_split_stride, 2000);
  EXPECT_EQ(problem.d_pitch, 30);
  EXPECT_EQ(problem.sqr_sum_split_stride, 1);
  EXPECT_EQ(problem.sqr_sum_stride, 4);
  EXPECT_EQ(problem.splits, 3);
}

TEST(HcPrenormChoice, EveryPlanIsSoundOnEveryTarget) {
  for (Arch const& arch : all_archs()) {
    std::set<std::uint64_t> keys;
    std::set<std::string> names;
    for (HcPrenormPlan const& plan : all_hc_prenorm_plans(arch)) {
      EXPECT_LE(smem_map(plan).total, arch.smem_per_cta) << plan_name(plan);
      EXPECT_LE(smem_map(plan).total, 101376) << plan_name(plan);
      EXPECT_EQ(plan.stages % plan.warps_k, 0) << plan_name(plan);
      EXPECT_GE(plan.stages, 2) << plan_name(plan);
      EXPECT_EQ(plan_name(plan).rfind("tf32_hc_prenorm_gemm", 0), 0u);
      EXPECT_TRUE(keys.insert(plan_key(plan)).second);
      EXPECT_TRUE(names.insert(plan_name(plan)).second);
      EXPECT_NE(hc_prenorm_source(plan, arch).find(plan_name(plan)), std::string::npos);
    }
    EXPECT_EQ(keys.size(), 17u);
  }
}

/// The same bits on every board: plan and pieces do not depend on the architecture.
TEST(HcPrenormChoice, IsTheSameEverywhere) {
  for (std::int64_t m : {1, 16, 17, 33, 128, 300, 4096, 100000}) {
    for (std::int64_t splits : {1, 2, 16, 37, 64}) {
      HcPrenormShape const shape{.m = m, .n = 24, .k = 16384, .splits = splits};
      HcPrenormCandidate const first = choose_hc_prenorm(shape, all_archs().front()).at(0);
      for (Arch const& arch : all_archs()) {
        HcPrenormCandidate const other = choose_hc_prenorm(shape, arch).at(0);
        EXPECT_TRUE(other.plan == first.plan) << m << " " << splits << " " << arch.target;
        EXPECT_EQ(other.pieces, first.pieces);
      }
    }
  }
}

TEST(HcPrenormChoice, FewTokensTakeSmallTilesAndManyTakeLargeOnes) {
  Arch const& arch = arch_by_target("sm_120a");
  auto const best = [&](std::int64_t m, std::int64_t splits) {
    return choose_hc_prenorm({.m = m, .n = 24, .k = 16384, .splits = splits}, arch).at(0);
  };
  for (std::int64_t m : {1, 8, 16}) {
    EXPECT_EQ(best(m, 16).plan.tile_rows, 16);
    EXPECT_EQ(best(m, 16).pieces, 1);
    EXPECT_EQ(best(m, 1).plan.tile_rows, 16);
    EXPECT_GE(best(m, 1).pieces, 16) << "one CTA would have to read all of b";
  }
  EXPECT_EQ(best(4096, 16).plan.tile_rows, 128);
  EXPECT_EQ(best(4096, 16).pieces, 1);
  EXPECT_GE(best(4096, 2).pieces * 2 * 4096 / best(4096, 2).plan.tile_rows, 128);
}

/// However long k is, one warp's sum stays within a few hundred MMAs where there are pieces to be had.
TEST(HcPrenormChoice, SumsStayShort) {
  Arch const& arch = arch_by_target("sm_120a");
  for (std::int64_t m : {1, 64, 4096, 1000000}) {
    for (std::int64_t k : {4096, 16384, 28672, 131072}) {
      HcPrenormCandidate const best = choose_hc_prenorm({.m = m, .n = 24, .k = k, .splits = 1}, arch).at(0);
      EXPECT_LE(ceil_div(ceil_div(hc_blocks(k), best.pieces), best.plan.warps_k), 128) << m << " " << k;
    }
  }
}

TEST(HcPrenormChoice, ShapesWithoutAKernel) {
  Arch const& arch = arch_by_target("sm_120a");
  EXPECT_TRUE(choose_hc_prenorm({.m = 1, .n = 129, .k = 64, .splits = 1}, arch).empty());
  EXPECT_TRUE(choose_hc_prenorm({.m = 1, .n = 0, .k = 64, .splits = 1}, arch).empty());
}

TEST(HcPrenormLaunch, MapsGridAndArguments) {
  RecordingBackend backend;
  HcPrenormCall call = call_of(300, 24, 4096, 16);
  HcPrenormProblem const problem = check_hc_prenorm(call);
  HcPrenormCandidate candidate = choose_hc_prenorm(shape_of(problem), backend.device().arch).at(0);
  candidate.pieces = 2;
  HcPrenormLaunch const launch = prepare_hc_prenorm(backend, problem, candidate);
  HcPrenormPlan const& plan = candidate.plan;
  std::int64_t const tiles = ceil_div(300, plan.tile_rows);
  EXPECT_EQ(launch.spec.grid, (std::array<std::uint32_t, 3>{static_cast<std::uint32_t>(tiles), 32, 1}));
  EXPECT_EQ(launch.spec.threads, static_cast<unsigned>(threads(plan)));
  EXPECT_EQ(launch.spec.dynamic_smem_bytes, static_cast<unsigned>(smem_map(plan).total));
  EXPECT_EQ(launch.counters, static_cast<std::size_t>(16 * tiles));
  EXPECT_EQ(launch.partial_bytes, launch.counters * 2 * static_cast<std::size_t>(plan.tile_rows * 25 * 4));
  EXPECT_TRUE(launch.args.a_by_tma);
  EXPECT_TRUE(launch.args.b_by_tma);
  ASSERT_EQ(backend.maps.size(), 2u);
  EXPECT_EQ(backend.maps[0].base, kA);
  EXPECT_EQ(backend.maps[0].element, TensorMapSpec::Element::kBf16);
  EXPECT_EQ(backend.maps[0].dims[0], 4096u);
  EXPECT_EQ(backend.maps[0].dims[1], 300u);
  EXPECT_EQ(backend.maps[0].strides_bytes[0], 8192u);
  EXPECT_EQ(backend.maps[0].box[0], 64u);
  EXPECT_EQ(backend.maps[0].box[1], static_cast<unsigned>(plan.tile_rows));
  EXPECT_EQ(backend.maps[1].base, kB);
  EXPECT_EQ(backend.maps[1].element, TensorMapSpec::Element::kF32) << "tf32 maps round";
  EXPECT_EQ(backend.maps[1].box[0], 32u);
  EXPECT_EQ(backend.maps[1].box[1], 24u);
}

/// Whatever TMA cannot read comes element by element, through the same kernel.
TEST(HcPrenormLaunch, TheWayInFollowsAddressesAndStridesAndTheKernelDoesNot) {
  RecordingBackend backend;
  auto const prepared = [&](auto&& change) {
    HcPrenormCall call = call_of(40, 24, 1000, 2);
    change(call);
    HcPrenormProblem const problem = check_hc_prenorm(call);
    return prepare_hc_prenorm(backend, problem,
                              choose_hc_prenorm(shape_of(problem), backend.device().arch).at(0));
  };
  HcPrenormLaunch const plain = prepared([](Call&) {});
  EXPECT_TRUE(plain.args.a_by_tma && plain.args.b_by_tma);
  auto const expect = [&](bool a, bool b, auto&& change) {
    HcPrenormLaunch const launch = prepared(change);
    EXPECT_EQ(launch.args.a_by_tma != 0, a);
    EXPECT_EQ(launch.args.b_by_tma != 0, b);
    EXPECT_EQ(launch.spec.grid, plain.spec.grid);
    EXPECT_EQ(launch.spec.threads, plain.spec.threads);
  };
  expect(false, true, [](Call& c) { c.a.data += 2; });
  expect(false, true, [](Call& c) { c.a.strides[0] = 1001; });
  expect(false, true, [](Call& c) { c.a.strides[0] = 0; });
  expect(false, true, [](Call& c) { c.a.strides[0] = 8; });
  expect(true, false, [](Call& c) { c.b.data += 4; });
  expect(true, false, [](Call& c) { c.b.strides[0] = 1002; });
  expect(true, true, [](Call& c) { c.a.strides[0] = 1008, c.b.strides[0] = 1004; });
}

TEST(HcPrenormLaunch, OneKernelOneLaunchAndNoneForNoTokens) {
  auto owned = std::make_unique<RecordingBackend>();
  RecordingBackend& backend = *owned;
  Context context(std::move(owned));
  tf32_hc_prenorm_gemm(context, call_of(0, 24, 4096, 0));
  tf32_hc_prenorm_gemm(context, call_of(0, 24, 4096, 16));
  EXPECT_TRUE(backend.recorded().empty());
  tf32_hc_prenorm_gemm(context, call_of(33, 24, 4096, 16));
  ASSERT_EQ(backend.recorded().size(), 1u);
  HcPrenormArgs const args = args_of<HcPrenormArgs>(backend.recorded()[0]);
  EXPECT_EQ(args.m, 33);
  EXPECT_EQ(args.n, 24);
  EXPECT_EQ(args.k, 4096);
  EXPECT_EQ(args.splits, 16);
  tf32_hc_prenorm_gemm(context, call_of(1, 24, 16384, 0));
  ASSERT_EQ(backend.recorded().size(), 2u);
  HcPrenormArgs const whole = args_of<HcPrenormArgs>(backend.recorded()[1]);
  EXPECT_GT(whole.pieces, 1);
  EXPECT_NE(whole.partials, nullptr);
  EXPECT_NE(whole.counters, nullptr);
  EXPECT_THROW(tf32_hc_prenorm_gemm(context, call_of(1, 129, 64, 0)), Error);
  EXPECT_EQ(backend.recorded().size(), 2u);
}

}  // namespace
}  // namespace deepwell
