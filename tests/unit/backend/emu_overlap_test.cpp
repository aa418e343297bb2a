// The emulator as a Backend: launches that wait and overlap, what becomes of their reports, and threads that share a backend.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

#include "backend/emu/emu_backend.hpp"
#include "base/log.hpp"
#include "launch_kernels.hpp"

namespace deepwell {
namespace {

using ::testing::HasSubstr;

using namespace deepwell::testing;

// write: d[i] = i. read_after_wait, read_before_wait: e[i] = d[i]. no_wait: ends without the wait. count: *e += 1. hold: *d = 1,
// then waits until *e is not 0, then writes the words at f.
std::string const kPtx =
    ptx_head() + launch_kernel("write", kLaunchDependents + kWait + "  st.global.u32 [%rd5], %r1;\n") +
    launch_kernel("read_after_wait", kWait + kReadD + kWriteE) +
    launch_kernel("read_before_wait", kReadD + kWait + kWriteE) +
    launch_kernel("no_wait", kLaunchDependents) +
    launch_kernel("count", kWait + "  red.global.add.u32 [%rd3], 1;\n") +
    launch_kernel("hold", R"(  mov.u32 %r2, 1;
  st.release.sys.global.u32 [%rd1], %r2;
AGAIN:
  ld.acquire.sys.global.u32 %r2, [%rd3];
  setp.eq.u32 %p, %r2, 0;
  @%p bra AGAIN;
  st.global.u32 [%rd7], %r1;
)");

constexpr std::size_t kBytes = 128;

class Overlap : public ::testing::Test {
 protected:
  Overlap() : backend(std::in_place, "emu:sm_120a") {
    d = backend->allocate_zeroed(kBytes);
    e = backend->allocate_zeroed(kBytes);
  }

  std::shared_ptr<LoadedKernel> kernel(char const* entry) {
    return backend->load({.entry = entry, .target = "sm_120a", .cubin = {}, .ptx = kPtx}, 0);
  }
  void launch(char const* entry, bool programmatic, std::array<DeviceAddress, 3> const& params,
              std::uint32_t threads = 32) {
    backend->launch(*kernel(entry), {.threads = threads, .programmatic_dependent_launch = programmatic},
                    std::as_bytes(std::span(params)));
  }
  void launch(char const* entry, bool programmatic) { launch(entry, programmatic, {d, e, 0}); }
  /// None when `call` reports nothing.
  template <class Call>
  static std::optional<emu::Finding> finding_of(Call&& call) {
    try {
      call();
    } catch (emu::Report const& report) {
      return report.finding();
    }
    return std::nullopt;
  }
  std::optional<emu::Finding> finding() {
    return finding_of([&] { backend->synchronize(nullptr); });
  }
  std::uint32_t word(DeviceAddress at) {
    std::uint32_t out = 0;
    backend->copy_to_host(std::as_writable_bytes(std::span(&out, 1)), at, nullptr);
    return out;
  }

