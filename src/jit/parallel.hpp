// Compiling many kernels at once.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/thread_pool.hpp"
#include "jit/jit.hpp"

namespace deepwell::jit {

/// One kernel of a set: either `compiled` or `error`.
struct Built {
  std::optional<Compiled> compiled;
  std::optional<Error> error;
};

/// Called after each kernel, from the thread that made it, one call at a time.
struct Progress {
  std::size_t done = 0, total = 0;
  CompileRequest const& request;
  Built const& built;
};
using ProgressFunction = std::function<void(Progress const&)>;

/// `asked` when positive, else option DEEPWELL_COMPILE_THREADS, else the cores, at most 8.
int compile_threads(int asked = 0);

/// Takes every kernel from the cache or compiles it; results are in the order of `requests`. One that fails does not stop
/// the others.
std::vector<Built> compile_many(KernelCache& cache, Compiler const& compiler,
                                std::span<CompileRequest const> requests, int threads = 0,
                                ProgressFunction const& progress = {});

}  // namespace deepwell::jit
