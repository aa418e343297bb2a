// Lists of launches: order on a stream, events, programmatic dependent launch, and runs that repeat under one seed.
#include <gtest/gtest.h>

#include <cstring>

#include "emu/emu.hpp"
#include "launch_kernels.hpp"

namespace deepwell::emu {
namespace {

using namespace deepwell::testing;

// write: d[i] = i + 1. read: e[i] = d[i]. The variants differ in where they deal with other launches.
std::string const kText =
    ptx_head() +
    launch_kernel("write", kLaunchDependents + "  add.u32 %r2, %r1, 1;\n  st.global.u32 [%rd5], %r2;\n") +
    launch_kernel("read_after_wait", kLaunchDependents + kWait + kReadD + kWriteE) +
    launch_kernel("read_before_wait", kReadD + kWait + kWriteE) +
    launch_kernel("nothing", kLaunchDependents) + launch_kernel("wait_for_flag", kLaunchDependents + R"(AGAIN:
  ld.acquire.gpu.global.u32 %r2, [%rd1];
  setp.eq.u32 %p, %r2, 0;
  @%p bra AGAIN;
)") +
    launch_kernel("set_flag", "  mov.u32 %r2, 1;\n  st.release.gpu.global.u32 [%rd1], %r2;\n" + kWait) +
    launch_kernel("tickets", R"(  mov.u32 %r2, %ctaid.x;
  mul.wide.u32 %rd2, %r2, 4;
  add.u64 %rd3, %rd3, %rd2;
  atom.add.u32 %r3, [%rd1], 1;
  st.global.u32 [%rd3], %r3;
)");

class Lists : public ::testing::Test {
 protected:
  Lists() : module(Module::parse(kText, Profile{}, "list.ptx")) {
    d = memory.allocate(128, "d");
    e = memory.allocate(128, "e");
    memory.fill(d, 128, std::byte{0});
  }
  GridLaunch grid(char const* kernel, int stream = 0, bool programmatic = false,
                  std::vector<std::size_t> after = {}) const {
    GridLaunch out;
    out.module = module;
    out.kernel = kernel;
    out.params.resize(24);
    out.config.block = {32, 1, 1};
    std::memcpy(out.params.data(), &d, 8);
    std::memcpy(out.params.data() + 8, &e, 8);
    out.stream = stream;
    out.programmatic = programmatic;
    out.after = std::move(after);
    return out;
  }
  /// The finding of the report, or "" when the list runs and e[31] is `expected` (0: not looked at).
  std::string run(std::vector<GridLaunch> const& list, std::uint32_t expected = 0, std::uint64_t seed = 0) {
    try {
      launch_list(list, memory, {.seed = seed}, Profile{});
    } catch (Report const& report) {
      text = report.what();
      return name_of(report.finding());
    }
    if (expected != 0) {
      std::uint32_t last = 0;
      memory.read(e + 124, std::as_writable_bytes(std::span(&last, 1)));
      EXPECT_EQ(last, expected);
    }
    return "";
  }

  std::shared_ptr<Module const> module;
  Memory memory;
  std::uint64_t d = 0, e = 0;
  std::string text;
};

TEST_F(Lists, AStreamRunsInOrder) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(run({grid("write"), grid("read_before_wait")}, 32, seed), "") << text;
}

TEST_F(Lists, StreamsAreNotOrdered) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(run({grid("write", 0), grid("read_after_wait", 1)}, 0, seed), "race");
  EXPECT_NE(text.find("launch 0"), std::string::npos) << text;
  EXPECT_NE(text.find("launch 1"), std::string::npos) << text;
}

TEST_F(Lists, EventsOrderStreams) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(run({grid("write", 0), grid("read_after_wait", 1, false, {0})}, 32, seed), "") << text;
}

TEST_F(Lists, WaitingOrdersProgrammaticLaunches) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(run({grid("write"), grid("read_after_wait", 0, true)}, 32, seed), "") << text;
}

TEST_F(Lists, ReadingBeforeTheWaitIsARace) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(run({grid("write"), grid("read_before_wait", 0, true)}, 0, seed), "race");
  EXPECT_NE(text.find("griddepcontrol.wait"), std::string::npos) << text;
}

TEST_F(Lists, EndingWithoutTheWaitIsReported) {
  EXPECT_EQ(run({grid("write"), grid("nothing", 0, true)}), "dependency");
  EXPECT_EQ(run({grid("write"), grid("nothing")}), "");
}

TEST_F(Lists, TheFirstLaunchHasNothingToWaitFor) {
  EXPECT_EQ(run({grid("nothing", 0, true), grid("read_after_wait", 0, true)}), "");
}

TEST_F(Lists, LaunchesOverlapWhereTheyMay) {
  // The first kernel ends only when the second, programmatic one has set the flag: they must run at the same time.
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    memory.fill(d, 128, std::byte{0});
    EXPECT_EQ(run({grid("wait_for_flag"), grid("set_flag", 0, true)}, 0, seed), "") << text;
  }
  memory.fill(d, 128, std::byte{0});
  EXPECT_EQ(run({grid("wait_for_flag"), grid("set_flag")}), "deadlock");
}

TEST_F(Lists, AThirdLaunchWaitsOnlyForTheSecond) {
  // What the first wrote is known after the second's end only if the second waited.
  EXPECT_EQ(run({grid("write"), grid("read_after_wait", 0, true), grid("read_after_wait", 0, true)}, 32), "")
      << text;
}

TEST_F(Lists, OneSeedOneRun) {
  auto const tickets = [&](std::uint64_t seed) {
    memory.fill(d, 128, std::byte{0});
    GridLaunch list = grid("tickets");
    list.config.grid = {32, 1, 1};
    list.config.block = {1, 1, 1};
    launch_list({&list, 1}, memory, {.seed = seed}, Profile{});
    std::vector<std::uint32_t> out(32);
    memory.read(e, std::as_writable_bytes(std::span(out)));
    return out;
  };
  bool differ = false;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    EXPECT_EQ(tickets(seed), tickets(seed)) << "seed " << seed;
    differ = differ || tickets(seed) != tickets(0);
  }
  EXPECT_TRUE(differ);
}

TEST_F(Lists, MistakesAreNamed) {
  try {
    run({grid("write", 0, false, {0})});
    FAIL();
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "launches[0].after");
    EXPECT_EQ(error.got(), "0");
  }
}

}  // namespace
}  // namespace deepwell::emu