  std::optional<EmuBackend> backend;
  DeviceAddress d = 0, e = 0;
};

TEST_F(Overlap, APlainLaunchReportsAtTheCall) {
  EXPECT_EQ(finding_of([&] { launch("write", false, {8, e, 0}); }), emu::Finding::kMemory);
  EXPECT_EQ(finding(), std::nullopt);
}

TEST_F(Overlap, AProgrammaticLaunchOverlapsThePlainOneBeforeIt) {
  backend->set_overlap(true);
  launch("write", false);
  launch("read_before_wait", true);
  EXPECT_EQ(finding(), emu::Finding::kRace);
  launch("write", false);
  launch("no_wait", true);
  EXPECT_EQ(finding(), emu::Finding::kDependency);
  launch("write", false);
  launch("read_after_wait", true);
  EXPECT_EQ(finding(), std::nullopt);
  EXPECT_EQ(word(e + 4 * 31), 31u);
}

TEST_F(Overlap, PlainLaunchesWaitOnceAProgrammaticOneWasSeen) {
  launch("write", true);
  EXPECT_EQ(finding(), std::nullopt);
  launch("write", false);
  launch("read_before_wait", true);
  EXPECT_EQ(finding(), emu::Finding::kRace);
  launch("write", false, {8, e, 0});
  EXPECT_EQ(finding(), emu::Finding::kMemory);
}

TEST_F(Overlap, WithoutOverlapPlainLaunchesRunAtOnceAgain) {
  backend->set_overlap(true);
  launch("write", false, {8, e, 0});
  EXPECT_EQ(finding(), emu::Finding::kMemory);
  backend->set_overlap(false);
  EXPECT_EQ(finding_of([&] { launch("write", false, {8, e, 0}); }), emu::Finding::kMemory);
}

TEST_F(Overlap, ParametersAreCheckedAtTheCall) {
  backend->set_overlap(true);
  std::array<std::byte, 16> const few{};
  try {
    backend->launch(*kernel("write"), {.threads = 32}, few);
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "params");
  }
  EXPECT_EQ(finding(), std::nullopt);
}

TEST_F(Overlap, MemoryIsReleasedAlsoWhenThatReports) {
  backend->set_overlap(true);
  launch("write", false, {8, e, 0});
  EXPECT_EQ(finding_of([&] { backend->release(d); }), emu::Finding::kMemory);
  EXPECT_THROW(backend->release(d), Error);
}

TEST_F(Overlap, AnyNumberOfLaunchesMayWait) {
  constexpr std::uint32_t kLaunches = 5000;
  std::array<DeviceAddress, 3> const params{d, backend->notes_address(), 0};
  for (std::uint32_t i = 0; i < kLaunches; ++i) launch("count", true, params, 1);
  EXPECT_EQ(backend->read_note(0), 4096u);
  backend->synchronize(nullptr);
  EXPECT_EQ(backend->read_note(0), kLaunches);
}

TEST_F(Overlap, WhatWaitsAtTheEndRunsAndItsReportIsLogged) {
  std::uint32_t counter = 0;
  DeviceAddress const mapped = backend->memory().map(std::as_writable_bytes(std::span(&counter, 1)));
  std::vector<std::string> messages;
  LogSink const before = set_log_sink([&](LogLevel level, std::string_view message) {
    if (level == LogLevel::kError) messages.emplace_back(message);
  });
  launch("count", true, {d, mapped, 0}, 1);
  EXPECT_EQ(counter, 0u);
  backend.emplace("emu:sm_120a");
  EXPECT_EQ(counter, 1u);
  EXPECT_TRUE(messages.empty());
  launch("write", true, {8, 0, 0});
  backend.reset();
  set_log_sink(before);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_THAT(messages[0], HasSubstr("write"));
}

TEST_F(Overlap, LaunchesAndReleasesWaitWhileAnotherThreadRunsAList) {
  std::array<std::uint32_t, 3> words{};  // started, go, counter
  DeviceAddress const mapped = backend->memory().map(std::as_writable_bytes(std::span(words)));
  std::atomic_ref<std::uint32_t> const started(words[0]), go(words[1]), counter(words[2]);
  DeviceAddress const workspace = backend->allocate_async(kBytes, nullptr);
  backend->set_overlap(true);
  launch("hold", false, {mapped, mapped + 4, workspace});
  backend->set_overlap(false);
  std::optional<emu::Finding> found;
  std::thread runner([&] { found = finding(); });
  while (started.load() == 0) std::this_thread::yield();
  backend->release_async(workspace, nullptr);
  // As of a pool, and known to be the same only because it was not freed.
  EXPECT_EQ(backend->allocate_async(kBytes, nullptr), workspace);
  backend->release_async(workspace, nullptr);
  launch("count", false, {d, mapped + 8, 0}, 1);  // the same stream: after the list
  EXPECT_EQ(counter.load(), 0u);
  go.store(1);
  runner.join();
  EXPECT_EQ(found, std::nullopt);
  EXPECT_EQ(finding(), std::nullopt);
  EXPECT_EQ(counter.load(), 1u);
  EXPECT_THROW(word(workspace), Error);
}

TEST_F(Overlap, LaunchesOfTwoThreadsOnOneStreamRunOneAfterTheOther) {
  // What "hold" waits for could only come from a launch on another stream, or from here.
  std::array<std::uint32_t, 3> words{};  // started, go, counter
  DeviceAddress const mapped = backend->memory().map(std::as_writable_bytes(std::span(words)));
  std::atomic_ref<std::uint32_t> const started(words[0]), go(words[1]), counter(words[2]);
  std::thread holder([&] { launch("hold", false, {mapped, mapped + 4, e}); });
  while (started.load() == 0) std::this_thread::yield();
  std::atomic<bool> done = false;
  std::uint32_t seen = 0;  // of `go` when the second launch ends
  std::thread next([&] {
    launch("count", false, {d, mapped + 8, 0}, 1);
    seen = go.load();
    done = true;
  });
  auto const other = kernel("count");
  std::array<DeviceAddress, 3> const params{d, mapped + 8, 0};
  int stream = 0;
  backend->launch(*other, {.threads = 1, .stream = &stream}, std::as_bytes(std::span(params)));
  EXPECT_EQ(counter.load(), 1u);  // another stream does not wait
  EXPECT_FALSE(done);
  go.store(1);
  holder.join();
  next.join();
  EXPECT_EQ(seen, 1u);
  EXPECT_EQ(counter.load(), 2u);
}

TEST_F(Overlap, LaunchesOfManyThreadsAllRun) {
  std::vector<std::thread> threads;
  std::array<DeviceAddress, 3> const params{d, backend->notes_address(), 0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        DeviceAddress const own = backend->allocate_async(kBytes, nullptr);
        launch("count", t % 2 == 1 && i > 20, params, 1);
        backend->release_async(own, nullptr);
        if (i % 8 == t) backend->synchronize(nullptr);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  backend->synchronize(nullptr);
  EXPECT_EQ(backend->read_note(0), 200u);
}

}  // namespace
}  // namespace deepwell
