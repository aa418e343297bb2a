// Writing and reading archives. Nothing in a file is believed: sizes are held against the file, bytes against their hashes.
#include "jit/archive.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/hash.hpp"
#include "base/log.hpp"

namespace deepwell::jit {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kAlignment = 16, kHashedHeader = 40, kHashDigits = 32;
static_assert(kHashedHeader + kHashDigits == kArchiveHeaderBytes);
constexpr std::uint64_t kLargestIndex = std::uint64_t{1} << 28;
constexpr std::uint64_t kLargestPart = std::uint64_t{1} << 30;

std::uint64_t aligned(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

template <class T>
void append_little_endian(std::string& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
}

template <class T>
T little_endian(std::string_view from, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value |= static_cast<T>(static_cast<unsigned char>(from[at + i])) << (8 * i);
  return value;
}

std::string_view text_of(std::span<std::byte const> bytes) {
  return {reinterpret_cast<char const*>(bytes.data()), bytes.size()};
}

std::string header_hash(std::string_view fields, std::string_view index) { return hash_hex({fields, index}); }

Json part_json(ArchivePart const& part) {
  return {{"offset", part.offset}, {"bytes", part.bytes}, {"hash", part.hash}};
}

std::string entry_line(ArchiveEntry const& entry) {
  Json line = Json::parse(key_text(entry.key));
  line["cubin"] = part_json(entry.cubin);
  line["ptx"] = part_json(entry.ptx);
  return line.dump() + "\n";
}

ArchivePart parse_part(Json const& json, std::uint64_t begin, std::uint64_t end) {
  ArchivePart part{.offset = json.at("offset").get<std::uint64_t>(),
                   .bytes = json.at("bytes").get<std::uint64_t>(),
                   .hash = json.at("hash").get<std::string>()};
  bool const inside = part.offset >= begin && part.offset <= end && part.bytes <= end - part.offset;
  if (!inside || part.bytes == 0 || part.bytes > kLargestPart)
    throw Json::other_error::create(500, "part", nullptr);
  return part;
}

std::optional<ArchiveEntry> parse_line(std::string_view line, std::uint64_t begin, std::uint64_t end) {
  std::optional<CacheKey> key = parse_key(line);
  if (!key) return std::nullopt;
  try {
    Json const json = Json::parse(line);
    return ArchiveEntry{.key = std::move(*key),
                        .cubin = parse_part(json.at("cubin"), begin, end),
                        .ptx = parse_part(json.at("ptx"), begin, end)};
  } catch (nlohmann::json::exception const&) {
    return std::nullopt;
  }
}

/// Reads exactly `bytes` at `offset`; false with errno, or 0 at the end of the file.
bool read_at(int fd, std::uint64_t offset, std::span<std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    ssize_t const got =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = 0;
    if (got <= 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

std::string archive_bytes(std::vector<ArchiveItem> items) {
  auto const order = [](ArchiveItem const& item) {
    return std::tie(item.key.target, item.key.name, item.key.hash);
  };
  std::stable_sort(items.begin(), items.end(),
                   [&](ArchiveItem const& a, ArchiveItem const& b) { return order(a) < order(b); });
  auto const same = [&](ArchiveItem const& a, ArchiveItem const& b) { return order(a) == order(b); };
  items.erase(std::unique(items.begin(), items.end(), same), items.end());

  std::vector<ArchiveEntry> entries;
  for (ArchiveItem const& item : items) {
    entries.push_back(
        {.key = item.key,
         .cubin = {.offset = 0, .bytes = item.compiled.cubin.size(), .hash = hash_hex(item.compiled.cubin)},
         .ptx = {.offset = 0,
                 .bytes = item.compiled.ptx.size(),
                 .hash = hash_hex(
                     std::as_bytes(std::span(item.compiled.ptx.data(), item.compiled.ptx.size())))}});
  }
  // Offsets are in the index and follow from its length: their digits are written again until the length stays.
  std::string index;
  std::uint64_t end = 0;
  for (std::size_t before = 1; before != index.size();) {
    before = index.size();
    end = aligned(kArchiveHeaderBytes + before);
    index.clear();
    for (ArchiveEntry& entry : entries) {
      for (ArchivePart* part : {&entry.cubin, &entry.ptx}) {
        part->offset = end;
        end = aligned(end + part->bytes);
      }
      index += entry_line(entry);
    }
  }
  std::string file(kArchiveMagic);
  append_little_endian(file, kArchiveVersion);
  append_little_endian(file, std::uint32_t{0});
  append_little_endian(file, std::uint64_t{index.size()});
  append_little_endian(file, end);
  file += header_hash(file, index);
  file += index;
  file.reserve(end);
  for (std::size_t i = 0; i < items.size(); ++i) {
    file.resize(entries[i].cubin.offset);
    file += text_of(items[i].compiled.cubin);
    file.resize(entries[i].ptx.offset);
    file += items[i].compiled.ptx;
  }
  file.resize(end);
  return file;
}

std::size_t write_archive(fs::path const& path, std::vector<ArchiveItem> items) {
  std::string const file = archive_bytes(std::move(items));
  write_file_atomically(path, file);
  return file.size();
}

ArchiveIndex parse_archive(std::span<std::byte const> start, std::uint64_t file_bytes) {
  ArchiveIndex result;
  auto const refuse = [&](std::string reason) {
    result.unusable = std::move(reason);
    return result;
  };
  std::string_view const text = text_of(start);
  if (text.size() < kArchiveMagic.size() || !text.starts_with(kArchiveMagic))
    return refuse("it is no archive of kernels");
  if (text.size() < kArchiveHeaderBytes) return refuse("it is cut short");
  auto const version = little_endian<std::uint32_t>(text, 16);
  auto const index_bytes = little_endian<std::uint64_t>(text, 24);
  auto const whole_bytes = little_endian<std::uint64_t>(text, 32);
  if (version != kArchiveVersion)
    return refuse(fmt::format("it has version {}, this library reads {}", version, kArchiveVersion));
  if (file_bytes < whole_bytes)
    return refuse(fmt::format("it is cut short: {} of {} bytes", file_bytes, whole_bytes));
  if (index_bytes > kLargestIndex || whole_bytes < kArchiveHeaderBytes ||
      index_bytes > whole_bytes - kArchiveHeaderBytes || text.size() - kArchiveHeaderBytes < index_bytes) {
    return refuse("its header is damaged");
  }
  std::string_view const index = text.substr(kArchiveHeaderBytes, index_bytes);
  if (header_hash(text.substr(0, kHashedHeader), index) != text.substr(kHashedHeader, kHashDigits))
    return refuse("header and index do not match their hash");
  for (std::size_t at = 0; at < index.size();) {
    std::size_t const end = std::min(index.find('\n', at), index.size());
    std::optional<ArchiveEntry> entry =
        parse_line(index.substr(at, end - at), kArchiveHeaderBytes + index_bytes, whole_bytes);
    if (entry) {
      result.entries.push_back(std::move(*entry));
    } else {
      ++result.refused;
    }
    at = end + 1;
  }
  return result;
}

KernelArchive::KernelArchive(fs::path path) : path_(std::move(path)) {
  if (std::string reason = open(); !reason.empty()) {
    index_ = {};
    index_.unusable = std::move(reason);
  }
  for (std::size_t i = 0; i < index_.entries.size(); ++i)
    by_source_.emplace(index_.entries[i].key.source_hash, i);
}

std::string KernelArchive::open() {
  // A pipe must not make this wait.
  file_ = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file_) return std::strerror(errno);
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0 || !S_ISREG(info.st_mode)) return "it is not a file";
  if (info.st_mode & (S_IWGRP | S_IWOTH))
    return fmt::format("others may write to it (mode {:o}); `chmod go-w` it", info.st_mode & 07777);
  auto const file_bytes = static_cast<std::uint64_t>(info.st_size);
  std::vector<std::byte> start(std::min<std::uint64_t>(file_bytes, kArchiveHeaderBytes));
  auto const read_start = [&] { return read_at(file_.get(), 0, start); };
  if (!read_start()) return errno == 0 ? "it is cut short" : std::strerror(errno);
  if (start.size() == kArchiveHeaderBytes) {
    std::uint64_t const index_bytes = little_endian<std::uint64_t>(text_of(start), 24);
    start.resize(kArchiveHeaderBytes +
                 std::min({index_bytes, file_bytes - kArchiveHeaderBytes, kLargestIndex}));
    if (!read_start()) return errno == 0 ? "it is cut short" : std::strerror(errno);
  }
  index_ = parse_archive(start, file_bytes);
  return index_.unusable;
}

std::optional<Compiled> KernelArchive::read(ArchiveEntry const& entry, std::string& reason) const {
  auto const take = [&](ArchivePart const& part, char const* what, std::vector<std::byte>& bytes) {
    bytes.resize(part.bytes);
    if (!read_at(file_.get(), part.offset, bytes)) {
      reason =
          fmt::format("its {} cannot be read: {}", what, errno == 0 ? "cut short" : std::strerror(errno));
    } else if (hash_hex(bytes) != part.hash) {
      reason = fmt::format("its {} does not match its hash", what);
    }
    return reason.empty();
  };
  auto const start = std::chrono::steady_clock::now();
  Compiled compiled;
  std::vector<std::byte> ptx;
  reason.clear();
  if (!take(entry.cubin, "cubin", compiled.cubin) || !take(entry.ptx, "PTX", ptx)) return std::nullopt;
  compiled.ptx = text_of(ptx);
  compiled.from_cache = true;
  compiled.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return compiled;
}

std::optional<Compiled> KernelArchive::find(CompileRequest const& request) const {
  if (index_.entries.empty()) return std::nullopt;
  std::vector<std::size_t> candidates;
  auto const [begin, end] = by_source_.equal_range(hash_hex({request.source}));
  for (auto at = begin; at != end; ++at) candidates.push_back(at->second);
  std::sort(candidates.begin(), candidates.end());
  for (std::size_t i : candidates) {
    ArchiveEntry const& entry = index_.entries[i];
    if (!serves(entry.key, request)) continue;
    std::string reason;
    if (std::optional<Compiled> compiled = read(entry, reason)) return compiled;
    log_once(LogLevel::kWarning, fmt::format("archive entry {} {}", path_.string(), entry.key.hash),
             fmt::format("archive {}: kernel {} for {} is not used: {}", path_.string(), entry.key.name,
                         entry.key.target, reason));
  }
  return std::nullopt;
}

std::map<std::string, std::size_t> KernelArchive::fitting() const {
  std::map<std::string, std::size_t> targets;
  for (ArchiveEntry const& entry : index_.entries) {
    if (fits_this_build(entry.key)) ++targets[entry.key.target];
  }
  return targets;
}

std::size_t KernelArchive::count_damaged() const {
  std::size_t damaged = index_.refused;
  std::string reason;
  for (ArchiveEntry const& entry : index_.entries) damaged += !read(entry, reason).has_value();
  return damaged;
}

KernelArchives::KernelArchives(std::string const& files) {
  for (std::size_t at = 0; at <= files.size();) {
    std::size_t const end = std::min(files.find(':', at), files.size());
    if (end > at) archives_.push_back(std::make_unique<KernelArchive>(files.substr(at, end - at)));
    at = end + 1;
  }
  for (auto const& archive : archives_) {
    std::string reason = archive->unusable();
    if (reason.empty() && archive->fitting().empty()) {
      reason = fmt::format(
          "none of its {} kernels was made from this library's device sources with its flags: it comes from "
          "another version",
          archive->entries().size());
    }
    if (reason.empty() && archive->refused() > 0) {
      log_once(LogLevel::kWarning, fmt::format("archive lines {}", archive->path().string()),
               fmt::format("archive {}: {} of its entries are no kernels and are not used",
                           archive->path().string(), archive->refused()));
    }
    if (reason.empty()) continue;
    log_once(LogLevel::kWarning, fmt::format("archive {} {}", archive->path().string(), reason),
             fmt::format("archive {} is not used: {}", archive->path().string(), reason));
  }
}

std::optional<Compiled> KernelArchives::find(CompileRequest const& request) const {
  for (auto const& archive : archives_) {
    if (std::optional<Compiled> compiled = archive->find(request)) return compiled;
  }
  return std::nullopt;
}

}  // namespace deepwell::jit
