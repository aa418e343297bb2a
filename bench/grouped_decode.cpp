// Time of grouped products as serving code calls them, with weights that come from memory: 256 experts, top 6 spread evenly, one
// CUDA graph over calls on different experts' weights, time per call. One JSON object a line: shape, floor (bytes of the experts
// that have rows, of their scales, of activations and result over --bandwidth), time, ratio, plan.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "graph_time.hpp"
#include "num/formats.hpp"
#include "ops/gemm/grouped.hpp"
#include "tuning.hpp"

namespace deepwell {
namespace {

struct Layer {
  char const* name;
  std::int64_t n, k;
  bool
      f32_scales;  // of the activations: FP32 rows, as the first product of an expert gets them; else packed words
};

constexpr std::int64_t kExperts = 256, kTop = 6;

class Bench {
 public:
  Bench(std::string const& device, bool pdl, double bandwidth, bench::Tuning tuning)
      : context_(device), pdl_(pdl), bandwidth_(bandwidth), tuning_(std::move(tuning)) {
    context_.set_pdl(pdl);
  }

  void run(Layer const& layer, std::int64_t tokens, Dtype b_type, std::int64_t alignment) {
    bool const fp4 = b_type == Dtype::kE2m1;
    if (alignment == 0) alignment = best_alignment(tokens * kTop, kExperts);
    std::int64_t const used = std::min(kExperts, tokens * kTop);
    std::int64_t const per_expert = ceil_div(tokens * kTop, used);
    std::int64_t const m = used * align_up(per_expert, alignment);
    std::int64_t const gran_k = fp4 ? 32 : 128;
    std::int64_t const matrix_bytes = layer.n * layer.k * (fp4 ? 1 : 2) / 2;
    std::int64_t const words = layer.k / (4 * gran_k);
    // Weights of all experts once; each call of the graph takes other experts, until all have been read.
    std::int64_t const sets = kExperts / used;
    Buffer const b =
        upload(bench::random_bytes(kExperts * matrix_bytes, 1, fp4 ? 0xff : 0xbf, fp4 ? 0 : 0x10));
    Buffer const scale_b = upload(bench::random_bytes(kExperts * layer.n * words * 4, 2, 7, 120));
    Buffer const a = upload(bench::random_bytes(m * layer.k, 3, 0xbf, 0x10));
    Buffer const scale_a = upload(activation_scales(m, layer));
    Buffer const d{context_.backend(), std::vector<std::byte>(m * layer.n * 2)};
    std::vector<GroupedGemmCall> calls;
    std::vector<Buffer> layouts;
    layouts.reserve(static_cast<std::size_t>(sets));
    for (std::int64_t set = 0; set < sets; ++set) {
      std::vector<std::int32_t> ids(m, -1);
      for (std::int64_t e = 0; e < used; ++e) {
        for (std::int64_t i = 0; i < per_expert; ++i)
          ids[e * align_up(per_expert, alignment) + i] = static_cast<std::int32_t>(set + e * sets);
      }
      layouts.push_back(upload({std::as_bytes(std::span(ids)).begin(), std::as_bytes(std::span(ids)).end()}));
      GroupedGemmCall call;
      call.a = contiguous_view(a.address(), Dtype::kE4m3, {m, layer.k});
      call.b = contiguous_view(b.address(), fp4 ? Dtype::kI8 : Dtype::kE4m3,
                               {kExperts, layer.n, fp4 ? layer.k / 2 : layer.k});
      call.scale_b = contiguous_view(scale_b.address(), Dtype::kI32, {kExperts, layer.n, words});
      call.scale_b.strides = {layer.n * words, 1, layer.n};
      if (layer.f32_scales) {
        call.scale_a = contiguous_view(scale_a.address(), Dtype::kF32, {m, layer.k / 128});
      } else {
        call.scale_a = contiguous_view(scale_a.address(), Dtype::kI32, {m, layer.k / 512});
        call.scale_a.strides = {1, align_up(m, 4)};
      }
      call.layout = contiguous_view(layouts.back().address(), Dtype::kI32, {m});
      call.d = contiguous_view(d.address(), Dtype::kBf16, {m, layer.n});
      call.recipe.recipe_a = {1, 128};
      call.recipe.recipe_b = {1, static_cast<int>(gran_k)};
      call.alignment = alignment;
      calls.push_back(call);
    }
    std::vector<GemmProblem> problems;
    for (GroupedGemmCall const& call : calls) problems.push_back(check_grouped_gemm(call));
    GemmCandidate const best = bench::tuned_candidate(problems[0], context_.arch(), tuning_);
    double const us = time(problems, best);
    double const weights = static_cast<double>(used) * (matrix_bytes + layer.n * layer.k / gran_k);
    double const floor_us = (weights + tokens * kTop * (layer.k + 2 * layer.n)) / bandwidth_ * 1e6;
    fmt::print(
        "{{\"name\":\"{}\",\"tokens\":{},\"experts\":{},\"rows\":{},\"alignment\":{},\"n\":{},\"k\":{},\"b\":"
        "\"{}\","
        "\"scales\":\"{}\",\"pdl\":{},\"floor_us\":{:.2f},\"us\":{:.2f},\"ratio\":{:.2f},\"kernel\":\"{}\"}}"
        "\n",
        layer.name, tokens, used, m, alignment, layer.n, layer.k, name_of(b_type),
        layer.f32_scales ? "f32" : "packed", pdl_, floor_us, us, us / floor_us, plan_name(best.plan));
    std::fflush(stdout);
  }

