// Building sets of kernels: once each, reported in full, shared between processes, from archives first; and what comes too late.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "base/file.hpp"
#include "base/options.hpp"
#include "jit/archive.hpp"
#include "ops/kernel_store.hpp"
#include "unit/jit/fake_compiler.hpp"
#include "unit/ops/code_backend.hpp"

namespace deepwell {
namespace {
namespace fs = std::filesystem;

KernelRequest kernel_number(int number) {
  return {.name = fmt::format("kernel_{}", number),
          .entry = fmt::format("entry_{}", number),
          .source = fmt::format("source {}", number),
          .dynamic_smem_bytes = 0};
}

std::vector<KernelStore::Item> items(int count, int first = 0) {
  std::vector<KernelStore::Item> made;
  for (int i = first; i < first + count; ++i)
    made.push_back({static_cast<std::uint64_t>(i), [i] { return kernel_number(i); }});
  return made;
}

jit::CompileRequest request_of(int number) {
  KernelRequest const kernel = kernel_number(number);
  return {.name = kernel.name, .source = kernel.source, .target = "sm_121a", .entry = kernel.entry};
}

class KernelBatchTest : public ::testing::Test {
 protected:
  KernelBatchTest() {
    options_.cache_folders = (folder_.path() / "cache").string();
    options_.use_compiler = compiler_;
    options_.threads = 3;
  }

  std::string archive_of(std::vector<int> const& numbers, char const* name = "kernels.dwk") {
    std::vector<jit::ArchiveItem> kernels;
    for (int number : numbers) {
      jit::CompileRequest const request = request_of(number);
      kernels.push_back({jit::make_key(request, compiler_->info()), jit::FakeCompiler::expected(request)});
    }
    fs::path const path = folder_.path() / name;
    jit::write_archive(path, kernels);
    return path.string();
  }

