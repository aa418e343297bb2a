// Whole files and folders: read, write privately and atomically, temporary folders.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace deepwell {

/// Reads a whole regular file. Throws std::filesystem::filesystem_error (which carries the errno).
std::string read_text_file(std::filesystem::path const& path);
std::vector<std::byte> read_binary_file(std::filesystem::path const& path);

/// Creates `path` with `mode` and writes it; fails when it exists. `sync` flushes it to the disk. Throws filesystem_error;
/// what was created is removed then.
void write_new_file(std::filesystem::path const& path, std::span<std::byte const> bytes, mode_t mode,
                    bool sync);
void write_new_file(std::filesystem::path const& path, std::string_view text, mode_t mode, bool sync);

/// Writes beside `path` under a private name, flushes, renames: readers see the old file or the whole new one.
void write_file_atomically(std::filesystem::path const& path, std::string_view text, mode_t mode = 0644);

/// Flushes a folder's entries to the disk, where the file system can do it.
void sync_folder(std::filesystem::path const& path);

/// Creates the folder and the missing ones above it, readable by the owner only. Folders that exist keep their mode.
void make_private_folders(std::filesystem::path const& path);

/// Creates a new owner-only folder `<parent>/<prefix><unique>` and returns its path.
std::filesystem::path make_unique_folder(std::filesystem::path const& parent, std::string_view prefix);

/// Text that no other call, process or host makes: process, time, counter and random bits in hexadecimal.
std::string unique_suffix();

/// An owner-only folder under the system's temporary folder that is removed with everything in it.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string_view prefix = "deepwell-");
  ~TemporaryFolder();
  TemporaryFolder(TemporaryFolder const&) = delete;
  TemporaryFolder& operator=(TemporaryFolder const&) = delete;
  std::filesystem::path const& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A file descriptor that is closed with its owner.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() {
    int const fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset();

 private:
  int fd_ = -1;
};

}  // namespace deepwell