 private:
  using Buffer = bench::DeviceMemory;
  Buffer upload(std::vector<std::byte> const& bytes) { return {context_.backend(), bytes}; }

  static std::vector<std::byte> activation_scales(std::int64_t m, Layer const& layer) {
    std::vector<std::byte> bytes = bench::random_bytes(align_up(m, 4) * layer.k / 128, 4, 7, 120);
    if (!layer.f32_scales) return bytes;
    std::vector<std::byte> out(m * layer.k / 128 * 4);
    for (std::size_t i = 0; i < out.size() / 4; ++i) {
      float const value = num::ue8m0_to_float(std::to_integer<std::uint8_t>(bytes[i]));
      std::memcpy(&out[4 * i], &value, 4);
    }
    return out;
  }

  double time(std::vector<GemmProblem> const& calls, GemmCandidate const& candidate) {
    // At least four calls a graph: calls on few experts' weights follow each other, as layers do.
    std::size_t const rounds = std::max<std::size_t>(1, 4 / calls.size());
    return bench::graph_time_us(context_, calls.size() * rounds, [&](Stream stream) {
      for (std::size_t round = 0; round < rounds; ++round) {
        for (GemmProblem const& call : calls) launch_gemm(context_, call, candidate, stream);
      }
    });
  }

  Context context_;
  bool pdl_;
  double bandwidth_;
  bench::Tuning tuning_;
};

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  using namespace deepwell;
  CLI::App app("Experts of V4-Flash at decode with weights from memory");
  std::string device = "cuda", pdl = "off,on", weights = "e2m1", scales;
  std::vector<std::int64_t> tokens{1, 8, 64};
  double bandwidth = 4568e9;
  std::int64_t alignment = 0;
  app.add_option("--device", device);
  app.add_option("--tokens", tokens)->delimiter(',');
  app.add_option("--pdl", pdl, "off, on, or off,on");
  app.add_option("--weights", weights, "e4m3, e2m1 or both");
  app.add_option("--scales", scales, "f32 or packed, of the activations; left out: as they come")
      ->check(CLI::IsMember({"f32", "packed"}));
  app.add_option("--alignment", alignment, "of experts' rows; 0: the best one");
  app.add_option("--bandwidth", bandwidth, "bytes per second of the floor");
  std::vector<std::string> set;
  app.add_option("--set", set, "FIELD=VALUE of the plan: for tuning");
  CLI11_PARSE(app, argc, argv);
  try {
    for (bool const on : {false, true}) {
      if (pdl.find(on ? "on" : "off") == std::string::npos) continue;
      Bench bench(device, on, bandwidth, bench::parse_tuning(set));
      for (Dtype const type : {Dtype::kE2m1, Dtype::kE4m3}) {
        if (weights != "both" && weights.find(name_of(type)) == std::string::npos) continue;
        for (Layer layer : {Layer{"gate_up", 4096, 4096, true}, Layer{"down", 4096, 2048, false}}) {
          if (!scales.empty()) layer.f32_scales = scales == "f32";
          for (std::int64_t t : tokens) bench.run(layer, t, type, alignment);
        }
      }
    }
  } catch (std::exception const& error) {
    fmt::print(stderr, "bench_grouped_decode: {}\n", error.what());
    return 1;
  }
}
