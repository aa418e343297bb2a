// What ptxas takes for a target the emulator takes, and what it refuses the emulator refuses, with the line: for the spellings of
// tests/golden/ptxas_isa.txt, which make_ptxas_isa.py beside it asked ptxas for. wanted_difference() has what the machine refuses beyond.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "emu/emu.hpp"

namespace deepwell::emu {
namespace {

constexpr char const* kTargets[] = {"sm_90a", "sm_120a", "sm_120f", "sm_121a"};

struct Spelling {
  std::string statement;
  std::set<std::string> targets;  // that ptxas takes it for
};

std::vector<Spelling> spellings() {
  std::ifstream file(DW_SOURCE_DIR "/tests/golden/ptxas_isa.txt");
  std::vector<Spelling> out;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::size_t const colon = line.rfind(" : ");
    Spelling one{line.substr(0, colon), {}};
    std::istringstream words(line.substr(colon + 3));
    for (std::string word; words >> word;) {
      if (word != "-") one.targets.insert(word);
    }
    out.push_back(one);
  }
  return out;
}

/// What the emulator says against it; empty where it takes it.
std::string refusal(std::string const& statement, std::string const& target) {
  std::string const text = fmt::format(
      ".version 9.0\n.target {}\n.address_size 64\n.visible .entry k(.param .u64 p) {{\n"
      ".reg .pred %p<10>; .reg .b16 %h<10>; .reg .b32 %r<40>; .reg .b64 %d<10>; .reg .b128 "
      "%q<6>;\n{};\nret;\n}}\n",
      target, statement);
  try {
    Module::parse(text, parse_profile("emu:" + target), "k.ptx");
  } catch (Error const& error) {
    return error.what();
  }
  return {};
}

/// Why the machine differs from ptxas, by the beginning of a spelling.
std::string wanted_difference(std::string const& statement) {
  static std::pair<char const*, char const*> const kKnown[] = {
      {"fma.rn.oob", "what a tensor map fills in for what lies outside is not told from other NaNs"},
      {"isspacep.const", "constant memory is part of global memory"},
      {"istypep", "no textures"},
      {"txq", "no textures"},
      {"mov.u32 %r1, %envreg3", "no driver sets it"},
      {"mov.u32 %r1, %pm0", "no performance counters"},
      {"ld.v8.b8", "vectors of 8 narrow elements"},
      {"st.v8.b8", "vectors of 8 narrow elements"},
      {"wgmma", "not modelled"},
  };
  for (auto const& [beginning, reason] : kKnown) {
    if (statement.starts_with(beginning)) return reason;
  }
  return {};
}

TEST(PtxasIsa, TheSameInstructionsForTheSameTargets) {
  std::vector<Spelling> const all = spellings();
  ASSERT_GT(all.size(), 2500u);
  for (Spelling const& one : all) {
    for (std::string const target : kTargets) {
      std::string const why = refusal(one.statement, target);
      bool const takes = one.targets.contains(target);
      if (why.empty() == takes) continue;
      if (takes && !wanted_difference(one.statement).empty()) continue;
      ADD_FAILURE() << one.statement << " on " << target << ": ptxas " << (takes ? "takes" : "refuses")
                    << " it, here: " << why;
    }
    if (one.targets.empty()) {
      EXPECT_NE(refusal(one.statement, "sm_120a").find("6"), std::string::npos) << one.statement;
    }
  }
}

}  // namespace
}  // namespace deepwell::emu
