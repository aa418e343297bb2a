// `deepwell compile`: compiles the library's kernels ahead of their use, or one CUDA file, for a target.
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <charconv>
#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "backend/backend.hpp"
#include "base/arch.hpp"
#include "base/file.hpp"
#include "base/options.hpp"
#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "jit/archive.hpp"
#include "jit/jit.hpp"
#include "jit/parallel.hpp"
#include "jit/resource_use.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"
#include "ops/startup/kernel_set.hpp"

namespace deepwell {
namespace {

struct CompileOptions {
  std::string file, entry, out;
  std::string target, device, compiler, folders;
  std::string set;  // empty: representative, or model where an option of that set is given
  std::string model, tp, archive;
  std::int64_t n = 0, k = 0;
  std::string a = "e4m3", b = "e4m3", d = "bf16", scale_a = "ue8m0", scale_b = "ue8m0";
  int gran_k_a = 128, gran_k_b = 128;
  int threads = 0;
  bool line_info = false, no_store = false, json = false;
};

std::map<std::string, Dtype> const kDtypes = {
    {"e4m3", Dtype::kE4m3}, {"e2m1", Dtype::kE2m1}, {"bf16", Dtype::kBf16}, {"f32", Dtype::kF32}};
std::map<std::string, ScaleKind> const kScales = {{"ue8m0", ScaleKind::kUe8m0}, {"f32", ScaleKind::kF32}};

std::vector<GemmPlan> plans_of(CompileOptions const& options, Arch const& arch) {
  if (options.n != 0 || options.k != 0) {
    if (options.n <= 0) throw bad_argument("--n", std::to_string(options.n), "a positive size");
    if (options.k <= 0) throw bad_argument("--k", std::to_string(options.k), "a positive size");
    return plans_for({.m = 0,
                      .n = options.n,
                      .k = options.k,
                      .batch = 1,
                      .a = kDtypes.at(options.a),
                      .b = kDtypes.at(options.b),
                      .d = kDtypes.at(options.d),
                      .a_scale = kScales.at(options.scale_a),
                      .b_scale = kScales.at(options.scale_b),
                      .a_gran_k = options.gran_k_a,
                      .b_gran_k = options.gran_k_b},
                     arch);
  }
  return options.set == "all" ? all_gemm_plans(arch) : representative_gemm_plans(arch);
}

/// What stands between commas.
std::vector<std::string> split_list(std::string const& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    std::size_t const end = std::min(text.find(',', at), text.size());
    if (end > at) parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::vector<int> ranks_of(CompileOptions const& options) {
  std::vector<int> ranks;
  for (std::string const& text : split_list(options.tp.empty() ? "1" : options.tp)) {
    int tp = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), tp);
    if (error != std::errc{} || end != text.data() + text.size())
      throw bad_argument("--tp", options.tp, "numbers of ranks, as in 1,2,4,8");
    ranks.push_back(tp);
  }
  if (ranks.empty()) throw bad_argument("--tp", options.tp, "numbers of ranks, as in 1,2,4,8");
  return ranks;
}

bool wants_model(CompileOptions const& options) {
  bool const asked = !options.model.empty() || !options.tp.empty() || !options.archive.empty();
  bool const other = !options.file.empty() || options.n != 0 || options.k != 0;
  if (!options.set.empty() && options.set != "model" && (!options.model.empty() || !options.tp.empty()))
    throw bad_argument("--set", options.set, "model beside --model and --tp");
  if (other && (!options.model.empty() || !options.tp.empty() || options.set == "model"))
    throw bad_argument("--model", "given together with a file, --n or --k", "one of them");
  return !other && (options.set == "model" || (options.set.empty() && asked));
}

std::vector<jit::CompileRequest> model_requests(CompileOptions const& options, Arch const& arch) {
  ModelSizes const sizes = options.model.empty() ? ModelSizes{} : read_model_sizes(options.model);
  std::vector<jit::CompileRequest> requests;
  std::set<std::uint64_t> seen;
  for (int tp : ranks_of(options)) {
    for (KernelStore::Item const& item : model_kernels(sizes, tp, arch)) {
      if (!seen.insert(item.key).second) continue;
      KernelRequest kernel = item.describe();
      requests.push_back({.name = std::move(kernel.name),
                          .source = std::move(kernel.source),
                          .target = std::string(arch.target),
                          .entry = std::move(kernel.entry),
                          .line_info = options.line_info});
    }
  }
  return requests;
}

std::vector<jit::CompileRequest> requests_of(CompileOptions const& options, Arch const& arch) {
  if (wants_model(options)) return model_requests(options, arch);
  std::vector<jit::CompileRequest> requests;
  if (!options.file.empty()) {
    std::string const name = std::filesystem::path(options.file).stem().string();
    requests.push_back({.name = name,
                        .source = read_text_file(options.file),
                        .target = std::string(arch.target),
                        .entry = options.entry.empty() ? name : options.entry,
                        .line_info = options.line_info});
    return requests;
  }
  for (GemmPlan const& plan : plans_of(options, arch)) {
    requests.push_back({.name = plan_name(plan),
                        .source = gemm_source(plan, arch),
                        .target = std::string(arch.target),
                        .entry = plan_name(plan),
                        .line_info = options.line_info});
  }
  if (options.n != 0 || options.k != 0) return requests;
  for (MqaPlan const& plan : options.set == "all" ? all_mqa_plans(arch) : representative_mqa_plans(arch)) {
    requests.push_back({.name = plan_name(plan),
                        .source = mqa_source(plan, arch),
                        .target = std::string(arch.target),
                        .entry = plan_name(plan),
                        .line_info = options.line_info});
  }
  requests.push_back({.name = "mqa_schedule",
                      .source = mqa_schedule_source(),
                      .target = std::string(arch.target),
                      .entry = "mqa_schedule",
                      .line_info = options.line_info});
  return requests;
}

void write_out(std::string const& folder, jit::CompileRequest const& request, jit::Compiled const& compiled) {
  std::filesystem::path const base = std::filesystem::path(folder) / request.name;
  std::filesystem::create_directories(folder);
  write_file_atomically(base.string() + ".ptx", compiled.ptx);
  write_file_atomically(base.string() + ".cubin",
                        {reinterpret_cast<char const*>(compiled.cubin.data()), compiled.cubin.size()});
}

void print_built(CompileOptions const& options, jit::CompileRequest const& request, jit::Built const& built) {
  if (built.error) {
    if (options.json) {
      fmt::print("{}\n", nlohmann::ordered_json{{"kernel", request.name},
                                                {"target", request.target},
                                                {"status", "failed"},
                                                {"reason", built.error->what()}}
                             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      fmt::print("{}: {}\n", request.name, built.error->what());
    }
    return;
  }
  jit::Compiled const& compiled = *built.compiled;
  jit::ResourceUse const use = jit::resource_use(compiled.log);
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"kernel", request.name},
                                              {"target", request.target},
                                              {"status", compiled.from_cache ? "cached" : "compiled"},
                                              {"seconds", compiled.seconds},
                                              {"registers", use.registers},
                                              {"spill_bytes", use.spill_store_bytes + use.spill_load_bytes},
                                              {"static_smem_bytes", use.static_smem_bytes},
                                              {"cubin_bytes", compiled.cubin.size()},
                                              {"ptx_bytes", compiled.ptx.size()}}
                           .dump());
  } else {
    fmt::print("{:8.1f} ms  {}  {:3} registers  {:4} spilled  {:7} B  {}\n", compiled.seconds * 1e3,
               compiled.from_cache ? "cached  " : "compiled", use.registers,
               use.spill_store_bytes + use.spill_load_bytes, compiled.cubin.size(), request.name);
  }
}

