// `deepwell check`: runs the operations on a device, judges every answer, and says so in a table or in JSON lines.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "backend/emu/emu_backend.hpp"
#include "base/error.hpp"
#include "base/options.hpp"
#include "base/table.hpp"
#include "base/thread_pool.hpp"
#include "check/model.hpp"
#include "check/mutate.hpp"
#include "check/op_case.hpp"
#include "check/run.hpp"
#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "cli/statistics.hpp"
#include "ops/context.hpp"

namespace deepwell {
namespace {

struct Options {
  std::vector<std::string> ops;  // all where there is none
  std::string device = "best", model, filter;
  int tp = 1;
  std::int64_t tokens = 4;
  std::uint64_t seed = 0, seeds = 1, schedule = 0, repeat = 1;
  bool json = false, mutate = false, quick = false, list = false, stats = false;
};

bool selected_op(Options const& options, std::string_view op) {
  return options.ops.empty() || std::ranges::find(options.ops, op) != options.ops.end();
}

bool selected(Options const& options, check::Case const& what) {
  if (!selected_op(options, check::name_of(what.op))) return false;
  return options.filter.empty() || what.name().find(options.filter) != std::string::npos;
}

std::vector<check::OpCase> selected_op_cases(Options const& options) {
  std::vector<check::OpCase> cases = check::op_cases(options.quick);
  std::erase_if(cases, [&](check::OpCase const& c) {
    return !selected_op(options, c.op) || c.name.find(options.filter) == std::string::npos;
  });
  return cases;
}

std::vector<std::string> operation_names() {
  std::vector<std::string> names = check::op_case_names();
  names.insert(names.begin(), {"gemm", "einsum"});
  return names;
}

void print_line(nlohmann::ordered_json const& json) {
  fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  std::fflush(stdout);
}

/// A finite number, or null: JSON has no NaN.
nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

bool has_run(check::Outcome const& outcome) {
  return outcome.status == check::Status::kPass || outcome.status == check::Status::kFail;
}

class Report {
 public:
  Report(Options const& options, std::string device)
      : options_(options),
        json_(options.json),
        device_(std::move(device)),
        table_({{"operation", Table::Align::kLeft, 9},
                {"tensors and shape", Table::Align::kLeft, 60},
                {"data", Table::Align::kLeft, 8},
                {"device", Table::Align::kLeft, 16},
                {"kernel", Table::Align::kLeft, 30},
                {"error / bound", Table::Align::kRight, 20},
                {"ms", Table::Align::kRight, 9},
                {"verdict", Table::Align::kLeft, 12}}) {}

  void add(check::Case const& what, check::Outcome const& outcome,
           std::optional<CaseStatistics> const& counted) {
    bool const bitwise = what.data == check::DataKind::kExact;
    add(name_of(what.op), what.name(), what.tensors(), name_of(what.data), outcome,
        bitwise ? fmt::format("{:.2g} / bitwise", outcome.error)
                : fmt::format("{:.2g} / {:.2g}", outcome.error, outcome.bound),
        counted);
  }
  void add(check::OpCase const& what, check::Outcome const& outcome,
           std::optional<CaseStatistics> const& counted) {
    add(what.op, what.name, what.tensors, what.data, outcome,
        what.bitwise ? "bitwise" : fmt::format("{:.2g} / {:.2g}", outcome.error, outcome.bound), counted);
  }

  void add(std::string const& op, std::string const& name, std::string const& tensors,
           std::string const& data, check::Outcome const& outcome, std::string const& distance,
           std::optional<CaseStatistics> const& counted) {
    ++counts_[static_cast<int>(outcome.status)];
    if (json_) {
      nlohmann::ordered_json line{{"op", op},
                                  {"case", name},
                                  {"device", device_},
                                  {"kernel", outcome.kernel},
                                  {"status", name_of(outcome.status)},
                                  {"error", number(outcome.error)},
                                  {"bound", number(outcome.bound)},
                                  {"seconds", outcome.seconds},
                                  {"schedule", outcome.schedule},
                                  {"reason", outcome.reason}};
      if (counted) line.update(nlohmann::ordered_json::parse(counted->json()));
      print_line(line);
      return;
    }
    if (counted) counted->add_to(statistics_, op, tensors, outcome.kernel);
    bool const ran = has_run(outcome);
    table_.add({op, tensors, data, device_, outcome.kernel, ran ? distance : "",
                ran ? fmt::format("{:.2f}", outcome.seconds * 1e3) : "", name_of(outcome.status)});
    if (outcome.status != check::Status::kPass)
      notes_ += fmt::format("{}: {}: {}\n", name_of(outcome.status), name, outcome.reason);
    if (outcome.failed() && options_.seeds > 1)
      notes_ += fmt::format("  repeat: {}\n", repeat_command(name, outcome));
  }

