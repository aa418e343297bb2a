// Time of fp8_fp4_gemm_nt (and the o_proj einsum as a batch) with weights that come from memory: one CUDA graph over copies of
// the weights that together are more than three times the L2 cache, prepared scales, time per call. One JSON object a line:
// shape, formats, floor (bytes of weights, scales and activations over --bandwidth), time, ratio, plan.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "graph_time.hpp"
#include "ops/gemm/gemm.hpp"
#include "ref/gemm.hpp"
#include "tuning.hpp"

namespace deepwell {
namespace {

struct Shape {
  std::string name;
  std::int64_t n, k, batch;
};

constexpr double kL2Bytes = 60e6;

/// A [rows, k] operand of batch matrices with packed UE8M0 or FP32 scales, on the device.
struct Operand {
  TensorView data, scale;
  std::size_t bytes = 0;
};

class Bench {
 public:
  Bench(std::string const& device, bool pdl, double bandwidth, bench::Tuning tuning)
      : context_(device), pdl_(pdl), bandwidth_(bandwidth), tuning_(std::move(tuning)) {
    context_.set_pdl(pdl);
  }

  void run(Shape const& shape, std::int64_t m, Dtype b_type, bool f32_scales) {
    Backend& backend = context_.backend();
    GemmProblem base = problem(shape, m, b_type, f32_scales);
    std::size_t const weight_bytes = shape.batch * shape.n * shape.k * bits_of(b_type) / 8;
    std::size_t const weight_scale_bytes = scale_bytes(base.b.scale, shape.batch, shape.n, shape.k);
    std::size_t const activation_bytes = shape.batch * m * (shape.k + 2 * shape.n);
    int const copies = std::max(2, static_cast<int>(3 * kL2Bytes / weight_bytes) + 1);

    std::vector<DeviceAddress> owned;
    auto upload = [&](std::vector<std::byte> const& bytes) {
      DeviceAddress const address = backend.allocate(bytes.size());
      backend.copy_to_device(address, bytes, nullptr);
      owned.push_back(address);
      return address;
    };
    std::vector<std::byte> const weights = b_type == Dtype::kE2m1
                                               ? bench::random_bytes(weight_bytes, 1, 0xff, 0)
                                               : bench::random_bytes(weight_bytes, 1, 0xbf, 0x10);
    std::vector<GemmProblem> calls(copies, base);
    std::vector<std::byte> const activations = bench::random_bytes(shape.batch * m * shape.k, 2, 0xbf, 0x10);
    std::vector<std::byte> const activation_scales = scale_values(base.a.scale, shape.batch, m, shape.k);
    base.a.data = upload(activations);
    base.a.scale.data = upload(activation_scales);
    base.d = backend.allocate(shape.batch * m * shape.n * 2);
    owned.push_back(base.d);
    std::vector<std::byte> const scales = scale_values(base.b.scale, shape.batch, shape.n, shape.k);
    for (GemmProblem& call : calls) {
      call = base;
      call.b.data = upload(weights);
      call.b.scale.data = upload(scales);
    }

    cuda::OwnedStream stream(cuda::device_of(backend));
    GemmCandidate const best = bench::tuned_candidate(calls[0], context_.arch(), tuning_);
    launch_gemm(context_, calls[0], best, stream.get());
    backend.synchronize(stream.get());
    double const error = largest_error(calls[0], activations, activation_scales, weights, scales);
    double const us = bench::graph_time_us(context_, calls.size(), [&](Stream replayed) {
      for (GemmProblem const& call : calls) launch_gemm(context_, call, best, replayed);
    });
    double const floor_us = (weight_bytes + weight_scale_bytes + activation_bytes) / bandwidth_ * 1e6;
    fmt::print(
        "{{\"name\":\"{}\",\"m\":{},\"n\":{},\"k\":{},\"batch\":{},\"b\":\"{}\",\"scales\":\"{}\",\"pdl\":{},"
        "\"floor_us\":{:.2f},"
        "\"us\":{:.2f},\"ratio\":{:.2f},\"tflops\":{:.1f},\"error\":{:.1e},\"splits\":{},\"kernel\":\"{}\"}}"
        "\n",
        shape.name, m, shape.n, shape.k, shape.batch, name_of(b_type), f32_scales ? "f32" : "packed", pdl_,
        floor_us, us, us / floor_us, 2.0 * shape.batch * m * shape.n * shape.k / us * 1e-6, error,
        best.splits, plan_name(best.plan));
    std::fflush(stdout);
    for (DeviceAddress address : owned) backend.release(address);
  }