/// What one target's kernels came to.
struct Total {
  std::size_t kernels = 0, compiled = 0, cached = 0, failed = 0;
  std::uint64_t cubin_bytes = 0, ptx_bytes = 0;
};

void compile_target(CompileOptions const& options, Arch const& arch, Total& total,
                    std::vector<jit::ArchiveItem>& items) {
  std::vector<jit::CompileRequest> const requests = requests_of(options, arch);
  std::shared_ptr<jit::Compiler> const compiler = jit::make_compiler(options.compiler, arch.target);
  // With a list that has no writable folder nothing is stored, and with no read-only one nothing is taken either.
  jit::KernelCache cache(options.no_store ? ":" : options.folders);
  if (!options.json) {
    fmt::print("{} {} ({}, {}), target {}, {} kernels\n", compiler->info().kind,
               compiler->info().full_version, compiler->info().found_in, compiler->info().path, arch.target,
               requests.size());
  }
  std::vector<jit::Built> built;
  {
    Progress progress(fmt::format("compiling for {}", arch.target), requests.size());
    built = jit::compile_many(cache, *compiler, requests, options.threads,
                              [&](jit::Progress const& at) { progress.update(at.done, at.request.name); });
  }
  total.kernels += requests.size();
  for (std::size_t i = 0; i < built.size(); ++i) {
    print_built(options, requests[i], built[i]);
    if (!built[i].compiled) {
      ++total.failed;
      continue;
    }
    jit::Compiled& compiled = *built[i].compiled;
    ++(compiled.from_cache ? total.cached : total.compiled);
    total.cubin_bytes += compiled.cubin.size();
    total.ptx_bytes += compiled.ptx.size();
    if (!options.out.empty()) write_out(options.out, requests[i], compiled);
    if (!options.archive.empty())
      items.push_back({.key = jit::make_key(requests[i], compiler->info()), .compiled = std::move(compiled)});
  }
}

