// Sets of kernels: order, progress, failures.
#include "jit/parallel.hpp"

#include <gtest/gtest.h>

#include "base/file.hpp"
#include "base/options.hpp"
#include "unit/jit/fake_compiler.hpp"

namespace deepwell::jit {
namespace {

std::vector<CompileRequest> some_requests(int count) {
  std::vector<CompileRequest> requests;
  for (int i = 0; i < count; ++i) {
    requests.push_back(sample_request("kernel_" + std::to_string(i)));
    requests.back().source += std::to_string(i);
  }
  return requests;
}

TEST(CompileMany, KeepsTheOrderAndReportsEachOnce) {
  TemporaryFolder const folder;
  KernelCache cache(folder.path().string());
  FakeCompiler compiler;
  std::vector<CompileRequest> const requests = some_requests(20);
  std::vector<std::size_t> done;
  std::vector<Built> const built = compile_many(cache, compiler, requests, 4, [&](Progress const& progress) {
    EXPECT_EQ(progress.total, 20u);
    EXPECT_TRUE(progress.built.compiled.has_value());
    done.push_back(progress.done);
  });
  ASSERT_EQ(built.size(), requests.size());
  for (std::size_t i = 0; i < built.size(); ++i) {
    ASSERT_TRUE(built[i].compiled);
    EXPECT_TRUE(same_result(*built[i].compiled, FakeCompiler::expected(requests[i])));
  }
  ASSERT_EQ(done.size(), 20u);
  for (std::size_t i = 0; i < done.size(); ++i) EXPECT_EQ(done[i], i + 1);
  EXPECT_TRUE(compile_many(cache, compiler, {}, 2).empty());
}

TEST(CompileMany, AFailureDoesNotStopTheOthers) {
  TemporaryFolder const folder;
  KernelCache cache(folder.path().string());
  FakeCompiler compiler;
  std::vector<CompileRequest> requests = some_requests(3);
  requests[1].entry = "not a name";
  std::vector<Built> const built = compile_many(cache, compiler, requests, 2);
  EXPECT_TRUE(built[0].compiled && built[2].compiled);
  EXPECT_FALSE(built[1].compiled);
  ASSERT_TRUE(built[1].error);
  EXPECT_EQ(built[1].error->argument(), "entry");
}

TEST(CompileMany, ThreadCountComesFromTheOption) {
  EXPECT_EQ(compile_threads(3), 3);
  ScopedOption const set(Option::kCompileThreads, "5");
  EXPECT_EQ(compile_threads(), 5);
  ScopedOption const bad(Option::kCompileThreads, "-1");
  EXPECT_THROW(compile_threads(), Error);
  ScopedOption const none(Option::kCompileThreads, "0");
  EXPECT_GE(compile_threads(), 1);
  EXPECT_LE(compile_threads(), 8);
}

}  // namespace
}  // namespace deepwell::jit
