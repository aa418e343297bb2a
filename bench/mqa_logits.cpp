// Time of the indexer's logits: paged with caches larger than the L2, and ragged as in prefill; one CUDA graph of calls, time per
// call. One JSON object a line: sizes, floor (the longer of reading the keys once and of the products at --f16-flops), time, ratio.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "graph_time.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"

namespace deepwell {
namespace {

constexpr std::int64_t kHeads = 64, kDim = 128, kPage = 64;

using Buffer = bench::DeviceMemory;

/// e4m3 of moderate size.
std::vector<std::byte> codes(std::size_t count) { return bench::random_bytes(count, 1, 0x9f, 0x20); }

template <class T>
std::vector<std::byte> bytes_of(std::vector<T> const& values) {
  auto const bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> floats(std::size_t count) { return bytes_of(std::vector<float>(count, 0.125f)); }

class Bench {
 public:
  Bench(std::string const& device, bool pdl, double bandwidth, double flops)
      : context_(device), pdl_(pdl), bandwidth_(bandwidth), flops_(flops) {
    context_.set_pdl(pdl);
  }

  void paged(std::int64_t requests, std::int64_t keys, std::int64_t next_n) {
    std::int64_t const table_columns = keys / kPage, pages = requests * table_columns;
    std::vector<std::int32_t> order(static_cast<std::size_t>(pages));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(2));
    Backend& backend = context_.backend();
    Buffer const q(backend, codes(static_cast<std::size_t>(requests * next_n * kHeads * kDim)));
    Buffer const cache(backend, page_bytes(pages));
    Buffer const weights(backend, floats(static_cast<std::size_t>(requests * next_n * kHeads)));
    Buffer const lengths(backend,
                         bytes_of(std::vector<std::int32_t>(static_cast<std::size_t>(requests * next_n),
                                                            static_cast<std::int32_t>(keys))));
    Buffer const table(backend, bytes_of(order));
    Buffer const logits(backend, floats(static_cast<std::size_t>(requests * next_n * keys)));
    PagedMqaLogitsCall call;
    call.q = contiguous_view(q.address(), Dtype::kE4m3, {requests, next_n, kHeads, kDim});
    call.cache = contiguous_view(cache.address(), Dtype::kU8, {pages, kPage, 1, kDim + 4});
    call.weights = contiguous_view(weights.address(), Dtype::kF32, {requests * next_n, kHeads});
    call.lengths = contiguous_view(lengths.address(), Dtype::kI32, {requests, next_n});
    call.block_table = contiguous_view(table.address(), Dtype::kI32, {requests, table_columns});
    call.logits = contiguous_view(logits.address(), Dtype::kF32, {requests * next_n, keys});
    double const us = time([&](Stream stream) {
      call.stream = stream;
      fp8_paged_mqa_logits(context_, call);
    });
    double const read = static_cast<double>(requests * keys * (kDim + 4));
    print("paged", requests, next_n, keys, read,
          2.0 * static_cast<double>(requests * next_n * keys * kHeads * kDim), us);
  }

  void ragged(std::int64_t rows, std::int64_t keys) {
    Backend& backend = context_.backend();
    Buffer const q(backend, codes(static_cast<std::size_t>(rows * kHeads * kDim)));
    Buffer const data(backend, codes(static_cast<std::size_t>(keys * kDim)));
    Buffer const scales(backend, floats(static_cast<std::size_t>(keys)));
    Buffer const weights(backend, floats(static_cast<std::size_t>(rows * kHeads)));
    Buffer const start(backend, bytes_of(std::vector<std::int32_t>(static_cast<std::size_t>(rows), 0)));
    Buffer const end(backend, bytes_of(std::vector<std::int32_t>(static_cast<std::size_t>(rows),
                                                                 static_cast<std::int32_t>(keys))));
    Buffer const logits(backend, floats(static_cast<std::size_t>(rows * keys)));
    MqaLogitsCall call;
    call.q = contiguous_view(q.address(), Dtype::kE4m3, {rows, kHeads, kDim});
    call.keys = contiguous_view(data.address(), Dtype::kE4m3, {keys, kDim});
    call.scales = contiguous_view(scales.address(), Dtype::kF32, {keys});
    call.weights = contiguous_view(weights.address(), Dtype::kF32, {rows, kHeads});
    call.start = contiguous_view(start.address(), Dtype::kI32, {rows});
    call.end = contiguous_view(end.address(), Dtype::kI32, {rows});
    call.logits = contiguous_view(logits.address(), Dtype::kF32, {rows, keys});
    double const us = time([&](Stream stream) {
      call.stream = stream;
      fp8_mqa_logits(context_, call);
    });
    print("ragged", 1, rows, keys, static_cast<double>(keys * (kDim + 4) + rows * keys * 4),
          2.0 * static_cast<double>(rows * keys * kHeads * kDim), us);
  }

 private:
  static std::vector<std::byte> page_bytes(std::int64_t pages) {
    std::size_t const page = kPage * (kDim + 4);
    std::vector<std::byte> out = codes(static_cast<std::size_t>(pages) * page);
    std::vector<std::byte> const scales = floats(kPage);
    for (std::size_t i = 0; i < static_cast<std::size_t>(pages); ++i)
      std::memcpy(out.data() + i * page + kPage * kDim, scales.data(), scales.size());
    return out;
  }

  void print(char const* kind, std::int64_t requests, std::int64_t rows, std::int64_t keys, double bytes,
             double flop, double us) {
    double const read_us = bytes / bandwidth_ * 1e6, math_us = flop / flops_ * 1e6;
    double const floor_us = std::max(read_us, math_us);
    fmt::print(
        "{{\"name\":\"{}\",\"requests\":{},\"rows\":{},\"keys\":{},\"pdl\":{},\"read_us\":{:.1f},\"math_us\":"
        "{:.1f},"
        "\"us\":{:.2f},\"of_floor\":{:.2f},\"tflops\":{:.0f},\"gbps\":{:.0f}}}\n",
        kind, requests, rows, keys, pdl_, read_us, math_us, us, floor_us / us, flop / us * 1e-6,
        bytes / us * 1e-3);
    std::fflush(stdout);
  }

  template <class Call>
  double time(Call&& call) {
    constexpr std::size_t kCalls = 8;
    return bench::graph_time_us(context_, kCalls, [&](Stream stream) {
      for (std::size_t i = 0; i < kCalls; ++i) call(stream);
    });
  }

  Context context_;
  bool pdl_;
  double bandwidth_, flops_;
};

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  using namespace deepwell;
  CLI::App app("The indexer's logits of V4-Flash");
  std::string device = "cuda", pdl = "off,on";
  double bandwidth = 4568e9, flops = 551e12;
  app.add_option("--device", device);
  app.add_option("--pdl", pdl, "off, on, or off,on");
  app.add_option("--bandwidth", bandwidth, "bytes per second of the floor");
  app.add_option("--f16-flops", flops, "f16 products and sums per second of the floor");
  CLI11_PARSE(app, argc, argv);
  try {
    for (bool const on : {false, true}) {
      if (pdl.find(on ? "on" : "off") == std::string::npos) continue;
      Bench bench(device, on, bandwidth, flops);
      for (std::int64_t next_n : {1, 2}) bench.paged(64, 32768, next_n);
      bench.paged(1, 131072, 1);
      bench.paged(256, 8192, 1);
      bench.ragged(2048, 8192);
    }
  } catch (std::exception const& error) {
    fmt::print(stderr, "bench_mqa_logits: {}\n", error.what());
    return 1;
  }
}
