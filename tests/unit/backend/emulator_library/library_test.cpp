// The emulator as a library of its own: the same as the emulator that is linked in, call by call; finding the library; what it
// takes from the process that loads it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "backend/emu/emu_backend.hpp"
#include "backend/emu/emulator.hpp"
#include "backend/emu/library_backend.hpp"
#include "backend/emu/library_texts.hpp"
#include "base/options.hpp"
#include "launch_kernels.hpp"
#include "unit/captured_log.hpp"

namespace deepwell {
namespace {

using namespace deepwell::testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (Error const& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorCode::kInternal, "no error");
}

/// "done", or every field of the error that `call` throws.
template <class Call>
std::string outcome(Call&& call) {
  try {
    call();
  } catch (Error const& error) {
    return fmt::format("{} | {} | {} | {} | {}", name_of(error.code()), error.what(), error.argument(),
                       error.got(), error.expected());
  }
  return "done";
}

// write: d[i] = i. read_before_wait, read_after_wait: e[i] = d[i]. race: both warps write d[0]. tickets: the order of warps, at e.
// note: counts in the note at d + 4.
std::string const kPtx =
    ptx_head() + launch_kernel("write", kLaunchDependents + kWait + "  st.global.u32 [%rd5], %r1;\n") +
    launch_kernel("read_after_wait", kWait + kReadD + kWriteE) +
    launch_kernel("read_before_wait", kReadD + kWait + kWriteE) +
    launch_kernel("race", "  st.global.u32 [%rd1], %r1;\n") +
    launch_kernel("note", "  red.global.add.u32 [%rd1+4], 1;\n") +
    launch_kernel("tickets", R"(  and.b32 %r2, %r1, 31;
  setp.ne.u32 %p, %r2, 0;
  @%p bra DONE;
  atom.global.add.u32 %r3, [%rd1], 1;
  st.global.u32 [%rd6], %r3;
DONE:
)");

constexpr std::size_t kBytes = 1024;

/// Everything that a backend answers, as text, so that two of them can be compared.
class Transcript {
 public:
  explicit Transcript(Backend& backend) : backend_(backend) {}

  std::vector<std::string> all() {
    device();
    memory();
    tensor_maps();
    kernels();
    launches();
    overlap();
    schedules();
    return std::move(lines_);
  }

 private:
  template <class Call>
  void note(char const* what, Call&& call) {
    lines_.push_back(fmt::format("{}: {}", what, outcome(call)));
  }
  void say(std::string line) { lines_.push_back(std::move(line)); }

  void device() {
    DeviceInfo const& info = backend_.device();
    say(fmt::format("{} {} {} {} {}", info.id, info.name, info.arch.target, info.sm_count,
                    info.memory_bytes));
    int stream = 0;
    say(fmt::format("capture {} needs code {} streams differ {}", backend_.capture_id(nullptr),
                    backend_.needs_code(), backend_.stream_id(nullptr) != backend_.stream_id(&stream)));
    say(fmt::format("notes at {:#x}", backend_.notes_address()));
  }

  void dump(DeviceAddress address, std::size_t bytes) {
    std::vector<std::byte> data(bytes);
    note("copy to the host", [&] { backend_.copy_to_host(data, address, nullptr); });
    std::string text;
    for (std::byte const byte : data) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    say(text);
  }

  void memory() {
    note("allocate nothing", [&] { backend_.allocate(0); });
    DeviceAddress const first = backend_.allocate(100), zeroed = backend_.allocate_zeroed(100);
    int stream = 0;
    DeviceAddress const async = backend_.allocate_async(100, &stream);
    say(fmt::format("{:#x} {:#x} {:#x}", first, zeroed, async));
    std::vector<std::byte> data(101, std::byte{0x5a});
    note("copy in", [&] { backend_.copy_to_device(first, std::span(data).first(100), nullptr); });
    note("copy too much in", [&] { backend_.copy_to_device(first, data, nullptr); });
    note("copy too much out", [&] { backend_.copy_to_host(data, first, nullptr); });
    note("copy nothing", [&] { backend_.copy_to_host({}, 0, nullptr); });
    note("fill", [&] { backend_.fill(first + 10, 5, std::byte{9}, nullptr); });
    note("fill outside", [&] { backend_.fill(first + 99, 2, std::byte{9}, nullptr); });
    dump(first, 100);
    dump(zeroed, 100);
    note("release", [&] { backend_.release(first); });
    note("release again", [&] { backend_.release(first); });
    note("release async", [&] { backend_.release_async(async, &stream); });
    note("release async again", [&] { backend_.release_async(async, &stream); });
  }

