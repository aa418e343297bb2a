// Runs every instruction case of tests/emu/cases on every target it lists. --device=cuda runs those of that GPU's target;
// --cases=FOLDER reads them elsewhere. --list=FILE --measure=FILE writes what the device gives for random inputs
// of the instructions listed in the first file to the second one instead. --parse=FILE --target=TARGET prints for each line of
// the file, a PTX statement, whether the emulator takes it: `ok`, or the reason.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>

#include "emu/case_runner.hpp"
#include "emu/emu.hpp"

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

namespace deepwell::testing {
namespace {

/// Per instruction of the list: its line, a newline, the number of bytes as text, a newline, the bytes. What cannot be
/// loaded or run has -1 for a size and the reason after it.
void write_measurements(std::string const& list, std::string const& path, std::string const& target,
                        int seeds) {
  std::ifstream lines(list);
  std::ofstream file(path, std::ios::binary);
  for (std::string line; std::getline(lines, line);) {
    Case const one = instruction_case(line, target);
    try {
      auto const bytes = measure(one, target, backend_for(target), seeds);
      file << line << '\n' << bytes.size() << '\n';
      file.write(reinterpret_cast<char const*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    } catch (Error const& error) {
      std::string reason = error.what();
      std::replace(reason.begin(), reason.end(), '\n', ' ');
      file << line << "\n-1 " << reason << '\n';
    }
  }
  DW_CHECK(file.good(), kBadArgument, "{}: cannot be written", path);
}

/// A statement may use %p<2> (predicates), %c<2> (b8), %h<10> (b16), %r<80> (b32), %d<70> (b64), %q<1> (b128), `sm`,
/// and registers of other types as %u16_<10>: as many as of .b16.
void print_what_parses(std::string const& list, std::string const& target) {
  std::ifstream lines(list);
  emu::Profile const profile = emu::parse_profile("emu:" + target);
  for (std::string line; std::getline(lines, line);) {
    std::string const ptx = fmt::format(
        ".version 9.0\n.target {}\n.address_size 64\n.visible .entry k() {{ .reg .pred %p<2>; .reg .b8 "
        "%c<2>; "
        ".reg .b16 %h<10>; .reg .b32 %r<80>; .reg .b64 %d<70>; .reg .b128 %q<1>; "
        ".reg .u8 %u8_<2>; .reg .s8 %s8_<2>; .reg .u16 %u16_<10>; .reg .s16 %s16_<10>; .reg .f16 %f16_<10>; "
        ".reg .u32 %u32_<80>; .reg .s32 %s32_<80>; .reg .f32 %f32_<80>; .reg .f16x2 %f16x2_<80>; "
        ".reg .u64 %u64_<70>; .reg .s64 %s64_<70>; .reg .f64 %f64_<70>; .shared .align 128 .b8 "
        "sm[128];\n"
        "{}\nret; }}\n",
        target, line);
    std::string verdict = "ok";
    try {
      emu::Module::parse(ptx, profile);
    } catch (Error const& error) {
      verdict = error.what();
      std::replace(verdict.begin(), verdict.end(), '\n', ' ');
    }
    fmt::print("{}\n", verdict);
  }
}

}  // namespace
}  // namespace deepwell::testing

int main(int argc, char** argv) {
  for (int k = 1; k < argc; ++k) {
    std::string_view const argument = argv[k];
    if (argument.rfind("--device=", 0) == 0) deepwell::testing::device = argument.substr(9);
    if (argument.rfind("--cases=", 0) == 0) deepwell::testing::folder = argument.substr(8);
  }
  std::string measurements, list, parse, target = "sm_90a";
  int seeds = 4;
  for (int k = 1; k < argc; ++k) {
    std::string_view const argument = argv[k];
    if (argument.rfind("--measure=", 0) == 0) measurements = argument.substr(10);
    if (argument.rfind("--list=", 0) == 0) list = argument.substr(7);
    if (argument.rfind("--parse=", 0) == 0) parse = argument.substr(8);
    if (argument.rfind("--target=", 0) == 0) target = argument.substr(9);
    if (argument.rfind("--seeds=", 0) == 0) seeds = std::stoi(std::string(argument.substr(8)));
  }
  if (!measurements.empty()) {
    deepwell::testing::write_measurements(list, measurements, target, seeds);
    return 0;
  }
  if (!parse.empty()) {
    deepwell::testing::print_what_parses(parse, target);
    return 0;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
