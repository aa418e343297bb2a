// The PTX parser: printing parses back to the same text, and mistakes are named with their line.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "emu/emu.hpp"
#include "emu/ptx/syntax.hpp"

namespace deepwell::emu {
namespace {

std::string const kHead = ".version 8.8\n.target sm_120a\n.address_size 64\n";

std::string read_file(std::string const& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(PtxParser, PrintingParsesBackToTheSameText) {
  std::string const source = kHead + R"(
.file 1 "kernel.cu"
.extern .shared .align 1024 .b8 smem[];
.global .align 4 .u32 table[3] = {1, 0x2, 3};
.visible .entry k(.param .align 64 .b8 p[128], .param .u64 .ptr .global .align 16 q)
.maxntid 256, 1, 1
.minnctapersm 1
{
  .reg .pred %p<4>;
  .reg .b32 %r<20>;
  .reg .b64 %rd<10>;
  .pragma "nounroll";
  .loc 1 12 3
$L__BB0_1:
  @!%p1 bra $L__BB0_1;
  {
    .reg .pred P1;
    LAB_WAIT:
    mbarrier.try_wait.parity.shared::cta.b64 P1, [%r1], %r2;
    @P1 bra DONE;
    bra LAB_WAIT;
    DONE:
  }
  ld.global.v4.f32 {%r1, _, %r3, %r4}, [%rd1+-16];
  cp.async.bulk.tensor.2d.shared::cta.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];
  shfl.sync.bfly.b32 %r1|%p2, %r2, 0f3F800000, 31, -1;
  call.uni (%r1), f, (%r2, %r3);
  ret;
}
)";
  std::string const once = ptx::print(ptx::parse(source, "a"));
  EXPECT_EQ(once, ptx::print(ptx::parse(once, "b")));
  for (char const* part :
       {"@!%p1 bra $L__BB0_1;", "{%r1, _, %r3, %r4}, [%rd1+-16]", "[%rd1, {%r2, %r3}], [%r4]", "%r1|%p2",
        "0f3F800000", ".maxntid 256, 1, 1", ".loc 1 12", "table[3] = {1, 2, 3}", "LAB_WAIT:"}) {
    EXPECT_NE(once.find(part), std::string::npos) << part << " is missing in\n" << once;
  }
}

TEST(PtxParser, FunctionsPrototypesAndAliasesParseBack) {
  std::string const source = R"(.version 9.0
.target sm_120a
.address_size 64
.func (.param .align 8 .b8 r[16]) f(.param .b64 p, .reg .b32 q);
.func g() .noreturn;
.visible .entry k() {
  {.reg.b32 %r<3>;
  .param .align 8 .b8 a[16];
  P: .callprototype (.param .align 8 .b8 _[16]) _ (.param .b64 _, .param .b32 _) .noreturn;
  T: .calltargets f, g;
  B: .branchtargets A, A;
A:
  call (a), %rd1, (%rd2, 7), P;
  call.uni g, T;
  }
}
.alias h, f;
)";
  std::string const once = ptx::print(ptx::parse(source, "a"));
  EXPECT_EQ(once, ptx::print(ptx::parse(once, "b")));
  for (char const* part : {"(.param .align 8 .b8 r[16]) f (.param .b64 p, .reg .b32 q)",
                           "P: .callprototype (.param .align 8 .b8 _[16]) _ (.param .b64 _, .param .b32 _);",
                           "T: .calltargets f, g;", "B: .branchtargets A, A;", ".reg .b32 %r<3>;",
                           ".alias h, f;", "call (a), %rd1, (%rd2, 7), P;"}) {
    EXPECT_NE(once.find(part), std::string::npos) << part << " is missing in\n" << once;
  }
}

TEST(PtxParser, CompiledKernelsParseBack) {
  std::string const source = read_file(DW_SOURCE_DIR "/tests/unit/emu/programs/cuda_kernels.ptx");
  std::string const once = ptx::print(ptx::parse(source, "a"));
  EXPECT_EQ(once, ptx::print(ptx::parse(once, "b")));
  Module::parse(once, Profile{});
}

struct Mistake {
  std::string body, expected;
  ErrorCode code;
};

TEST(PtxParser, MistakesAreNamed) {
  auto const entry = [](std::string const& body) {
    return kHead + ".entry k() {\n.reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n" + body + "\n}\n";
  };
  Mistake const mistakes[] = {
      {entry("add.u32 %r1, %r2;"), "operands", ErrorCode::kUnsupported},
      {entry("add.u32 %r1, %r2, %r9;"), "%r9 is not declared", ErrorCode::kUnsupported},
      {entry("add.u32 %r1, %r2, %rd1;"), "64 bits", ErrorCode::kUnsupported},
      {entry("frobnicate.u32 %r1, %r2;"), "frobnicate", ErrorCode::kUnsupported},
      {entry("add.u33 %r1, %r2, %r3;"), "modifiers", ErrorCode::kUnsupported},
      {entry("bra NOWHERE;"), "NOWHERE", ErrorCode::kUnsupported},
      {entry("mov.u32 5, %r1;"), "written", ErrorCode::kUnsupported},
      {entry("add.u32 %r1, %r2, %r3"), "expected", ErrorCode::kBadArgument},
      {entry("L: L:"), "twice", ErrorCode::kBadArgument},
      {entry("mov.u32 %r1, 0f3F80;"), "hex digits", ErrorCode::kBadArgument},
      {entry("mov.u32 %r1, `;"), "unexpected character", ErrorCode::kBadArgument},
      {kHead + ".entry k() { add.u32", "expected", ErrorCode::kBadArgument},
      {".target sm_120a\n.entry k() {}", ".version", ErrorCode::kBadArgument},
      {".version 8.888888888888888888\n.target sm_120a\n.entry k() {}", "a version such as",
       ErrorCode::kBadArgument},
      {".version 8.8\n.target sm_100a\n.entry k() {}", "sm_100a", ErrorCode::kUnsupported},
      {".version 8.8\n.target sm_90a\n.entry k() {}", "does not run on", ErrorCode::kUnsupported},
      {kHead + "/* open", "comment", ErrorCode::kBadArgument},
  };
  for (Mistake const& mistake : mistakes) {
    try {
      Module::parse(mistake.body, Profile{}, "kernel.ptx");
      ADD_FAILURE() << "accepted: " << mistake.body;
    } catch (Error const& error) {
      EXPECT_EQ(error.code(), mistake.code) << error.what();
      EXPECT_NE(std::string(error.what()).find(mistake.expected), std::string::npos) << error.what();
    }
  }
}

