// One entry of the disk cache: a folder `name.hash/` with manifest.json, kernel.cu, kernel.cubin, kernel.ptx and log.txt.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jit/jit.hpp"

namespace deepwell::jit {

/// All that a kernel depends on, and the hash of it. Holds no absolute path, so folders may be copied between machines.
struct CacheKey {
  std::string name, entry, target;
  bool line_info = false;
  std::string compiler_kind, compiler_version;  // full version
  std::vector<std::string> flags;
  std::string device_sources;  // digest
  std::string source_hash;     // of the generated text
  std::string hash;            // of all but the name

  std::string folder_name() const;  // "<name>.<hash>"
};
/// A kernel's name as folders have it: shortened, letters, digits, _ and - only.
std::string safe_name(std::string_view name);
CacheKey make_key(CompileRequest const& request, CompilerInfo const& compiler);

/// The key as one line of JSON (name, hash, inputs), and back. parse_key gives nullopt for text that key_text cannot have made
/// and where the hash does not follow from the inputs.
std::string key_text(CacheKey const& key);
std::optional<CacheKey> parse_key(std::string_view text);

/// Whether a kernel was made from this build's device sources, with the flags that this build gives its compiler.
bool fits_this_build(CacheKey const& key);
/// Whether the kernel of `key`, whatever compiler made it, is one of `request` and fits this build.
bool serves(CacheKey const& key, CompileRequest const& request);

/// The key of what key_text wrote into an entry's manifest; nullopt when the folder is no entry.
std::optional<CacheKey> entry_key(std::filesystem::path const& folder);

/// Steps at which tests make the cache fail or end the process.
struct CacheTestHooks {
  void (*before)(std::string_view step, std::filesystem::path const& path) = nullptr;
};
/// "open", "load", "lock", "make", "write", "rename", "quarantine". Set before threads start.
CacheTestHooks& cache_test_hooks();
void cache_step(std::string_view step, std::filesystem::path const& path);

enum class LoadStatus { kAbsent, kLoaded, kCorrupt, kUnreadable };
struct LoadResult {
  LoadStatus status = LoadStatus::kAbsent;
  Compiled compiled;
  std::string reason;  // of kCorrupt and kUnreadable
};

/// Reads and verifies an entry: sizes and hashes of all files, and that it was made from the same inputs.
LoadResult load_entry(std::filesystem::path const& folder, CacheKey const& key);

/// Writes all files of an entry into an existing private folder. Nothing is flushed to the disk: files that a power failure
/// cuts short are noticed when they are read, and flushing costs a fifth of a compile. Throws std::filesystem::filesystem_error.
void write_entry(std::filesystem::path const& folder, CacheKey const& key, CompileRequest const& request,
                 Compiled const& compiled);

/// What the manifest says, for listings; nullopt when the folder is no entry.
std::optional<KernelCache::Entry> describe_entry(std::filesystem::path const& folder);

}  // namespace deepwell::jit
