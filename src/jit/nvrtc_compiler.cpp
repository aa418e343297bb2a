// Compiling with NVRTC, which is loaded at run time. Thread-safe; several NVRTC versions may be loaded in one process.
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <mutex>

#include "base/arch.hpp"
#include "base/hash.hpp"
#include "base/mapped_file.hpp"
#include "base/options.hpp"
#include "jit/compilers.hpp"

namespace deepwell::jit {
namespace fs = std::filesystem;
namespace {

// NVRTC's C interface, as far as it is used; declared here so that building needs no toolkit.
using Program = struct NvrtcProgram*;
using Result = int;
constexpr Result kSuccess = 0;

struct Functions {
  Result (*version)(int* major, int* minor);
  Result (*get_num_supported_archs)(int* count);
  Result (*get_supported_archs)(int* archs);
  char const* (*get_error_string)(Result result);
  Result (*create_program)(Program*, char const* source, char const* name, int num_headers,
                           char const* const* headers, char const* const* include_names);
  Result (*destroy_program)(Program*);
  Result (*compile_program)(Program, int num_options, char const* const* options);
  Result (*get_log_size)(Program, std::size_t*);
  Result (*get_log)(Program, char*);
  Result (*get_ptx_size)(Program, std::size_t*);
  Result (*get_ptx)(Program, char*);
  Result (*get_cubin_size)(Program, std::size_t*);
  Result (*get_cubin)(Program, char*);
};

/// One library, loaded for the rest of the process (compilers keep state that unloading would pull away).
struct Library {
  Functions call{};
  std::pair<int, int> version{};
  std::vector<int> archs;  // 75, ..., 120, 121
  std::string full_version;
  std::string broken;  // why it cannot be used at all
};

template <typename Function>
void resolve(void* handle, Function& function, char const* name, std::string& missing) {
  function = reinterpret_cast<Function>(::dlsym(handle, name));
  if (!function) missing = fmt::format("it has no function {}", name);
}

void resolve_all(void* handle, Library& library) {
  Functions& call = library.call;
  std::string& missing = library.broken;
  resolve(handle, call.version, "nvrtcVersion", missing);
  resolve(handle, call.get_num_supported_archs, "nvrtcGetNumSupportedArchs", missing);
  resolve(handle, call.get_supported_archs, "nvrtcGetSupportedArchs", missing);
  resolve(handle, call.get_error_string, "nvrtcGetErrorString", missing);
  resolve(handle, call.create_program, "nvrtcCreateProgram", missing);
  resolve(handle, call.destroy_program, "nvrtcDestroyProgram", missing);
  resolve(handle, call.compile_program, "nvrtcCompileProgram", missing);
  resolve(handle, call.get_log_size, "nvrtcGetProgramLogSize", missing);
  resolve(handle, call.get_log, "nvrtcGetProgramLog", missing);
  resolve(handle, call.get_ptx_size, "nvrtcGetPTXSize", missing);
  resolve(handle, call.get_ptx, "nvrtcGetPTX", missing);
  resolve(handle, call.get_cubin_size, "nvrtcGetCUBINSize", missing);
  resolve(handle, call.get_cubin, "nvrtcGetCUBIN", missing);
}

// NVRTC tells only major and minor. Samples of the file tell builds apart without reading all of its 100 MB.
std::string fingerprint(fs::path const& path) {
  MappedFile const file(path);
  constexpr std::size_t kBlocks = 64, kBlockBytes = 4096;
  Hasher hasher;
  hasher.add(std::to_string(file.size()));
  for (std::size_t i = 0; i < kBlocks; ++i) {
    std::size_t const at = file.size() / kBlocks * i;
    hasher.add(file.bytes().subspan(at, std::min(kBlockBytes, file.size() - at)));
  }
  std::size_t const tail = std::min(kBlockBytes, file.size());
  return hasher.add(file.bytes().last(tail)).hex();
}

// NVRTC opens its builtins by bare name at the first compile: loading them by full path first makes that succeed without any
// library path, and pairs them with this NVRTC.
std::string load_builtins(fs::path const& folder, std::pair<int, int> version) {
  std::string const name = fmt::format("libnvrtc-builtins.so.{}.{}", version.first, version.second);
  std::error_code ignored;
  fs::path const beside = folder / name;
  if (::dlopen(fs::exists(beside, ignored) ? beside.c_str() : name.c_str(), RTLD_NOW | RTLD_LOCAL)) return {};
  char const* const reason = ::dlerror();
  return fmt::format("its {} cannot be loaded: {}", name, reason ? reason : "not found");
}

Library load(fs::path const& path) {
  Library library;
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    char const* const reason = ::dlerror();
    library.broken = fmt::format("it cannot be loaded: {}", reason ? reason : "unknown reason");
    return library;
  }
  resolve_all(handle, library);
  if (!library.broken.empty()) return library;
  int count = 0;
  if (library.call.version(&library.version.first, &library.version.second) != kSuccess ||
      library.call.get_num_supported_archs(&count) != kSuccess) {
    library.broken = "it does not tell its version";
    return library;
  }
  library.archs.resize(static_cast<std::size_t>(std::max(count, 0)));
  if (library.call.get_supported_archs(library.archs.data()) != kSuccess) library.archs.clear();
  library.broken = load_builtins(path.parent_path(), library.version);
  library.full_version =
      fmt::format("{}.{} {}", library.version.first, library.version.second, fingerprint(path));
  return library;
}

struct Loaded {
  std::mutex mutex;
  std::map<fs::path, Library> libraries;
};

Loaded& loaded() {
  static Loaded* const instance = new Loaded;  // never destroyed, as the libraries never are
  return *instance;
}

Library const& library_at(fs::path const& path) {
  std::lock_guard lock(loaded().mutex);
  auto const [at, is_new] = loaded().libraries.try_emplace(path);
  if (is_new) at->second = load(path);
  return at->second;
}

class NvrtcCompiler final : public Compiler {
 public:
  NvrtcCompiler(CompilerInfo info, Library const& library) : info_(std::move(info)), call_(library.call) {}
  CompilerInfo const& info() const override { return info_; }
  Compiled compile(CompileRequest const& request) const override;

