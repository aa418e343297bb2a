// Programs that are made to take long or much: each ends, within its limits.
#include <gtest/gtest.h>

#include <string>

#include "emu/emu.hpp"

namespace deepwell::emu {
namespace {

std::string kernel(std::string const& body) {
  return ".version 8.8\n.target sm_120a\n.address_size 64\n.visible .entry k() {\n" + body + "  ret;\n}\n";
}

/// What running it reports, or "".
std::string outcome(std::string const& text, LaunchConfig const& config, Options const& options) {
  try {
    Memory memory(std::uint64_t{1} << 26);
    launch(*Module::parse(text, Profile{}), "k", config, {}, memory, options, Profile{});
  } catch (Error const& error) {
    return error.what();
  }
  return {};
}

TEST(Hostile, LivenessThatTravelsOneBlockAPassIsGivenUp) {
  // Each block goes to the one before it, so that a backward pass carries what is alive one block further.
  constexpr int kBlocks = 4000, kRegisters = 4000;
  std::string body = "  .reg .pred %p;\n  .reg .b32 %r<4001>;\n  setp.eq.u32 %p, 1, 1;\n  bra L3999;\n";
  for (int b = 0; b < kBlocks; ++b) {
    body += fmt::format("L{}:\n  add.u32 %r{}, %r{}, 1;\n  @!%p ret;\n", b, b % kRegisters + 1,
                        (b * 7) % kRegisters + 1);
    body += b == 0 ? "  ret;\n" : fmt::format("  bra L{};\n", b - 1);
  }
  EXPECT_EQ(outcome(kernel(body), {}, {.check = false}), "");
}

TEST(Hostile, AnyGridEndsByTheStepsOfAll) {
  for (bool const check : {true, false}) {
    std::string const what = outcome(kernel(""), {.grid = {0x7fffffff, 65535, 65535}},
                                     {.check = check, .race = false, .max_total_steps = 1000, .threads = 1});
    EXPECT_NE(what.find("more than 1000 warp-instructions in all CTAs"), std::string::npos) << what;
  }
}

TEST(Hostile, DeclarationsAreRefusedBeforeTheyTakeMemory) {
  for (char const* body :
       {"  .shared .b8 x[1152921504606846976];\n", "  .shared .b8 x[4294967296][4294967296];\n",
        "  .local .b8 x[4294967295];\n", "  .reg .b32 %r<100000000>;\n"}) {
    EXPECT_NE(outcome(kernel(body), {}, {}), "") << body;
  }
  std::string variables = ".version 8.8\n.target sm_120a\n.address_size 64\n";
  std::string const end = ".visible .entry k() {\n  ret;\n}\n";
  EXPECT_EQ(outcome(variables + ".global .b8 x[1048576];\n" + end, {}, {}), "");
  EXPECT_NE(outcome(variables + ".global .b8 x[1152921504606846976];\n" + end, {}, {}), "");
  for (int i = 0; i < 100; ++i) variables += fmt::format(".global .b8 x{}[2147483648] = {{1}};\n", i);
  std::string const what = outcome(variables + end, {}, {});
  EXPECT_NE(what.find("bytes wanted"), std::string::npos) << what;
}

TEST(Hostile, NestingHasAnEnd) {
  std::string const open(100'000, '{'), close(100'000, '}'), left(100'000, '('), right(100'000, ')');
  for (std::string const& body : {open + close, "  mov.b32 " + open + "%r1" + close + ", 1;\n",
                                  "  mov.u32 %r1, " + left + "1" + right + ";\n",
                                  "  mov.u32 %r1, " + std::string(100'000, '-') + "1;\n"}) {
    EXPECT_NE(outcome(kernel(body), {}, {}).find("fewer nested"), std::string::npos);
  }
}

TEST(Hostile, LocalMemoryOfManyThreadsCostsWhatIsTouched) {
  std::string const body =
      "  .local .b8 x[500000];\n  .reg .b32 %r<3>;\n  .reg .b64 %d<3>;\n  mov.u64 %d1, x;\n  mov.u32 %r1, "
      "1;\n"
      "  st.local.u32 [%d1], %r1;\n";
  EXPECT_EQ(outcome(kernel(body), {.grid = {4, 1, 1}, .block = {1024, 1, 1}}, {}), "");
  std::string const what = outcome(kernel(body), {.grid = {4, 1, 1}, .block = {1024, 1, 1}},
                                   {.memory_bytes = std::uint64_t{1} << 28});
  EXPECT_NE(what.find("bytes of host memory"), std::string::npos) << what;
}

}  // namespace
}  // namespace deepwell::emu