/// Before minutes of work: a file that cannot be written is found out now.
void check_archive_path(std::filesystem::path const& path) {
  std::filesystem::path const parent = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code ignored;
  if (!std::filesystem::is_directory(parent, ignored) || ::access(parent.c_str(), W_OK) != 0)
    throw bad_argument("--export", path.string(), "a file in a folder that exists and may be written to");
  if (std::filesystem::is_directory(path, ignored))
    throw bad_argument("--export", path.string(), "a file, not a folder");
}

void print_total(CompileOptions const& options, std::vector<std::string> const& targets, Total const& total,
                 double seconds, std::size_t archive_bytes) {
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"kernels", total.kernels},
                                              {"targets", targets},
                                              {"compiled", total.compiled},
                                              {"cached", total.cached},
                                              {"failed", total.failed},
                                              {"seconds", seconds},
                                              {"cubin_bytes", total.cubin_bytes},
                                              {"ptx_bytes", total.ptx_bytes},
                                              {"archive", options.archive},
                                              {"archive_bytes", archive_bytes}}
                           .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  fmt::print(
      "{} kernels for {}: {} compiled, {} cached, {} failed, in {:.1f} s; {:.1f} MB of cubin, {:.1f} MB of "
      "PTX\n",
      total.kernels, fmt::join(targets, ", "), total.compiled, total.cached, total.failed, seconds,
      static_cast<double>(total.cubin_bytes) * 1e-6, static_cast<double>(total.ptx_bytes) * 1e-6);
  if (archive_bytes > 0)
    fmt::print("{}: {:.1f} MB\n", options.archive, static_cast<double>(archive_bytes) * 1e-6);
}

