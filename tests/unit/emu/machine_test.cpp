// The machine: kernels compiled from CUDA, divergence, barriers, reports, poison, bounds, seeds and host threads.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "emu/emu.hpp"

namespace deepwell::emu {
namespace {

/// A parameter block, each value at its natural alignment.
class Params {
 public:
  template <class T>
  Params& add(T value) {
    std::size_t const at = (bytes_.size() + sizeof(T) - 1) / sizeof(T) * sizeof(T);
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
    return *this;
  }
  operator std::span<std::byte const>() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

template <class T>
std::uint64_t upload(Memory& memory, std::vector<T> const& values, std::string label) {
  std::uint64_t const address = memory.allocate(values.size() * sizeof(T), std::move(label));
  memory.write(address, std::as_bytes(std::span(values)));
  return address;
}
template <class T>
std::vector<T> download(Memory& memory, std::uint64_t address, std::size_t count) {
  std::vector<T> out(count);
  memory.read(address, std::as_writable_bytes(std::span(out)));
  return out;
}

std::string const kHead = ".version 8.8\n.target sm_120a\n.address_size 64\n";

/// What launching the kernel `k` of `source` with one buffer of `words` zeros says; empty when it runs.
std::string failure_of(std::string const& source, std::size_t words = 32,
                       LaunchConfig const& config = {.block = {32, 1, 1}}, Options const& options = {}) {
  auto const module = Module::parse(kHead + source, Profile{}, "kernel.ptx");
  Memory memory;
  std::uint64_t const d = upload(memory, std::vector<std::uint32_t>(words), "d");
  try {
    launch(*module, "k", config, Params().add(d), memory, options, Profile{});
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice) << error.what();
    return error.what();
  }
  return {};
}
void expect_mentions(std::string const& text, std::initializer_list<char const*> parts) {
  for (char const* part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << '"' << part << "\" is missing in: " << text;
}

class CudaKernels : public ::testing::TestWithParam<std::tuple<std::uint64_t, int, bool>> {
 protected:
  void SetUp() override {
    std::ifstream file(DW_SOURCE_DIR "/tests/unit/emu/programs/cuda_kernels.ptx");
    std::stringstream text;
    text << file.rdbuf();
    module_ = Module::parse(text.str(), Profile{}, "cuda_kernels.ptx");
    options_.seed = std::get<0>(GetParam());
    options_.threads = std::get<1>(GetParam());
    options_.check = std::get<2>(GetParam());
  }
  Statistics run(char const* kernel, std::array<std::uint32_t, 3> grid, std::array<std::uint32_t, 3> block,
                 Params const& params) {
    return launch(*module_, kernel, {.grid = grid, .block = block}, params, memory_, options_, Profile{});
  }
  std::shared_ptr<Module const> module_;
  Memory memory_;
  Options options_;
};

TEST_P(CudaKernels, Reduction) {
  std::vector<float> in(10000);
  float want = 0;
  for (std::size_t i = 0; i < in.size(); ++i) want += in[i] = static_cast<float>(i % 17);
  std::uint64_t const a = upload(memory_, in, "in"), d = upload(memory_, std::vector<float>{0}, "out");
  Statistics const statistics = run("reduce_sum", {4, 1, 1}, {256, 1, 1}, Params().add(a).add(d).add(10000));
  EXPECT_EQ(download<float>(memory_, d, 1)[0], want);
  EXPECT_EQ(statistics.ctas, 4u);
  EXPECT_EQ(statistics.by_opcode.at("bar.sync"), 4u * 8u);
}

TEST_P(CudaKernels, HistogramWithAtomics) {
  std::vector<unsigned char> in(5000);
  std::vector<unsigned> want(256);
  for (std::size_t i = 0; i < in.size(); ++i) ++want[in[i] = static_cast<unsigned char>(i * i * 31)];
  std::uint64_t const a = upload(memory_, in, "in"), d = upload(memory_, std::vector<unsigned>(256), "out");
  run("histogram", {3, 1, 1}, {128, 1, 1}, Params().add(a).add(d).add(5000));
  EXPECT_EQ(download<unsigned>(memory_, d, 256), want);
}

TEST_P(CudaKernels, DivergentLoops) {
  std::vector<unsigned> in(300), want(300);
  for (std::size_t i = 0; i < in.size(); ++i) {
    in[i] = static_cast<unsigned>(i + 1);
    for (unsigned long long v = in[i]; v != 1; ++want[i]) v = v & 1 ? 3 * v + 1 : v / 2;
  }
  std::uint64_t const a = upload(memory_, in, "in"), d = memory_.allocate(4 * in.size(), "out");
  run("collatz", {3, 1, 1}, {128, 1, 1}, Params().add(a).add(d).add(300));
  EXPECT_EQ(download<unsigned>(memory_, d, 300), want);
}

TEST_P(CudaKernels, Softmax) {
  int const columns = 300;
  std::vector<float> in(4 * columns);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = std::sin(static_cast<float>(i)) * 5;
  std::uint64_t const a = upload(memory_, in, "in"), d = memory_.allocate(in.size() * 4, "out");
  run("softmax", {4, 1, 1}, {96, 1, 1}, Params().add(a).add(d).add(columns));
  auto const out = download<float>(memory_, d, in.size());
  for (std::size_t row = 0; row < 4; ++row) {
    double sum = 0;
    for (int i = 0; i < columns; ++i) sum += std::exp(static_cast<double>(in[row * columns + i]));
    for (int i = 0; i < columns; ++i) {
      EXPECT_NEAR(out[row * columns + i], std::exp(static_cast<double>(in[row * columns + i])) / sum, 1e-8);
    }
  }
}

TEST_P(CudaKernels, TransposeWithBoundaries) {
  int const n = 70;
  std::vector<int> in(n * n), want(n * n);
  for (int i = 0; i < n * n; ++i) in[i] = i;
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) want[i * n + j] = in[j * n + i];
  }
  std::uint64_t const a = upload(memory_, in, "in"), d = memory_.allocate(in.size() * 4, "out");
  run("transpose", {3, 3, 1}, {32, 8, 1}, Params().add(a).add(d).add(n));
  EXPECT_EQ(download<int>(memory_, d, in.size()), want);
}

TEST_P(CudaKernels, LastBlockSumsUpTwice) {
  std::vector<float> in(3000);
  float want = 0;
  for (std::size_t i = 0; i < in.size(); ++i) want += in[i] = static_cast<float>(i % 7);
  std::uint64_t const a = upload(memory_, in, "in"), p = memory_.allocate(40, "partial"),
                      d = memory_.allocate(4, "out");
  for (int round = 0; round < 2; ++round) {  // the module's ticket keeps its value between launches
    run("last_block", {10, 1, 1}, {256, 1, 1}, Params().add(a).add(p).add(d).add(3000));
    EXPECT_EQ(download<float>(memory_, d, 1)[0], want);
    memory_.fill(d, 4, std::byte{0});
  }
}

TEST_P(CudaKernels, ResidentCtasMayWaitForEachOther) {
  std::uint64_t const flag = upload(memory_, std::vector<unsigned>{0}, "flag"),
                      d = memory_.allocate(20 * 64 * 4, "out");
  run("grid_spin", {20, 1, 1}, {64, 1, 1}, Params().add(flag).add(d));
  auto const out = download<unsigned>(memory_, d, 20 * 64);
  for (unsigned i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], i / 64);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CudaKernels,
                         ::testing::Values(std::tuple{0, 1, true}, std::tuple{1, 2, true},
                                           std::tuple{99, 2, false}));

