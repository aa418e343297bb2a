// The kernel store: one build per key, lookups while building, failures that can be repeated, background builds, capture.
#include "ops/kernel_store.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "backend/null/null_backend.hpp"
#include "unit/captured_log.hpp"
#include "unit/ops/code_backend.hpp"

namespace deepwell {
namespace {

class FakeCompiler : public jit::Compiler {
 public:
  FakeCompiler() {
    info_.kind = "fake";
    info_.path = "fake";
    info_.found_in = "test";
    info_.version = {13, 0};
    info_.full_version = "fake 1";
  }
  jit::CompilerInfo const& info() const override { return info_; }
  jit::Compiled compile(jit::CompileRequest const& request) const override {
    ++compiles;
    if (delay.count() > 0) std::this_thread::sleep_for(delay);
    if (disk_full) throw std::system_error(std::make_error_code(std::errc::no_space_on_device), "kernel.cu");
    if (failures_left.fetch_sub(1) > 0)
      throw Error(ErrorCode::kToolchain, "the fake compiler was told to fail");
    jit::Compiled compiled;
    compiled.cubin.resize(16, std::byte{7});
    compiled.ptx = "// " + request.source + " for " + request.target;
    compiled.seconds = 0.25;
    return compiled;
  }
  mutable std::atomic<int> compiles{0};
  mutable std::atomic<int> failures_left{0};
  std::chrono::milliseconds delay{0};
  bool disk_full = false;

 private:
  jit::CompilerInfo info_;
};

class KernelStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(::testing::TempDir()) /
        fmt::format("kernel_store_{}_{}", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                    std::chrono::steady_clock::now().time_since_epoch().count());
    options_.cache_folders = folder_.string();
    options_.use_compiler = compiler_;
    options_.threads = 2;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  KernelStore::Describe describe(int number) {
    return [this, number] {
      ++describes_;
      return KernelRequest{.name = fmt::format("kernel_{}", number),
                           .entry = fmt::format("entry_{}", number),
                           .source = fmt::format("source {}", number),
                           .dynamic_smem_bytes = static_cast<std::uint32_t>(number)};
    };
  }