 private:
  static ref::Operand reference_operand(MatrixOperand const& operand, std::int64_t rows, std::int64_t k,
                                        std::vector<std::byte> const& data,
                                        std::vector<std::byte> const& scales) {
    ScaleOperand const& scale = operand.scale;
    return {.dtype = operand.dtype,
            .data = data.data(),
            .rows = rows,
            .k = k,
            .pitch = operand.pitch,
            .batch_stride = operand.batch_stride,
            .scales = {.format = scale.packed ? ref::ScaleFormat::kPacked : ref::ScaleFormat::kF32,
                       .gran_mn = scale.gran.mn,
                       .gran_k = scale.gran.k,
                       .data = scales.data(),
                       .row_stride = scale.row_stride / 4,
                       .k_stride = scale.k_stride / 4,
                       .batch_stride = scale.batch_stride / 4}};
  }

  /// Largest |d - reference| over sum |a b| of the call that just ran; -1 where the reference would take too long.
  double largest_error(GemmProblem const& call, std::vector<std::byte> const& a,
                       std::vector<std::byte> const& a_scale, std::vector<std::byte> const& b,
                       std::vector<std::byte> const& b_scale) {
    if (call.batch * call.m * call.n * call.k > 600'000'000) return -1;
    ref::Product const expected =
        ref::gemm(reference_operand(call.a, call.m, call.k, a, a_scale),
                  reference_operand(call.b, call.n, call.k, b, b_scale), call.batch, nullptr, pool_);
    std::vector<std::uint16_t> d(call.batch * call.m * call.n);
    context_.backend().copy_to_host(std::as_writable_bytes(std::span(d)), call.d, nullptr);
    double worst = 0;
    for (std::size_t i = 0; i < d.size(); ++i) {
      float value;
      std::uint32_t const bits = static_cast<std::uint32_t>(d[i]) << 16;
      std::memcpy(&value, &bits, 4);
      double const error = std::abs(value - expected.d[i]) / expected.magnitude[i];
      if (!(error <= worst)) worst = error;
    }
    return worst;
  }

  static std::int64_t words(std::int64_t k, int gran_k) { return ceil_div(k, 4 * gran_k); }

  static ScaleOperand scale_operand(std::int64_t rows, std::int64_t k, Granularity gran, bool f32) {
    if (f32) {
      std::int64_t const groups = ceil_div(k, gran.k);
      return {.kind = ScaleKind::kF32,
              .packed = false,
              .gran = gran,
              .data = 0,
              .row_stride = groups * 4,
              .k_stride = 4,
              .batch_stride = ceil_div(rows, gran.mn) * groups * 4};
    }
    std::int64_t const pitch = align_up(rows, 4) * 4;
    return {.kind = ScaleKind::kUe8m0,
            .packed = true,
            .gran = {1, gran.k},
            .data = 0,
            .row_stride = 4,
            .k_stride = pitch,
            .batch_stride = pitch * words(k, gran.k)};
  }

  static std::size_t scale_bytes(ScaleOperand const& scale, std::int64_t batch, std::int64_t rows,
                                 std::int64_t k) {
    if (scale.kind == ScaleKind::kF32) return batch * scale.batch_stride;
    return batch * align_up(rows, 4) * 4 * words(k, scale.gran.k);
  }

