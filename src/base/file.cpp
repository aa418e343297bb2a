// File helpers over POSIX calls.
#include "base/file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>

#include "base/error.hpp"

namespace deepwell {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail(char const* what, fs::path const& path, int reason) {
  throw fs::filesystem_error(what, path, std::error_code(reason, std::generic_category()));
}

FileDescriptor open_for_reading(fs::path const& path, std::size_t* size) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) fail("cannot open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) fail("cannot examine", path, errno);
  if (!S_ISREG(info.st_mode)) fail("not a regular file", path, EINVAL);
  *size = static_cast<std::size_t>(info.st_size);
  return fd;
}

// Container is a std::string or a vector of bytes; reads to the end of the file even when it grew meanwhile.
template <typename Container>
Container read_whole(fs::path const& path) {
  std::size_t size = 0;
  FileDescriptor const fd = open_for_reading(path, &size);
  Container content;
  content.resize(size + 1);
  std::size_t used = 0;
  while (true) {
    if (used == content.size()) content.resize(content.size() * 2);
    ssize_t const got = ::read(fd.get(), content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot read", path, errno);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  content.resize(used);
  return content;
}

}  // namespace

void FileDescriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::string read_text_file(fs::path const& path) { return read_whole<std::string>(path); }
std::vector<std::byte> read_binary_file(fs::path const& path) {
  return read_whole<std::vector<std::byte>>(path);
}

void write_new_file(fs::path const& path, std::span<std::byte const> bytes, mode_t mode, bool sync) {
  FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) fail("cannot create", path, errno);
  auto const give_up = [&](char const* what) {
    int const reason = errno;
    fd.reset();
    ::unlink(path.c_str());
    fail(what, path, reason);
  };
  std::size_t at = 0;
  while (at < bytes.size()) {
    ssize_t const written = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) give_up("cannot write");
    at += static_cast<std::size_t>(written);
  }
  if (sync && ::fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP) give_up("cannot flush");
  // Network file systems report a full disk only here.
  if (::close(fd.release()) != 0 && errno != EINTR) give_up("cannot close");
}

void write_new_file(fs::path const& path, std::string_view text, mode_t mode, bool sync) {
  write_new_file(path, std::as_bytes(std::span(text.data(), text.size())), mode, sync);
}

void write_file_atomically(fs::path const& path, std::string_view text, mode_t mode) {
  fs::path const parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  fs::path const temporary = parent / fmt::format(".{}.{}", path.filename().string(), unique_suffix());
  write_new_file(temporary, text, mode, true);
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    int const reason = errno;
    ::unlink(temporary.c_str());
    fail("cannot rename into place", path, reason);
  }
  sync_folder(parent);
}

void sync_folder(fs::path const& path) {
  FileDescriptor const fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) ::fsync(fd.get());
}

void make_private_folders(fs::path const& path) {
  if (path.empty() || fs::is_directory(path)) return;
  if (path.has_parent_path() && path.parent_path() != path) make_private_folders(path.parent_path());
  if (::mkdir(path.c_str(), 0700) == 0) return;
  int const reason = errno;
  if (!fs::is_directory(path)) fail("cannot create folder", path, reason);
}

fs::path make_unique_folder(fs::path const& parent, std::string_view prefix) {
  for (int attempt = 0;; ++attempt) {
    fs::path const path = parent / fmt::format("{}{}", prefix, unique_suffix());
    if (::mkdir(path.c_str(), 0700) == 0) return path;
    if (errno != EEXIST || attempt == 16) fail("cannot create folder", path, errno);
  }
}

std::string unique_suffix() {
  static std::atomic<unsigned> counter{0};
  // The kernel's own bits at each call: a generator's state would be shared by forked processes. Without them (early in a boot)
  // process, time and counter still differ on one host.
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof(random), GRND_NONBLOCK) != static_cast<ssize_t>(sizeof(random))) random = 0;
  auto const time = std::chrono::steady_clock::now().time_since_epoch().count();
  return fmt::format("{:x}-{:x}-{:x}-{:016x}", ::getpid(), static_cast<unsigned long long>(time) & 0xffffffff,
                     counter.fetch_add(1), random);
}

TemporaryFolder::TemporaryFolder(std::string_view prefix)
    : path_(make_unique_folder(fs::temp_directory_path(), prefix)) {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace deepwell
