// Speed of the emulator: arithmetic and MMA instructions of loops in PTX, with checks and without, a GEMM through the library,
// and what comes before a launch (parsing). One JSON object a line: name, checks, seconds (the least of several rounds), and
// how many of `unit` a second.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "backend/emu/emu_backend.hpp"
#include "emu/emu.hpp"
#include "ops/context.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

double least_seconds(int rounds, std::function<void()> const& call) {
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    auto const start = std::chrono::steady_clock::now();
    call();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void report(std::string const& name, bool checks, double seconds, double count, char const* unit) {
  std::printf(
      "{\"name\": \"%s\", \"checks\": %s, \"seconds\": %.6f, \"per_second\": %.4g, \"unit\": \"%s\"}\n",
      name.c_str(), checks ? "true" : "false", seconds, count / seconds, unit);
  std::fflush(stdout);
}

/// A kernel that runs `body` `count` times a thread, with eight words of its own in %r10 to %r17 and four sums in %f0 to %f3.
std::string loop(std::string const& body, int count) {
  std::string text =
      ".version 8.8\n.target sm_120a\n.address_size 64\n.visible .entry loop(.param .u64 out) {\n"
      "  .reg .b32 %r<40>;\n  .reg .f32 %f<8>;\n  .reg .b64 %rd<8>;\n  .reg .pred %p;\n"
      "  mov.u32 %r1, %tid.x;\n  ld.param.u64 %rd1, [out];\n";
  for (int k = 0; k < 8; ++k)
    text += fmt::format("  mad.lo.u32 %r{}, %r1, {}, {};\n", 10 + k, 0x01030507 + k, 77 * k);
  // Sixteen bits each, small exponents: finite as e4m3 and as bf16.
  for (int k = 0; k < 8; ++k) text += fmt::format("  and.b32 %r{}, %r{}, 0x3f3f3f3f;\n", 10 + k, 10 + k);
  for (int k = 0; k < 4; ++k) text += fmt::format("  mov.f32 %f{}, 0f00000000;\n", k);
  text += fmt::format("  mov.u32 %r2, {};\nAGAIN:\n{}  sub.u32 %r2, %r2, 1;\n  setp.ne.u32 %p, %r2, 0;\n",
                      count, body);
  text +=
      "  @%p bra AGAIN;\n  add.f32 %f0, %f0, %f1;\n  cvt.rzi.u32.f32 %r3, %f0;\n  xor.b32 %r3, %r3, %r10;\n";
  text +=
      "  mov.u32 %r4, %ctaid.x;\n  mad.lo.u32 %r1, %r4, 256, %r1;\n  mad.wide.u32 %rd2, %r1, 4, %rd1;\n  "
      "st.global.u32 [%rd2], %r3;\n  ret;\n}\n";
  return text;
}

void measure_loop(std::string const& name, std::string const& body, int count, bool checks, int threads,
                  bool counting, int rounds, bool count_mma) {
  auto const profile = emu::parse_profile("emu:sm_120a");
  auto const module = emu::Module::parse(loop(body, count), profile);
  emu::Memory memory;
  std::uint64_t const out = memory.allocate(8 * 256 * 4);
  std::byte params[8];
  for (int b = 0; b < 8; ++b) params[b] = static_cast<std::byte>(out >> (8 * b));
  emu::LaunchConfig const config{.grid = {8, 1, 1}, .block = {256, 1, 1}};
  emu::Statistics statistics;
  double const seconds = least_seconds(rounds, [&] {
    statistics = emu::launch(*module, "loop", config, params, memory,
                             {.check = checks, .threads = threads, .statistics = counting}, profile);
  });
  report(name, checks, seconds,
         static_cast<double>(count_mma ? statistics.mma : statistics.warp_instructions),
         count_mma ? "mma" : "warp instructions");
}

void measure_loops(int threads, bool counting, int rounds) {
  std::string alu, mx, bf16;
  for (int k = 0; k < 4; ++k) {
    alu +=
        "  add.u32 %r10, %r10, %r11;\n  mad.lo.u32 %r12, %r10, %r13, %r12;\n  xor.b32 %r14, %r12, %r10;\n"
        "  shl.b32 %r15, %r14, 3;\n  fma.rn.f32 %f0, %f1, %f2, %f0;\n  prmt.b32 %r16, %r15, %r14, 0x5140;\n";
    mx +=
        "  "
        "mma.sync.aligned.kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32.e4m3.e4m3.f32.ue8m0 "
        "{%f0, %f1, %f2, %f3}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f0, %f1, %f2, %f3}, {%r16}, {0, 0}, "
        "{%r17}, {0, 0};\n";
    bf16 +=
        "  mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r10, %r11, %r12, "
        "%r13}, "
        "{%r14, %r15}, {%f0, %f1, %f2, %f3};\n";
  }
  for (bool const checks : {true, false}) {
    measure_loop("arithmetic", alu, 2000, checks, threads, counting, rounds, false);
    measure_loop("mma m16n8k32 mxf8f6f4 e4m3", mx, 500, checks, threads, counting, rounds, true);
    measure_loop("mma m16n8k16 bf16", bf16, 500, checks, threads, counting, rounds, true);
  }
}

std::vector<std::byte> pattern(std::size_t count, unsigned low, unsigned span) {
  std::vector<std::byte> out(count);
  std::uint32_t state = 12345;
  for (std::byte& byte : out) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(low + (state >> 16) % span);
  }
  return out;
}

