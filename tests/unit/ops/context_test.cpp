// The context: workspace, counters per stream and per capture, settings, per-operation state.
#include "ops/context.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "backend/null/null_backend.hpp"
#include "unit/captured_log.hpp"

namespace deepwell {
namespace {

NullBackend& null_of(Context& context) { return dynamic_cast<NullBackend&>(context.backend()); }

std::vector<std::uint32_t> read_counters(Context& context, DeviceAddress address, std::size_t count) {
  std::vector<std::uint32_t> values(count, 99);
  context.backend().copy_to_host(std::as_writable_bytes(std::span(values)), address, nullptr);
  return values;
}

TEST(Context, NeedsABackend) {
  EXPECT_THROW(Context(std::unique_ptr<Backend>()), Error);
  EXPECT_THROW(Context("no such device"), Error);
  EXPECT_EQ(Context("null:sm_90a").arch().target, "sm_90a");
}

TEST(Context, CountersAreZeroAndBelongToOneStream) {
  Context context("null:sm_120a");
  int a = 0;
  int b = 0;
  DeviceAddress const first = context.counters(10, &a);
  EXPECT_EQ(first % 256, 0u);
  EXPECT_EQ(read_counters(context, first, 64), std::vector<std::uint32_t>(64, 0));
  EXPECT_EQ(context.counters(64, &a), first);  // what fits is shared by all work on the stream
  EXPECT_NE(context.counters(10, &b), first);
  EXPECT_NE(context.counters(10, nullptr), first);
}

TEST(Context, CountersNeverOverlap) {
  Context context("null:sm_120a");
  std::vector<int> streams(40);
  std::set<std::pair<DeviceAddress, DeviceAddress>> ranges;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    std::size_t const count = (i * 7919) % 60000 + 1;  // more than one chunk together
    DeviceAddress const address = context.counters(count, &streams[i]);
    EXPECT_EQ(read_counters(context, address, count), std::vector<std::uint32_t>(count, 0));
    ranges.emplace(address, address + count * 4);
  }
  DeviceAddress end = 0;
  for (auto const& [from, to] : ranges) {
    EXPECT_GE(from, end);
    end = to;
  }
}

TEST(Context, CountersGrow) {
  Context context("null:sm_120a");
  DeviceAddress const small = context.counters(1, nullptr);
  DeviceAddress const large = context.counters(400000, nullptr);  // larger than a chunk
  EXPECT_NE(small, large);
  EXPECT_EQ(read_counters(context, large, 400000), std::vector<std::uint32_t>(400000, 0));
  EXPECT_EQ(context.counters(1, nullptr), large);
}

TEST(Context, EachCaptureHasItsOwnCounters) {
  Context context("null:sm_120a");
  int stream = 0;
  int side = 0;
  DeviceAddress const eager = context.counters(8, &stream);
  null_of(context).set_capture_id(&stream, 1);
  null_of(context).set_capture_id(&side, 1);
  DeviceAddress const captured = context.counters(8, &stream);
  DeviceAddress const captured_side = context.counters(8, &side);  // a branch of the same graph
  EXPECT_EQ(context.counters(8, &stream), captured);
  null_of(context).set_capture_id(&stream, 2);
  DeviceAddress const again = context.counters(8, &stream);
  null_of(context).set_capture_id(&stream, 0);
  EXPECT_EQ(context.counters(8, &stream), eager);
  EXPECT_EQ((std::set<DeviceAddress>{eager, captured, captured_side, again}).size(), 4u);
}

TEST(Context, LaunchesWithItsPdlSetting) {
  Context context("null:sm_120a", {.kernels = {}, .pdl = true, .allocator = nullptr});
  null_of(context).set_recording(true);
  LoadedKernel const& kernel = context.kernels().get(
      1, nullptr, [] { return KernelRequest{.name = "k", .entry = "k", .source = ""}; });
  struct Args {
    std::uint32_t a, b;
  };
  context.launch(kernel, {.grid = {2, 1, 1}}, Args{1, 2});
  context.set_pdl(false);
  context.launch(kernel, {}, Args{3, 4});
  auto const launches = null_of(context).recorded();
  ASSERT_EQ(launches.size(), 2u);
  EXPECT_TRUE(launches[0].spec.programmatic_dependent_launch);
  EXPECT_EQ(launches[0].spec.grid[0], 2u);
  ASSERT_EQ(launches[0].params.size(), sizeof(Args));
  EXPECT_EQ(launches[0].params[4], std::byte{2});
  EXPECT_FALSE(launches[1].spec.programmatic_dependent_launch);
}

/// A device whose handles 1 and 2 are one stream.
class TwoNames : public NullBackend {
 public:
  TwoNames() : NullBackend("null:sm_120a") {}
  std::uint64_t stream_id(Stream stream) override {
    if (capturing(stream)) throw Error(ErrorCode::kDevice, "drivers do not name a stream under capture");
    auto const handle = reinterpret_cast<std::uintptr_t>(stream);
    return handle == 2 ? 1 : handle;
  }
};

TEST(Context, CountersFollowTheStreamNotItsHandle) {
  Context context(std::make_unique<TwoNames>());
  auto const counters = [&](std::uintptr_t handle) {
    return context.counters(8, reinterpret_cast<Stream>(handle));
  };
  EXPECT_EQ(counters(1), counters(2));
  EXPECT_NE(counters(1), counters(3));
  DeviceAddress const plain = counters(3);
  null_of(context).set_capture_id(reinterpret_cast<Stream>(3), 9);
  EXPECT_NE(counters(3), plain);
}

TEST(Context, RaisesNotesOnRequest) {
  Context context("null:sm_120a");
  auto* const notes = reinterpret_cast<std::uint32_t*>(context.backend().notes_address());
  EXPECT_NO_THROW(context.raise_notes());
  notes[static_cast<int>(Note::kLossyScale)] = 5;
  try {
    context.raise_notes();
    FAIL() << "nothing was raised";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "lossy_scale");
    EXPECT_EQ(error.got(), "5 so far");
  }
  EXPECT_NO_THROW(context.raise_notes());  // told
  notes[static_cast<int>(Note::kLossyScale)] = 6;
  EXPECT_THROW(context.raise_notes(), Error);
}

