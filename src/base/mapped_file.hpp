// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace deepwell {

/// Owns the mapping. An empty file gives an empty span. The file must not shrink while it is mapped.
class MappedFile {
 public:
  /// Throws Error kBadArgument naming the path and the system's reason.
  explicit MappedFile(std::filesystem::path const& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(MappedFile const&) = delete;
  MappedFile& operator=(MappedFile const&) = delete;

  std::span<std::byte const> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<char const*>(data_), size_}; }
  std::size_t size() const { return size_; }

 private:
  std::byte const* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace deepwell