  TemporaryFolder const folder_{"deepwell-batch-test-"};
  CodeBackend backend_;
  std::shared_ptr<jit::FakeCompiler> compiler_ = std::make_shared<jit::FakeCompiler>();
  KernelStoreOptions options_;
};

TEST_F(KernelBatchTest, BuildsEachOnceAndReportsOnTheCallingThread) {
  KernelStore store(backend_, options_);
  store.get(3, nullptr, [] { return kernel_number(3); });
  std::vector<KernelStore::Item> all = items(10);
  all.push_back(all[4]);
  std::set<std::string> names;
  std::vector<std::size_t> done;
  auto const caller = std::this_thread::get_id();
  KernelStore::BuildSummary const summary =
      store.build_all(all, 0, [&](KernelStore::BuildProgress const& at) {
        EXPECT_EQ(std::this_thread::get_id(), caller);
        EXPECT_EQ(at.total, 10u);
        EXPECT_EQ(at.source, at.name == "kernel_3" ? KernelSource::kMemory : KernelSource::kCompiler);
        names.insert(at.name);
        done.push_back(at.done);
        return true;
      });
  EXPECT_EQ(summary.kernels, 10u);
  EXPECT_EQ(summary.compiled, 9u);
  EXPECT_EQ(summary.in_memory, 1u);
  EXPECT_EQ(summary.from_disk + summary.from_archives, 0u);
  EXPECT_GT(summary.seconds, 0);
  EXPECT_EQ(names.size(), 10u);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(done.at(i), i + 1);
  EXPECT_EQ(compiler_->calls, 10);
  EXPECT_EQ(backend_.images.size(), 10u);
  for (std::uint64_t i = 0; i < 10; ++i) EXPECT_NE(store.find(i), nullptr);

  KernelStore::BuildSummary const again = store.build_all(all);
  EXPECT_EQ(again.in_memory, 10u);
  CodeBackend other;
  KernelStore second(other, options_);
  EXPECT_EQ(second.build_all(all).from_disk, 10u);
  EXPECT_EQ(store.build_all({}).kernels, 0u);
  EXPECT_EQ(compiler_->calls, 10);
}

TEST_F(KernelBatchTest, AFailureDoesNotStopTheOthersAndIsThrown) {
  KernelStore store(backend_, options_);
  std::vector<KernelStore::Item> all = items(6);
  all[2].describe = [] {
    KernelRequest request = kernel_number(2);
    request.entry = "no name";
    return request;
  };
  try {
    store.build_all(all);
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_NE(std::string(error.what()).find("1 of 6 kernels"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("kernel_2"), std::string::npos) << error.what();
    EXPECT_EQ(error.argument(), "entry");
  }
  EXPECT_EQ(store.counts().loaded, 5u);
  all[2] = items(1, 2).front();
  EXPECT_EQ(store.build_all(all).compiled, 1u);
}

TEST_F(KernelBatchTest, ProgressEndsIt) {
  compiler_->delay = std::chrono::milliseconds(5);
  KernelStore store(backend_, options_);
  try {
    store.build_all(items(50), 2, [](KernelStore::BuildProgress const& at) { return at.done < 3; });
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.argument(), "progress");
    EXPECT_NE(error.got().find("3 of 50"), std::string::npos);
  }
  EXPECT_LT(compiler_->calls, 20);
  EXPECT_THROW(store.build_all(items(50), 2, [](auto const&) -> bool { throw std::runtime_error("mine"); }),
               std::runtime_error);
  EXPECT_EQ(store.build_all(items(50)).kernels, 50u);
}

TEST_F(KernelBatchTest, ThreeProcessesShareTheWork) {
  compiler_->tally = folder_.path() / "tally";
  compiler_->delay = std::chrono::milliseconds(20);
  int results[2];
  ASSERT_EQ(::pipe(results), 0);
  std::vector<pid_t> children;
  for (int rank = 0; rank < 3; ++rank) {
    pid_t const pid = ::fork();
    if (pid == 0) {
      int wrong = 99;
      try {
        CodeBackend backend;
        KernelStoreOptions options = options_;
        options.threads = 2;
        KernelStore store(backend, options);
        KernelStore::BuildSummary const summary = store.build_all(items(24));
        wrong = store.counts().loaded != 24 || summary.compiled + summary.from_disk != 24;
        auto const compiled = static_cast<unsigned char>(summary.compiled);
        if (::write(results[1], &compiled, 1) != 1) wrong = 98;
      } catch (...) {
      }
      ::_exit(wrong);
    }
    children.push_back(pid);
  }
  for (pid_t const pid : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(fs::file_size(compiler_->tally), 24u);
  unsigned char compiled[3];
  ASSERT_EQ(::read(results[0], compiled, 3), 3);
  EXPECT_EQ(compiled[0] + compiled[1] + compiled[2], 24);
  for (unsigned char each : compiled) EXPECT_GT(each, 0) << "a process only waited for the others";
  ::close(results[0]);
  ::close(results[1]);
}

TEST_F(KernelBatchTest, ArchivesComeBeforeCacheAndCompiler) {
  options_.archives = archive_of({0, 1, 2});
  KernelStore store(backend_, options_);
  KernelStore::BuildSummary const summary = store.build_all(items(5));
  EXPECT_EQ(summary.from_archives, 3u);
  EXPECT_EQ(summary.compiled, 2u);
  EXPECT_EQ(store.counts().from_archives, 3u);
  EXPECT_EQ(compiler_->calls, 2);
  for (KernelImage const& image : backend_.images) {
    int const number = image.entry.back() - '0';
    EXPECT_EQ(image.ptx, jit::FakeCompiler::expected(request_of(number)).ptx);
    EXPECT_EQ(image.cubin, jit::FakeCompiler::expected(request_of(number)).cubin);
  }
}

TEST_F(KernelBatchTest, TheOptionNamesArchives) {
  ScopedOption const archives(Option::kKernels, archive_of({0, 1}) + ":" + archive_of({2}, "more.dwk"));
  KernelStore store(backend_, options_);
  EXPECT_EQ(store.build_all(items(3)).from_archives, 3u);
  EXPECT_EQ(compiler_->calls, 0);
}

TEST_F(KernelBatchTest, ServesWithoutAnyCompiler) {
  { KernelStore(backend_, options_).build_all(items(1, 7)); }  // into the cache, by a compiler
  options_.use_compiler = nullptr;
  options_.compiler = "none";
  options_.archives = archive_of({0, 1});
  KernelStore store(backend_, options_);
  EXPECT_EQ(store.build_all(items(2)).from_archives, 2u);
  EXPECT_EQ(store.build_all(items(1, 7)).from_disk, 1u);
  try {
    store.build_all(items(3));
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
    EXPECT_NE(std::string(error.what()).find("kernel_2"), std::string::npos) << error.what();
  }
}

TEST_F(KernelBatchTest, AnImageThatTheDeviceRefusesIsCompiledHere) {
  options_.archives = archive_of({0, 1});
  jit::CompileRequest const newer = request_of(1);
  jit::Compiled refused = jit::FakeCompiler::expected(newer);
  refused.ptx = "of a newer compiler";
  jit::write_archive(options_.archives, {{jit::make_key(newer, compiler_->info()), refused},
                                         {jit::make_key(request_of(0), compiler_->info()),
                                          jit::FakeCompiler::expected(request_of(0))}});
  backend_.refuses = "of a newer compiler";
  CapturedLog const log;
  KernelStore store(backend_, options_);
  KernelStore::BuildSummary const summary = store.build_all(items(2));
  EXPECT_EQ(summary.from_archives, 1u);
  EXPECT_EQ(summary.compiled, 1u);
  EXPECT_EQ(log.count("kernel_1 of an archive is not used"), 1u);
}

TEST_F(KernelBatchTest, WhatComesAfterTheWarmUpIsNamed) {
  KernelStore store(backend_, options_);
  auto const call = [&](int number) {
    store.get(number, nullptr, [number] { return kernel_number(number); });
  };
  CapturedLog const log;
  call(1);
  store.build_all(items(4));
  EXPECT_EQ(store.counts().late, 0u);
  store.after_warm_up(LateBuilds::kWarn);
  call(2);
  EXPECT_EQ(store.counts().late, 0u);
  EXPECT_EQ(log.count("warm-up"), 0u);
  call(5);
  call(5);
  EXPECT_EQ(store.counts().late, 1u);
  EXPECT_EQ(log.count("kernel kernel_5 is not part of the warm-up: compiled in"), 1u);
  EXPECT_EQ(log.count("during a call"), 1u);
  store.build_all(items(2, 6));  // another warm-up
  store.build_in_background(items(1, 8));
  store.wait();
  EXPECT_EQ(store.counts().late, 2u);
  EXPECT_EQ(log.count("kernel_8 is not part of the warm-up: compiled in"), 1u);
  EXPECT_EQ(log.count("in the background"), 1u);

  store.after_warm_up(LateBuilds::kOff);
  call(9);
  EXPECT_EQ(store.counts().late, 3u);
  EXPECT_EQ(log.count("warm-up"), 2u);

  store.after_warm_up(LateBuilds::kError);
  int const calls = compiler_->calls;
  for (int i = 0; i < 2; ++i) {
    try {
      call(10);
      FAIL() << "no error";
    } catch (Error const& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
      EXPECT_EQ(error.argument(), "DEEPWELL_AFTER_WARMUP");
      EXPECT_NE(std::string(error.what()).find("kernel_10"), std::string::npos);
    }
  }
  EXPECT_EQ(compiler_->calls, calls);
  call(9);
  store.build_all(items(1, 10));
  call(10);
}

TEST(LateBuilds, AreAnOption) {
  EXPECT_EQ(late_builds_option(), LateBuilds::kWarn);
  {
    ScopedOption const off(Option::kAfterWarmup, "off");
    EXPECT_EQ(late_builds_option(), LateBuilds::kOff);
  }
  ScopedOption const bad(Option::kAfterWarmup, "loudly");
  try {
    late_builds_option();
    FAIL() << "no error";
  } catch (Error const& error) {
    EXPECT_EQ(error.argument(), "DEEPWELL_AFTER_WARMUP");
    EXPECT_EQ(error.got(), "loudly");
  }
}

}  // namespace
}  // namespace deepwell
