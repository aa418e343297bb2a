// Finding a compiler: the order of the search, and what the two kinds share.
#include "jit/compilers.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "base/arch.hpp"
#include "base/log.hpp"
#include "base/options.hpp"

namespace deepwell::jit {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kHowToInstall =
    "install NVRTC with `pip install nvidia-cuda-nvrtc==13.0.88`, or name a library with DEEPWELL_NVRTC";

// "cuda-12.9" -> 1209, so that toolkits sort by release.
int release_of(fs::path const& folder) {
  std::string const name = folder.filename().string();
  int major = 0, minor = 0;
  char const* const end = name.data() + name.size();
  std::size_t const dash = name.find('-');
  if (dash == std::string::npos) return 0;
  auto const parsed = std::from_chars(name.data() + dash + 1, end, major);
  if (parsed.ptr != end && *parsed.ptr == '.') std::from_chars(parsed.ptr + 1, end, minor);
  return major * 100 + minor;
}

std::vector<fs::path> folders_in(fs::path const& parent) {
  std::vector<fs::path> folders;
  std::error_code ignored;
  for (fs::directory_iterator at(parent, ignored), end; at != end; at.increment(ignored)) {
    if (ignored) break;
    if (at->is_directory(ignored)) folders.push_back(at->path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

void add_environment(fs::path const& environment, std::vector<fs::path>& site_packages) {
  for (char const* lib : {"lib", "lib64"}) {
    for (fs::path const& python : folders_in(environment / lib)) {
      if (python.filename().string().starts_with("python")) site_packages.push_back(python / "site-packages");
    }
  }
}

// The current folder may be anybody's: code is loaded from it only when it is ours or the administrator's.
bool owned_by_us(fs::path const& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && (info.st_uid == ::geteuid() || info.st_uid == 0);
}

std::vector<fs::path> site_packages_folders() {
  std::vector<fs::path> folders;
  for (std::string const& folder : option_list(Option::kWheelPaths)) folders.emplace_back(folder);
  std::error_code failed;
  fs::path beside = fs::read_symlink("/proc/self/exe", failed).parent_path();
  for (int up = 0; !failed && up < 5 && beside.has_relative_path(); ++up, beside = beside.parent_path()) {
    if (owned_by_us(beside / ".venv")) add_environment(beside / ".venv", folders);
  }
  fs::path const current = fs::current_path(failed);
  if (!failed && owned_by_us(current) && owned_by_us(current / ".venv"))
    add_environment(current / ".venv", folders);
  if (std::string const active = option_text(Option::kVirtualEnv); !active.empty())
    add_environment(active, folders);
  return folders;
}

void visit_kind(std::string_view kind, std::string_view target, CandidateVisitor const& visit) {
  if (kind == "nvrtc") {
    visit_nvrtc(target, visit);
  } else if (kind == "nvcc") {
    visit_nvcc(target, visit);
  } else if (kind.empty()) {
    bool more = true;
    visit_nvrtc(target, [&](FoundCompiler const& found) { return more = visit(found); });
    if (more) visit_nvcc(target, visit);
  } else if (kind != "none") {
    throw bad_argument("compiler", std::string(kind), "nvrtc, nvcc, none or nothing");
  }
}

std::string describe(Candidate const& candidate) {
  CompilerInfo const& info = candidate.info;
  std::string const version =
      info.version.first == 0 ? "" : fmt::format(" {}.{}", info.version.first, info.version.second);
  return fmt::format("{}{} {} ({}): {}", info.kind, version, info.path, info.found_in,
                     candidate.rejected.empty() ? "usable" : candidate.rejected);
}

}  // namespace

std::vector<std::string> compile_flags(CompilerInfo const& compiler, CompileRequest const& request) {
  std::vector<std::string> flags;
  if (compiler.kind == "nvrtc") {
    // --minimal leaves out what kernels here never use (textures, launches from the device) and saves a tenth of the time.
    flags = {fmt::format("--gpu-architecture={}", request.target),
             "--std=c++20",
             "-default-device",
             "--fmad=false",
             "--minimal",
             "--no-source-include",
             "--ptxas-options=-v"};
    if (compiler.version >= std::pair(12, 9)) flags.push_back("--no-cache");
  } else if (compiler.kind == "nvcc") {
    // A plain -arch would also run a pass for the base architecture, which rejects block-scaled mma.
    std::string const number = request.target.substr(std::min<std::size_t>(3, request.target.size()));
    flags = {"-gencode",
             fmt::format("arch=compute_{0},code=sm_{0}", number),
             "-std=c++20",
             "--fmad=false",
             "--expt-relaxed-constexpr",
             "--ptxas-options=-v"};
  }
  if (request.line_info) flags.push_back("--generate-line-info");
  return flags;
}

std::string reject_version(std::pair<int, int> version, std::string_view target) {
  double const least = arch_by_target(target).min_cuda;
  int const major = static_cast<int>(least);
  int const minor = static_cast<int>(std::lround((least - major) * 10));
  if (version >= std::pair(major, minor)) return {};
  return fmt::format("CUDA {}.{} does not know {}, which needs {}.{} or later", version.first, version.second,
                     target, major, minor);
}

void check_compiled(CompileRequest const& request, Compiled const& compiled) {
  DW_CHECK(!compiled.cubin.empty() && !compiled.ptx.empty(), kToolchain,
           "{}: the compiler gave {} bytes of cubin and {} of PTX", request.name, compiled.cubin.size(),
           compiled.ptx.size());
  std::string const entry = fmt::format(".entry {}(", request.entry);
  DW_CHECK(compiled.ptx.find(entry) != std::string::npos, kToolchain, "{}: the text defines no kernel `{}`",
           request.name, request.entry);
}

Error compile_error(CompilerInfo const& compiler, CompileRequest const& request, std::string_view reason,
                    std::string_view log) {
  return Error(ErrorCode::kToolchain,
               fmt::format("while compiling {} for {} with {} {} ({}): {}\n{}", request.name, request.target,
                           compiler.kind, compiler.full_version, compiler.path, reason, log),
               request.name, std::string(log), "a kernel that compiles");
}

std::vector<SearchPlace> toolkit_roots() {
  std::vector<SearchPlace> roots;
  if (OptionValue const home = option_value(Option::kCudaHome); !home.text.empty()) {
    roots.push_back({home.text, fmt::format("toolkit ({})", home.source)});
  }
  std::vector<fs::path> installed;
  for (fs::path const& folder : folders_in("/usr/local")) {
    if (folder.filename().string().starts_with("cuda-")) installed.push_back(folder);
  }
  std::stable_sort(installed.begin(), installed.end(),
                   [](fs::path const& a, fs::path const& b) { return release_of(a) > release_of(b); });
  installed.insert(installed.begin(), "/usr/local/cuda");
  for (fs::path const& folder : installed) roots.push_back({folder, "toolkit"});
  return roots;
}

std::vector<SearchPlace> wheel_roots() {
  std::vector<SearchPlace> roots;
  for (fs::path const& site_packages : site_packages_folders()) {
    std::vector<fs::path> parts = folders_in(site_packages / "nvidia");
    // cu13 before cu12 before the one-part folders of older wheels.
    std::stable_sort(parts.begin(), parts.end(), [](fs::path const& a, fs::path const& b) {
      auto const rank = [](fs::path const& path) { return path.filename().string().starts_with("cu1"); };
      return rank(a) != rank(b) ? rank(a) : rank(a) && a > b;
    });
    for (fs::path const& part : parts) roots.push_back({part, "wheel"});
  }
  return roots;
}

std::vector<Candidate> find_compilers(std::string_view kind, std::string_view target) {
  std::vector<Candidate> candidates;
  visit_kind(kind, target, [&](FoundCompiler const& found) {
    candidates.push_back(found.candidate);
    return true;
  });
  return candidates;
}

std::shared_ptr<Compiler> make_compiler(std::string_view kind, std::string_view target) {
  std::string const configured = option_text(Option::kCompiler);
  if (kind.empty()) kind = configured;
  arch_by_target(target);
  if (kind == "none") {
    throw Error(ErrorCode::kToolchain,
                fmt::format("{} is none: nothing is compiled here, kernels come from archives and caches",
                            option_row(Option::kCompiler).name),
                "compiler", "none", "an archive or a cache that holds the kernel");
  }
  std::shared_ptr<Compiler> chosen;
  std::string tried;
  visit_kind(kind, target, [&](FoundCompiler const& found) {
    Candidate const& candidate = found.candidate;
    if (candidate.rejected.empty()) {
      chosen = found.make();
      return false;
    }
    tried += fmt::format("\n  {}", describe(candidate));
    if (candidate.info.found_in == "option") {
      log_once(LogLevel::kWarning, "rejected " + candidate.info.path + std::string(target),
               fmt::format("the compiler that was named is not used: {}", describe(candidate)));
    }
    return true;
  });
  if (chosen) {
    log_debug("compiler for {}: {} {} from {}", target, chosen->info().kind, chosen->info().full_version,
              chosen->info().path);
    return chosen;
  }
  throw Error(ErrorCode::kToolchain,
              fmt::format("no {} for {}; {}.{}{}", kind.empty() ? "run-time compiler" : std::string(kind),
                          target, kHowToInstall, tried.empty() ? " None was found." : " Tried:", tried),
              "compiler", tried.empty() ? "none" : tried, std::string(kHowToInstall));
}

}  // namespace deepwell::jit
