// Runs third-party kernels, compiled to PTX in a folder outside the tree, in the emulator with all checks on, and compares
// them with our own definitions of what they compute. Usage: emu_third_party PTX_FOLDER [--seeds N] [--only TEXT]
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "launch_sheets.hpp"

namespace {

using namespace deepwell;
using namespace deepwell::third_party;

std::string find_entry(emu::Module const& module, Sheet const& sheet) {
  for (emu::KernelInfo const& info : module.kernels()) {
    bool all = true;
    for (std::string const& part : sheet.parts) all = all && info.name.find(part) != std::string::npos;
    if (all) return info.name;
  }
  throw Error(ErrorCode::kBadArgument, fmt::format("{}.ptx has no entry for \"{}\"", sheet.file, sheet.what));
}

std::shared_ptr<emu::Module const> load(std::string const& folder, std::string const& file,
                                        emu::Profile const& profile) {
  std::string const path = folder + "/" + file + ".ptx";
  std::ifstream stream(path);
  DW_CHECK(stream.good(), kBadArgument, "cannot read {}", path);
  std::stringstream text;
  text << stream.rdbuf();
  return emu::Module::parse(text.str(), profile, file + ".ptx");
}

}  // namespace

int main(int argc, char** argv) {
  std::string folder, only;
  int seeds = 3;
  for (int i = 1; i < argc; ++i) {
    std::string const arg = argv[i];
    if (arg == "--seeds" && i + 1 < argc) {
      seeds = std::stoi(argv[++i]);
    } else if (arg == "--only" && i + 1 < argc) {
      only = argv[++i];
    } else {
      folder = arg;
    }
  }
  if (folder.empty()) {
    std::fprintf(stderr, "usage: emu_third_party PTX_FOLDER [--seeds N] [--only TEXT]\n");
    return 2;
  }
  auto const profile = emu::parse_profile("emu:sm_120a");
  std::vector<Sheet> sheets = small_sheets();
  for (auto more : {cache_sheets(), gemm_sheets(), attention_sheets()})
    sheets.insert(sheets.end(), more.begin(), more.end());
  std::map<std::string, std::shared_ptr<emu::Module const>> modules;
  int failed = 0, ran = 0;
  std::printf("%-28s %-44s %12s %10s %10s %8s  %s\n", "file", "what", "warp instr", "compared", "worst/bnd",
              "seconds", "verdict");
  for (Sheet const& sheet : sheets) {
    if (!only.empty() && sheet.file.find(only) == std::string::npos &&
        sheet.what.find(only) == std::string::npos)
      continue;
    ++ran;
    auto const start = std::chrono::steady_clock::now();
    Finding sum;
    std::string verdict = "same", detail, note;
    Kernel kernel;
    try {
      auto& module = modules[sheet.file];
      if (module == nullptr) module = load(folder, sheet.file, profile);
      kernel = {module, find_entry(*module, sheet), profile, 0, {}};
      if (!sheet.known_report.empty()) {
        try {
          std::mt19937 random(17);
          sheet.run(kernel, random);
          throw Error(ErrorCode::kInternal, "the known report did not come: " + sheet.known_report);
        } catch (emu::Report const& report) {
          if (std::string_view(report.what()).find(sheet.known_report) == std::string_view::npos) throw;
          kernel.race = false;
          note = fmt::format("reported, as known: {}", report.what());
        }
      }
      for (int seed = 0; seed < seeds; ++seed) {
        kernel.seed = static_cast<std::uint64_t>(seed);
        std::mt19937 random(static_cast<unsigned>(17 + seed));
        Finding const finding = sheet.run(kernel, random);
        sum.compared += finding.compared;
        sum.wrong += finding.wrong;
        sum.worst = std::max(sum.worst, finding.worst);
        if (sum.first_wrong.empty()) sum.first_wrong = finding.first_wrong;
      }
      if (sum.compared == 0) {
        verdict = "NOTHING COMPARED";
      } else if (sum.wrong != 0) {
        verdict = "DIFFERENT";
        detail = fmt::format("{} of {} differ, first {}", sum.wrong, sum.compared, sum.first_wrong);
      }
    } catch (std::exception const& error) {
      verdict = "ERROR";
      detail = error.what();
    }
    failed += verdict != "same";
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("%-28s %-44s %12llu %10zu %10.3g %8.2f  %s\n", sheet.file.c_str(), sheet.what.c_str(),
                static_cast<unsigned long long>(kernel.total.warp_instructions), sum.compared, sum.worst,
                seconds, verdict.c_str());
    if (!note.empty()) std::printf("    %s\n", note.c_str());
    if (!detail.empty()) std::printf("    %s\n", detail.c_str());
    std::fflush(stdout);
  }
  std::printf("%d of %d agree with their definition\n", ran - failed, ran);
  return failed == 0 && ran > 0 ? 0 : 1;
}
