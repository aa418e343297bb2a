// deepwell doctor: what this machine has and what this library answers on it.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "backend/emu/emulator.hpp"
#include "base/arch.hpp"
#include "base/options.hpp"
#include "base/table.hpp"
#include "cli/commands.hpp"
#include "cli/coverage_map.hpp"
#include "deepwell/notes.h"
#include "jit/archive.hpp"
#include "jit/jit.hpp"
#include "ops/startup/kernel_set.hpp"

namespace deepwell {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kWide = 60;

struct DoctorArgs {
  bool json = false;
  bool all_options = false;
  std::string device = "best";
};

struct Diagnosis {
  std::vector<DeviceSummary> devices;
  EmulatorState emulator;
  std::string device;  // the one that was asked for
  Arch const* arch = nullptr;
  std::string device_error;  // why `arch` is null
  struct NoteRow {
    Note note;
    std::uint32_t count = 0;
  };
  std::vector<NoteRow> notes;  // of the device that was asked for, as long as this process has had it
  struct Compiler {
    std::string target;
    jit::Candidate candidate;
  };
  std::vector<Compiler> compilers;
  std::string cache_folder;
  std::size_t cache_entries = 0;
  std::uintmax_t cache_bytes = 0;
  struct Archive {
    std::string path, unusable;
    std::size_t kernels = 0, damaged = 0;
    std::map<std::string, std::size_t> fitting;  // by target
  };
  std::vector<Archive> archives;
  struct ModelSet {
    std::string target;
    std::size_t kernels = 0, in_archives = 0;
  };
  std::vector<ModelSet> model_sets;  // V4-Flash, one for each target
};

/// What the archives of option DEEPWELL_KERNELS hold for this build.
void diagnose_archives(Diagnosis& found) {
  jit::KernelArchives const archives(option_text(Option::kKernels));
  for (auto const& archive : archives.archives()) {
    found.archives.push_back({.path = archive->path().string(),
                              .unusable = archive->unusable(),
                              .kernels = archive->entries().size(),
                              .damaged = archive->count_damaged(),
                              .fitting = archive->fitting()});
  }
  if (found.archives.empty()) return;
  for (Arch const& arch : all_archs()) {
    Diagnosis::ModelSet set{.target = std::string(arch.target)};
    for (KernelStore::Item const& item : model_kernels(ModelSizes{}, 1, arch)) {
      KernelRequest const kernel = item.describe();
      ++set.kernels;
      set.in_archives += archives
                             .find({.name = kernel.name,
                                    .source = kernel.source,
                                    .target = set.target,
                                    .entry = kernel.entry,
                                    .line_info = option_flag(Option::kLineInfo)})
                             .has_value();
    }
    found.model_sets.push_back(set);
  }
}

Diagnosis diagnose(std::string const& device) {
  Diagnosis found;
  found.devices = list_devices();
  found.emulator = emulator_state();
  try {
    std::unique_ptr<Backend> const backend = make_backend(device);
    found.device = backend->device().id;
    found.arch = &arch_by_target(backend->device().arch.target);
    for (int i = 0; i < static_cast<int>(Note::kCount); ++i) {
      found.notes.push_back({.note = static_cast<Note>(i), .count = backend->read_note(i)});
    }
  } catch (Error const& error) {
    found.device = device;
    found.device_error = error.what();
  }
  for (Arch const& arch : all_archs()) {
    for (char const* kind : {"nvrtc", "nvcc"}) {
      for (jit::Candidate& candidate : jit::find_compilers(kind, arch.target)) {
        found.compilers.push_back({.target = std::string(arch.target), .candidate = std::move(candidate)});
      }
    }
  }
  jit::KernelCache const cache;
  found.cache_folder = cache.writable_folder();
  for (jit::KernelCache::Entry const& entry : cache.entries()) {
    ++found.cache_entries;
    found.cache_bytes += entry.bytes;
  }
  diagnose_archives(found);
  return found;
}

std::string version_text(std::pair<int, int> version) {
  return fmt::format("{}.{}", version.first, version.second);
}

void print_devices(Diagnosis const& found) {
  Table table({{"device"},
               {"name"},
               {"target"},
               {"SMs", Table::Align::kRight},
               {"memory", Table::Align::kRight},
               {"driver"},
               {"state", Table::Align::kLeft, kWide}});
  for (DeviceSummary const& device : found.devices) {
    std::string const memory =
        device.memory_bytes > 0
            ? fmt::format("{:.1f} GiB", static_cast<double>(device.memory_bytes) / (1 << 30))
            : "-";
    table.add(
        {device.id, device.name.empty() ? "-" : device.name, device.target.empty() ? "-" : device.target,
         device.sm_count > 0 ? fmt::format("{}", device.sm_count) : "-", memory,
         device.driver.empty() ? "-" : device.driver, device.unusable.empty() ? "usable" : device.unusable});
  }
  fmt::print("Devices\n{}Emulator: {}\n\n", table.text(),
             found.emulator.unusable.empty() ? found.emulator.place : found.emulator.unusable);
}

/// One line per compiler: its targets, or why it is not used for any.
void print_compilers(Diagnosis const& found) {
  Table table({{"compiler"},
               {"version"},
               {"found in"},
               {"compiles for"},
               {"path or reason", Table::Align::kLeft, 2 * kWide}});
  std::vector<std::pair<std::string, std::string>> seen;
  for (Diagnosis::Compiler const& each : found.compilers) {
    std::pair<std::string, std::string> key{each.candidate.info.kind, each.candidate.info.path};
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) continue;
    seen.push_back(key);
    std::string targets, reason;
    for (Diagnosis::Compiler const& other : found.compilers) {
      if (other.candidate.info.kind != key.first || other.candidate.info.path != key.second) continue;
      if (other.candidate.rejected.empty()) {
        targets += fmt::format("{}{}", targets.empty() ? "" : " ", other.target);
      } else if (reason.empty()) {
        reason = other.candidate.rejected;
      }
    }
    jit::CompilerInfo const& info = each.candidate.info;
    table.add({info.kind, version_text(info.version), info.found_in, targets.empty() ? "-" : targets,
               reason.empty() ? info.path : fmt::format("{} ({})", info.path, reason)});
  }
  fmt::print("Compilers\n");
  if (table.empty()) {
    fmt::print(
        "none found: pip install nvidia-cuda-nvrtc==13.0.88, or a CUDA "
        "toolkit of 12.9 or newer\n\n");
  } else {
    fmt::print("{}\n", table.text());
  }
}