  static std::vector<std::byte> scale_values(ScaleOperand const& scale, std::int64_t batch, std::int64_t rows,
                                             std::int64_t k) {
    std::vector<std::byte> bytes = bench::random_bytes(scale_bytes(scale, batch, rows, k), 3, 7, 120);
    if (scale.kind == ScaleKind::kF32) {
      float const value = 0.013f;  // no power of two
      for (std::size_t i = 0; i + 4 <= bytes.size(); i += 4) std::memcpy(&bytes[i], &value, 4);
    }
    return bytes;
  }

  static GemmProblem problem(Shape const& shape, std::int64_t m, Dtype b_type, bool f32) {
    GemmProblem problem;
    problem.m = m;
    problem.n = shape.n;
    problem.k = shape.k;
    problem.batch = shape.batch;
    problem.a = {.dtype = Dtype::kE4m3,
                 .data = 0,
                 .pitch = shape.k,
                 .batch_stride = m * shape.k,
                 .scale = scale_operand(m, shape.k, {1, 128}, f32)};
    bool const fp4 = b_type == Dtype::kE2m1;
    std::int64_t const pitch = fp4 ? shape.k / 2 : shape.k;
    problem.b = {.dtype = b_type,
                 .data = 0,
                 .pitch = pitch,
                 .batch_stride = shape.n * pitch,
                 .scale = scale_operand(shape.n, shape.k, fp4 ? Granularity{1, 32} : Granularity{128, 128},
                                        f32 && !fp4)};
    problem.d_pitch = shape.n;
    problem.d_batch_stride = m * shape.n;
    return problem;
  }

  Context context_;
  bool pdl_;
  double bandwidth_;
  bench::Tuning tuning_;
  ThreadPool pool_;
};

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  using namespace deepwell;
  CLI::App app("Decode GEMMs of V4-Flash with weights from memory");
  std::string device = "cuda";
  std::vector<std::int64_t> ms{1, 8, 16, 64};
  std::string pdl = "off,on", weights = "e4m3,e2m1", scales = "packed,f32", only;
  double bandwidth = 4568e9;
  app.add_option("--device", device);
  app.add_option("--m", ms)->delimiter(',');
  app.add_option("--pdl", pdl, "off, on, or off,on");
  app.add_option("--weights", weights, "e4m3, e2m1 or both");
  app.add_option("--scales", scales, "packed, f32 or both");
  app.add_option("--only", only, "names that contain this text");
  app.add_option("--bandwidth", bandwidth, "bytes per second of the floor");
  std::vector<std::string> set;
  app.add_option("--set", set, "FIELD=VALUE of the plan, or splits=VALUE: for tuning");
  CLI11_PARSE(app, argc, argv);
  std::vector<Shape> const shapes = {
      {"wq_a+wkv", 1536, 4096, 1},       {"wq_b", 32768, 1024, 1},       {"wo_b", 4096, 8192, 1},
      {"shared_gate_up", 4096, 4096, 1}, {"shared_down", 4096, 2048, 1}, {"indexer_wq_b", 8192, 1024, 1},
      {"o_proj_einsum", 1024, 4096, 8},
  };
  try {
    for (bool const on : {false, true}) {
      if (pdl.find(on ? "on" : "off") == std::string::npos) continue;
      Bench bench(device, on, bandwidth, bench::parse_tuning(set));
      for (Dtype const type : {Dtype::kE4m3, Dtype::kE2m1}) {
        if (weights.find(name_of(type)) == std::string::npos) continue;
        for (bool const f32 : {false, true}) {
          if (scales.find(f32 ? "f32" : "packed") == std::string::npos) continue;
          for (Shape const& shape : shapes) {
            if (shape.name.find(only) == std::string::npos) continue;
            for (std::int64_t m : ms) bench.run(shape, m, type, f32);
          }
        }
      }
    }
  } catch (std::exception const& error) {
    fmt::print(stderr, "bench_gemm_decode: {}\n", error.what());
    return 1;
  }
}
