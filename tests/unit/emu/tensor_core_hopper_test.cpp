// The emulator against a Hopper GPU: MMA and conversion results that tests/golden/make_hopper_probe.py measured there,
// with specials, zeros, subnormals and overflow among the operands. Every bit must be the same.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "emu/emu.hpp"

namespace deepwell::emu {
namespace {

using Words = std::vector<std::uint32_t>;

Words words_of_file(std::string const& name) {
  std::ifstream in(std::string(DW_SOURCE_DIR) + "/tests/golden/" + name, std::ios::binary | std::ios::ate);
  EXPECT_TRUE(in.good()) << name;
  Words out(static_cast<std::size_t>(in.tellg()) / 4);
  in.seekg(0);
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size() * 4));
  return out;
}

/// Takes words off the front of a file.
class Reader {
 public:
  explicit Reader(Words words) : words_(std::move(words)) {}
  bool done() const { return at_ == words_.size(); }
  std::uint32_t word() { return words_.at(at_++); }
  Words take(std::size_t count) {
    Words out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(word());
    return out;
  }
  std::string text(std::size_t bytes) {
    Words const raw = take(bytes / 4);
    return std::string(reinterpret_cast<char const*>(raw.data()));
  }

 private:
  Words words_;
  std::size_t at_ = 0;
};

