// Compiling with NVCC, the second compiler: slower, needs a toolkit and a host compiler. Thread-safe.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <mutex>

#include "base/file.hpp"
#include "base/options.hpp"
#include "base/subprocess.hpp"
#include "jit/compilers.hpp"

namespace deepwell::jit {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::minutes kCompileTimeout{10};

struct Version {
  std::pair<int, int> version{};
  std::string full;  // "13.0.88 cuda_13.0.r13.0/compiler.36424714_0"
  std::string broken;
};

std::string after(std::string const& text, std::string_view marker, std::string_view stop) {
  std::size_t const at = text.find(marker);
  if (at == std::string::npos) return {};
  std::size_t const begin = at + marker.size();
  return text.substr(begin, text.find_first_of(stop, begin) - begin);
}

Version ask_version(fs::path const& path) {
  Version result;
  try {
    SubprocessResult const said = run_subprocess({.argv = {path.string(), "--version"},
                                                  .folder = {},
                                                  .environment = {},
                                                  .input = {},
                                                  .timeout = std::chrono::seconds(30)});
    std::string const number = after(said.out, ", V", "\n ");
    char const* const end = number.data() + number.size();
    auto const major = std::from_chars(number.data(), end, result.version.first);
    if (said.exit_code != 0 || major.ec != std::errc{} || major.ptr == end) {
      result.broken = fmt::format("`{} --version` does not answer like nvcc (exit code {})", path.string(),
                                  said.exit_code);
      return result;
    }
    std::from_chars(major.ptr + 1, end, result.version.second);
    result.full = fmt::format("{} {}", number, after(said.out, "Build ", "\n "));
  } catch (Error const& error) {
    result.broken = error.what();
  }
  return result;
}

Version version_of(fs::path const& path) {
  static std::mutex mutex;
  static std::map<fs::path, Version> known;
  std::lock_guard lock(mutex);
  auto const [at, is_new] = known.try_emplace(path);
  if (is_new) at->second = ask_version(path);
  return at->second;
}

class NvccCompiler final : public Compiler {
 public:
  explicit NvccCompiler(CompilerInfo info) : info_(std::move(info)) {}
  CompilerInfo const& info() const override { return info_; }
  Compiled compile(CompileRequest const& request) const override;

 private:
  CompilerInfo info_;
};

Compiled NvccCompiler::compile(CompileRequest const& request) const {
  auto const start = std::chrono::steady_clock::now();
  TemporaryFolder const work("deepwell-nvcc-");
  for (auto const& [name, text] : device_sources()) {
    fs::path const path = work.path() / "include" / name;
    fs::create_directories(path.parent_path());
    write_new_file(path, text, 0600, false);
  }
  write_new_file(work.path() / "kernel.cu", request.source, 0600, false);

  // --keep leaves the PTX of the same front-end pass beside the cubin; relative paths keep the folder out of both.
  std::vector<std::string> argv = {info_.path, "-cubin",    "--keep", "--keep-dir",
                                   ".",        "-Iinclude", "-o",     "kernel.cubin"};
  for (std::string& flag : compile_flags(info_, request)) argv.push_back(std::move(flag));
  if (std::string const host = option_text(Option::kHostCompiler); !host.empty())
    argv.insert(argv.end(), {"-ccbin", host});
  argv.push_back("kernel.cu");
  SubprocessResult const ran = run_subprocess({.argv = std::move(argv),
                                               .folder = work.path(),
                                               .environment = {},
                                               .input = {},
                                               .timeout = kCompileTimeout});
  Compiled result;
  result.log = ran.out + ran.err;
  if (ran.timed_out || ran.exit_code != 0) {
    throw compile_error(info_, request,
                        ran.timed_out ? "it did not end in time" : fmt::format("exit code {}", ran.exit_code),
                        result.log);
  }
  result.cubin = read_binary_file(work.path() / "kernel.cubin");
  result.ptx = read_text_file(work.path() / "kernel.ptx");
  check_compiled(request, result);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

void visit_nvcc(std::string_view target, CandidateVisitor const& visit) {
  std::vector<fs::path> seen;
  auto const consider = [&](fs::path const& path, std::string const& found_in, bool must_exist) {
    std::error_code failed;
    fs::path const real = fs::canonical(path, failed);
    if (failed && !must_exist) return true;
    if (std::find(seen.begin(), seen.end(), failed ? path : real) != seen.end()) return true;
    seen.push_back(failed ? path : real);
    FoundCompiler found;
    CompilerInfo& info = found.candidate.info;
    info = {.kind = "nvcc", .path = path.string(), .found_in = found_in, .version = {}, .full_version = {}};
    if (failed || ::access(path.c_str(), X_OK) != 0 || !fs::is_regular_file(real)) {
      found.candidate.rejected = failed ? failed.message() : "not an executable file";
      return visit(found);
    }
    Version const version = version_of(path);
    info.version = version.version;
    info.full_version = version.full;
    found.candidate.rejected =
        version.broken.empty() ? reject_version(version.version, target) : version.broken;
    if (found.candidate.rejected.empty())
      found.make = [info] { return std::make_shared<NvccCompiler>(info); };
    return visit(found);
  };

  if (std::string const named = option_text(Option::kNvcc); !named.empty()) {
    std::error_code ignored;
    bool const is_folder = fs::is_directory(named, ignored);
    fs::path path = is_folder ? fs::path(named) / "nvcc" : fs::path(named);
    if (is_folder && !fs::exists(path, ignored)) path = fs::path(named) / "bin" / "nvcc";
    if (!consider(path, "option", true)) return;
  }
  for (SearchPlace const& place : toolkit_roots()) {
    if (!consider(place.path / "bin" / "nvcc", place.found_in, false)) return;
  }
  for (std::string const& folder : option_list(Option::kPath)) {
    if (!consider(fs::path(folder) / "nvcc", "PATH", false)) return;
  }
  for (SearchPlace const& place : wheel_roots()) {
    if (!consider(place.path / "bin" / "nvcc", "wheel nvidia-cuda-nvcc", false)) return;
  }
}

}  // namespace deepwell::jit
