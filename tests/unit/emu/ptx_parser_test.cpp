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
