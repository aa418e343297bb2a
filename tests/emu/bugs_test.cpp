// Every planted bug of tests/emu/bugs on every target it lists, with 100 seeds. --table prints what was found as Markdown
// instead; --bugs=FOLDER reads the files elsewhere; --seeds=N runs fewer or more.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <ostream>

#include "emu/bug_runner.hpp"

namespace deepwell::testing {
namespace {

std::string folder = DW_SOURCE_DIR "/tests/emu/bugs";
int seeds = 100;

struct BugRun {
  PlantedBug bug;
  std::string target;
};

void PrintTo(BugRun const& run, std::ostream* out) { *out << run.bug.name << " on " << run.target; }

std::vector<BugRun> runs() {
  std::vector<BugRun> out;
  for (PlantedBug const& bug : read_bugs(folder)) {
    for (std::string const& target : bug.broken.targets) out.push_back({bug, target});
  }
  return out;
}

class Bugs : public ::testing::TestWithParam<BugRun> {};

TEST_P(Bugs, IsReportedAndItsRepairIsNot) {
  BugRun const& run = GetParam();
  BugTally const tally = run_bug(run.bug, run.target, seeds);
  EXPECT_TRUE(tally.wrong.empty()) << run.bug.broken.path << " on " << run.target << ":\n" << tally.wrong;
}

std::string name_of_run(::testing::TestParamInfo<BugRun> const& info) {
  std::string out = info.param.bug.name + "_" + info.param.target;
  std::replace_if(
      out.begin(), out.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return out;
}

INSTANTIATE_TEST_SUITE_P(Planted, Bugs, ::testing::ValuesIn(runs()), name_of_run);

/// What the runner says must be wrong when its input is.
class BugRunner : public ::testing::Test {
 protected:
  /// A bug that needs no checker but the bounds.
  static constexpr char const* kText = R"(// bug: one element past the end
// finding: memory
// mentions: st.global.u32
// targets: sm_120a
// launch: grid=1 block=32
// out d u32 32: iota 0 1
.version 8.8
.target @TARGET@
.address_size 64
.visible .entry past_the_end(.param .u64 d) {
  .reg .b32 tid;
  .reg .b64 to, offset;
  mov.u32 tid, %tid.x;
  mul.wide.u32 offset, tid, 4;
  ld.param.u64 to, [d];
  add.u64 to, to, offset;
  st.global.u32 [to+4], tid; //@ bug
  st.global.u32 [to], tid; //@ fixed
  ret;
}
)";

  static PlantedBug bug_of(std::string text, std::string const& from = "", std::string const& to = "") {
    if (std::size_t const at = text.find(from); !from.empty()) {
      EXPECT_NE(at, std::string::npos) << from;
      text.replace(at, from.size(), to);
    }
    auto const* const test = ::testing::UnitTest::GetInstance()->current_test_info();
    auto const path =
        std::filesystem::temp_directory_path() /
        fmt::format("planted_{}_{}.ptx", test->name(), ::testing::UnitTest::GetInstance()->random_seed());
    std::ofstream(path) << text;
    PlantedBug out = read_bug(path.string(), "past_the_end");
    std::filesystem::remove(path);
    return out;
  }
};

TEST_F(BugRunner, AcceptsABugThatIsReportedAndARepairThatIsNot) {
  BugTally const tally = run_bug(bug_of(kText), "sm_120a", 4);
  EXPECT_EQ(tally.wrong, "");
  EXPECT_EQ(tally.reported, 4);
  EXPECT_EQ(tally.repaired_reported, 0);
}

TEST_F(BugRunner, RefusesARepairThatHasTheBug) {
  PlantedBug bug = bug_of(kText);
  bug.repaired = bug.broken;
  BugTally const tally = run_bug(bug, "sm_120a", 4);
  EXPECT_NE(tally.wrong.find("the repaired kernel: 4 of 4 seeds"), std::string::npos) << tally.wrong;
  EXPECT_EQ(tally.repaired_reported, 4);
}

TEST_F(BugRunner, RefusesABugThatIsNone) {
  PlantedBug bug = bug_of(kText);
  bug.broken = bug.repaired;
  BugTally const tally = run_bug(bug, "sm_120a", 4);
  EXPECT_NE(tally.wrong.find("no report, expected memory"), std::string::npos) << tally.wrong;
  EXPECT_EQ(tally.reported, 0);
  bug.broken.every_seed = false;
  EXPECT_NE(run_bug(bug, "sm_120a", 4).wrong, "");
}

TEST_F(BugRunner, TakesAnOpenBugOnlyWhileItIsOpen) {
  PlantedBug bug = bug_of(kText, "// targets", "// open: nobody looks\n// targets");
  BugTally const tally = run_bug(bug, "sm_120a", 4);
  EXPECT_NE(tally.wrong.find("open no more: nobody looks"), std::string::npos) << tally.wrong;
  bug.broken.ptx = bug.repaired.ptx;
  EXPECT_EQ(run_bug(bug, "sm_120a", 4).wrong, "");
  bug.repaired.params[0].expected[0] = std::byte{1};
  EXPECT_NE(run_bug(bug, "sm_120a", 4).wrong, "");
}

TEST_F(BugRunner, RefusesAnotherFinding) {
  BugTally const tally = run_bug(bug_of(kText, "finding: memory", "finding: race"), "sm_120a", 2);
  EXPECT_NE(tally.wrong.find("reported as memory, expected race"), std::string::npos) << tally.wrong;
}

TEST_F(BugRunner, RefusesAReportForAnotherReason) {
  BugTally const tally = run_bug(bug_of(kText, "mentions: st.global", "mentions: ld.global"), "sm_120a", 2);
  EXPECT_NE(tally.wrong.find("does not mention"), std::string::npos) << tally.wrong;
}

TEST_F(BugRunner, RefusesWrongMemoryOfTheRepair) {
  BugTally const tally = run_bug(bug_of(kText, "iota 0 1", "iota 0 2"), "sm_120a", 2);
  EXPECT_NE(tally.wrong.find("d[1] is 1 (0x1), expected 2"), std::string::npos) << tally.wrong;
  EXPECT_EQ(tally.reported, 2);
  EXPECT_EQ(tally.repaired_reported, 0);
}

TEST_F(BugRunner, RefusesAHeaderThatSaysTooLittle) {
  EXPECT_THROW(bug_of(kText, "// finding: memory\n", ""), Error);
  EXPECT_THROW(bug_of(kText, "finding: memory", "finding: mistake"), Error);
  EXPECT_THROW(bug_of(kText, "// bug:", "// about:"), Error);
  EXPECT_THROW(bug_of(kText, "//@ fixed", "//@ repaired"), Error);
  std::string same = kText;
  for (char const* mark : {" //@ bug", " //@ fixed"})
    same.replace(same.find(mark), std::string(mark).size(), "");
  EXPECT_THROW(bug_of(same), Error);
}

/// The findings of all files as a Markdown table: the least over the targets of a file.
int print_table() {
  std::printf("| bug | what is wrong | finding | reported | repaired reported |\n|---|---|---|---|---|\n");
  bool wrong = false;
  for (PlantedBug const& bug : read_bugs(folder)) {
    int reported = seeds, alarms = 0;
    for (std::string const& target : bug.broken.targets) {
      BugTally const tally = run_bug(bug, target, seeds);
      reported = std::min(reported, tally.reported);
      alarms = std::max(alarms, tally.repaired_reported);
      wrong = wrong || !tally.wrong.empty();
    }
    std::string findings;
    for (std::string const& finding : bug.broken.findings)
      findings += (findings.empty() ? "" : " or ") + finding;
    std::printf("| `%s` | %s | %s | %d of %d%s | %d |\n", bug.name.c_str(), bug.broken.bug.c_str(),
                findings.c_str(), reported, seeds, bug.broken.open.empty() ? "" : " (open)", alarms);
  }
  return wrong ? 1 : 0;
}

}  // namespace
}  // namespace deepwell::testing

int main(int argc, char** argv) {
  bool table = false;
  for (int k = 1; k < argc; ++k) {
    std::string_view const argument = argv[k];
    if (argument == "--table") table = true;
    if (argument.rfind("--bugs=", 0) == 0) deepwell::testing::folder = argument.substr(7);
    if (argument.rfind("--seeds=", 0) == 0)
      deepwell::testing::seeds = std::stoi(std::string(argument.substr(8)));
  }
  if (table) return deepwell::testing::print_table();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