std::string const kEntry =
    ".visible .entry k(.param .u64 d) {\n.reg .pred %p<4>;\n.reg .b32 %r<9>;\n.reg .b64 "
    "%rd<9>;\nld.param.u64 %rd1, [d];\nmov.u32 %r1, %tid.x;\n";

TEST(MachineReports, OutOfBoundsNamesPlaceAndAllocation) {
  std::string const text =
      failure_of(".file 1 \"kernel.cu\"\n" + kEntry +
                 ".loc 1 42 3\nsetp.eq.u32 %p1, %r1, 5;\n@%p1 st.global.u32 [%rd1+200], %r1;\nret;\n}");
  expect_mentions(text, {"kernel k", "CTA (0,0,0)", "warp 0", "lane 5", "thread (5,0,0)", "kernel.ptx:13",
                         "st.global.u32 [%rd1+200], %r1", "kernel.cu:42", "72 bytes after the end of \"d\"",
                         "128 bytes]", "write of 4 bytes"});
}

TEST(MachineReports, BoundsHoldWithoutChecks) {
  Options options;
  options.check = false;
  std::string const body[] = {"mov.u64 %rd2, 0;\nld.u32 %r2, [%rd2];",
                              "mov.u64 %rd2, -8;\nld.global.u64 %rd3, [%rd2];",
                              "mov.u64 %rd2, 0x7fffffffffffffff;\nst.global.u32 [%rd2], %r1;",
                              "mov.u64 %rd2, 0x200000000;\nst.u32 [%rd2], %r1;",
                              "mov.u64 %rd2, 0x2ffffffff;\nst.u8 [%rd2], %r1;",
                              "mov.u64 %rd2, 0x300000000;\nld.u32 %r2, [%rd2];",
                              "mov.u64 %rd2, 0x3fffffffc;\nld.u32 %r2, [%rd2];",
                              "mov.u64 %rd2, 0x400000004;\nld.u64 %rd3, [%rd2+4];",
                              "ld.param.u64 %rd3, [d+8];",
                              "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1+128];",
                              "atom.global.add.u32 %r2, [%rd1+-4], 1;",
                              "atom.shared.add.u32 %r2, [%r1], 1;",
                              "mov.u32 %r2, 0xfffffffc;\nst.shared.u32 [%r2], %r1;"};
  for (std::string const& one : body) {
    EXPECT_FALSE(failure_of(kEntry + one + "\nret;\n}", 32, {.block = {32, 1, 1}}, options).empty()) << one;
  }
}

