// The programs give what an H200 gave. And every row of the instruction table that SM 9.0 has is executed on a GPU: by a program of this folder or by an instruction case,
// or it is left out with a reason.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "emu/case_runner.hpp"
#include "emu/emu.hpp"
#include "emu/run/program.hpp"
#include "silicon/program.hpp"
#include "silicon/runner.hpp"

namespace deepwell::silicon {
namespace {

constexpr char const* kTarget = "sm_90a";

void add_rows(std::string const& ptx, std::set<emu::Row const*>& rows) {
  auto const module = emu::Module::parse(ptx, emu::parse_profile(fmt::format("emu:{}", kTarget)));
  for (emu::Function const& function : module->impl().functions) {
    for (emu::Instr const& instr : function.code) rows.insert(instr.row);
  }
}

/// What an H200 gave, by program.
std::map<std::string, std::string> measured() {
  std::map<std::string, std::string> out;
  std::ifstream file(DW_SOURCE_DIR "/tests/golden/silicon_sm90.txt");
  for (std::string line; std::getline(file, line);) {
    std::size_t const space = line.rfind(' ');
    out[line.substr(0, space)] = line.substr(space + 1);
  }
  return out;
}

TEST(Silicon, EveryRowIsExecutedOrLeftOutWithAReason) {
  std::set<emu::Row const*> rows;
  auto const golden = measured();
  for (Program const& program : programs(kTarget)) {
    auto const found = golden.find(program.name);
    if (program.ulps > 0 || (found != golden.end() && found->second != "refused"))
      add_rows(program.ptx, rows);
  }
  for (testing::Case const& one : testing::read_cases(DW_SOURCE_DIR "/tests/emu/cases")) {
    if (!one.error.empty() || std::find(one.targets.begin(), one.targets.end(), kTarget) == one.targets.end())
      continue;
    add_rows(testing::ptx_for(one, kTarget), rows);
  }
  ASSERT_GT(rows.size(), 300u);
  for (emu::Row const* row : emu::all_rows()) {
    if (!emu::has(emu::parse_target(kTarget), row->needs)) continue;
    bool const reason = !reason_without(*row).empty();
    EXPECT_TRUE(reason || rows.contains(row)) << row->pattern << ": no program and no case executes it";
  }
}

/// What an H200 gave for each program (`silicon hash`).
TEST(Silicon, ProgramsGiveWhatAnH200Gives) {
  auto const golden = measured();
  auto left = golden;
  ASSERT_GT(golden.size(), 4800u);
  Runner runner(fmt::format("emu:{}", kTarget));
  for (Program const& program : programs(kTarget)) {
    left.erase(program.name);
    auto const found = golden.find(program.name);
    if (program.ulps > 0 || found == golden.end() || found->second == "refused") continue;
    KernelImage image;
    image.entry = "k";
    image.target = kTarget;
    image.ptx = program.ptx;
    auto const words = runner.run(program, image);
    std::string_view const bytes(reinterpret_cast<char const*>(words.data()), words.size() * 8);
    EXPECT_EQ(fmt::format("{:016x}", fnv(bytes)), found->second) << program.name;
  }
  for (auto const& [name, hash] : left)
    ADD_FAILURE() << name << ": a program of tests/golden/silicon_sm90.txt that is no longer made";
}

TEST(Silicon, ReasonsAreForRowsThatExist) {
  std::size_t left_out = 0;
  for (emu::Row const* row : emu::all_rows()) left_out += !reason_without(*row).empty();
  EXPECT_GT(left_out, 0u);
  EXPECT_LT(left_out, 40u);
}

TEST(Silicon, ProgramsHaveTheirNamesAlone) {
  std::set<std::string> names;
  for (Program const& program : programs(kTarget))
    EXPECT_TRUE(names.insert(program.name).second) << program.name;
}

TEST(Silicon, InputsAreTheSameEachTimeAndDifferBySeed) {
  Program program;
  program.name = "x";
  program.inputs = {{.kind = Data::Kind::kBits, .bits = 64}, {.kind = Data::Kind::kPlaces}};
  EXPECT_EQ(input_words(program, 1), input_words(program, 1));
  EXPECT_NE(input_words(program, 1), input_words(program, 2));
}

}  // namespace
}  // namespace deepwell::silicon