void run_compile(CompileOptions const& options) {
  std::string const device = options.device.empty() ? option_text(Option::kDevice) : options.device;
  std::vector<std::string> targets = split_list(options.target);
  if (targets.empty()) targets = {std::string(make_backend(device)->device().arch.target)};
  for (std::string const& target : targets) arch_by_target(target);
  if (!options.archive.empty()) check_archive_path(options.archive);
  auto const start = std::chrono::steady_clock::now();
  Total total;
  std::vector<jit::ArchiveItem> items;
  for (std::string const& target : targets) compile_target(options, arch_by_target(target), total, items);
  std::size_t archive_bytes = 0;
  if (!options.archive.empty() && total.failed == 0) {
    try {
      archive_bytes = jit::write_archive(options.archive, std::move(items));
    } catch (std::system_error const& error) {
      throw bad_argument("--export", error.what(), "a file that can be written");
    }
  }
  double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (wants_model(options) || targets.size() > 1 || !options.archive.empty())
    print_total(options, targets, total, seconds, archive_bytes);
  if (total.failed != 0) throw CLI::RuntimeError(1);
}

}  // namespace

void add_compile_command(CLI::App& app) {
  auto options = std::make_shared<CompileOptions>();
  CLI::App* command = app.add_subcommand("compile", "Compile kernels ahead of their use, or one CUDA file");
  command->add_option("file", options->file,
                      "A .cu file with one extern \"C\" kernel; without it, the library's kernels");
  command->add_option("--entry", options->entry, "The kernel in the file (its stem when left out)");
  command->add_option(
      "--target", options->target,
      "sm_120a, sm_121a, sm_120f or sm_90a, several with commas (the device's when left out)");
  command->add_option("--device", options->device,
                      "The device whose target is meant, instead of DEEPWELL_DEVICE");
  command->add_option("--compiler", options->compiler, "nvrtc or nvcc")
      ->check(CLI::IsMember({"nvrtc", "nvcc"}));
  command
      ->add_option(
          "--set", options->set,
          "Which of the library's kernels: representative (what is taken without this and the next three), "
          "all, or model")
      ->check(CLI::IsMember({"representative", "all", "model"}));
  command->add_option(
      "--model", options->model,
      "All kernels that a model needs: its config.json, or the folder with it (V4-Flash when left out)");
  command->add_option("--tp", options->tp,
                      "For these numbers of tensor-parallel ranks: 1,2,4,8 (1 when left out)");
  command->add_option("--export", options->archive,
                      "One file with all of them, to serve from with DEEPWELL_KERNELS=FILE");
  command->add_option("--n", options->n, "With --k: only what a GEMM of these sizes can need, for all m");
  command->add_option("--k", options->k);
  command->add_option("--a", options->a)->check(CLI::IsMember({"e4m3", "e2m1"}))->capture_default_str();
  command->add_option("--b", options->b)->check(CLI::IsMember({"e4m3", "e2m1"}))->capture_default_str();
  command->add_option("--d", options->d)->check(CLI::IsMember({"bf16", "f32"}))->capture_default_str();
  command->add_option("--scale-a", options->scale_a)
      ->check(CLI::IsMember({"ue8m0", "f32"}))
      ->capture_default_str();
  command->add_option("--scale-b", options->scale_b)
      ->check(CLI::IsMember({"ue8m0", "f32"}))
      ->capture_default_str();
  command->add_option("--gran-k-a", options->gran_k_a)
      ->check(CLI::IsMember({32, 128}))
      ->capture_default_str();
  command->add_option("--gran-k-b", options->gran_k_b)
      ->check(CLI::IsMember({32, 128}))
      ->capture_default_str();
  command->add_option("--cache", options->folders, "writable[:read-only...] instead of DEEPWELL_CACHE_DIR");
  command->add_flag("--no-store", options->no_store, "Compile anew and store nothing");
  command->add_option("--out", options->out, "Folder that gets NAME.ptx and NAME.cubin");
  command->add_option("--threads", options->threads, "Compiles at once; 0: the option's default");
  command->add_flag("--line-info", options->line_info, "With source lines");
  command->add_flag("--json", options->json, "One object a line");
  command->callback([options] {
    options->line_info |= option_flag(Option::kLineInfo);
    run_compile(*options);
  });
}

}  // namespace deepwell
