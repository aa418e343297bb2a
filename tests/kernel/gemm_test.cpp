// The GEMM and the einsum on every target: right answers on all kinds of data, and the same bits each time.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "check/mutate.hpp"
#include "check/run.hpp"
#include "kernel/devices.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

OperandCase operand(Dtype dtype, ScaleFormat scale, int gran_k, int gran_mn = 1) {
  OperandCase out{.dtype = dtype, .scale = scale, .gran_mn = gran_mn, .gran_k = gran_k};
  out.layout = scale == ScaleFormat::kPacked ? ScaleLayout::kColumns : ScaleLayout::kRows;
  return out;
}

Case gemm(DataKind data, std::int64_t m, std::int64_t n, std::int64_t k, OperandCase a, OperandCase b,
          Dtype d = Dtype::kBf16, CMode c = CMode::kNone) {
  Case out;
  out.data = data;
  out.m = m, out.n = n, out.k = k;
  out.a = a, out.b = b, out.d = d, out.c = c;
  return out;
}

constexpr Dtype kE4m3 = Dtype::kE4m3, kE2m1 = Dtype::kE2m1;
constexpr ScaleFormat kF32 = ScaleFormat::kF32, kBytes = ScaleFormat::kUe8m0, kPacked = ScaleFormat::kPacked;

std::vector<Case> kernel_cases() {
  OperandCase const p128 = operand(kE4m3, kPacked, 128), p32 = operand(kE4m3, kPacked, 32);
  OperandCase const f128 = operand(kE4m3, kF32, 128), fp4 = operand(kE2m1, kPacked, 32);
  std::vector<Case> out{
      gemm(DataKind::kRandom, 200, 264, 640, p128, p128),
      gemm(DataKind::kExact, 200, 264, 640, p128, p128),
      gemm(DataKind::kRandom, 1, 256, 1024, p128, operand(kE4m3, kBytes, 128, 128)),
      gemm(DataKind::kExact, 4, 130, 416, p128, p128, Dtype::kBf16, CMode::kSame),
      gemm(DataKind::kExact, 9, 67, 352, p128, p128, Dtype::kBf16, CMode::kOther),
      gemm(DataKind::kRandom, 40, 77, 352, p128, p128),
      gemm(DataKind::kRandom, 7, 96, 544, f128, fp4),
      gemm(DataKind::kExact, 70, 140, 288, f128, fp4),
      gemm(DataKind::kRandom, 6, 100, 320, f128, operand(kE4m3, kF32, 128, 128), Dtype::kF32),
      gemm(DataKind::kExact, 130, 70, 320, f128, operand(kE4m3, kF32, 128, 128), Dtype::kF32, CMode::kOther),
      gemm(DataKind::kRandom, 5, 72, 352, p32, fp4),
      gemm(DataKind::kRandom, 3, 72, 352, fp4, fp4),
      gemm(DataKind::kExact, 66, 72, 352, fp4, fp4),
      gemm(DataKind::kRandom, 5, 72, 352, fp4, p128),
      gemm(DataKind::kRandom, 4, 40, 96, operand(kE2m1, kF32, 32), operand(kE2m1, kF32, 32), Dtype::kF32),
      gemm(DataKind::kHostile, 5, 40, 352, p32, operand(kE4m3, kBytes, 32), Dtype::kF32),
      gemm(DataKind::kHostile, 5, 40, 352, operand(kE4m3, kF32, 32), p32, Dtype::kF32),
      gemm(DataKind::kHostile, 5, 40, 352, p32, operand(kE4m3, kF32, 128), Dtype::kF32),
      gemm(DataKind::kHostile, 70, 72, 352, f128, fp4, Dtype::kF32),
      gemm(DataKind::kHostile, 5, 40, 352, f128, operand(kE4m3, kF32, 32), Dtype::kF32),
      gemm(DataKind::kRandom, 140, 136, 352, operand(kE4m3, kBytes, 32, 128), operand(kE4m3, kF32, 128, 128)),
      gemm(DataKind::kExact, 5, 200, 352, operand(kE2m1, kF32, 32, 128), operand(kE2m1, kBytes, 128, 128)),
      gemm(DataKind::kRandom, 2, 64, 4096, p128, p128),
      gemm(DataKind::kExact, 2, 64, 4096, p128, p128),
  };
  Case odd = gemm(DataKind::kExact, 6, 45, 352, p128, operand(kE4m3, kBytes, 32), Dtype::kBf16);
  odd.a.pitch = odd.b.pitch = odd.d_pitch = Pitch::kOdd;
  odd.b.layout = ScaleLayout::kOddColumns;
  out.push_back(odd);
  for (std::int64_t h : {8, 2, 1}) {
    Case e = gemm(h == 2 ? DataKind::kExact : DataKind::kRandom, h == 8 ? 1 : 3, 136, 512, p128, p128);
    e.op = Op::kEinsum;
    e.batch = h;
    e.token_major = h != 8;
    e.flat_weights = h == 2;
    out.push_back(e);
  }
  return out;
}