  /// What runs the one failure again: other bits than the first schedule's need that one too.
  std::string repeat_command(std::string const& name, check::Outcome const& outcome) const {
    std::uint64_t const first = outcome.other_bits ? options_.schedule : outcome.schedule;
    std::string out =
        fmt::format("deepwell check --device {} --filter \"{}\" --schedule {}", device_, name, first);
    if (first != outcome.schedule) out += fmt::format(" --seeds {}", outcome.schedule - first + 1);
    if (options_.repeat > 1) out += fmt::format(" --repeat {}", options_.repeat);
    if (options_.seed != 0) out += fmt::format(" --seed {}", options_.seed);
    if (!options_.model.empty()) {
      out += fmt::format(" --model \"{}\" --tp {} --tokens {}", options_.model, options_.tp, options_.tokens);
    }
    return out;
  }

  void skip(check::SkippedTensor const& tensor) {
    if (json_) {
      print_line({{"op", ""},
                  {"case", tensor.name},
                  {"device", device_},
                  {"kernel", ""},
                  {"status", "skipped"},
                  {"error", nullptr},
                  {"bound", nullptr},
                  {"seconds", 0.0},
                  {"reason", tensor.reason}});
    } else {
      notes_ += fmt::format("not checked: {}: {}\n", tensor.name, tensor.reason);
    }
  }

  void print() const {
    if (json_) return;
    fmt::print("{}{}", table_.text(), notes_);
    if (!statistics_.empty()) fmt::print("\n{}", statistics_.text());
    std::string schedules = options_.seeds > 1 ? fmt::format(", {} schedules a case", options_.seeds) : "";
    if (options_.repeat > 1) schedules += fmt::format(", {} runs a case", options_.repeat);
    fmt::print("{} passed, {} failed, {} errors, {} unsupported on {}{}\n", count(check::Status::kPass),
               count(check::Status::kFail), count(check::Status::kError), count(check::Status::kUnsupported),
               device_, schedules);
  }

  int count(check::Status status) const { return counts_[static_cast<int>(status)]; }

