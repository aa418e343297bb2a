// One cache folder for several processes and hosts: nobody compiles what another is compiling, nobody waits while there is other
// work, and a host without a compiler is served.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <future>

#include "base/file.hpp"
#include "jit/cache_entry.hpp"
#include "jit/parallel.hpp"
#include "unit/jit/fake_compiler.hpp"

namespace deepwell::jit {
namespace {
namespace fs = std::filesystem;

/// A compiler that waits inside compile() until it is let go.
class HeldCompiler final : public Compiler {
 public:
  CompilerInfo const& info() const override { return inner_.info(); }
  Compiled compile(CompileRequest const& request) const override {
    begun_.set_value();
    go_.wait();
    return inner_.compile(request);
  }
  void wait_until_begun() { begun_.get_future().wait(); }
  void let_go() { release_.set_value(); }

 private:
  FakeCompiler inner_;
  mutable std::promise<void> begun_;
  std::promise<void> release_;
  std::shared_future<void> go_ = release_.get_future().share();
};

std::vector<CompileRequest> requests(int count) {
  std::vector<CompileRequest> made;
  for (int i = 0; i < count; ++i) {
    made.push_back(sample_request(fmt::format("kernel_{}", i)));
    made.back().source += std::to_string(i);
  }
  return made;
}

TEST(SharedCache, NobodyWaitsUnlessAsked) {
  TemporaryFolder const folder;
  CompileRequest const request = sample_request();
  HeldCompiler slow;
  std::future<Compiled> first =
      std::async(std::launch::async, [&] { return KernelCache(folder.path().string()).get(request, slow); });
  slow.wait_until_begun();
  FakeCompiler other;
  KernelCache cache(folder.path().string());  // its locks are files of their own, as another process's
  EXPECT_FALSE(cache.get_unless_busy(request, other));
  EXPECT_FALSE(cache.get_unless_busy(request, other));
  EXPECT_EQ(other.calls, 0);
  EXPECT_TRUE(cache.get_unless_busy(requests(1).front(), other));
  std::future<Compiled> waits = std::async(std::launch::async, [&] { return cache.get(request, other); });
  slow.let_go();
  EXPECT_FALSE(first.get().from_cache);
  EXPECT_TRUE(waits.get().from_cache);
  EXPECT_TRUE(cache.get_unless_busy(request, other)->from_cache);
  EXPECT_EQ(other.calls, 1);
}

/// Counts how many are inside compile() at once; never succeeds, so that everybody has to get in.
class CountingCompiler final : public Compiler {
 public:
  CompilerInfo const& info() const override { return inner_.info(); }
  Compiled compile(CompileRequest const&) const override {
    int const now = ++inside;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    --inside;
    throw Error(ErrorCode::kToolchain, "never");
  }
  mutable std::atomic<int> inside{0}, most{0};

 private:
  FakeCompiler inner_;
};

TEST(SharedCache, ALockWhoseFileIsGoneKeepsOthersOut) {
  // The owner of a lock removes its file; whoever had opened it before must not share it with whoever makes it anew.
  TemporaryFolder const folder;
  CountingCompiler compiler;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        KernelCache cache(folder.path().string());
        for (int round = 0; round < 50; ++round) EXPECT_THROW(cache.get(sample_request(), compiler), Error);
      });
    }
  }
  EXPECT_EQ(compiler.most, 1);
}

TEST(SharedCache, ThreeProcessesCompileEachKernelOnce) {
  TemporaryFolder const folder;
  std::vector<CompileRequest> const all = requests(24);
  FakeCompiler compiler;
  compiler.tally = folder.path() / "tally";
  compiler.delay = std::chrono::milliseconds(20);
  std::vector<pid_t> children;
  for (int rank = 0; rank < 3; ++rank) {
    pid_t const pid = ::fork();
    if (pid == 0) {
      int wrong = 99;
      try {
        KernelCache cache((folder.path() / "cache").string());
        std::vector<Built> const built = compile_many(cache, compiler, all, 2);
        wrong = 0;
        for (std::size_t i = 0; i < all.size(); ++i)
          wrong += !built[i].compiled || !same_result(*built[i].compiled, FakeCompiler::expected(all[i]));
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
  EXPECT_EQ(fs::file_size(compiler.tally), all.size());
}

TEST(SharedCache, AHostWithoutACompilerFindsWhatAnyCompilerMade) {
  TemporaryFolder const folder;
  CompileRequest const request = sample_request();
  KernelCache cache(folder.path().string());
  EXPECT_FALSE(cache.find_any(request));
  cache.get(request, FakeCompiler());
  std::optional<Compiled> const found = KernelCache(folder.path().string()).find_any(request);
  ASSERT_TRUE(found);
  EXPECT_TRUE(same_result(*found, FakeCompiler::expected(request)));
  EXPECT_TRUE(found->from_cache);
  CompileRequest other = request;
  other.target = "sm_121a";
  EXPECT_FALSE(cache.find_any(other));
  other = request;
  other.source += " ";
  EXPECT_FALSE(cache.find_any(other));
  other = request;
  other.line_info = true;
  EXPECT_FALSE(cache.find_any(other));
  // A damaged one is not used.
  fs::path const entry = folder.path() / make_key(request, FakeCompiler().info()).folder_name();
  fs::resize_file(entry / "kernel.cubin", 10);
  EXPECT_FALSE(KernelCache(folder.path().string()).find_any(request));
}

}  // namespace
}  // namespace deepwell::jit
