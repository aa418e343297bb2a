// clusterlaunchcontrol: CTAs take others that have not started; all work is done once, under every seed and without checks.
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "emu/emu.hpp"

namespace deepwell::emu {
namespace {

constexpr std::uint32_t kCtas = 12;

// out[0]: CTAs that ran; out[1 + i]: how often the work of CTA i was done.
constexpr char const* kKernel = R"(.version 8.8
.target sm_120a
.address_size 64
.visible .entry k(.param .u64 out) {
  .reg .pred %p<4>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<4>;
  .reg .b128 %q;
  .shared .align 16 .b8 sm[64];
  ld.param.u64 %rd0, [out];
  red.global.add.u32 [%rd0], 1;
  mov.u32 %r0, %ctaid.x;
  mov.u32 %r1, 0;
  mov.u32 %r2, sm;
  mbarrier.init.shared::cta.b64 [%r2], 1;
  fence.mbarrier_init.release.cluster;
WORK:
  mul.wide.u32 %rd1, %r0, 4;
  add.u64 %rd1, %rd0, %rd1;
  red.global.add.u32 [%rd1+4], 1;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 16;
  clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.b128 [%r2+16], [%r2];
WAIT:
  mbarrier.try_wait.parity.shared::cta.b64 %p0, [%r2], %r1;
  @!%p0 bra WAIT;
  xor.b32 %r1, %r1, 1;
  ld.shared.b128 %q, [%r2+16];
  fence.proxy.async.shared::cta;
  clusterlaunchcontrol.query_cancel.is_canceled.pred.b128 %p1, %q;
  @!%p1 bra DONE;
  clusterlaunchcontrol.query_cancel.get_first_ctaid::x.b32.b128 %r0, %q;
  bra WORK;
DONE:
  ret;
}
)";

std::vector<std::uint32_t> run(Options const& options) {
  Profile const profile = parse_profile("emu:sm_120a:4");
  auto const module = Module::parse(kKernel, profile);
  Memory memory;
  std::vector<std::uint32_t> out(1 + kCtas);
  std::uint64_t const address = memory.allocate(out.size() * 4);
  memory.fill(address, out.size() * 4, std::byte{0});
  std::vector<std::byte> params(8);
  std::memcpy(params.data(), &address, 8);
  LaunchConfig config;
  config.grid = {kCtas, 1, 1};
  launch(*module, "k", config, params, memory, options, profile);
  memory.read(address, {reinterpret_cast<std::byte*>(out.data()), out.size() * 4});
  return out;
}

TEST(LaunchControl, AllWorkIsDoneOnceUnderEverySeed) {
  std::set<std::uint32_t> ran;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Options options;
    options.seed = seed;
    auto const out = run(options);
    for (std::uint32_t i = 0; i < kCtas; ++i) EXPECT_EQ(out[1 + i], 1u) << "CTA " << i << ", seed " << seed;
    ran.insert(out[0]);
    if (seed == 0) {
      EXPECT_EQ(out[0], 1u) << "the first one takes all";
    }
  }
  EXPECT_GT(ran.size(), 3u);
  EXPECT_LT(*ran.rbegin(), kCtas);
}

TEST(LaunchControl, WithoutChecksOnSeveralThreads) {
  for (int round = 0; round < 20; ++round) {
    Options options;
    options.check = false;
    options.threads = 4;
    auto const out = run(options);
    for (std::uint32_t i = 0; i < kCtas; ++i) EXPECT_EQ(out[1 + i], 1u) << i;
    EXPECT_LE(out[0], kCtas);
  }
}

TEST(LaunchControl, SeveralLaunchesInOneListKeepTheirOwn) {
  Profile const profile = parse_profile("emu:sm_120a:4");
  auto const module = Module::parse(kKernel, profile);
  Memory memory;
  std::vector<GridLaunch> launches;
  std::vector<std::uint64_t> addresses;
  for (int i = 0; i < 3; ++i) {
    std::uint64_t const address = memory.allocate((1 + kCtas) * 4);
    memory.fill(address, (1 + kCtas) * 4, std::byte{0});
    std::vector<std::byte> params(8);
    std::memcpy(params.data(), &address, 8);
    LaunchConfig config;
    config.grid = {kCtas, 1, 1};
    launches.push_back(
        {.module = module, .kernel = "k", .config = config, .params = params, .stream = i % 2, .after = {}});
    addresses.push_back(address);
  }
  launch_list(launches, memory, {}, profile);
  for (std::uint64_t const address : addresses) {
    std::vector<std::uint32_t> out(1 + kCtas);
    memory.read(address, {reinterpret_cast<std::byte*>(out.data()), out.size() * 4});
    for (std::uint32_t i = 0; i < kCtas; ++i) EXPECT_EQ(out[1 + i], 1u);
  }
}

}  // namespace
}  // namespace deepwell::emu
