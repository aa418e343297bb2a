// Compiling files of the corpus.
#include "corpus/compilers.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "base/file.hpp"
#include "jit/compilers.hpp"

namespace deepwell::corpus {
namespace fs = std::filesystem;
namespace {

constexpr char const* kFolder = DW_SOURCE_DIR "/tests/corpus";

/// NVRTC's functions, as far as they are used.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, char const*, char const*, int, char const* const*, char const* const*) = nullptr;
  int (*compile)(Program, int, char const* const*) = nullptr;
  int (*log_size)(Program, std::size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*ptx_size)(Program, std::size_t*) = nullptr;
  int (*ptx)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;

  explicit Nvrtc(std::string const& path) {
    void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    DW_CHECK(handle != nullptr, kToolchain, "{}: {}", path, ::dlerror());
    auto const get = [&](auto& function, char const* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(handle, name));
      DW_CHECK(function != nullptr, kToolchain, "{} has no {}", path, name);
    };
    get(create, "nvrtcCreateProgram");
    get(compile, "nvrtcCompileProgram");
    get(log_size, "nvrtcGetProgramLogSize");
    get(log, "nvrtcGetProgramLog");
    get(ptx_size, "nvrtcGetPTXSize");
    get(ptx, "nvrtcGetPTX");
    get(destroy, "nvrtcDestroyProgram");
  }
};

std::string compute_of(std::string const& target) { return "compute_" + target.substr(3); }

std::string by_nvrtc(Compiler const& compiler, std::string const& name, std::string const& target) {
  Nvrtc const nvrtc(compiler.path);
  std::string const source = read_text_file(fmt::format("{}/{}.cu", kFolder, name));
  std::vector<std::string> options = {"--gpu-architecture=" + compute_of(target), "--std=c++17",
                                      "--device-int128", fmt::format("-I{}", kFolder),
                                      "-I" + compiler.include};
  options.insert(options.end(), compiler.options.begin(), compiler.options.end());
  std::vector<char const*> plain;
  for (std::string const& option : options) plain.push_back(option.c_str());
  Nvrtc::Program program = nullptr;
  DW_CHECK(nvrtc.create(&program, source.c_str(), (name + ".cu").c_str(), 0, nullptr, nullptr) == 0,
           kToolchain, "{}: nvrtcCreateProgram failed", name);
  int const failed = nvrtc.compile(program, static_cast<int>(plain.size()), plain.data());
  std::string out;
  std::size_t size = 0;
  (failed != 0 ? nvrtc.log_size : nvrtc.ptx_size)(program, &size);
  out.resize(size);
  (failed != 0 ? nvrtc.log : nvrtc.ptx)(program, out.data());
  nvrtc.destroy(&program);
  DW_CHECK(failed == 0, kToolchain, "{}: {}: {}", compiler.name, name, out);
  while (!out.empty() && out.back() == '\0') out.pop_back();
  return out;
}

std::string by_nvcc(Compiler const& compiler, std::string const& name, std::string const& target) {
  fs::path const folder = fs::temp_directory_path();
  std::string const stem = (folder / fmt::format("corpus-{}-{}-{}", ::getpid(), name, target)).string() +
                           (compiler.options.empty() ? "" : compiler.options.front());
  std::string command = fmt::format("'{}' -ptx -std=c++17 -arch={} -I'{}' '{}/{}.cu' -o '{}.ptx'",
                                    compiler.path, target, kFolder, kFolder, name, stem);
  for (std::string const& option : compiler.options) command += " " + option;
  int const failed = std::system((command + fmt::format(" > '{}.log' 2>&1", stem)).c_str());
  std::string const log = read_text_file(stem + ".log");
  fs::remove(stem + ".log");
  DW_CHECK(failed == 0, kToolchain, "{}: {}: {}", compiler.name, name, log);
  std::string const out = read_text_file(stem + ".ptx");
  fs::remove(stem + ".ptx");
  return out;
}

/// The first folder with CUDA's headers among those that belong to `library` or a toolkit.
std::string headers_for(std::string const& library) {
  fs::path const root = fs::path(library).parent_path().parent_path();
  std::vector<fs::path> folders = {root / "include", root.parent_path().parent_path() / "include"};
  for (jit::SearchPlace const& place : jit::toolkit_roots()) folders.push_back(place.path / "include");
  for (jit::SearchPlace const& place : jit::wheel_roots()) folders.push_back(place.path / "include");
  for (fs::path const& folder : folders) {
    if (fs::exists(folder / "cuda_fp16.h") && fs::exists(folder / "crt/mma.h")) return folder.string();
  }
  return {};
}

}  // namespace

std::vector<Compiler> find_compilers(std::string const& target, std::vector<std::string> const& nvrtc) {
  std::vector<Compiler> out;
  auto const first = [](jit::FoundCompiler& to) {
    return [&to](jit::FoundCompiler const& found) {
      if (found.candidate.rejected.empty()) to = found;
      return !found.candidate.rejected.empty();
    };
  };
  auto const named = [](char const* what, std::pair<int, int> version) {
    return fmt::format("{} {}.{}", what, version.first, version.second);
  };
  jit::FoundCompiler in_process, driver;
  jit::visit_nvrtc(target, first(in_process));
  if (std::string const& path = in_process.candidate.info.path; !path.empty())
    out.push_back({named("nvrtc", in_process.candidate.info.version), path, headers_for(path), true, {}});
  for (std::string const& one : nvrtc) {
    std::size_t const equals = one.find('=');
    std::string const path = one.substr(0, equals);
    Compiler more{"nvrtc " + fs::path(path).extension().string(), path, one.substr(equals + 1), true, {}};
    jit::visit_nvrtc(target, [&](jit::FoundCompiler const& found) {
      if (found.candidate.info.path == fs::canonical(path))
        more.name = named("nvrtc", found.candidate.info.version);
      return true;
    });
    out.push_back(more);
  }
  jit::visit_nvcc(target, first(driver));
  if (std::string const& path = driver.candidate.info.path; !path.empty()) {
    std::string const name = named("nvcc", driver.candidate.info.version);
    out.push_back({name, path, {}, false, {}});
    out.push_back({name + " -G", path, {}, false, {"-G"}});
  }
  return out;
}

std::string compile(Compiler const& compiler, std::string const& name, std::string const& target) {
  return compiler.is_nvrtc ? by_nvrtc(compiler, name, target) : by_nvcc(compiler, name, target);
}

}  // namespace deepwell::corpus
