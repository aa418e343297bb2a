// deepwell isa: the instructions that the emulator executes, from its own
// table.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <set>
#include <string>

#include "base/table.hpp"
#include "cli/commands.hpp"
#include "emu/instr/instr.hpp"

namespace deepwell {
namespace {

struct IsaArgs {
  std::string filter;
  std::string target;
  bool json = false;
};

std::string ptx_version(int version) { return fmt::format("{}.{}", version / 10, version % 10); }

void run_isa(IsaArgs const& args) {
  Table table({{"PTX ISA section"}, {"PTX"}, {"targets"}, {"instruction"}});
  std::set<std::string> notes;
  std::size_t shown = 0;
  for (emu::Row const* row : emu::all_rows()) {
    if (!args.filter.empty() && row->pattern.find(args.filter) == std::string_view::npos) continue;
    if (!args.target.empty() && !emu::has(emu::parse_target(args.target), row->needs)) continue;
    ++shown;
    if (args.json) {
      nlohmann::ordered_json const line{
          {"instruction", row->pattern},          {"operands", row->operands}, {"ptx", ptx_version(row->ptx)},
          {"targets", emu::describe(row->needs)}, {"section", row->section},   {"note", row->note}};
      fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      table.add({std::string(row->section), ptx_version(row->ptx), std::string(emu::describe(row->needs)),
                 std::string(row->pattern)});
      if (!row->note.empty()) notes.insert(fmt::format("{}: {}", row->section, row->note));
    }
  }
  DW_CHECK(shown > 0, kBadArgument, "no instruction matches '{}'{}{}", args.filter,
           args.target.empty() ? "" : " on ", args.target);
  if (args.json) return;
  fmt::print("{}\n", table.text());
  for (std::string const& note : notes) fmt::print("{}\n", note);
  fmt::print("{}{} rows. (.a|.b): one of them; [.a|.b]: one of them or none.\n", notes.empty() ? "" : "\n",
             shown);
}

}  // namespace

void add_isa_command(CLI::App& app) {
  auto const args = std::make_shared<IsaArgs>();
  CLI::App* command = app.add_subcommand("isa", "The PTX instructions that the emulator executes");
  command->add_option("filter", args->filter,
                      "only rows whose spelling contains this text: mma, cp.async, .bf16x2");
  command->add_option("--target", args->target,
                      "only rows that this target has: sm_120a, sm_121a, sm_120f, sm_90a");
  command->add_flag("--json", args->json, "one JSON object a row");
  command->callback([args] { run_isa(*args); });
}

}  // namespace deepwell