TEST(Context, LogsEachNoteOnce) {
  CapturedLog const log;
  {
    Context context("null:sm_120a");
    LoadedKernel const& kernel = context.kernels().get(
        1, nullptr, [] { return KernelRequest{.name = "k", .entry = "k", .source = ""}; });
    auto* const notes = reinterpret_cast<std::uint32_t*>(context.backend().notes_address());
    context.launch(kernel, {}, 0);
    EXPECT_EQ(log.count("lossy_scale"), 0u);
    notes[static_cast<int>(Note::kLossyScale)] = 5;
    context.launch(kernel, {}, 0);
    EXPECT_EQ(log.count("null:sm_120a: "), 1u);
    notes[static_cast<int>(Note::kLossyScale)] = 9;
    context.launch(kernel, {}, 0);
  }
  EXPECT_EQ(log.count("5 so far, note \"lossy_scale\""), 1u);
  EXPECT_EQ(log.count("lossy_scale"), 1u);
  {
    Context context("null:sm_120a");
    reinterpret_cast<std::uint32_t*>(context.backend().notes_address())[0] = 1;
  }
  EXPECT_EQ(log.count("lossy_scale"), 2u);  // what the last launch noted is told at the end
}

struct CountingAllocator : Allocator {
  DeviceAddress allocate(std::size_t bytes, Stream) override {
    allocated.push_back(bytes);
    return 0x1000;
  }
  void release(DeviceAddress address, Stream) override { released.push_back(address); }
  std::vector<std::size_t> allocated;
  std::vector<DeviceAddress> released;
};

TEST(Context, WorkspaceComesFromTheCallersAllocator) {
  auto const own = std::make_shared<CountingAllocator>();
  CountingAllocator given;
  Context context("null:sm_120a", {.kernels = {}, .pdl = false, .allocator = own});
  EXPECT_EQ(&context.allocator(), own.get());
  EXPECT_EQ(&context.allocator(&given), &given);
  {
    Workspace const workspace(context.allocator(&given), 100, nullptr);
    Workspace const nothing(context.allocator(&given), 0, nullptr);
    EXPECT_EQ(workspace.address(), 0x1000u);
    EXPECT_EQ(nothing.address(), 0u);
    EXPECT_TRUE(given.released.empty());
  }
  EXPECT_EQ(given.allocated, std::vector<std::size_t>{100});
  EXPECT_EQ(given.released, std::vector<DeviceAddress>{0x1000});
  EXPECT_TRUE(own->allocated.empty());
}

struct FailingAllocator : Allocator {
  DeviceAddress allocate(std::size_t, Stream) override { return 0x1000; }
  void release(DeviceAddress, Stream) override { throw Error(ErrorCode::kDevice, "the device is lost"); }
};

TEST(Context, WorkspaceThatCannotBeReleasedIsLoggedAndHidesNoOtherError) {
  CapturedLog const log;
  FailingAllocator allocator;
  try {
    Workspace const workspace(allocator, 16, nullptr);
    throw bad_argument("launch", "one", "another");
  } catch (Error const& error) {
    EXPECT_EQ(error.argument(), "launch");
  }
  EXPECT_EQ(log.count("the device is lost"), 1u);
}

TEST(Context, DefaultWorkspaceIsDeviceMemory) {
  Context context("null:sm_120a");
  Workspace const workspace(context.allocator(), 100, nullptr);
  EXPECT_NO_THROW(context.backend().fill(workspace.address(), 100, std::byte{1}, nullptr));
}

struct FirstState {
  int value = 7;
};
struct SecondState {
  explicit SecondState() { ++alive; }
  ~SecondState() { --alive; }
  static inline std::atomic<int> alive{0};
};

TEST(Context, KeepsOneStatePerTypeAndContext) {
  {
    Context a("null:sm_120a");
    Context b("null:sm_120a");
    a.state<FirstState>().value = 1;
    EXPECT_EQ(a.state<FirstState>().value, 1);
    EXPECT_EQ(b.state<FirstState>().value, 7);
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) threads.emplace_back([&] { a.state<SecondState>(); });
    threads.clear();
    EXPECT_EQ(SecondState::alive, 1);
    b.state<SecondState>();
    EXPECT_EQ(SecondState::alive, 2);
  }
  EXPECT_EQ(SecondState::alive, 0);
}

}  // namespace
}  // namespace deepwell
