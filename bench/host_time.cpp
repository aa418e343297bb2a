// Host time of warm calls below Python: the parts of a call, and whole calls, with a backend that runs nothing, or on a GPU, which
// is waited for between rounds. One JSON object a line: name, nanoseconds (the least of several rounds), calls a round.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "backend/null/null_backend.hpp"
#include "ops/context.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

constexpr int kRounds = 7;

/// Keeps a value alive without using it.
template <class T>
void keep(T const& value) {
  void const* volatile const sink = std::addressof(value);
  static_cast<void>(sink);
}

template <class Call>
void measure(Context& context, std::string const& name, int calls, Call&& call) {
  for (int i = 0; i < calls / 10 + 1; ++i) call();
  double best = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    context.backend().synchronize(nullptr);
    auto const start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    std::chrono::duration<double, std::nano> const took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count() / calls);
  }
  std::printf("{\"name\": \"%s\", \"nanoseconds\": %.1f, \"calls\": %d}\n", name.c_str(), best, calls);
}

void measure_lookup_and_launch(Context& context, int calls) {
  std::vector<LoadedKernel const*> kernels;
  for (std::uint64_t key = 0; key < 500; ++key) {
    kernels.push_back(&context.kernels().get(key * 0x123456789abcdefu, nullptr, [] {
      return KernelRequest{.name = "k", .entry = "k", .source = {}, .dynamic_smem_bytes = 1024};
    }));
  }
  std::uint64_t key = 0;
  measure(context, "kernel lookup, 500 kernels", calls, [&] {
    key = key == 499 ? 0 : key + 1;
    keep(context.kernels().find(key * 0x123456789abcdefu));
  });
  std::array<std::byte, 1024> args{};
  measure(context, "launch", calls, [&] {
    context.launch(*kernels[0], {.grid = {188, 1, 1}, .threads = 288}, args);
  });
}

void measure_parts(Context& context, int calls) {
  measure(context, "counters", calls, [&] { keep(context.counters(64, nullptr)); });
  measure(context, "workspace of 64 KiB", calls,
          [&] { Workspace const workspace(context.allocator(), 65536, nullptr); });
  TensorMapSpec const spec{
      .rank = 2, .base = 256, .dims = {4096, 64}, .strides_bytes = {4096}, .box = {128, 64}};
  measure(context, "tensor map", calls, [&] { keep(context.backend().encode(spec)); });
}

void measure_gemm(Context& context, std::int64_t m, std::int64_t n, std::int64_t k, int calls) {
  auto const memory = [&](std::int64_t bytes) {
    return context.backend().allocate_zeroed(static_cast<std::size_t>(bytes));
  };
  GemmCall call;
  call.a = contiguous_view(memory(m * k), Dtype::kE4m3, {m, k});
  call.b = contiguous_view(memory(n * k), Dtype::kE4m3, {n, k});
  call.scale_a = contiguous_view(memory(m * k / 128), Dtype::kUe8m0, {m, k / 128});
  call.scale_b = contiguous_view(memory(n / 128 * k / 128), Dtype::kUe8m0, {n / 128, k / 128});
  call.d = contiguous_view(memory(m * n * 2), Dtype::kBf16, {m, n});
  measure(context, fmt::format("fp8_fp4_gemm_nt, m {}, n {}, k {}", m, n, k), calls,
          [&] { fp8_fp4_gemm_nt(context, call); });
}

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  CLI::App app("Host time of warm calls.");
  std::string device = "null:sm_120a";
  int calls = 100000;
  app.add_option("--device", device,
                 "null:sm_120a, or a GPU: cuda (with --calls 500, so that its queue never fills)");
  app.add_option("--calls", calls, "Calls a round")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    deepwell::Context context(device);
    if (!context.backend().needs_code()) deepwell::measure_lookup_and_launch(context, calls);
    deepwell::measure_parts(context, calls);
    for (std::int64_t const m : {1, 4, 128, 4096})
      deepwell::measure_gemm(context, m, 4096, 4096, calls / 10 + 1);
    deepwell::measure_gemm(context, 1, 128, 512, calls);   // k is not split
    deepwell::measure_gemm(context, 1, 256, 4096, calls);  // split
  } catch (deepwell::Error const& error) {
    std::fprintf(stderr, "bench_host_time: %s\n", error.what());
    return 1;
  }
  return 0;
}