 private:
  /// A program that is destroyed with its scope.
  struct Scope {
    Functions const& call;
    Program program = nullptr;
    ~Scope() {
      if (program) call.destroy_program(&program);
    }
  };
  void expect(Result result, char const* function, CompileRequest const& request) const {
    if (result != kSuccess) {
      throw compile_error(info_, request, fmt::format("{}: {}", function, call_.get_error_string(result)),
                          "");
    }
  }

  CompilerInfo info_;
  Functions const& call_;
};

Compiled NvrtcCompiler::compile(CompileRequest const& request) const {
  auto const start = std::chrono::steady_clock::now();
  std::vector<char const*> names, texts;
  for (auto const& [name, text] : device_sources()) {
    names.push_back(name.c_str());
    texts.push_back(text.c_str());
  }
  Scope scope{call_};
  // An absolute name keeps the current folder out of line tables.
  expect(call_.create_program(&scope.program, request.source.c_str(), "/deepwell/kernel.cu",
                              static_cast<int>(names.size()), texts.data(), names.data()),
         "nvrtcCreateProgram", request);
  std::vector<std::string> const flags = compile_flags(info_, request);
  std::vector<char const*> options;
  for (std::string const& flag : flags) options.push_back(flag.c_str());
  Result const compiled =
      call_.compile_program(scope.program, static_cast<int>(options.size()), options.data());

  Compiled result;
  std::size_t size = 0;
  // The sizes of the log and of the PTX count a terminating zero.
  if (call_.get_log_size(scope.program, &size) == kSuccess && size > 1) {
    result.log.resize(size);
    expect(call_.get_log(scope.program, result.log.data()), "nvrtcGetProgramLog", request);
    result.log.resize(size - 1);
  }
  if (compiled != kSuccess) throw compile_error(info_, request, call_.get_error_string(compiled), result.log);

  expect(call_.get_ptx_size(scope.program, &size), "nvrtcGetPTXSize", request);
  result.ptx.resize(size);
  expect(call_.get_ptx(scope.program, result.ptx.data()), "nvrtcGetPTX", request);
  while (!result.ptx.empty() && result.ptx.back() == '\0') result.ptx.pop_back();
  expect(call_.get_cubin_size(scope.program, &size), "nvrtcGetCUBINSize", request);
  result.cubin.resize(size);
  expect(call_.get_cubin(scope.program, reinterpret_cast<char*>(result.cubin.data())), "nvrtcGetCUBIN",
         request);
  check_compiled(request, result);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

// Libraries of one folder, newest soname first; links to one file count once.
std::vector<fs::path> libraries_in(fs::path const& folder) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    std::string const name = at->path().filename().string();
    if (name == "libnvrtc.so" || name.starts_with("libnvrtc.so.")) found.push_back(at->path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

// The paths of one toolkit, wheel part or option, for both layouts.
std::vector<fs::path> libraries_below(fs::path const& root) {
  std::error_code ignored;
  if (!fs::is_directory(root, ignored)) return {root};
  std::vector<fs::path> found = libraries_in(root);
  for (char const* folder : {"lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"}) {
    for (fs::path const& path : libraries_in(root / folder)) found.push_back(path);
  }
  return found;
}

// What the system's loader finds by bare name, or has loaded for someone else (torch brings an NVRTC).
std::vector<fs::path> libraries_on_default_path() {
  std::vector<fs::path> found;
  for (char const* name : {"libnvrtc.so.13", "libnvrtc.so.12"}) {
    void* const handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    link_map* map = nullptr;
    if (handle && ::dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map && map->l_name)
      found.emplace_back(map->l_name);
  }
  return found;
}

}  // namespace

void visit_nvrtc(std::string_view target, CandidateVisitor const& visit) {
  Arch const& arch = arch_by_target(target);
  std::vector<fs::path> seen;
  auto const consider = [&](fs::path const& path, std::string const& found_in) {
    std::error_code failed;
    fs::path const real = fs::canonical(path, failed);
    if (std::find(seen.begin(), seen.end(), failed ? path : real) != seen.end()) return true;
    seen.push_back(failed ? path : real);
    FoundCompiler found;
    CompilerInfo& info = found.candidate.info;
    info = {.kind = "nvrtc",
            .path = (failed ? path : real).string(),
            .found_in = found_in,
            .version = {},
            .full_version = {}};
    if (failed) {
      found.candidate.rejected = failed.message();
      return visit(found);
    }
    Library const& library = library_at(real);
    info.version = library.version;
    info.full_version = library.full_version;
    int const number = arch.major * 10 + arch.minor;
    if (!library.broken.empty()) {
      found.candidate.rejected = library.broken;
    } else if (std::string reason = reject_version(library.version, target); !reason.empty()) {
      found.candidate.rejected = std::move(reason);
    } else if (std::find(library.archs.begin(), library.archs.end(), number) == library.archs.end()) {
      found.candidate.rejected = fmt::format("it does not list {} among its architectures", target);
    } else {
      found.make = [info, &library] { return std::make_shared<NvrtcCompiler>(info, library); };
    }
    return visit(found);
  };

  if (std::string const named = option_text(Option::kNvrtc); !named.empty()) {
    std::vector<fs::path> const libraries = libraries_below(named);
    if (libraries.empty() && !visit({.candidate = {.info = {.kind = "nvrtc",
                                                            .path = named,
                                                            .found_in = "option",
                                                            .version = {},
                                                            .full_version = {}},
                                                   .rejected = "the folder holds no libnvrtc.so"},
                                     .make = {}})) {
      return;
    }
    for (fs::path const& path : libraries) {
      if (!consider(path, "option")) return;
    }
  }
  for (SearchPlace const& place : toolkit_roots()) {
    std::error_code ignored;
    if (!fs::is_directory(place.path, ignored)) continue;
    for (fs::path const& path : libraries_below(place.path)) {
      if (!consider(path, place.found_in)) return;
    }
  }
  std::vector<SearchPlace> const wheels = wheel_roots();
  std::vector<fs::path> in_wheels;
  for (SearchPlace const& place : wheels) {
    for (fs::path const& path : libraries_in(place.path / "lib")) {
      std::error_code ignored;
      in_wheels.push_back(fs::canonical(path, ignored));
    }
  }
  for (fs::path const& path : libraries_on_default_path()) {
    std::error_code failed;
    fs::path const real = fs::canonical(path, failed);
    // Bare names also match what this process loaded from a wheel earlier; those keep their own place in the order.
    if (failed || std::find(in_wheels.begin(), in_wheels.end(), real) != in_wheels.end()) continue;
    if (!consider(real, "library path")) return;
  }
  for (SearchPlace const& place : wheels) {
    for (fs::path const& path : libraries_in(place.path / "lib")) {
      if (!consider(path, "wheel nvidia-cuda-nvrtc")) return;
    }
  }
}

}  // namespace deepwell::jit
