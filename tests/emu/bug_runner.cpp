// Runs planted bugs in the emulator.
#include "emu/bug_runner.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "emu/emu.hpp"

namespace deepwell::testing {
namespace {

constexpr int kShownFailures = 3;
/// A thread that waits for a slow copy makes many steps; a program that is expected to hang is given up sooner.
constexpr std::uint64_t kMaxSteps = 2'000'000, kMaxStepsToHang = 6'000;

/// One variant, parsed for one target.
struct Program {
  Case const& one;
  std::shared_ptr<emu::Module const> module;
  emu::Profile profile;
  Backend& encoder;  // of tensor maps
  bool may_hang = false;
};

struct Outcome {
  std::optional<emu::Finding> finding;
  std::string text;    // of the report
  std::string memory;  // what is wrong with it
};

Backend& encoder_for(std::string const& device) {
  static std::map<std::string, std::unique_ptr<Backend>> backends;
  auto& backend = backends[device];
  if (backend == nullptr) backend = make_backend(device);
  return *backend;
}

Program parse(Case const& one, std::string const& target) {
  std::string const device = "emu:" + target + ":4";
  emu::Profile const profile = emu::parse_profile(device);
  return {one, emu::Module::parse(ptx_for(one, target), profile, one.name), profile, encoder_for(device)};
}

emu::GridLaunch grid_launch(Program const& program, CaseLaunch const& launch,
                            std::vector<DeviceAddress> const& addresses) {
  emu::GridLaunch out;
  out.module = program.module;
  out.kernel = launch.entry;
  out.config.grid = launch.spec.grid;
  out.config.block = {launch.spec.threads, launch.spec.threads_y, launch.spec.threads_z};
  out.config.cluster = launch.spec.cluster;
  out.config.dynamic_smem_bytes = launch.spec.dynamic_smem_bytes;
  out.params = parameter_block(program.one, launch.args, addresses, program.encoder);
  out.stream = launch.stream;
  out.programmatic = launch.programmatic;
  out.after = launch.after;
  return out;
}

Outcome run(Program const& program, std::uint64_t seed) {
  Case const& one = program.one;
  emu::Memory memory;
  std::vector<DeviceAddress> addresses;
  for (CaseParam const& param : one.params) {
    bool const buffer = param.kind == CaseParam::Kind::kBuffer;
    addresses.push_back(buffer ? memory.allocate(bytes_of(param), param.name) : 0);
    if (buffer && !param.initial.empty()) memory.write(addresses.back(), param.initial);
  }
  emu::Options options;
  options.seed = seed;
  options.max_steps = program.may_hang ? kMaxStepsToHang : kMaxSteps;
  options.threads = 1;
  Outcome out;
  try {
    std::vector<emu::GridLaunch> list;
    for (CaseLaunch const& launch : one.launches) list.push_back(grid_launch(program, launch, addresses));
    if (list.size() == 1) {
      emu::launch(*list[0].module, list[0].kernel, list[0].config, list[0].params, memory, options,
                  program.profile);
    } else {
      emu::launch_list(list, memory, options, program.profile);
    }
  } catch (emu::Report const& report) {
    out.finding = report.finding();
    out.text = report.what();
    return out;
  }
  for (std::size_t p = 0; p < one.params.size(); ++p) {
    if (one.params[p].expected.empty()) continue;
    std::vector<std::byte> got(one.params[p].expected.size());
    memory.read(addresses[p], got);
    out.memory += compare(one.params[p], got, 0);
  }
  return out;
}

/// What the header asks of a report and this one does not have.
std::string missing_in(Case const& one, Outcome const& outcome) {
  std::string expected;
  for (std::string const& name : one.findings) expected += (expected.empty() ? "" : " or ") + name;
  if (!outcome.finding.has_value()) return fmt::format("no report, expected {}", expected);
  std::string const got = emu::name_of(*outcome.finding);
  if (std::find(one.findings.begin(), one.findings.end(), got) == one.findings.end())
    return fmt::format("reported as {}, expected {}: {}", got, expected, outcome.text);
  for (std::string const& mention : one.mentions) {
    if (outcome.text.find(mention) == std::string::npos)
      return fmt::format("the report does not mention \"{}\": {}", mention, outcome.text);
  }
  return {};
}

/// Failures of many seeds: the first few with their text, then how many.
class Failures {
 public:
  explicit Failures(char const* what) : what_(what) {}
  void add(std::uint64_t seed, std::string const& text) {
    if (++count_ <= kShownFailures) text_ += fmt::format("  {}, seed {}: {}\n", what_, seed, text);
  }
  std::string text(int seeds) const {
    return count_ == 0 ? "" : text_ + fmt::format("  {}: {} of {} seeds\n", what_, count_, seeds);
  }