 private:
  Options const& options_;
  bool json_;
  std::string device_, notes_;
  Table table_, statistics_ = CaseStatistics::table();
  int counts_[4] = {};
};

/// The emulator that --stats needs, set to count; null without --stats.
EmuBackend* counting_backend(Options const& options, Context& context) {
  if (!options.stats) return nullptr;
  auto* const backend = dynamic_cast<EmuBackend*>(&context.backend());
  if (backend == nullptr) throw bad_argument("--stats", context.device().id, "an emulated device (emu:...)");
  emu::Options counting = backend->options();
  counting.statistics = true;
  backend->set_options(counting);
  return backend;
}

/// What the emulator counted of the case that ran last; nothing without --stats, or when nothing was launched.
std::optional<CaseStatistics> counted(EmuBackend const* backend, Context& context, check::Case const& what,
                                      check::Outcome const& outcome) {
  if (backend == nullptr || !has_run(outcome)) return std::nullopt;
  return CaseStatistics(what, check::choose(what, context.arch()).swap, backend->last_statistics());
}
std::optional<CaseStatistics> counted(EmuBackend const* backend, check::OpCase const& what,
                                      check::Outcome const& outcome) {
  if (backend == nullptr || !has_run(outcome)) return std::nullopt;
  return CaseStatistics(what, backend->last_statistics());
}

/// One case to run: built in, or with a checkpoint's weights.
struct Item {
  check::Case what;
  check::ModelCase const* model = nullptr;
};

int run_checks(Options const& options, Context& context, ThreadPool& pool) {
  std::optional<SafetensorsFile> file;
  check::ModelCases model;
  std::vector<Item> items;
  if (!options.model.empty()) {
    file.emplace(options.model);
    model = check::find_model_cases(*file, options.tp, options.tokens);
    for (check::ModelCase const& c : model.cases) items.push_back({c.what, &c});
    if (model.cases.empty()) {
      throw bad_argument("--model", fmt::format("{}: {} tensors", options.model, file->tensors().size()),
                         "at least one weight that the library has an operation for");
    }
  } else {
    for (check::Case& c : check::builtin_cases(options.quick)) items.push_back({std::move(c), nullptr});
  }
  std::erase_if(items, [&](Item const& item) { return !selected(options, item.what); });
  std::vector<check::OpCase> others;
  if (options.model.empty()) others = selected_op_cases(options);
  if (items.empty() && others.empty())
    throw bad_argument("--op, --filter", "no case", "a selection with at least one case");
  if (options.list) {
    for (Item const& item : items) fmt::print("{}\n", item.what.name());
    for (check::OpCase const& c : others) fmt::print("{}\n", c.name);
    return 0;
  }

  std::vector<check::Case> cases;
  for (Item const& item : items) cases.push_back(item.what);
  check::build_kernels(context, cases);
  check::Schedules const schedules{
      .first = options.schedule, .count = options.seeds, .repeats = options.repeat};
  bool const explores = schedules.first != 0 || schedules.count != 1;
  if (explores && !context.backend().set_schedule(schedules.first))
    throw bad_argument("--seeds, --schedule", context.device().id, "an emulated device (emu:...)");
  EmuBackend const* const backend = counting_backend(options, context);
  Report report(options, context.device().id);
  {
    Progress progress("checking", items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      progress.update(i, items[i].what.name());
      std::optional<check::ModelCase::Weights> weights;
      check::GivenWeights given;
      if (items[i].model != nullptr) {
        weights = items[i].model->load();
        given = {weights->codes, weights->scales};
      }
      check::Case const& what = items[i].what;
      check::Outcome const outcome =
          check::run_case(context, what, options.seed, pool, weights ? &given : nullptr, schedules);
      report.add(what, outcome, counted(backend, context, what, outcome));
    }
  }
  for (check::OpCase const& c : others) {
    check::Outcome const outcome = c.run(context, options.seed, schedules);
    report.add(c, outcome, counted(backend, c, outcome));
  }
  for (check::SkippedTensor const& tensor : model.skipped) report.skip(tensor);
  report.print();
  return report.count(check::Status::kFail) + report.count(check::Status::kError) == 0 ? 0 : 1;
}

/// Judged outputs as a table, or as JSON lines.
class MutationReport {
 public:
  MutationReport(Options const& options, std::string device)
      : json_(options.json),
        device_(std::move(device)),
        table_({{"operation"},
                {"tensors and shape", Table::Align::kLeft, 60},
                {"data"},
                {"mutation"},
                {"verdict"},
                {"why", Table::Align::kLeft, 80}}) {}

  void add(check::MutationOutcome const& outcome, std::string const& tensors, std::string const& data) {
    bool const unmutated = outcome.mutation == "none";
    bool const good = outcome.rejected != unmutated;
    ++total_;
    (unmutated ? refused_ : survived_) += good ? 0 : 1;
    char const* const verdict = outcome.rejected ? "rejected" : "accepted";
    if (json_) {
      print_line({{"op", outcome.op},
                  {"case", outcome.case_name},
                  {"device", device_},
                  {"mutation", outcome.mutation},
                  {"status", good ? "pass" : "fail"},
                  {"verdict", verdict},
                  {"reason", outcome.reason}});
    } else {
      table_.add({outcome.op, tensors, data, outcome.mutation,
                  good ? verdict : fmt::format("{} (WRONG)", verdict), outcome.reason});
    }
  }

