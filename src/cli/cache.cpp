// `deepwell cache`: what is in the kernel cache, and clearing it.
#include <CLI/CLI.hpp>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/options.hpp"
#include "cli/commands.hpp"
#include "jit/jit.hpp"

namespace deepwell {
namespace {

struct CacheOptions {
  std::string folders;
  bool json = false, all = false;
};

void list_entries(CacheOptions const& options) {
  jit::KernelCache const cache(options.folders);
  std::vector<jit::KernelCache::Entry> const entries = cache.entries();
  if (options.json) {
    for (jit::KernelCache::Entry const& entry : entries) {
      fmt::print("{}\n", nlohmann::ordered_json{{"name", entry.name},
                                                {"target", entry.target},
                                                {"compiler", entry.compiler},
                                                {"bytes", entry.bytes},
                                                {"folder", entry.folder.string()}}
                             .dump());
    }
    return;
  }
  std::uintmax_t bytes = 0;
  std::map<std::string, std::size_t> kinds;
  for (jit::KernelCache::Entry const& entry : entries) {
    bytes += entry.bytes;
    ++kinds[fmt::format("{}, {}", entry.target, entry.compiler)];
    if (options.all) fmt::print("{:10} {:8.1f} KB  {}\n", entry.target, entry.bytes / 1024.0, entry.name);
  }
  std::string const folder = cache.writable_folder();
  fmt::print("folder   {}\nfrom     {}\nkernels  {}, {:.1f} MB\n",
             folder.empty() ? "none that may be written" : folder,
             options.folders.empty() ? option_value(Option::kCacheDir).source : "--folders", entries.size(),
             bytes * 1e-6);
  for (auto const& [kind, count] : kinds) fmt::print("         {} for {}\n", count, kind);
}

void clear_entries(CacheOptions const& options) {
  jit::KernelCache cache(options.folders);
  std::string const folder = cache.writable_folder();
  std::size_t const removed = cache.clear();
  if (options.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"folder", folder}, {"removed", removed}}.dump());
  } else {
    fmt::print("{} kernels removed from {}\n", removed, folder.empty() ? "no folder" : folder);
  }
}

}  // namespace

void add_cache_command(CLI::App& app) {
  auto options = std::make_shared<CacheOptions>();
  CLI::App* command = app.add_subcommand("cache", "List or clear the compiled kernels on disk");
  command->add_option("--folders", options->folders, "writable[:read-only...] instead of DEEPWELL_CACHE_DIR");
  command->add_flag("--json", options->json, "One object a line");
  command->add_flag("--all", options->all, "Every kernel, not only their number");
  CLI::App* clear = command->add_subcommand("clear", "Remove every kernel from the writable folder");
  command->callback([options, clear] {
    if (clear->parsed()) {
      clear_entries(*options);
    } else {
      list_entries(*options);
    }
  });
}

}  // namespace deepwell