TEST(MachineReports, DeadlockSaysWhoWaits) {
  std::string const text = failure_of(
      kEntry + "setp.ge.u32 %p1, %r1, 32;\n@%p1 bra B;\nbar.sync 1, 64;\nret;\nB:\nbar.sync 2, 64;\nret;\n}",
      32, {.block = {64, 1, 1}});
  expect_mentions(text,
                  {"deadlock", "warp 0", "warp 1", "barrier 1", "barrier 2", "bar.sync 1, 64", "32 threads"});
}

TEST(MachineReports, LanesThatNeverMeetAreADeadlock) {
  std::string const text = failure_of(kEntry +
                                      "setp.lt.u32 %p1, %r1, 16;\n@%p1 bra A;\nshfl.sync.idx.b32 %r2, %r1, "
                                      "0, 31, -1;\nA:\nvote.sync.ballot.b32 %r3, %p1, -1;\nret;\n}");
  expect_mentions(text, {"deadlock", "shfl.sync", "vote.sync", "lanes 0xffff0000", "0x0000ffff"});
}

TEST(MachineReports, EndlessLoopsStop) {
  Options options;
  options.max_steps = 100000;
  expect_mentions(failure_of(kEntry + "L:\nbra L;\n}", 32, {.block = {32, 1, 1}}, options),
                  {"100000 warp-instructions", "bra L"});
}

TEST(MachineReports, BarrierMisuse) {
  expect_mentions(failure_of(kEntry + "bar.sync 16;\nret;\n}"), {"barrier 16"});
  expect_mentions(failure_of(kEntry + "bar.sync 1, 33;\nret;\n}"), {"33 threads"});
  expect_mentions(failure_of(kEntry + "bar.sync %r1;\nret;\n}"), {"differs between lanes"});
}

TEST(MachineReports, LaunchLimits) {
  std::string const body = kEntry + "ret;\n}";
  EXPECT_FALSE(failure_of(body, 32, {.block = {1025, 1, 1}}).empty());
  EXPECT_FALSE(failure_of(body, 32, {.block = {32, 1, 1}, .dynamic_smem_bytes = 101377}).empty());
  EXPECT_FALSE(failure_of(body, 32, {.grid = {1, 70000, 1}}).empty());
  EXPECT_TRUE(failure_of(body, 32, {.block = {32, 1, 1}, .dynamic_smem_bytes = 101376}).empty());
}

TEST(Barriers, ReductionBelongsToTheUseThatAWarpArrivedIn) {
  // Warps 0 and 1 reduce; warp 0 then lets warps 2 and 3 use the same barrier, maybe before warp 1 goes on.
  std::string const body = kEntry + R"(
    setp.ge.u32 %p1, %r1, 64;
    @%p1 bra SECOND;
    setp.ge.u32 %p1, %r1, 0;
    bar.red.popc.u32 %r2, 1, 64, %p1;
    setp.lt.u32 %p1, %r1, 32;
    @%p1 bar.arrive 2, 96;
    bra STORE;
    SECOND: bar.sync 2, 96;
    setp.eq.u32 %p1, %r1, 64;
    bar.red.popc.u32 %r2, 1, 64, %p1;
    STORE: mul.wide.u32 %rd2, %r1, 4;
    add.u64 %rd1, %rd1, %rd2;
    st.global.u32 [%rd1], %r2;
    ret;
    })";
  auto const module = Module::parse(kHead + body, Profile{}, "kernel.ptx");
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Memory memory;
    std::uint64_t const d = upload(memory, std::vector<std::uint32_t>(128), "d");
    launch(*module, "k", {.block = {128, 1, 1}}, Params().add(d), memory, {.seed = seed}, Profile{});
    auto const got = download<std::uint32_t>(memory, d, 128);
    for (std::size_t i = 0; i < 128; ++i) ASSERT_EQ(got[i], i < 64 ? 64u : 1u) << i << ", seed " << seed;
  }
}