  /// Prints what there is to print; the exit code.
  int finish() const {
    if (!json_) {
      fmt::print("{}{} outputs judged on {}: {} mutations survived, {} right answers were rejected\n",
                 table_.text(), total_, device_, survived_, refused_);
    }
    return survived_ + refused_ == 0 ? 0 : 1;
  }

 private:
  bool json_;
  std::string device_;
  Table table_;
  int total_ = 0, survived_ = 0, refused_ = 0;
};

int run_mutations(Options const& options, Context& context, ThreadPool& pool) {
  std::vector<check::Case> cases = check::mutation_cases();
  std::erase_if(cases, [&](check::Case const& c) { return !selected(options, c); });
  std::vector<check::OpCase> others = selected_op_cases(options);
  std::erase_if(others, [](check::OpCase const& c) { return !c.mutate; });
  if (cases.empty() && others.empty())
    throw bad_argument("--op, --filter", "no case", "a selection with at least one case");
  check::build_kernels(context, cases);
  MutationReport report(options, context.device().id);
  {
    Progress progress("mutating", cases.size() + others.size());
    for (std::size_t i = 0; i < cases.size(); ++i) {
      check::Case const& what = cases[i];
      progress.update(i, what.name());
      check::Choice const choice = check::choose(what, context.arch());
      if (!choice.refused.empty()) {
        throw Error(ErrorCode::kUnsupported, fmt::format("{}: {}", what.name(), choice.refused));
      }
      auto const produce = [&](check::CaseData const& data) {
        return check::run_on_device(context, data).after;
      };
      for (check::MutationOutcome const& outcome :
           check::mutate_case(what, choice.arithmetic, options.seed, produce, pool)) {
        report.add(outcome, what.tensors(), name_of(what.data));
      }
    }
    for (std::size_t i = 0; i < others.size(); ++i) {
      progress.update(cases.size() + i, others[i].name);
      for (check::MutationOutcome const& outcome : others[i].mutate(context, options.seed))
        report.add(outcome, others[i].tensors, others[i].data);
    }
  }
  return report.finish();
}

}  // namespace

void add_check_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "Run the operations on a device and judge every answer");
  command->add_option("--op", options->ops, "Only these operations, with commas between them")
      ->delimiter(',')
      ->expected(1)
      ->take_all()
      ->check(CLI::IsMember(operation_names()));
  command->add_option("--device", options->device, "cuda, cuda:1, emu:sm_120a, emu:sm_90a:48, or best")
      ->capture_default_str();
  command->add_option("--model", options->model,
                      "Check the layers of this safetensors file instead of the built-in cases");
  command->add_option("--tp", options->tp, "With --model: the parts that ranks of 2, 4 or 8 hold")
      ->capture_default_str();
  command->add_option("--tokens", options->tokens, "With --model: rows of activations")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Other data")->capture_default_str();
  command
      ->add_option("--seeds", options->seeds,
                   "Emulated devices: run every case under this many schedules of warps, CTAs and copies")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command
      ->add_option("--repeat", options->repeat,
                   "Run every case so many times; all have to leave the same bits")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--schedule", options->schedule, "Emulated devices: the first of these schedules")
      ->capture_default_str();
  command->add_option("--filter", options->filter, "Only cases whose name contains this text");
  command->add_flag("--quick", options->quick, "A few cases of each kind");
  command->add_flag("--list", options->list, "Print the names of the cases and run nothing");
  command->add_flag("--stats", options->stats,
                    "Also count, on an emulated device: MMAs, sectors, bank conflicts, waits");
  command->add_flag("--mutate", options->mutate, "Prove that wrong answers are rejected")
      ->excludes("--seeds", "--schedule", "--repeat", "--stats");
  command->add_flag("--json", options->json, "One JSON object a line");
  command->callback([options] {
    ThreadPool pool;
    // Only what the cases need is built, ahead of them.
    set_option(Option::kBackgroundBuilds, "0");
    Context context(options->device);
    int const code =
        options->mutate ? run_mutations(*options, context, pool) : run_checks(*options, context, pool);
    if (code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace deepwell