  void tensor_maps() {
    TensorMapSpec const good{.element = TensorMapSpec::Element::kU8,
                             .swizzle = TensorMapSpec::Swizzle::k128B,
                             .rank = 3,
                             .base = 0x700000000,
                             .dims = {4096, 64, 2},
                             .strides_bytes = {4096, 4096 * 64},
                             .box = {128, 32, 1}};
    std::vector<std::function<void(TensorMapSpec&)>> const changes{
        [](TensorMapSpec&) {},
        [](TensorMapSpec& spec) { spec.element = TensorMapSpec::Element::kI32, spec.box[0] = 32; },
        [](TensorMapSpec& spec) { spec.swizzle = TensorMapSpec::Swizzle::kNone, spec.box[2] = 2; },
        [](TensorMapSpec& spec) { spec.rank = 0; },
        [](TensorMapSpec& spec) { spec.strides_bytes[1] = 8; },
        [](TensorMapSpec& spec) { spec.element = static_cast<TensorMapSpec::Element>(99); },
        [](TensorMapSpec& spec) { spec.swizzle = static_cast<TensorMapSpec::Swizzle>(99); },
    };
    for (auto const& change : changes) {
      TensorMapSpec spec = good;
      change(spec);
      note("encode", [&] {
        TensorMap const map = backend_.encode(spec);
        std::string text;
        for (auto const word : map.opaque) text += fmt::format("{:x} ", word);
        say(text);
      });
    }
  }

  std::shared_ptr<LoadedKernel> kernel(char const* entry, std::uint32_t dynamic_smem_bytes = 0) {
    return backend_.load({.entry = entry, .target = "sm_120a", .cubin = {}, .ptx = kPtx}, dynamic_smem_bytes);
  }

  void kernels() {
    say(std::string(kernel("write")->entry()));
    auto const load = [&](char const* entry, std::string ptx, std::uint32_t smem = 0) {
      note("load", [&] {
        backend_.load({.entry = entry, .target = "sm_120a", .cubin = {}, .ptx = std::move(ptx)}, smem);
      });
    };
    load("", kPtx);
    load("write", "");
    load("other", kPtx);
    load("write", kPtx, 200000);
    load("write", "this is not PTX");
    load("write", ".version 8.8\n.target sm_70\n.address_size 64\n");
    load("k", ptx_head() + launch_kernel("k", "  wgmma.fence.sync.aligned;\n"));
  }

  void launch(char const* entry, LaunchSpec const& spec, std::array<DeviceAddress, 3> const& params) {
    note(entry, [&] { backend_.launch(*kernel(entry), spec, std::as_bytes(std::span(params))); });
  }

  void launches() {
    DeviceAddress const d = backend_.allocate(kBytes), e = backend_.allocate_zeroed(kBytes);
    launch("write", {.threads = 64}, {d, e, 0});
    dump(d, 256);
    launch("write", {.grid = {1, 0, 1}}, {d, e, 0});
    launch("write", {.threads = 2, .threads_y = 3, .threads_z = 100}, {d, e, 0});
    launch("write", {.threads = 32, .dynamic_smem_bytes = 1}, {d, e, 0});
    launch("write", {.threads = 32, .cluster = {3, 1, 1}}, {d, e, 0});
    launch("write", {.threads = 2, .threads_y = 16}, {d, e, 0});
    note("few parameters", [&] { backend_.launch(*kernel("write"), {}, {}); });
    EmuBackend other("emu:sm_120a");
    auto const foreign = other.load({.entry = "write", .target = "", .cubin = {}, .ptx = kPtx}, 0);
    std::array<DeviceAddress, 3> const params{d, e, 0};
    note("a kernel of another backend",
         [&] { backend_.launch(*foreign, {}, std::as_bytes(std::span(params))); });
    launch("write", {}, {8, e, 0});                                                 // outside
    launch("read_after_wait", {.threads = 64}, {backend_.allocate(kBytes), e, 0});  // poison
    launch("race", {.threads = 64}, {d, e, 0});
    launch("note", {.grid = {3, 1, 1}}, {backend_.notes_address(), 0, 0});
    for (int i : {0, 1, kNoteCount - 1}) say(fmt::format("note {}: {}", i, backend_.read_note(i)));
    note("no such note", [&] { backend_.read_note(kNoteCount); });
    note("no such note", [&] { backend_.read_note(-1); });
  }