void print_archives(Diagnosis const& found) {
  fmt::print("Kernel archives (DEEPWELL_KERNELS)\n");
  if (found.archives.empty()) {
    fmt::print("none\n\n");
    return;
  }
  Table table({{"archive"},
               {"kernels", Table::Align::kRight},
               {"damaged", Table::Align::kRight},
               {"fit this build", Table::Align::kLeft, 2 * kWide}});
  for (Diagnosis::Archive const& archive : found.archives) {
    std::string fitting;
    for (auto const& [target, count] : archive.fitting)
      fitting += fmt::format("{}{} for {}", fitting.empty() ? "" : ", ", count, target);
    if (!archive.unusable.empty()) fitting = "not used: " + archive.unusable;
    table.add({archive.path, fmt::format("{}", archive.kernels), fmt::format("{}", archive.damaged),
               fitting.empty() ? "none: made from other device sources" : fitting});
  }
  fmt::print("{}", table.text());
  for (Diagnosis::ModelSet const& set : found.model_sets)
    fmt::print("V4-Flash on {}: {} of its {} kernels\n", set.target, set.in_archives, set.kernels);
  fmt::print("\n");
}

void print_options(bool all) {
  Table table({{"option"}, {"value"}, {"from"}, {"meaning", Table::Align::kLeft, 2 * kWide}});
  for (OptionRow const& row : option_table()) {
    OptionValue const value = option_value(row.id);
    bool const of_the_system =
        row.id == Option::kPath || row.id == Option::kHome || row.id == Option::kXdgCacheHome;
    if (!all && (value.source == "default" || of_the_system)) continue;
    table.add({std::string(row.name), value.text.empty() ? "-" : fit_to_width(value.text, kWide),
               value.source, std::string(row.help)});
  }
  fmt::print("Options{}\n{}\n", all ? "" : " that are set (--options: all)",
             table.empty() ? "none\n" : table.text());
}

void print_notes(Diagnosis const& found) {
  fmt::print("Device notes of {}\n", found.device);
  if (found.arch == nullptr) {
    fmt::print("not known: {}\n\n", found.device_error);
    return;
  }
  Table table({{"note"}, {"count", Table::Align::kRight}, {"meaning"}});
  for (Diagnosis::NoteRow const& row : found.notes) {
    table.add({name_of(row.note), fmt::format("{}", row.count), describe(row.note)});
  }
  fmt::print("{}", table.text());
  fmt::print(
      "Each context of a process counts for itself, and doctor has launched nothing: these are the counters "
      "of "
      "its own.\n"
      "A running program logs each note once (DEEPWELL_LOG=warning or more) and reads its counters, without "
      "a "
      "sync and\n"
      "under graph replay too, with dw_context_notes(context, \"{}\", &count).\n\n",
      name_of(Note::kLossyScale));
}

