// An archive of compiled kernels: one file from which processes serve, before the disk cache and before any compiler.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/file.hpp"
#include "jit/cache_entry.hpp"
#include "jit/jit.hpp"

namespace deepwell::jit {

// The file: a header of kArchiveHeaderBytes, an index, then the bytes of cubins and PTX texts, each at a multiple of 16.
// Header, little-endian: magic (16 bytes), version (u32), 0 (u32), bytes of the index (u64), bytes of the file (u64), then 32
// hexadecimal digits: the hash of the 40 bytes before and the index. Index: a line of JSON for each kernel, as key_text() with
// "cubin" and "ptx" added, each with offset, bytes and hash. Entries are sorted; nothing depends on time or place.
inline constexpr std::string_view kArchiveMagic = "deepwell kernels";
inline constexpr std::uint32_t kArchiveVersion = 1;
inline constexpr std::size_t kArchiveHeaderBytes = 72;

/// One kernel for an archive.
struct ArchiveItem {
  CacheKey key;
  Compiled compiled;
};

/// The bytes of an archive. Kernels with the same key are taken once.
std::string archive_bytes(std::vector<ArchiveItem> items);
/// Writes an archive beside `path` and renames it into place. Returns its bytes. Throws std::filesystem::filesystem_error.
std::size_t write_archive(std::filesystem::path const& path, std::vector<ArchiveItem> items);

struct ArchivePart {
  std::uint64_t offset = 0, bytes = 0;
  std::string hash;
};
struct ArchiveEntry {
  CacheKey key;
  ArchivePart cubin, ptx;
};
struct ArchiveIndex {
  std::string unusable;  // why the file is no archive of this version; then there are no entries
  std::vector<ArchiveEntry> entries;
  std::size_t refused = 0;  // lines that are no kernel, or whose parts lie outside the file
};

/// The index that the first bytes of a file of `file_bytes` hold. Any bytes are an index or a reason. `start` may be longer or
/// shorter than header and index.
ArchiveIndex parse_archive(std::span<std::byte const> start, std::uint64_t file_bytes);

/// One archive, opened and its index read. Thread-safe.
class KernelArchive {
 public:
  explicit KernelArchive(std::filesystem::path path);

  /// The kernel of `request` made from this build's device sources and with its flags, whatever compiler made it. A damaged
  /// entry is logged once and not there.
  std::optional<Compiled> find(CompileRequest const& request) const;

  std::filesystem::path const& path() const { return path_; }
  std::string const& unusable() const { return index_.unusable; }
  std::vector<ArchiveEntry> const& entries() const { return index_.entries; }
  std::size_t refused() const { return index_.refused; }
  /// Kernels made from this build's device sources, by target.
  std::map<std::string, std::size_t> fitting() const;
  /// Entries whose bytes are not what the index says; reads the whole file.
  std::size_t count_damaged() const;

 private:
  std::optional<Compiled> read(ArchiveEntry const& entry, std::string& reason) const;
  std::string open();

  std::filesystem::path path_;
  FileDescriptor file_;
  ArchiveIndex index_;
  std::unordered_multimap<std::string, std::size_t> by_source_;  // hash of the generated text -> entry
};

/// Archives in the order in which they are asked. Thread-safe.
class KernelArchives {
 public:
  KernelArchives() = default;
  /// `files`: paths between ':'; those that cannot be used, or hold nothing for this build, are logged once in a process.
  explicit KernelArchives(std::string const& files);
  std::optional<Compiled> find(CompileRequest const& request) const;
  std::vector<std::unique_ptr<KernelArchive>> const& archives() const { return archives_; }

 private:
  std::vector<std::unique_ptr<KernelArchive>> archives_;
};

}  // namespace deepwell::jit
