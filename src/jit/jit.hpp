// Run-time compilation: kernel source text -> cubin and PTX, through NVRTC (default) or NVCC, with a disk cache.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace deepwell::jit {

struct CompileRequest {
  std::string
      name;  // readable, becomes part of the cache folder's name: "gemm_mx_e4m3_e4m3_bf16_t128x128x128_..."
  std::string
      source;  // generated text; includes embedded headers by their name ("deepwell/kernel/gemm_mx.cuh")
  std::string target;  // "sm_120a"
  std::string entry;   // the extern "C" kernel
  bool line_info = false;
};

struct Compiled {
  std::vector<std::byte> cubin;
  std::string ptx;
  std::string log;
  bool from_cache = false;
  double seconds = 0;  // to compile or to load
};

/// One compiler that was found. `version` is {major, minor} of CUDA.
struct CompilerInfo {
  std::string kind;      // "nvrtc" or "nvcc"
  std::string path;      // the library or the executable
  std::string found_in;  // "option", "toolkit", "wheel nvidia-cuda-nvrtc"
  std::pair<int, int> version{};
  std::string full_version;  // part of the cache key
};

class Compiler {
 public:
  virtual ~Compiler() = default;
  virtual CompilerInfo const& info() const = 0;
  virtual Compiled compile(CompileRequest const& request) const = 0;  // thread-safe
};

/// Every candidate in the order in which they are tried, with the reason when one was rejected (for doctor and errors).
struct Candidate {
  CompilerInfo info;
  std::string rejected;  // empty: usable
};
std::vector<Candidate> find_compilers(std::string_view kind, std::string_view target);

/// The first usable compiler of a kind ("nvrtc", "nvcc", or "" for nvrtc, else nvcc) that knows `target`; throws Error
/// kToolchain listing every candidate, why it was rejected and what to install.
std::shared_ptr<Compiler> make_compiler(std::string_view kind, std::string_view target);

/// The embedded device sources: name as kernels include it -> text. `DEEPWELL_DEVICE_DIR` reads them from a checkout instead.
std::vector<std::pair<std::string, std::string>> const& device_sources();
std::string device_source_digest();  // hex, of all names and texts

/// Disk cache around a compiler. Safe with many processes, kill -9, full disks, read-only and network folders. Thread-safe.
class KernelCache {
 public:
  /// `folders`: "writable[:read-only...]"; empty: the option's default. An unusable writable folder is logged once, then the
  /// cache serves read-only and compiles without storing.
  explicit KernelCache(std::string folders = {});
  ~KernelCache();
  Compiled get(CompileRequest const& request, Compiler const& compiler);
  /// The same, but nullopt where get() would wait for another process that compiles this kernel.
  std::optional<Compiled> get_unless_busy(CompileRequest const& request, Compiler const& compiler);
  std::optional<Compiled> find(CompileRequest const& request, CompilerInfo const& compiler);
  /// The kernel as whatever compiler made it, for hosts that have none.
  std::optional<Compiled> find_any(CompileRequest const& request);

  struct Entry {
    std::filesystem::path folder;
    std::string name, target, compiler;
    std::uintmax_t bytes = 0;
  };
  std::vector<Entry> entries() const;
  std::string writable_folder() const;
  std::size_t clear();  // entries removed

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace deepwell::jit
