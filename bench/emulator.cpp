// Speed of the emulator: arithmetic and MMA instructions of loops in PTX, with checks and without, a GEMM through the library,
// and what comes before a launch (parsing). One JSON object a line: name, checks, host threads, seconds and CPU seconds (the least
// of several rounds), and how many of `unit` in one of either.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "emu/emu.hpp"
#include "ops/context.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

struct Seconds {
  double wall = 1e30, cpu = 1e30;  // cpu: of all threads, which others on the machine disturb less
};

Seconds least_seconds(int rounds, std::function<void()> const& call) {
  Seconds best;
  for (int round = 0; round < rounds; ++round) {
    auto const start = std::chrono::steady_clock::now();
    std::clock_t const cpu_start = std::clock();
    call();
    best.cpu = std::min(best.cpu, static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
    best.wall =
        std::min(best.wall, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void report(std::string const& name, bool checks, int threads, Seconds seconds, double count,
            char const* unit) {
  std::printf(
      "{\"name\": \"%s\", \"checks\": %s, \"threads\": %d, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
      "\"per_second\": %.4g, \"per_cpu_second\": %.4g, \"unit\": \"%s\"}\n",
      name.c_str(), checks ? "true" : "false", threads, seconds.wall, seconds.cpu, count / seconds.wall,
      count / seconds.cpu, unit);
  std::fflush(stdout);
}

/// What is done to each word of pseudo-random bits before it is an operand.
struct Bits {
  std::uint32_t keep = 0xffffffff, set = 0;
};

/// A kernel that runs `body` `count` times a thread, with words of its own in %r10 to %r15 (as `operand` says), in %r16 and
/// %r17 (as `scale` says), and sums in %f0 to %f3 and %r20 and %r21.
std::string loop(std::string const& target, std::string const& body, int count, Bits operand, Bits scale) {
  std::string text = ".version 8.8\n.target " + target +
                     "\n.address_size 64\n.visible .entry loop(.param .u64 out) {\n"
                     "  .reg .b32 %r<40>;\n  .reg .f32 %f<8>;\n  .reg .b64 %rd<8>;\n  .reg .pred %p;\n"
                     "  mov.u32 %r1, %tid.x;\n  ld.param.u64 %rd1, [out];\n";
  for (int k = 0; k < 8; ++k) {
    Bits const bits = k < 6 ? operand : scale;
    text += fmt::format("  mad.lo.u32 %r{0}, %r1, 0x9e3779b1, {1};\n  mul.hi.u32 %r2, %r{0}, 0x85ebca6b;\n",
                        10 + k, 0x01234567 * (k + 1));
    text += fmt::format(
        "  xor.b32 %r{0}, %r{0}, %r2;\n  and.b32 %r{0}, %r{0}, {1};\n  or.b32 %r{0}, %r{0}, {2};\n", 10 + k,
        bits.keep, bits.set);
  }
  for (int k = 0; k < 4; ++k) text += fmt::format("  mov.f32 %f{}, 0f00000000;\n", k);
  text += "  mov.u32 %r20, 0;\n  mov.u32 %r21, 0;\n";
  text += fmt::format("  mov.u32 %r2, {};\nAGAIN:\n{}  sub.u32 %r2, %r2, 1;\n  setp.ne.u32 %p, %r2, 0;\n",
                      count, body);
  text +=
      "  @%p bra AGAIN;\n  add.f32 %f0, %f0, %f1;\n  cvt.rzi.u32.f32 %r3, %f0;\n  xor.b32 %r3, %r3, %r10;\n";
  text +=
      "  mov.u32 %r4, %ctaid.x;\n  mad.lo.u32 %r1, %r4, 256, %r1;\n  mad.wide.u32 %rd2, %r1, 4, %rd1;\n"
      "  st.global.u32 [%rd2], %r3;\n  ret;\n}\n";
  return text;
}

void measure_loop(std::string const& name, std::string const& device, std::string const& text, bool checks,
                  int threads, int rounds) {
  auto const profile = emu::parse_profile("emu:" + device);
  auto const module = emu::Module::parse(text, profile);
  emu::Memory memory;
  std::uint64_t const out = memory.allocate(8 * 256 * 4);
  std::byte params[8];
  for (int b = 0; b < 8; ++b) params[b] = static_cast<std::byte>(out >> (8 * b));
  emu::LaunchConfig const config{.grid = {8, 1, 1}, .block = {256, 1, 1}};
  emu::Statistics statistics;
  Seconds const seconds = least_seconds(rounds, [&] {
    statistics =
        emu::launch(*module, "loop", config, params, memory, {.check = checks, .threads = threads}, profile);
  });
  bool const mma = statistics.mma != 0;
  report(name, checks, threads, seconds,
         static_cast<double>(mma ? statistics.mma : statistics.warp_instructions),
         mma ? "mma" : "warp instructions");
}

struct MmaForm {
  char const* name;
  char const* device;
  char const* opcode;  // after mma.sync.aligned.
  enum { kF32, kF16, kScaled } kind;
  Bits operand;  // finite numbers of both signs
  Bits scale = {};
};

constexpr Bits kE4m3{0xbfbfbfbf, 0}, kContainer{0x3f3f3f3f, 0}, kWide16{0x83ff83ff, 0x3c003c00},
    kTf32{0x83ffffff, 0x3c000000}, kUe8m0{0x03030303, 0x7c7c7c7c}, kUe4m3{0x07070707, 0x38383838};

// clang-format off
constexpr MmaForm kForms[] = {
    {"m16n8k32 mxf8f6f4 e4m3", "sm_120a", "kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32.e4m3.e4m3.f32.ue8m0", MmaForm::kScaled, kE4m3, kUe8m0},
    {"m16n8k32 mxf8f6f4 e4m3 x e2m1", "sm_120a", "kind::mxf8f6f4.block_scale.scale_vec::1X.m16n8k32.row.col.f32.e4m3.e2m1.f32.ue8m0", MmaForm::kScaled, kContainer, kUe8m0},
    {"m16n8k32 f8f6f4 e4m3", "sm_120a", "kind::f8f6f4.m16n8k32.row.col.f32.e4m3.e4m3.f32", MmaForm::kF32, kE4m3},
    {"m16n8k64 mxf4", "sm_120a", "kind::mxf4.block_scale.scale_vec::2X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0", MmaForm::kScaled, {}, kUe8m0},
    {"m16n8k64 mxf4nvf4", "sm_120a", "kind::mxf4nvf4.block_scale.scale_vec::4X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue4m3", MmaForm::kScaled, {}, kUe4m3},
    {"m16n8k16 bf16", "sm_120a", "m16n8k16.row.col.f32.bf16.bf16.f32", MmaForm::kF32, kWide16},
    {"m16n8k16 f16", "sm_120a", "m16n8k16.row.col.f32.f16.f16.f32", MmaForm::kF32, kWide16},
    {"m16n8k16 f16, f16 accumulator", "sm_120a", "m16n8k16.row.col.f16.f16.f16.f16", MmaForm::kF16, kWide16},
    {"m16n8k8 tf32", "sm_120a", "m16n8k8.row.col.f32.tf32.tf32.f32", MmaForm::kF32, kTf32},
    {"m16n8k32 e4m3 on Hopper", "sm_90a", "m16n8k32.row.col.f32.e4m3.e4m3.f32", MmaForm::kF32, kE4m3},
};
// clang-format on

std::string text_of(MmaForm const& form) {
  std::string const sums = form.kind == MmaForm::kF16 ? "{%r20, %r21}" : "{%f0, %f1, %f2, %f3}";
  std::string statement = fmt::format(
      "  mma.sync.aligned.{} {}, {{%r10, %r11, %r12, %r13}}, {{%r14, %r15}}, {}", form.opcode, sums, sums);
  if (form.kind == MmaForm::kScaled) statement += ", {%r16}, {0, 0}, {%r17}, {0, 0}";
  statement += ";\n";
  return loop(form.device, statement + statement + statement + statement, 500, form.operand, form.scale);
}

void measure_loops(std::string const& filter, int threads, int rounds) {
  std::string alu;
  for (int k = 0; k < 4; ++k) {
    alu +=
        "  add.u32 %r10, %r10, %r11;\n  mad.lo.u32 %r12, %r10, %r13, %r12;\n  xor.b32 %r14, %r12, %r10;\n"
        "  shl.b32 %r15, %r14, 3;\n  fma.rn.f32 %f0, %f1, %f2, %f0;\n  prmt.b32 %r16, %r15, %r14, 0x5140;\n";
  }
  auto const measure = [&](std::string const& name, char const* device, std::string const& text) {
    if (name.find(filter) == std::string::npos) return;
    for (bool const checks : {true, false}) measure_loop(name, device, text, checks, threads, rounds);
  };
  measure("arithmetic", "sm_120a", loop("sm_120a", alu, 2000, {}, {}));
  for (MmaForm const& form : kForms) measure(std::string("mma ") + form.name, form.device, text_of(form));
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

void measure_gemm(Context& context, int rounds) {
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
  GemmDecision const decision = choose_gemm(shape_of(check_gemm(call)), context.arch());
  fp8_fp4_gemm_nt(context, call);  // compiles
  backend.synchronize(nullptr);
  Seconds const seconds = least_seconds(rounds, [&] {
    fp8_fp4_gemm_nt(context, call);
    backend.synchronize(nullptr);
  });
  report("fp8_fp4_gemm_nt 200 x 264 x 640 e4m3, " + decision.ranked.at(0).kernel + " " +
             plan_name(decision.ranked.at(0).plan),
         true, 0, seconds, 2.0 * m * n * k, "flop");
}

void measure_parse(int rounds, int statements) {
  std::string body;
  for (int k = 0; k < statements / 4; ++k)
    body +=
        "  add.u32 %r10, %r10, %r11;\n  fma.rn.f32 %f0, %f1, %f2, %f0;\n  xor.b32 %r14, %r12, %r10;\n  "
        "shl.b32 %r15, %r14, 3;\n";
  std::string const text = loop("sm_120a", body, 1, {}, {});
  auto const profile = emu::parse_profile("emu:sm_120a");
  Seconds const seconds = least_seconds(rounds, [&] { emu::Module::parse(text, profile); });
  report(fmt::format("parse of {} statements", statements), true, 1, seconds, statements, "statements");
}

}  // namespace
}  // namespace deepwell

int main(int argc, char** argv) {
  CLI::App app("Speed of the emulator.");
  std::string device = "emu:sm_120a", filter;
  std::vector<int> threads = {1, 2};
  int rounds = 5;
  app.add_option("--device", device, "The emulated device of the GEMM");
  app.add_option("--threads", threads, "Host threads of the loops, each in turn; 0: all cores");
  app.add_option("--filter", filter, "Only loops whose name contains this");
  app.add_option("--rounds", rounds, "Rounds; the least time counts")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    for (int const count : threads) deepwell::measure_loops(filter, count, rounds);
    if (!filter.empty()) return 0;
    for (int const statements : {1000, 10'000}) deepwell::measure_parse(rounds, statements);
    deepwell::Context context(device);
    deepwell::measure_gemm(context, rounds);
  } catch (deepwell::Error const& error) {
    std::fprintf(stderr, "bench_emulator: %s\n", error.what());
    return 1;
  }
  return 0;
}