void measure_gemm(Context& context, bool counting, int rounds) {
  std::int64_t const m = 200, n = 264, k = 640;
  Backend& backend = context.backend();
  auto const upload = [&](std::vector<std::byte> const& bytes) {
    DeviceAddress const address = backend.allocate(bytes.size());
    backend.copy_to_device(address, bytes, nullptr);
    return address;
  };
  GemmCall call;
  call.a = contiguous_view(upload(pattern(m * k, 0x20, 0x30)), Dtype::kE4m3, {m, k});
  call.b = contiguous_view(upload(pattern(n * k, 0x20, 0x30)), Dtype::kE4m3, {n, k});
  call.scale_a = contiguous_view(upload(pattern(m * k / 32, 120, 12)), Dtype::kUe8m0, {m, k / 32});
  call.scale_b = contiguous_view(upload(pattern(n * k / 32, 120, 12)), Dtype::kUe8m0, {n, k / 32});
  call.recipe = {1, 1, 32};
  call.d = contiguous_view(backend.allocate(m * n * 2), Dtype::kBf16, {m, n});
  if (auto* const emulator = dynamic_cast<EmuBackend*>(&backend)) {
    emu::Options options = emulator->options();
    options.statistics = counting;
    emulator->set_options(options);
  }
  GemmDecision const decision = choose_gemm(shape_of(check_gemm(call)), context.arch());
  fp8_fp4_gemm_nt(context, call);  // compiles
  backend.synchronize(nullptr);
  double const seconds = least_seconds(rounds, [&] {
    fp8_fp4_gemm_nt(context, call);
    backend.synchronize(nullptr);
  });
  report("fp8_fp4_gemm_nt 200 x 264 x 640 e4m3, " + decision.ranked.at(0).kernel + " " +
             plan_name(decision.ranked.at(0).plan),
         true, seconds, 2.0 * m * n * k, "flop");
}

void measure_parse(int rounds) {
  std::string body;
  for (int k = 0; k < 250; ++k)
    body +=
        "  add.u32 %r10, %r10, %r11;\n  fma.rn.f32 %f0, %f1, %f2, %f0;\n  xor.b32 %r14, %r12, %r10;\n  "
        "shl.b32 %r15, %r14, 3;\n";
  std::string const text = loop(body, 1);
  auto const profile = emu::parse_profile("emu:sm_120a");
  double const seconds = least_seconds(rounds, [&] { emu::Module::parse(text, profile); });
  report("parse of 1000 statements", true, seconds, 1000, "statements");
}

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  CLI::App app("Speed of the emulator.");
  std::string device = "emu:sm_120a";
  int threads = 0, rounds = 5;
  bool counting = false;
  app.add_option("--device", device, "The emulated device of the GEMM");
  app.add_option("--threads", threads, "Host threads of the loops; 0: all cores");
  app.add_flag("--statistics", counting, "With detailed statistics");
  app.add_option("--rounds", rounds, "Rounds; the least time counts")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    deepwell::measure_loops(threads, counting, rounds);
    deepwell::measure_parse(rounds);
    deepwell::Context context(device);
    deepwell::measure_gemm(context, counting, rounds);
  } catch (deepwell::Error const& error) {
    std::fprintf(stderr, "bench_emulator: %s\n", error.what());
    return 1;
  }
  return 0;
}