using Parameter = std::tuple<std::string, Case>;

class Kernel : public testing::TestWithParam<Parameter> {};

std::string repro(std::string const& device, Case const& c) {
  return "deepwell check --device " + device + " --filter '" + c.name() + "'";
}

TEST_P(Kernel, IsRight) {
  auto const& [device, c] = GetParam();
  Outcome const outcome = run_case(context_of(device), c, 0, test_pool());
  EXPECT_EQ(outcome.status, Status::kPass) << c.name() << "\n"
                                           << outcome.kernel << "\n"
                                           << outcome.reason << "\n"
                                           << repro(device, c);
}

std::string parameter_name(testing::TestParamInfo<Parameter> const& info) {
  auto const& [device, c] = info.param;
  return test_name(device.substr(4) + "_" + std::to_string(info.index) + "_" + c.tensors() + "_" +
                   name_of(c.data));
}

INSTANTIATE_TEST_SUITE_P(All, Kernel,
                         testing::Combine(testing::ValuesIn(std::begin(kKernelTestDevices),
                                                            std::end(kKernelTestDevices)),
                                          testing::ValuesIn(kernel_cases())),
                         parameter_name);

class Determinism : public testing::TestWithParam<std::string> {};

/// Warp interleaving, order of CTAs and the time of each copy's completion change with the seed; the bits do not.
TEST_P(Determinism, TheSameBitsWhateverTheSchedule) {
  Context& context = context_of(GetParam());
  auto& backend = dynamic_cast<EmuBackend&>(context.backend());
  emu::Options const before = backend.options();
  for (Case const& c :
       {gemm(DataKind::kRandom, 4, 96, 2048, operand(kE4m3, kPacked, 128), operand(kE4m3, kPacked, 128)),
        gemm(DataKind::kRandom, 70, 72, 544, operand(kE4m3, kF32, 128), operand(kE2m1, kPacked, 32))}) {
    CaseData const data = make_data(c, 3, test_pool());
    std::vector<std::byte> const first = run_on_device(context, data).after;
    EXPECT_EQ(run_on_device(context, data).after, first) << c.name();
    for (std::uint64_t seed : {1, 2, 3}) {
      emu::Options options = before;
      options.seed = seed;
      options.threads = seed == 3 ? 1 : before.threads;
      backend.set_options(options);
      EXPECT_EQ(run_on_device(context, data).after, first) << c.name() << " with seed " << seed;
    }
    backend.set_options(before);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Determinism,
                         testing::ValuesIn(std::begin(kKernelTestDevices), std::end(kKernelTestDevices)),
                         [](auto const& info) { return test_name(info.param.substr(4)); });

/// The same bits on every SM 12.x target, and with any number of SMs.
TEST(Determinism12, TheSameBitsOnEveryBoard) {
  Case const c =
      gemm(DataKind::kRandom, 3, 96, 2048, operand(kE4m3, kPacked, 128), operand(kE2m1, kPacked, 32));
  CaseData const data = make_data(c, 4, test_pool());
  std::vector<std::byte> const first = run_on_device(context_of("emu:sm_120a"), data).after;
  for (char const* device : {"emu:sm_121a", "emu:sm_120f", "emu:sm_120a:48"})
    EXPECT_EQ(run_on_device(context_of(device), data).after, first) << device;
}

class EveryReaderArrives : public testing::TestWithParam<std::string> {};

/// The build for race checkers, in which each lane releases a stage by itself: another kernel, the same bits.
TEST_P(EveryReaderArrives, GivesTheSameBits) {
  set_option(Option::kBackgroundBuilds, "0");
  set_option(Option::kEveryReaderArrives, "1");
  Context context(GetParam());
  bool const on = every_reader_arrives(context);  // the context remembers it from here on
  set_option(Option::kEveryReaderArrives, "0");
  ASSERT_TRUE(on);
  ASSERT_FALSE(every_reader_arrives(context_of(GetParam())));
  for (Case const& c :
       {gemm(DataKind::kRandom, 4, 130, 2112, operand(kE4m3, kPacked, 128), operand(kE2m1, kPacked, 32)),
        gemm(DataKind::kRandom, 140, 136, 640, operand(kE4m3, kF32, 128), operand(kE4m3, kPacked, 128))}) {
    CaseData const data = make_data(c, 5, test_pool());
    EXPECT_EQ(run_case(context, c, 5, test_pool()).status, Status::kPass) << c.name();
    EXPECT_EQ(run_on_device(context, data).after, run_on_device(context_of(GetParam()), data).after)
        << c.name();
  }
  EXPECT_EQ(context.kernels().counts().loaded, 2u);
}

INSTANTIATE_TEST_SUITE_P(All, EveryReaderArrives,
                         testing::Values(std::string("emu:sm_120a"), std::string("emu:sm_90a")),
                         [](auto const& info) { return test_name(info.param.substr(4)); });

class MutationsOnDevice : public testing::TestWithParam<std::string> {};

TEST_P(MutationsOnDevice, AreRejected) {
  Context& context = context_of(GetParam());
  std::vector<Case> cases = mutation_cases();
  for (std::size_t i : {std::size_t{1}, cases.size() - 2}) {
    Choice const choice = choose(cases[i], context.arch());
    ASSERT_EQ(choice.refused, "");
    auto const produce = [&](CaseData const& data) { return run_on_device(context, data).after; };
    for (MutationOutcome const& outcome : mutate_case(cases[i], choice.arithmetic, 0, produce, test_pool()))
      EXPECT_EQ(outcome.rejected, outcome.mutation != "none") << cases[i].name() << ": " << outcome.mutation;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MutationsOnDevice,
                         testing::Values(std::string("emu:sm_120a"), std::string("emu:sm_90a")),
                         [](auto const& info) { return test_name(info.param.substr(4)); });

/// A call that is refused leaves d as it was.
TEST(RefusedCalls, TouchNothing) {
  Context& context = context_of("emu:sm_120a");
  Backend& backend = context.backend();
  DeviceAddress const memory = backend.allocate(1 << 16);
  std::vector<std::byte> const before(1 << 16, std::byte{0x5a});
  backend.copy_to_device(memory, before, nullptr);
  GemmCall call;
  call.a = contiguous_view(memory, Dtype::kE4m3, {4, 128});
  call.b = contiguous_view(memory + 4096, Dtype::kE4m3, {40, 128});
  call.scale_a = contiguous_view(memory + 16384, Dtype::kF32, {4, 1});
  call.scale_b = contiguous_view(memory + 20480, Dtype::kF32, {40, 2});  // two groups of k where there is one
  call.d = contiguous_view(memory + 32768, Dtype::kBf16, {4, 40});
  call.recipe_a = call.recipe_b = {1, 128};
  EXPECT_THROW(fp8_fp4_gemm_nt(context, call), Error);
  std::vector<std::byte> after(before.size());
  backend.copy_to_host(after, memory, nullptr);
  EXPECT_EQ(after, before);
  backend.release(memory);
}

/// Scales whose product no FP32 holds, beside data that are zero: the result is zero, not 0 * infinity.
class HugeScales : public testing::TestWithParam<std::string> {};

TEST_P(HugeScales, OfZerosGiveZeros) {
  Context& context = context_of(GetParam());
  Backend& backend = context.backend();
  constexpr std::int64_t kRows = 4, kCols = 40, kK = 128;
  for (Dtype const b_type : {Dtype::kE4m3, Dtype::kI8}) {
    std::vector<std::byte> memory(1 << 16, std::byte{0});  // a and b are zero
    std::fill_n(memory.begin() + 16384, 8192, std::byte{254});
    DeviceAddress const at = backend.allocate(memory.size());
    backend.copy_to_device(at, memory, nullptr);
    bool const packed = b_type == Dtype::kI8;
    GemmCall call;
    call.a = contiguous_view(at, Dtype::kE4m3, {kRows, kK});
    call.b = contiguous_view(at + 4096, b_type, {kCols, packed ? kK / 2 : kK});
    call.scale_a = contiguous_view(at + 16384, Dtype::kUe8m0, {kRows, 1});
    call.scale_b = contiguous_view(at + 20480, Dtype::kUe8m0, {kCols, packed ? kK / 32 : 1});
    call.d = contiguous_view(at + 32768, Dtype::kF32, {kRows, kCols});
    call.recipe_a = {1, 128};
    call.recipe_b = {1, packed ? 32 : 128};
    fp8_fp4_gemm_nt(context, call);
    std::vector<float> d(kRows * kCols, 1.0f);
    backend.copy_to_host(std::as_writable_bytes(std::span(d)), call.d.data, nullptr);
    for (float value : d) ASSERT_EQ(value, 0.0f) << name_of(b_type);
    backend.release(at);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, HugeScales, testing::ValuesIn(kKernelTestDevices),
                         [](auto const& info) { return test_name(info.param); });

}  // namespace
}  // namespace deepwell::check