  void overlap() {
    DeviceAddress const d = backend_.allocate_zeroed(kBytes), e = backend_.allocate_zeroed(kBytes);
    LaunchSpec const programmatic{.programmatic_dependent_launch = true};
    launch("write", programmatic, {d, e, 0});
    launch("read_before_wait", programmatic, {d, e, 0});
    note("synchronize", [&] { backend_.synchronize(nullptr); });
    launch("write", programmatic, {d, e, 0});
    launch("read_after_wait", programmatic, {d, e, 0});
    dump(e, 128);
    int stream = 0;
    launch("write", programmatic, {d, e, 0});
    launch("read_after_wait", {.programmatic_dependent_launch = true, .stream = &stream}, {d, e, 0});
    note("two streams", [&] { backend_.synchronize(&stream); });
    launch("write", {}, {8, e, 0});
    note("a release reports", [&] { backend_.release(d); });
    note("and has released", [&] { backend_.release(d); });
    DeviceAddress const workspace = backend_.allocate_async(64, nullptr);
    launch("note", {}, {backend_.notes_address(), 0, 0});
    backend_.release_async(workspace, nullptr);
    say(fmt::format("the pool gives it again {}", backend_.allocate_async(64, nullptr) == workspace));
    note("the end", [&] { backend_.synchronize(nullptr); });
  }

  void schedules() {
    DeviceAddress const d = backend_.allocate(kBytes), e = backend_.allocate_zeroed(kBytes);
    for (std::uint64_t seed : {0, 1, 2, 3, 4, 5, 6, 7}) {
      say(fmt::format("seed {}: {}", seed, backend_.set_schedule(seed)));
      backend_.fill(d, kBytes, std::byte{0}, nullptr);
      launch("tickets", {.threads = 256}, {d, e, 0});
      std::array<std::uint32_t, 256> order{};
      backend_.copy_to_host(std::as_writable_bytes(std::span(order)), e, nullptr);
      std::string text = "tickets";
      for (std::size_t warp = 0; warp < 8; ++warp) text += fmt::format(" {}", order[32 * warp]);
      orders.insert(text);
      say(text);
    }
  }

  Backend& backend_;
  std::vector<std::string> lines_;

 public:
  std::set<std::string> orders;  // that warps came in
};

TEST(EmulatorLibrary, AnswersAsTheLinkedEmulatorDoes) {
  EmuBackend linked("emu:sm_120a:3");
  LibraryBackend loaded("emu:sm_120a:3");
  Transcript expected(linked), found(loaded);
  std::vector<std::string> const lines = expected.all();
  EXPECT_EQ(found.all(), lines);
  EXPECT_GT(found.orders.size(), 2u) << "schedules make no difference";
  // The transcript has something to say.
  std::string text;
  for (std::string const& line : lines) text += line + "\n";
  EXPECT_THAT(text, AllOf(HasSubstr("bad argument | "), HasSubstr("unsupported | "), HasSubstr("device | "),
                          HasSubstr(" | poison | "), HasSubstr(" | race | "), HasSubstr("note 1: 96"),
                          HasSubstr("wgmma"), HasSubstr("the pool gives it again true")));
}

TEST(EmulatorLibrary, NamesOfDevicesAreTheSame) {
  for (char const* const name : {"emu:sm_90a", "emu:sm_121a:48", "emu:sm_120f", "emu:sm_999",
                                 "emu:", "emu:sm_120a:0", "emu:sm_120a:x", "emu:sm_120a:48:1", "nothing"}) {
    auto const describe = [&](auto&& make) {
      std::string text;
      std::string const end = outcome([&] {
        std::unique_ptr<Backend> const backend = make();
        text = fmt::format("{} {} ", backend->device().id, backend->device().arch.target);
      });
      return text + end;
    };
    EXPECT_EQ(describe([&] { return std::make_unique<LibraryBackend>(name); }),
              describe([&] { return std::make_unique<EmuBackend>(name); }));
  }
}

TEST(EmulatorLibrary, KernelsOfOtherTablesAreRefused) {
  dw_emulator_table const copy = open_emulator_library();
  LibraryBackend one("emu:sm_120a"), other(copy, "emu:sm_120a"), same("emu:sm_120a");
  auto const kernel = one.load({.entry = "write", .target = "", .cubin = {}, .ptx = kPtx}, 0);
  for (Backend* const backend : {&other, &same}) {
    Error const error = error_of([&] { backend->launch(*kernel, {}, {}); });
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "kernel");
    EXPECT_THAT(error.got(), HasSubstr("write"));
  }
}

