// Sets of kernels over a thread pool.
#include "jit/parallel.hpp"

#include <algorithm>
#include <mutex>

#include "base/options.hpp"

namespace deepwell::jit {
namespace {

/// Neither `compiled` nor `error`: another process is compiling it, and `wait` is false.
Built build_one(KernelCache& cache, Compiler const& compiler, CompileRequest const& request, bool wait) {
  try {
    return {.compiled = wait ? cache.get(request, compiler) : cache.get_unless_busy(request, compiler),
            .error = std::nullopt};
  } catch (Error const& error) {
    return {.compiled = std::nullopt, .error = error};
  } catch (std::exception const& error) {
    return {.compiled = std::nullopt,
            .error = Error(ErrorCode::kToolchain, fmt::format("{}: {}", request.name, error.what()))};
  }
}

}  // namespace

int compile_threads(int asked) {
  if (asked > 0) return asked;
  long long const configured = option_integer(Option::kCompileThreads);
  if (configured < 0 || configured > 1024) {
    throw bad_argument(std::string(option_row(Option::kCompileThreads).name), std::to_string(configured),
                       "0 to 1024");
  }
  return configured > 0 ? static_cast<int>(configured) : std::min(hardware_threads(), 8);
}

std::vector<Built> compile_many(KernelCache& cache, Compiler const& compiler,
                                std::span<CompileRequest const> requests, int threads,
                                ProgressFunction const& progress) {
  std::vector<Built> results(requests.size());
  std::mutex mutex;
  std::size_t done = 0;
  ThreadPool pool(compile_threads(threads));
  // What other processes are compiling is left for last.
  std::vector<std::size_t> busy;
  auto const build = [&](std::size_t i, bool wait) {
    results[i] = build_one(cache, compiler, requests[i], wait);
    std::lock_guard lock(mutex);
    if (!results[i].compiled && !results[i].error) {
      busy.push_back(i);
      return;
    }
    ++done;
    if (progress)
      progress({.done = done, .total = requests.size(), .request = requests[i], .built = results[i]});
  };
  pool.parallel_for(requests.size(), [&](std::size_t i) { build(i, false); });
  pool.parallel_for(busy.size(), [&](std::size_t i) { build(busy[i], true); });
  return results;
}

}  // namespace deepwell::jit