  std::filesystem::path folder_;
  CodeBackend backend_;
  std::shared_ptr<FakeCompiler> compiler_ = std::make_shared<FakeCompiler>();
  KernelStoreOptions options_;
  std::atomic<int> describes_{0};
};

TEST_F(KernelStoreTest, BuildsOnceAndHandsTheImageOver) {
  KernelStore store(backend_, options_);
  EXPECT_EQ(store.find(11), nullptr);
  LoadedKernel const& kernel = store.get(11, nullptr, describe(11));
  EXPECT_EQ(&store.get(11, nullptr, describe(11)), &kernel);
  EXPECT_EQ(store.find(11), &kernel);
  EXPECT_EQ(kernel.entry(), "entry_11");
  EXPECT_EQ(compiler_->compiles, 1);
  EXPECT_EQ(describes_, 1);
  ASSERT_EQ(backend_.images.size(), 1u);
  EXPECT_EQ(backend_.images[0].target, "sm_121a");
  EXPECT_EQ(backend_.images[0].ptx, "// source 11 for sm_121a");
  EXPECT_EQ(backend_.images[0].cubin.size(), 16u);
  EXPECT_EQ(backend_.smem_bytes[0], 11u);
  EXPECT_EQ(store.counts().compiled, 1u);
  EXPECT_EQ(store.counts().loaded, 1u);
}

TEST_F(KernelStoreTest, ASecondStoreReadsTheDisk) {
  { KernelStore(backend_, options_).get(5, nullptr, describe(5)); }
  auto const another = std::make_shared<FakeCompiler>();
  options_.use_compiler = another;
  KernelStore store(backend_, options_);
  store.get(5, nullptr, describe(5));
  EXPECT_EQ(another->compiles, 0);
  EXPECT_EQ(store.counts().from_disk, 1u);
  ASSERT_EQ(backend_.images.size(), 2u);
  EXPECT_EQ(backend_.images[1].ptx, backend_.images[0].ptx);
}

TEST_F(KernelStoreTest, HoldsManyKernels) {
  NullBackend plain("null:sm_120a");
  KernelStore store(plain, options_);
  std::vector<LoadedKernel const*> kernels;
  for (int i = 0; i < 2000; ++i) {
    // Keys that collide in their low bits, and 0, which is a key like any other.
    kernels.push_back(&store.get(static_cast<std::uint64_t>(i) << 40, nullptr, describe(i)));
  }
  for (int i = 0; i < 2000; ++i) {
    LoadedKernel const* const found = store.find(static_cast<std::uint64_t>(i) << 40);
    ASSERT_EQ(found, kernels[static_cast<std::size_t>(i)]);
    ASSERT_EQ(found->entry(), fmt::format("entry_{}", i));
  }
  EXPECT_EQ(store.find(1), nullptr);
  EXPECT_EQ(compiler_->compiles, 0);  // a backend that runs nothing needs no code
}

TEST_F(KernelStoreTest, ThreadsShareOneBuildPerKey) {
  compiler_->delay = std::chrono::milliseconds(10);
  KernelStore store(backend_, options_);
  std::vector<std::jthread> threads;
  std::array<std::atomic<LoadedKernel const*>, 4> seen{};
  std::atomic<int> different{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 4; ++round) {
        int const key = (t + round) % 4;
        LoadedKernel const* const kernel =
            &store.get(static_cast<std::uint64_t>(key), nullptr, describe(key));
        LoadedKernel const* expected = nullptr;
        if (!seen[static_cast<std::size_t>(key)].compare_exchange_strong(expected, kernel) &&
            expected != kernel) {
          ++different;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(different, 0);
  EXPECT_EQ(compiler_->compiles, 4);
  EXPECT_EQ(store.counts().loaded, 4u);
}

TEST_F(KernelStoreTest, FailuresNameTheKernelAndMayBeRepeated) {
  compiler_->failures_left = 1;
  KernelStore store(backend_, options_);
  try {
    store.get(3, nullptr, describe(3));
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
    EXPECT_NE(std::string(error.what()).find("kernel_3"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("told to fail"), std::string::npos) << error.what();
  }
  EXPECT_EQ(store.find(3), nullptr);
  EXPECT_EQ(store.get(3, nullptr, describe(3)).entry(), "entry_3");
}

TEST_F(KernelStoreTest, WaitersGetTheFailureToo) {
  compiler_->delay = std::chrono::milliseconds(50);
  compiler_->failures_left = 1;
  KernelStore store(backend_, options_);
  std::atomic<int> failed{0};
  std::atomic<int> worked{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        try {
          store.get(9, nullptr, describe(9));
          ++worked;
        } catch (Error const&) {
          ++failed;
        }
      });
    }
  }
  EXPECT_GE(failed, 1);
  EXPECT_EQ(failed + worked, 3);
  EXPECT_LE(compiler_->compiles, 2);
}

TEST_F(KernelStoreTest, FileErrorsBecomeErrorsOfTheKernel) {
  compiler_->disk_full = true;
  KernelStore store(backend_, options_);
  try {
    store.get(1, nullptr, describe(1));
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
    EXPECT_EQ(error.argument(), "kernel_1");
    EXPECT_NE(error.got().find("No space left"), std::string::npos) << error.got();
  }
}

TEST_F(KernelStoreTest, BuildsSetsInTheBackground) {
  KernelStore store(backend_, options_);
  store.get(0, nullptr, describe(0));
  std::vector<KernelStore::Item> items;
  for (int i = 0; i < 6; ++i) items.push_back({static_cast<std::uint64_t>(i), describe(i)});
  store.build_in_background(items);
  store.wait();
  for (std::uint64_t i = 0; i < 6; ++i) EXPECT_NE(store.find(i), nullptr) << i;
  EXPECT_EQ(compiler_->compiles, 6);
}

TEST_F(KernelStoreTest, BackgroundFailuresAreReportedByTheCallThatNeedsTheKernel) {
  CapturedLog const log;
  compiler_->failures_left = 2;
  KernelStore store(backend_, options_);
  store.build_in_background({{1, describe(1)}});
  store.wait();
  EXPECT_EQ(store.find(1), nullptr);
  EXPECT_EQ(log.count("while preparing kernel kernel_1: the fake compiler was told to fail"), 1u);
  EXPECT_THROW(store.get(1, nullptr, describe(1)), Error);
  EXPECT_EQ(store.get(1, nullptr, describe(1)).entry(), "entry_1");
}

TEST_F(KernelStoreTest, EndsWithoutFinishingWhatHasNotBegun) {
  compiler_->delay = std::chrono::milliseconds(30);
  options_.threads = 1;
  {
    KernelStore store(backend_, options_);
    std::vector<KernelStore::Item> items;
    for (int i = 0; i < 100; ++i) items.push_back({static_cast<std::uint64_t>(i), describe(i)});
    store.build_in_background(items);
  }
  EXPECT_LT(compiler_->compiles, 10);
}

TEST_F(KernelStoreTest, UnderCaptureAnUnloadedKernelIsLoadedOrNamed) {
  int stream = 0;
  backend_.set_capture_id(&stream, 1);
  {
    KernelStore store(backend_, options_);
    EXPECT_EQ(store.get(1, &stream, describe(1)).entry(), "entry_1");
  }
  options_.load_during_capture = false;
  KernelStore store(backend_, options_);
  store.get(2, nullptr, describe(2));
  EXPECT_EQ(store.get(2, &stream, describe(2)).entry(), "entry_2");  // warm: fine
  try {
    store.get(3, &stream, describe(3));
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_EQ(error.argument(), "stream");
    EXPECT_NE(std::string(error.what()).find("kernel_3"), std::string::npos);
  }
}

TEST_F(KernelStoreTest, NegativeThreadsAreAnError) {
  options_.threads = -1;
  EXPECT_THROW(KernelStore(backend_, options_), Error);
}

}  // namespace
}  // namespace deepwell
