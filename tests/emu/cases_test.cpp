// Runs every instruction case of tests/emu/cases on every target it lists. --device=cuda runs those of that GPU's target;
// --cases=FOLDER reads them elsewhere.
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "emu/case_runner.hpp"

namespace deepwell::testing {
namespace {

std::string device;  // empty: the emulator
std::string folder = DW_SOURCE_DIR "/tests/emu/cases";

struct CaseRun {
  Case one;
  std::string target;
};

std::vector<CaseRun> runs() {
  std::vector<CaseRun> out;
  std::string const only = device.empty() ? "" : std::string(make_backend(device)->device().arch.target);
  for (Case const& one : read_cases(folder)) {
    for (std::string const& target : one.targets) {
      if (!device.empty() && (target != only || !one.error.empty())) continue;
      out.push_back({one, target});
    }
  }
  return out;
}

Backend& backend_for(std::string const& target) {
  static std::map<std::string, std::unique_ptr<Backend>> backends;
  auto& backend = backends[device.empty() ? target : device];
  if (backend == nullptr) backend = make_backend(device.empty() ? "emu:" + target + ":4" : device);
  return *backend;
}

class Cases : public ::testing::TestWithParam<CaseRun> {};

TEST_P(Cases, GiveTheExpectedMemory) {
  CaseRun const& run = GetParam();
  std::string const wrong = run_case(run.one, run.target, backend_for(run.target));
  EXPECT_TRUE(wrong.empty()) << run.one.path << " on " << run.target << ":\n" << wrong;
}

std::string name_of_run(::testing::TestParamInfo<CaseRun> const& info) {
  std::string out = info.param.one.name + "_" + info.param.target;
  for (char& c : out) {
    bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain) c = '_';
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Isa, Cases, ::testing::ValuesIn(runs()), name_of_run);

}  // namespace
}  // namespace deepwell::testing

int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    std::string_view const argument = argv[k];
    if (argument.rfind("--device=", 0) == 0) deepwell::testing::device = argument.substr(9);
    if (argument.rfind("--cases=", 0) == 0) deepwell::testing::folder = argument.substr(8);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