TEST(EmulatorLibrary, KernelsMayOutliveTheirDevice) {
  auto backend = std::make_unique<LibraryBackend>("emu:sm_120a");
  auto const kernel = backend->load({.entry = "write", .target = "", .cubin = {}, .ptx = kPtx}, 0);
  backend.reset();
  EXPECT_EQ(kernel->entry(), "write");
}

TEST(EmulatorLibrary, ErrorsOfThreadsStayApart) {
  LibraryBackend backend("emu:sm_120a");
  std::array<int, 4> wrong{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      std::string const entry = "entry_" + std::to_string(t);
      for (int i = 0; i < 200; ++i) {
        try {
          backend.load({.entry = entry, .target = "", .cubin = {}, .ptx = kPtx}, 0);
          ++wrong[t];
        } catch (Error const& error) {
          wrong[t] += error.got() != entry;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

TEST(EmulatorLibrary, OptionsOfTheProcessReachIt) {
  for (char const* const value : {"-1", "4096", "many"}) {
    ScopedOption const threads(Option::kThreads, value);
    Error const error = error_of([] { LibraryBackend("emu:sm_120a"); });
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_EQ(error.argument(), "DEEPWELL_THREADS");
    EXPECT_EQ(error.got(), value);
  }
  EXPECT_NO_THROW(LibraryBackend("emu:sm_120a"));
}

TEST(EmulatorLibrary, ItsMessagesGoToTheProcessesLog) {
  CapturedLog const log;
  {
    LibraryBackend backend("emu:sm_120a");
    auto const kernel = backend.load({.entry = "write", .target = "", .cubin = {}, .ptx = kPtx}, 0);
    std::array<DeviceAddress, 3> const params{8, 0, 0};
    backend.launch(*kernel, {.programmatic_dependent_launch = true}, std::as_bytes(std::span(params)));
  }
  EXPECT_EQ(log.count("launches whose results nobody asked for"), 1u);
}

TEST(EmulatorLibrary, AProgramThatLoadsItFindsItBesideItself) {
  EXPECT_EQ(emulator_library_path(), DW_EMULATOR_LIBRARY);
  EXPECT_NE(dynamic_cast<LibraryBackend*>(make_backend("emu:sm_121a").get()), nullptr);
  EXPECT_EQ(emulator_state().place, DW_EMULATOR_LIBRARY);
  EXPECT_EQ(emulator_state().unusable, "");
  ScopedOption const none(Option::kCudaDriver, "/there/is/none.so");
  for (DeviceSummary const& row : list_devices()) EXPECT_EQ(row.unusable.empty(), row.id.starts_with("emu:"));
  EXPECT_EQ(make_backend("best")->device().id, "emu:sm_120a");
}

TEST(EmulatorLibrary, TheOptionIsAFileOrAFolder) {
  std::filesystem::path const file = DW_EMULATOR_LIBRARY;
  {
    ScopedOption const folder(Option::kEmulator, file.parent_path().string());
    EXPECT_EQ(emulator_library_path(), file);
  }
  ScopedOption const option(Option::kEmulator, file.string());
  EXPECT_EQ(emulator_library_path(), file);
  EXPECT_EQ(LibraryBackend("emu:sm_120a").device().id, "emu:sm_120a");
}

void expect_unusable(char const* path, char const* reason) {
  ScopedOption const option(Option::kEmulator, path);
  ScopedOption const no_driver(Option::kCudaDriver, "/there/is/none.so");
  Error const error = error_of([] { make_backend("emu:sm_120a"); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.argument(), "DEEPWELL_EMULATOR");
  EXPECT_THAT(error.got(), AllOf(HasSubstr(path), HasSubstr(reason)));
  EXPECT_THAT(error.expected(), AllOf(HasSubstr("libdeepwell_emulator.so"), HasSubstr("install"),
                                      HasSubstr("beside"), HasSubstr("DEEPWELL_EMULATOR")));
  EXPECT_THAT(error.what(), AllOf(HasSubstr(error.got().substr(0, 20)), HasSubstr(error.expected())));

  EXPECT_EQ(emulator_state().unusable, error.what());
  std::size_t emulated = 0;
  for (DeviceSummary const& row : list_devices()) {
    if (row.id.starts_with("emu:")) {
      ++emulated;
      EXPECT_EQ(row.unusable, error.what());
      EXPECT_NE(row.target, "");
    }
  }
  EXPECT_EQ(emulated, all_archs().size());

  Error const best = error_of([] { make_backend("best"); });
  EXPECT_EQ(best.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(best.argument(), "device");
  EXPECT_THAT(best.got(), AllOf(HasSubstr("none.so"), HasSubstr(error.what())));
}

TEST(EmulatorLibrary, WhatIsMissingOrWrongIsNamed) {
  expect_unusable("/there/is/no/emulator.so", "no such file");
  expect_unusable(DW_SOURCE_DIR "/README.md", "ELF");
  expect_unusable(DW_NO_EMULATOR, "symbol deepwell_emulator");
  expect_unusable(DW_MOCK_EMULATOR_OTHER,
                  fmt::format("version {}, not {}", DW_EMULATOR_VERSION + 1, DW_EMULATOR_VERSION).c_str());
  EXPECT_NO_THROW(make_backend("emu:sm_120a"));  // a failure is not remembered
}

TEST(EmulatorLibrary, ErrorsOfEveryCodeKeepTheirFields) {
  ScopedOption const option(Option::kEmulator, DW_MOCK_EMULATOR);
  for (ErrorCode const code : {ErrorCode::kBadArgument, ErrorCode::kUnsupported, ErrorCode::kToolchain,
                               ErrorCode::kDevice, ErrorCode::kInternal}) {
    int const number = emulator_library::code_of(code);
    EXPECT_EQ(emulator_library::error_code(number), code);
    Error const error = error_of([&] { LibraryBackend("fail:" + std::to_string(number)); });
    EXPECT_EQ(error.code(), code);
    EXPECT_EQ(error.what(), std::string(100000, 'm') + "end");
    EXPECT_EQ(error.argument(), "the argument");
    EXPECT_EQ(error.got(), "");
    EXPECT_EQ(error.expected(), std::string("zero \0 inside", 13));
  }
  EXPECT_EQ(error_of([] { LibraryBackend("fail:77"); }).code(), ErrorCode::kInternal);
}

TEST(EmulatorLibrary, OptionsArePassedByName) {
  ScopedOption const option(Option::kEmulator, DW_MOCK_EMULATOR);
  ScopedOption const threads(Option::kThreads, "3");
  EXPECT_EQ(error_of([] { LibraryBackend("options"); }).got(), "DEEPWELL_THREADS=3;");
}

TEST(EmulatorLibrary, TheProcessChoosesWhatIsLogged) {
  ScopedOption const option(Option::kEmulator, DW_MOCK_EMULATOR);
  std::vector<std::string> lines;
  LogSink const before = set_log_sink([&](LogLevel level, std::string_view text) {
    lines.push_back(fmt::format("{} {}", name_of(level), text));
  });
  {
    ScopedOption const level(Option::kLogLevel, "info");
    EXPECT_THROW(LibraryBackend("log"), Error);
    EXPECT_THAT(lines, ElementsAre("error level 0", "warning level 1", "info level 2"));
    lines.clear();
  }
  {
    ScopedOption const level(Option::kLogLevel, "debug");
    EXPECT_THROW(LibraryBackend("log"), Error);
    EXPECT_EQ(lines.size(), 5u);
  }
  set_log_sink([](LogLevel, std::string_view) { throw std::runtime_error("a sink that throws"); });
  EXPECT_THROW(LibraryBackend("log"), Error);  // the message is lost, not the process
  set_log_sink(before);
}

}  // namespace
}  // namespace deepwell