/// Registers of a type in operands of another, as ptxas refuses them.
TEST(PtxParser, TypesOfRegistersAgreeWithTheInstruction) {
  auto const message_of = [](std::string const& body) -> std::string {
    std::string const registers =
        ".reg .pred %p;\n.reg .b16 %h; .reg .f16 %hf; .reg .b32 %r<3>; .reg .u32 %u; .reg .s32 %s; .reg .f32 "
        "%f<2>; .reg .f16x2 %x;\n"
        ".reg .b64 %rd; .reg .u64 %ud; .reg .f64 %fd;\n";
    try {
      Module::parse(kHead + ".entry k() {\n" + registers + body + "\n}\n", Profile{}, "kernel.ptx");
    } catch (Error const& error) {
      return error.what();
    }
    return {};
  };
  for (char const* body :
       {"add.s32 %r0, %u, %s;", "add.f32 %f0, %r0, %f1;", "and.b32 %r0, %f0, %x;", "shl.b32 %f0, %f1, %u;",
        "add.f16x2 %x, %r0, %r1;", "add.bf16 %h, %h, %h;", "ld.global.u8 %r0, [%ud];",
        "ld.global.b32 %f0, [%rd];", "ld.global.v2.u32 {%f0, %r0}, [%rd];", "st.global.b8 [%rd], %f0;",
        "cvt.rn.f32.u8 %f0, %u;", "mov.b32 %f0, %u;", "mov.b32 %f0, {%h, %hf};",
        "set.lt.bf16.f32 %h, %f0, %r0;", "selp.b32 %f0, %u, %s, %p;", "atom.global.add.u32 %s, [%rd], %u;"})
    EXPECT_EQ(message_of(body), "");
  struct {
    char const *body, *expected;
  } const mistakes[] = {
      {"add.s32 %r0, %r1, %f0;", "operand 3: %f0 has type .f32, .s32 is needed"},
      {"mov.u32 %f1, 3;", "operand 1: %f1 has type .f32, .u32 is needed"},
      {"fma.rn.f32 %f0, %u, %f1, %f1;", "operand 2: %u has type .u32, .f32 is needed"},
      {"add.f16x2 %x, %r0, %s;", "operand 3: %s has type .s32, .f16x2 is needed"},
      {"add.bf16 %h, %h, %hf;", "operand 3: %hf has type .f16, .bf16 is needed"},
      {"shl.b32 %r0, %r1, %f0;", "operand 3: %f0 has type .f32, an integer is needed"},
      {"ld.global.u8 %f0, [%rd];", "operand 1: %f0 has type .f32, .u8 is needed"},
      {"ld.global.f32 %fd, [%rd];", "operand 1: %fd has type .f64, .f32 is needed"},
      {"ld.global.u32 %r0, [%fd];", "operand 2: %fd has type .f64, an integer is needed"},
      {"atom.global.add.f32 %f0, [%rd], %s;", "operand 3: %s has type .s32, .f32 is needed"},
      {"cvt.rn.f32.u32 %s, %u;", "operand 1: %s has type .s32, .f32 is needed"},
  };
  for (auto const& mistake : mistakes) {
    std::string const message = message_of(mistake.body);
    EXPECT_NE(message.find(mistake.expected), std::string::npos) << mistake.body << ": " << message;
    EXPECT_NE(message.find("kernel.ptx:8:"), std::string::npos) << message;
  }
}

TEST(PtxParser, TargetsAreGatedAsByAssembler) {
  std::string const body = R"(
.entry k() {
  .reg .b64 %rd<4>;
  add.rn.f32x2 %rd1, %rd2, %rd3;
  ret;
})";
  Profile const hopper = parse_profile("emu:sm_90a");
  EXPECT_THROW(Module::parse(".version 8.8\n.target sm_90a\n.address_size 64" + body, hopper), Error);
  EXPECT_THROW(Module::parse(".version 8.5\n.target sm_120a\n.address_size 64" + body, Profile{}), Error);
  EXPECT_NO_THROW(
      Module::parse(".version 8.8\n.target sm_120f\n.address_size 64" + body, parse_profile("emu:sm_121a")));
}

TEST(PtxParser, DeepNestingIsAnErrorNotACrash) {
  EXPECT_THROW(ptx::parse(kHead + ".entry k() {" + std::string(100000, '{'), "a"), Error);
  EXPECT_THROW(ptx::parse(kHead + ".global .u32 x = " + std::string(100000, '{') + ";", "a"), Error);
  EXPECT_THROW(ptx::parse(kHead + ".entry k() { mov.u32 a, " + std::string(100000, '(') + "; }", "a"), Error);
}

}  // namespace
}  // namespace deepwell::emu