/// Lanes of these kernels share words as they like.
Options const kNoRace = {.race = false};

TEST(Poison, UnusedGarbageIsFine) {
  // The load of undefined shared memory is masked away by selp, and a dead register is never written anywhere.
  std::string const body = ".shared .align 16 .b8 buf[256];\n" + kEntry +
                           "ld.shared.v2.u32 {%r2, %r3}, [buf];\nsetp.lt.u32 %p1, %r1, 32;\nselp.u32 %r4, "
                           "%r1, %r2, %p1;\nst.global.u32 [%rd1], %r4;\nret;\n}";
  EXPECT_EQ(failure_of(body, 32, {.block = {32, 1, 1}}, kNoRace), "");
}

TEST(Poison, TravelsThroughArithmeticAndMemory) {
  std::string const start = ".shared .align 16 .b8 buf[256];\n" + kEntry;
  std::string const through_shared =
      "add.u32 %r3, %r2, 1;\nst.shared.u32 [buf], %r3;\nld.shared.u32 %r4, [buf];\nxor.b32 %r5, %r4, "
      "%r1;\nst.global.u32 [%rd1], %r5;\nret;\n}";
  expect_mentions(failure_of(start + through_shared, 32, {.block = {32, 1, 1}}, kNoRace),
                  {"never defined", "%r5", "stored to global"});
  std::string const overwritten =
      "st.shared.u32 [buf], %r2;\nst.shared.u32 [buf], 3;\nld.shared.u32 %r4, [buf];\nst.global.u32 [%rd1], "
      "%r4;\nret;\n}";
  EXPECT_EQ(failure_of(start + overwritten, 32, {.block = {32, 1, 1}}, kNoRace), "");
  std::string const shuffled =
      "setp.eq.u32 %p1, %r1, 0;\n@%p1 mov.u32 %r2, 4;\nshfl.sync.idx.b32 %r3, %r2, 0, 31, -1;\nst.global.u32 "
      "[%rd1], %r3;\nret;\n}";
  EXPECT_EQ(failure_of(start + shuffled, 32, {.block = {32, 1, 1}}, kNoRace), "")
      << "only lane 0's value is used";
  std::string const from_lane_1 =
      "setp.eq.u32 %p1, %r1, 0;\n@%p1 mov.u32 %r2, 4;\nshfl.sync.idx.b32 %r3, %r2, 1, 31, -1;\nst.global.u32 "
      "[%rd1], %r3;\nret;\n}";
  EXPECT_NE(failure_of(start + from_lane_1, 32, {.block = {32, 1, 1}}, kNoRace), "");
}

TEST(MemoryTest, HostAccessIsChecked) {
  Memory memory;
  std::uint64_t const a = memory.allocate(100, "a");
  std::vector<std::byte> bytes(101);
  EXPECT_THROW(memory.write(a, bytes), Error);
  EXPECT_THROW(memory.read(a + 100, std::span(bytes).first(1)), Error);
  EXPECT_THROW(memory.fill(a - 1, 2, std::byte{0}), Error);
  EXPECT_THROW(memory.release(a + 1), Error);
  memory.release(a);
  EXPECT_THROW(memory.write(a, std::span(bytes).first(1)), Error);
}

TEST(Profiles, NamesAreParsed) {
  EXPECT_EQ(parse_profile("emu:sm_120a").sm_count, 188);
  EXPECT_EQ(parse_profile("emu:sm_121a:20").sm_count, 20);
  EXPECT_EQ(parse_profile("emu:sm_90a").smem_per_cta, 232448);
  EXPECT_THROW(parse_profile("emu:sm_120a:x"), Error);
  EXPECT_THROW(parse_profile("emu:sm_75"), Error);
}

}  // namespace
}  // namespace deepwell::emu