 private:
  char const* what_;
  int count_ = 0;
  std::string text_;
};

}  // namespace

PlantedBug read_bug(std::string const& path, std::string name) {
  PlantedBug out{name, read_case(path, name, Variant::kBug), read_case(path, name, Variant::kFixed)};
  DW_CHECK(!out.broken.bug.empty(), kBadArgument, "{}: a planted bug needs `// bug:` and `// finding:`",
           path);
  DW_CHECK(out.broken.ptx != out.repaired.ptx, kBadArgument, "{}: no line is marked `//@ bug` or `//@ fixed`",
           path);
  static constexpr int kFindings = static_cast<int>(emu::Finding::kResource) + 1;
  for (std::string const& finding : out.broken.findings) {
    bool known = false;
    for (int k = 0; k < kFindings; ++k)
      known = known || finding == emu::name_of(static_cast<emu::Finding>(k));
    DW_CHECK(known, kBadArgument, "{}: there is no finding \"{}\"", path, finding);
  }
  return out;
}

std::vector<PlantedBug> read_bugs(std::string const& folder) {
  std::vector<PlantedBug> out;
  for (auto const& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".ptx") continue;
    out.push_back(read_bug(entry.path().string(),
                           std::filesystem::relative(entry.path(), folder).replace_extension().string()));
  }
  std::sort(out.begin(), out.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
  return out;
}

BugTally run_bug(PlantedBug const& bug, std::string const& target, int seeds) {
  BugTally tally;
  tally.seeds = seeds;
  Failures missed("the bug"), alarms("the repaired kernel"), wrong_memory("the repaired kernel's memory");
  Program broken = parse(bug.broken, target);
  broken.may_hang = std::count(bug.broken.findings.begin(), bug.broken.findings.end(), "deadlock") > 0;
  Program const repaired = parse(bug.repaired, target);
  for (int seed = 0; seed < seeds; ++seed) {
    auto const number = static_cast<std::uint64_t>(seed);
    std::string const missing = missing_in(bug.broken, run(broken, number));
    if (missing.empty()) {
      ++tally.reported;
    } else {
      missed.add(number, missing);
    }
    Outcome const twin = run(repaired, number);
    if (twin.finding.has_value()) {
      ++tally.repaired_reported;
      alarms.add(number, fmt::format("reported as {}: {}", emu::name_of(*twin.finding), twin.text));
    } else if (!twin.memory.empty()) {
      wrong_memory.add(number, "\n" + twin.memory);
    }
  }
  bool const found = bug.broken.every_seed ? tally.reported == seeds : tally.reported > 0;
  if (!found && bug.broken.open.empty()) tally.wrong += missed.text(seeds);
  if (found && !bug.broken.open.empty()) {
    tally.wrong += fmt::format("  the bug: reported on {} of {} seeds, so that it is open no more: {}\n",
                               tally.reported, seeds, bug.broken.open);
  }
  tally.wrong += alarms.text(seeds) + wrong_memory.text(seeds);
  return tally;
}

}  // namespace deepwell::testing
