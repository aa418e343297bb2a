// Time of the product in front of hyper-connections with operands that come from memory: one CUDA graph over calls on copies of a
// and b (three times the L2 and more), time per call. One JSON object a line: shape, floor (a, b and the results once over
// --bandwidth), time, ratio, kernel, pieces. --every also times what the choice did not take.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "graph_time.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"

namespace deepwell {
namespace {

constexpr std::int64_t kEnoughBytes = 200 << 20;

class Bench {
 public:
  Bench(std::string const& device, bool pdl, double bandwidth)
      : context_(device), pdl_(pdl), bandwidth_(bandwidth) {
    context_.set_pdl(pdl);
  }

  /// splits 0: the caller asks for none.
  void run(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t splits, bool every) {
    std::int64_t const parts = std::max<std::int64_t>(splits, 1);
    std::int64_t const a_bytes = align_up(2 * m * k, 256), b_bytes = align_up(4 * n * k, 256);
    std::int64_t const sets = std::clamp<std::int64_t>(ceil_div(kEnoughBytes, a_bytes + b_bytes), 2, 256);
    // bf16 and f32 numbers around 1, of both signs.
    bench::DeviceMemory const a = words(sets * a_bytes, 0x3f803f80u, 0x807f807fu);
    bench::DeviceMemory const b = words(sets * b_bytes, 0x3f800000u, 0x807fffffu);
    bench::DeviceMemory const d = words(4 * parts * m * n, 0, 0);
    bench::DeviceMemory const sqr_sum = words(4 * parts * m, 0, 0);
    std::vector<HcPrenormProblem> problems;
    for (std::int64_t set = 0; set < sets; ++set) {
      HcPrenormCall call;
      call.a = contiguous_view(a.address() + set * a_bytes, Dtype::kBf16, {m, k});
      call.b = contiguous_view(b.address() + set * b_bytes, Dtype::kF32, {n, k});
      if (splits == 0) {
        call.d = contiguous_view(d.address(), Dtype::kF32, {m, n});
        call.sqr_sum = contiguous_view(sqr_sum.address(), Dtype::kF32, {m});
      } else {
        call.num_splits = splits;
        call.d = contiguous_view(d.address(), Dtype::kF32, {splits, m, n});
        call.sqr_sum = contiguous_view(sqr_sum.address(), Dtype::kF32, {splits, m});
      }
      problems.push_back(check_hc_prenorm(call));
    }
    double const floor_us =
        static_cast<double>(2 * m * k + 4 * n * k + 4 * parts * m * (n + 1)) / bandwidth_ * 1e6;
    std::vector<HcPrenormCandidate> candidates =
        choose_hc_prenorm(shape_of(problems.front()), context_.arch());
    if (!every) candidates.resize(1);
    for (HcPrenormCandidate const& how : candidates) {
      double const us = time(problems, how);
      fmt::print(
          "{{\"m\":{},\"n\":{},\"k\":{},\"splits\":{},\"pdl\":{},\"floor_us\":{:.2f},\"us\":{:.2f},"
          "\"ratio\":{:.2f},\"expected_us\":{:.2f},\"kernel\":\"{}\",\"pieces\":{},\"chosen\":{}}}\n",
          m, n, k, splits, pdl_, floor_us, us, us / floor_us, how.cost_us, plan_name(how.plan), how.pieces,
          &how == &candidates.front());
      std::fflush(stdout);
    }
  }

 private:
  /// Words `base` with the bits of `mask` at random.
  bench::DeviceMemory words(std::int64_t bytes, std::uint32_t base, std::uint32_t mask) {
    std::mt19937 random(1);
    std::vector<std::uint32_t> out(static_cast<std::size_t>(ceil_div(bytes, 4)));
    for (std::uint32_t& word : out) word = base ^ (static_cast<std::uint32_t>(random()) & mask);
    return {context_.backend(), std::as_bytes(std::span(out))};
  }

  double time(std::vector<HcPrenormProblem> const& problems, HcPrenormCandidate const& how) {
    return bench::graph_time_us(context_, problems.size(), [&](Stream stream) {
      for (HcPrenormProblem const& problem : problems)
        launch_hc_prenorm(context_, problem, how, stream, nullptr);
    });
  }

  Context context_;
  bool pdl_;
  double bandwidth_;
};

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  using namespace deepwell;
  CLI::App app("The product in front of hyper-connections with operands from memory");
  std::string device = "cuda", pdl = "off,on";
  std::vector<std::int64_t> rows{1, 8, 128, 4096}, splits{16, 0};
  std::int64_t n = 24, k = 16384;
  double bandwidth = 4568e9;
  bool every = false;
  app.add_option("--device", device);
  app.add_option("--m", rows)->delimiter(',');
  app.add_option("--splits", splits, "0: none")->delimiter(',');
  app.add_option("--n", n);
  app.add_option("--k", k);
  app.add_option("--pdl", pdl, "off, on, or off,on");
  app.add_option("--bandwidth", bandwidth, "bytes per second of the floor");
  app.add_flag("--every", every, "every tile and number of pieces, the chosen one first");
  CLI11_PARSE(app, argc, argv);
  try {
    for (bool const on : {false, true}) {
      if (pdl.find(on ? "on" : "off") == std::string::npos) continue;
      Bench bench(device, on, bandwidth);
      for (std::int64_t const m : rows) {
        for (std::int64_t const s : splits) bench.run(m, n, k, s, every);
      }
    }
  } catch (std::exception const& error) {
    fmt::print(stderr, "bench_hc_prenorm: {}\n", error.what());
    return 1;
  }
}