void print_coverage(Diagnosis const& found) {
  if (found.arch == nullptr) {
    fmt::print("Coverage\nnot known: {}\n", found.device_error);
    return;
  }
  Table table({{"state"},
               {"where", Table::Align::kLeft, 44},
               {"operation", Table::Align::kLeft, 48},
               {"works: the answer; missing: what a caller hits"}});
  for (CoverageRow const& row : coverage_map()) {
    Coverage const state = coverage_on(row, *found.arch);
    table.add({name_of(state), std::string(row.site), std::string(row.operation),
               std::string(state == Coverage::kWorks ? row.answer : row.without)});
  }
  fmt::print("Coverage of DeepSeek-V4-Flash on {} ({})\n{}", found.device, found.arch->target, table.text());
  fmt::print(
      "\n\"works\": this library accepts it on this target and has a kernel for it. Whether the answers are "
      "right on "
      "this\ndevice, deepwell check shows. Rows about Python count the package around this program.\n");
}

Json to_json(Diagnosis const& found) {
  Json devices = Json::array(), compilers = Json::array(), options = Json::array(), coverage = Json::array(),
       notes = Json::array();
  for (DeviceSummary const& device : found.devices) {
    devices.push_back({{"id", device.id},
                       {"name", device.name},
                       {"target", device.target},
                       {"capability", fmt::format("{}.{}", device.major, device.minor)},
                       {"sms", device.sm_count},
                       {"memory_bytes", device.memory_bytes},
                       {"driver", device.driver},
                       {"unusable", device.unusable}});
  }
  for (Diagnosis::Compiler const& each : found.compilers) {
    compilers.push_back({{"target", each.target},
                         {"kind", each.candidate.info.kind},
                         {"version", version_text(each.candidate.info.version)},
                         {"found_in", each.candidate.info.found_in},
                         {"path", each.candidate.info.path},
                         {"rejected", each.candidate.rejected}});
  }
  Json archives = Json::array(), model_sets = Json::array();
  for (Diagnosis::Archive const& archive : found.archives) {
    archives.push_back({{"path", archive.path},
                        {"unusable", archive.unusable},
                        {"kernels", archive.kernels},
                        {"damaged", archive.damaged},
                        {"fitting", archive.fitting}});
  }
  for (Diagnosis::ModelSet const& set : found.model_sets) {
    model_sets.push_back(
        {{"target", set.target}, {"kernels", set.kernels}, {"in_archives", set.in_archives}});
  }
  for (Diagnosis::NoteRow const& row : found.notes) {
    notes.push_back({{"name", name_of(row.note)}, {"count", row.count}, {"meaning", describe(row.note)}});
  }
  for (OptionRow const& row : option_table()) {
    OptionValue const value = option_value(row.id);
    options.push_back({{"name", row.name},
                       {"type", name_of(row.type)},
                       {"value", value.text},
                       {"from", value.source},
                       {"help", row.help}});
  }
  for (CoverageRow const& row : coverage_map()) {
    Json each{
        {"group", row.group}, {"site", row.site}, {"operation", row.operation}, {"formats", row.formats}};
    each["state"] = found.arch == nullptr ? "unknown" : name_of(coverage_on(row, *found.arch));
    each["without"] = row.without;
    each["answer"] = row.answer;
    coverage.push_back(std::move(each));
  }
  return {{"device", found.device},
          {"target", found.arch == nullptr ? "" : std::string(found.arch->target)},
          {"error", found.device_error},
          {"devices", devices},
          {"emulator", {{"place", found.emulator.place}, {"unusable", found.emulator.unusable}}},
          {"compilers", compilers},
          {"cache",
           {{"folder", found.cache_folder}, {"entries", found.cache_entries}, {"bytes", found.cache_bytes}}},
          {"archives", archives},
          {"v4_flash_in_archives", model_sets},
          {"notes", notes},
          {"options", options},
          {"coverage", coverage}};
}

void run_doctor(DoctorArgs const& args) {
  Diagnosis const found = diagnose(args.device);
  if (args.json) {
    fmt::print("{}\n", to_json(found).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  print_devices(found);
  print_compilers(found);
  fmt::print("Kernel cache\n{}: {} kernels, {:.1f} MB\n\n",
             found.cache_folder.empty() ? "no writable folder" : found.cache_folder, found.cache_entries,
             static_cast<double>(found.cache_bytes) / 1e6);
  print_archives(found);
  print_notes(found);
  print_options(args.all_options);
  print_coverage(found);
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  auto const args = std::make_shared<DoctorArgs>();
  CLI::App* command = app.add_subcommand("doctor",
                                         "Devices, compilers, cache, notes, options, and "
                                         "what V4-Flash meets on this device");
  args->device = option_text(Option::kDevice);
  command->add_option("--device", args->device, "device that the coverage is for: best, cuda[:N], emu:TARGET")
      ->capture_default_str();
  command->add_flag("--options", args->all_options, "list all options, not only those that are set");
  command->add_flag("--json", args->json, "one JSON object");
  command->callback([args] { run_doctor(*args); });
}

}  // namespace deepwell