/// One warp per CTA runs `body`, with the thread's number in the grid in %r63.
Words run(std::string const& body, std::vector<Words> const& inputs, std::size_t output_words,
          std::uint32_t ctas) {
  Profile const profile = parse_profile("emu:sm_90a");
  std::string parameters;
  for (std::size_t i = 0; i < inputs.size(); ++i) parameters += ".param .u64 in" + std::to_string(i) + ", ";
  std::string const text = ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry k(" + parameters +
                           ".param .u64 out)\n{\n.reg .b32 %r<64>;\n.reg .b64 %rd<8>;\n.reg .b32 "
                           "%t<2>;\nmov.u32 %t0, %ctaid.x;\nmov.u32 "
                           "%t1, %laneid;\nmad.lo.u32 %r63, %t0, 32, %t1;\n" +
                           body + "\nret;\n}\n";
  auto const module = Module::parse(text, profile, "hopper.ptx");
  Memory memory;
  std::vector<std::uint64_t> addresses;
  for (Words const& input : inputs) {
    addresses.push_back(memory.allocate(input.size() * 4, "in"));
    memory.write(addresses.back(), std::as_bytes(std::span(input)));
  }
  addresses.push_back(memory.allocate(output_words * 4, "out"));
  LaunchConfig config;
  config.grid = {ctas, 1, 1};
  config.block = {32, 1, 1};
  Options options;
  options.threads = 1;
  launch(*module, "k", config, std::as_bytes(std::span(addresses)), memory, options, profile);
  Words out(output_words);
  memory.read(addresses.back(), std::as_writable_bytes(std::span(out)));
  return out;
}

std::string pointer(std::string const& parameter, int bytes) {
  return "ld.param.u64 %rd1, [" + parameter + "];\nmad.wide.u32 %rd1, %r63, " + std::to_string(bytes) +
         ", %rd1;\n";
}
std::string vector_of(int first, int count) {
  std::string out = "{";
  for (int i = 0; i < count; ++i) out += (i ? ", %r" : "%r") + std::to_string(first + i);
  return out + "}";
}

struct Form {
  char const* opcode;  // after mma.sync.aligned.
  int a, b, c;         // registers
};
std::map<std::string, Form> const kForms = {
    {"f16_k16_f32", {"m16n8k16.row.col.f32.f16.f16.f32", 4, 2, 4}},
    {"f16_k8_f32", {"m16n8k8.row.col.f32.f16.f16.f32", 2, 1, 4}},
    {"bf16_k16_f32", {"m16n8k16.row.col.f32.bf16.bf16.f32", 4, 2, 4}},
    {"bf16_k8_f32", {"m16n8k8.row.col.f32.bf16.bf16.f32", 2, 1, 4}},
    {"tf32_k8_f32", {"m16n8k8.row.col.f32.tf32.tf32.f32", 4, 2, 4}},
    {"tf32_k4_f32", {"m16n8k4.row.col.f32.tf32.tf32.f32", 2, 1, 4}},
    {"f16_k16_f16", {"m16n8k16.row.col.f16.f16.f16.f16", 4, 2, 2}},
    {"f16_k8_f16", {"m16n8k8.row.col.f16.f16.f16.f16", 2, 1, 2}},
    {"e4m3_k32_f32", {"m16n8k32.row.col.f32.e4m3.e4m3.f32", 4, 2, 4}},
    {"e5m2_k32_f32", {"m16n8k32.row.col.f32.e5m2.e5m2.f32", 4, 2, 4}},
    {"mix_k32_f32", {"m16n8k32.row.col.f32.e4m3.e5m2.f32", 4, 2, 4}},
    {"e4m3_k16_f32", {"m16n8k16.row.col.f32.e4m3.e4m3.f32", 2, 1, 4}},
    {"e5m2_k16_f32", {"m16n8k16.row.col.f32.e5m2.e5m2.f32", 2, 1, 4}},
    {"e4m3_k32_f16", {"m16n8k32.row.col.f16.e4m3.e4m3.f16", 4, 2, 2}},
    {"e4m3_k16_f16", {"m16n8k16.row.col.f16.e4m3.e4m3.f16", 2, 1, 2}},
    {"s8_k32", {"m16n8k32.row.col.s32.s8.s8.s32", 4, 2, 4}},
    {"s8u8_k32_sat", {"m16n8k32.row.col.satfinite.s32.s8.u8.s32", 4, 2, 4}},
    {"u8_k16", {"m16n8k16.row.col.s32.u8.u8.s32", 2, 1, 4}},
};

TEST(TensorCoreHopper, MmaGivesTheMeasuredBits) {
  Reader file(words_of_file("hopper_mma.bin"));
  std::size_t kinds = 0;
  while (!file.done()) {
    std::string const name = file.text(32);
    SCOPED_TRACE(name);
    ASSERT_TRUE(kForms.contains(name));
    Form const& form = kForms.at(name);
    ++kinds;
    std::uint32_t const count = file.word();
    ASSERT_GT(count, 0u);
    Words a, b, c, want;
    for (std::uint32_t i = 0; i < count; ++i) {
      for (auto [part, per_lane] : {std::pair{&a, 4}, {&b, 2}, {&c, 4}, {&want, 4}}) {
        Words const words = file.take(static_cast<std::size_t>(32 * per_lane));
        part->insert(part->end(), words.begin(), words.end());
      }
    }
    std::string body = pointer("in0", 16) + "ld.global.v4.b32 " + vector_of(0, 4) + ", [%rd1];\n" +
                       pointer("in1", 8) + "ld.global.v2.b32 " + vector_of(4, 2) + ", [%rd1];\n" +
                       pointer("in2", 16) + "ld.global.v4.b32 " + vector_of(8, 4) + ", [%rd1];\n";
    for (int i = 0; i < 4; ++i) body += "mov.b32 %r" + std::to_string(20 + i) + ", 0;\n";
    body += "mma.sync.aligned." + std::string(form.opcode) + " " + vector_of(20, form.c) + ", " +
            vector_of(0, form.a) + ", " + vector_of(4, form.b) + ", " + vector_of(8, form.c) + ";\n" +
            pointer("out", 16) + "st.global.v4.b32 [%rd1], " + vector_of(20, 4) + ";";
    EXPECT_EQ(run(body, {a, b, c}, want.size(), count), want);
  }
  EXPECT_EQ(kinds, kForms.size());
}

std::string replaced(std::string text, std::string const& what, std::string const& by) {
  for (std::size_t at; (at = text.find(what)) != std::string::npos;) text.replace(at, what.size(), by);
  return text;
}

TEST(TensorCoreHopper, ConversionsAndHalfArithmeticGiveTheMeasuredBits) {
  Reader file(words_of_file("hopper_cvt.bin"));
  std::uint32_t const count = file.word();
  Words const x = file.take(count), y = file.take(count);
  int instructions = 0;
  while (!file.done()) {
    std::string const text = file.text(160);
    Words const want = file.take(count);
    SCOPED_TRACE(text);
    ++instructions;
    std::string const code = replaced(replaced(replaced(text, "%0", "%r20"), "%1", "%r0"), "%2", "%r1");
    std::string const body = pointer("in0", 4) + "ld.global.b32 %r0, [%rd1];\n" + pointer("in1", 4) +
                             "ld.global.b32 %r1, [%rd1];\n" + code + "\n" + pointer("out", 4) +
                             "st.global.b32 [%rd1], %r20;";
    Words const got = run(body, {x, y}, count, count / 32);
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_EQ(got[i], want[i]) << std::hex << "x " << x[i] << " y " << y[i];
    }
  }
  EXPECT_EQ(instructions, 66);
}

}  // namespace
}  // namespace deepwell::emu
