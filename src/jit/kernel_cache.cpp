// The disk cache: private write and rename, so that readers see a whole entry or none; every entry is verified when read.
// A lock per key only spares work; nothing depends on it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/options.hpp"
#include "jit/cache_entry.hpp"

namespace deepwell::jit {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kLongestWait{60};  // for another process that compiles the same kernel
constexpr std::chrono::hours kTemporaryAge{1};    // leftovers of killed processes
constexpr std::chrono::hours kDamagedAge{24 * 7};
constexpr std::string_view kTemporaryPrefix = ".tmp.", kDamagedPrefix = ".damaged.", kLockPrefix = ".lock.";

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

fs::path default_folder() {
  fs::path const xdg = option_text(Option::kXdgCacheHome);
  if (xdg.is_absolute()) return xdg / "deepwell";
  fs::path const home = home_folder();
  return home.empty() ? fs::path() : home / ".cache" / "deepwell";
}

std::vector<fs::path> split_folders(std::string const& folders) {
  std::vector<fs::path> result;
  for (std::size_t at = 0; at <= folders.size();) {
    std::size_t const end = std::min(folders.find(':', at), folders.size());
    result.emplace_back(folders.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

// Why kernels must not be loaded from this folder; empty when it may be used or does not exist yet.
std::string distrust(fs::path const& folder, bool must_be_ours) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return {};
  if (!S_ISDIR(info.st_mode)) return "it is not a folder";
  if (must_be_ours && info.st_uid != ::geteuid()) {
    return fmt::format("it belongs to user {}, not to {}", info.st_uid, ::geteuid());
  }
  if (info.st_mode & (S_IWGRP | S_IWOTH)) {
    return fmt::format("others may write to it (mode {:o}); `chmod go-w` it", info.st_mode & 07777);
  }
  return {};
}

/// Advisory and best effort: where flock does not work everybody "holds" it.
class KeyLock {
 public:
  explicit KeyLock(fs::path path) : path_(std::move(path)) { open(); }
  ~KeyLock() {
    if (held_) ::unlink(path_.c_str());
  }
  /// False only while another process holds it.
  bool try_lock() {
    // Whoever had the lock removes its file: a lock on a file that is gone keeps nobody out.
    for (int attempt = 0; fd_ && attempt < 100; ++attempt) {
      if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
      if (is_current()) return held_ = true;
      open();
    }
    return true;
  }

 private:
  void open() {
    fd_ = FileDescriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  }
  bool is_current() const {
    struct stat ours {
    }, named{};
    return ::fstat(fd_.get(), &ours) == 0 && ::stat(path_.c_str(), &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
  }

  fs::path path_;
  FileDescriptor fd_;
  bool held_ = false;
};

}  // namespace

struct KernelCache::Impl {
  fs::path writable;  // empty: none
  std::vector<fs::path> read_only;

  std::mutex mutex;
  std::unordered_map<std::string, std::shared_ptr<Compiled const>> memory;  // by folder name
  struct Flight {
    pid_t process = 0;  // a forked child must not wait for its parent's thread
    std::shared_future<std::shared_ptr<Compiled const>> result;  // null: another process is compiling it
  };
  std::unordered_map<std::string, Flight> flights;
  bool swept = false;

  void open(std::string const& folders);
  std::shared_ptr<Compiled const> remembered(std::string const& name);
  std::shared_ptr<Compiled const> remember(std::string const& name, Compiled compiled);
  LoadResult load(CacheKey const& key) const;
  bool trusted_writable() const;
  std::vector<fs::path> readable() const;  // the folders that may be read, the writable one first
  std::optional<Compiled> attempt(CompileRequest const& request, Compiler const& compiler, bool wait);
  std::optional<Compiled> produce(CacheKey const& key, CompileRequest const& request,
                                  Compiler const& compiler, bool wait);
  Compiled build(CacheKey const& key, CompileRequest const& request, Compiler const& compiler);
  bool make_writable();
  void set_aside(fs::path const& folder, std::string const& reason) const;
  void store(CacheKey const& key, CompileRequest const& request, Compiled const& compiled);
  void sweep();
};

void KernelCache::Impl::open(std::string const& folders) {
  std::vector<fs::path> list = split_folders(folders);
  if (folders.empty()) {
    list = {default_folder()};
    if (list.front().empty()) {
      log_once(LogLevel::kWarning, "kernel cache: no home",
               "kernel cache: there is no home folder; kernels are compiled in every process (set "
               "DEEPWELL_CACHE_DIR)");
    }
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i].empty()) continue;
    std::error_code ignored;
    fs::path const folder = fs::absolute(list[i], ignored);
    std::string const reason = distrust(folder, i == 0);
    if (!reason.empty()) {
      log_once(LogLevel::kWarning, "kernel cache distrust " + folder.string(),
               fmt::format("kernel cache: {} is not used: {}", folder.string(), reason));
    } else if (i == 0) {
      writable = folder;
    } else {
      read_only.push_back(folder);
    }
  }
}

std::shared_ptr<Compiled const> KernelCache::Impl::remembered(std::string const& name) {
  std::lock_guard lock(mutex);
  auto const found = memory.find(name);
  return found == memory.end() ? nullptr : found->second;
}

std::shared_ptr<Compiled const> KernelCache::Impl::remember(std::string const& name, Compiled compiled) {
  auto shared = std::make_shared<Compiled const>(std::move(compiled));
  std::lock_guard lock(mutex);
  memory[name] = shared;
  return shared;
}

// The folder may have appeared since it was last looked at; it is looked at again before anything is read or written.
bool KernelCache::Impl::trusted_writable() const {
  if (writable.empty()) return false;
  std::string const reason = distrust(writable, true);
  if (reason.empty()) return true;
  log_once(LogLevel::kWarning, "kernel cache distrust " + writable.string(),
           fmt::format("kernel cache: {} is not used: {}", writable.string(), reason));
  return false;
}

std::vector<fs::path> KernelCache::Impl::readable() const {
  std::vector<fs::path> folders;
  if (trusted_writable()) folders.push_back(writable);
  for (fs::path const& folder : read_only) {
    if (distrust(folder, false).empty()) folders.push_back(folder);
  }
  return folders;
}

LoadResult KernelCache::Impl::load(CacheKey const& key) const {
  LoadResult own;
  if (trusted_writable()) {
    own = load_entry(writable / key.folder_name(), key);
    if (own.status == LoadStatus::kLoaded) return own;
  }
  for (fs::path const& folder : read_only) {
    if (!distrust(folder, false).empty()) continue;
    LoadResult result = load_entry(folder / key.folder_name(), key);
    if (result.status == LoadStatus::kLoaded) return result;
    if (result.status != LoadStatus::kAbsent) {
      log_once(LogLevel::kWarning, "kernel cache damaged " + (folder / key.folder_name()).string(),
               fmt::format("kernel cache: {} is not used: {}", (folder / key.folder_name()).string(),
                           result.reason));
    }
  }
  return own;
}

bool KernelCache::Impl::make_writable() {
  if (writable.empty()) return false;
  try {
    cache_step("open", writable);
    make_private_folders(writable);
  } catch (std::system_error const& error) {
    log_once(LogLevel::kWarning, "kernel cache store " + writable.string(),
             fmt::format("kernel cache: kernels are not stored: {}", error.what()));
    return false;
  }
  return trusted_writable();
}

void KernelCache::Impl::set_aside(fs::path const& folder, std::string const& reason) const {
  log_warning("kernel cache: {} is damaged and is built again: {}", folder.string(), reason);
  try {
    cache_step("quarantine", folder);
    fs::rename(folder, folder.parent_path() / fmt::format("{}{}", kDamagedPrefix, unique_suffix()));
  } catch (std::system_error const& error) {
    if (error.code() != std::errc::no_such_file_or_directory) {
      log_once(LogLevel::kWarning, "kernel cache set aside " + folder.string(),
               fmt::format("kernel cache: {} cannot be moved aside: {}", folder.string(), error.what()));
    }
  }
}

void KernelCache::Impl::store(CacheKey const& key, CompileRequest const& request, Compiled const& compiled) {
  fs::path temporary;
  try {
    cache_step("make", writable);
    temporary = make_unique_folder(writable, kTemporaryPrefix);
    write_entry(temporary, key, request, compiled);
    cache_step("rename", temporary);
    fs::path const final_path = writable / key.folder_name();
    if (::rename(temporary.c_str(), final_path.c_str()) == 0) {
      temporary.clear();
    } else if (errno != EEXIST && errno != ENOTEMPTY) {
      throw fs::filesystem_error("cannot rename into place", temporary, final_path,
                                 std::error_code(errno, std::generic_category()));
    }
    // Otherwise another process was faster; its entry stays, this process uses what it built.
  } catch (std::system_error const& error) {
    log_once(LogLevel::kWarning, "kernel cache store " + writable.string(),
             fmt::format("kernel cache: kernels are not stored: {}", error.what()));
  }
  if (!temporary.empty()) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
  }
}

// Removes what killed processes left, once for each cache object.
void KernelCache::Impl::sweep() {
  {
    std::lock_guard lock(mutex);
    if (std::exchange(swept, true)) return;
  }
  std::error_code failed;
  auto const now = fs::file_time_type::clock::now();
  for (fs::directory_iterator at(writable, failed), end; !failed && at != end; at.increment(failed)) {
    std::string const name = at->path().filename().string();
    std::error_code ignored;
    auto const age = now - at->last_write_time(ignored);
    if (ignored) continue;
    bool const temporary = name.starts_with(kTemporaryPrefix) && age > kTemporaryAge;
    bool const old = (name.starts_with(kDamagedPrefix) || name.starts_with(kLockPrefix)) && age > kDamagedAge;
    if (temporary || old) fs::remove_all(at->path(), ignored);
  }
}

Compiled KernelCache::Impl::build(CacheKey const& key, CompileRequest const& request,
                                  Compiler const& compiler) {
  auto const start = Clock::now();
  Compiled compiled = compiler.compile(request);
  compiled.from_cache = false;
  if (compiled.seconds == 0) compiled.seconds = seconds_since(start);
  log_info("compiled {} for {} in {:.0f} ms", key.name, key.target, compiled.seconds * 1e3);
  return compiled;
}

// Nullopt: another process is compiling it, and `wait` is false.
std::optional<Compiled> KernelCache::Impl::produce(CacheKey const& key, CompileRequest const& request,
                                                   Compiler const& compiler, bool wait) {
  auto const start = Clock::now();
  auto const loaded = [&](LoadResult& result) {
    result.compiled.seconds = seconds_since(start);
    return std::move(result.compiled);
  };
  LoadResult found = load(key);
  if (found.status == LoadStatus::kLoaded) return loaded(found);
  if (found.status == LoadStatus::kUnreadable) {
    log_once(LogLevel::kWarning, "kernel cache unreadable " + writable.string(),
             fmt::format("kernel cache: an entry cannot be read: {}", found.reason));
  }
  if (!make_writable()) return build(key, request, compiler);
  sweep();

  bool locking = true;
  try {
    cache_step("lock", writable);
  } catch (std::system_error const&) {
    locking = false;
  }
  std::optional<KeyLock> lock;
  if (locking) lock.emplace(writable / fmt::format("{}{}", kLockPrefix, key.hash));
  for (auto pause = std::chrono::milliseconds(2);
       lock && !lock->try_lock() && Clock::now() - start < kLongestWait;
       pause = std::min(pause * 2, std::chrono::milliseconds(40))) {
    if (!wait) return std::nullopt;
    std::this_thread::sleep_for(pause);
    std::error_code ignored;
    if (found.status == LoadStatus::kAbsent && fs::exists(writable / key.folder_name(), ignored)) break;
  }
  // Whoever had the lock has probably built it.
  found = load(key);
  if (found.status == LoadStatus::kLoaded) return loaded(found);
  if (found.status == LoadStatus::kCorrupt) set_aside(writable / key.folder_name(), found.reason);
  Compiled compiled = build(key, request, compiler);
  store(key, request, compiled);
  return compiled;
}

KernelCache::KernelCache(std::string folders) : impl_(std::make_unique<Impl>()) {
  if (folders.empty()) folders = option_text(Option::kCacheDir);
  impl_->open(folders);
}

KernelCache::~KernelCache() = default;

// Nullopt: another process is compiling it; with `wait` only where a thread that does not wait found that out.
std::optional<Compiled> KernelCache::Impl::attempt(CompileRequest const& request, Compiler const& compiler,
                                                   bool wait) {
  auto const start = Clock::now();
  CacheKey const key = make_key(request, compiler.info());
  std::string const name = key.folder_name();
  std::promise<std::shared_ptr<Compiled const>> promise;
  std::shared_future<std::shared_ptr<Compiled const>> other;
  auto const from_memory = [&](std::shared_ptr<Compiled const> const& known) -> std::optional<Compiled> {
    if (known == nullptr) return std::nullopt;
    Compiled compiled = *known;
    compiled.from_cache = true;
    compiled.seconds = seconds_since(start);
    return compiled;
  };
  {
    std::lock_guard lock(mutex);
    auto const found = memory.find(name);
    if (found != memory.end()) return from_memory(found->second);
    Flight& flight = flights[name];
    if (flight.process == ::getpid()) {
      other = flight.result;
    } else {
      flight = {.process = ::getpid(), .result = promise.get_future().share()};
    }
  }
  if (other.valid()) return from_memory(other.get());
  auto const land = [&] {
    std::lock_guard lock(mutex);
    flights.erase(name);
  };
  try {
    std::optional<Compiled> compiled = produce(key, request, compiler, wait);
    std::shared_ptr<Compiled const> const made = compiled ? remember(name, std::move(*compiled)) : nullptr;
    land();
    promise.set_value(made);
    return made ? std::optional(*made) : std::nullopt;
  } catch (...) {
    land();
    promise.set_exception(std::current_exception());
    throw;
  }
}

Compiled KernelCache::get(CompileRequest const& request, Compiler const& compiler) {
  for (;;) {
    if (std::optional<Compiled> compiled = impl_->attempt(request, compiler, true))
      return std::move(*compiled);
  }
}

std::optional<Compiled> KernelCache::get_unless_busy(CompileRequest const& request,
                                                     Compiler const& compiler) {
  return impl_->attempt(request, compiler, false);
}

std::optional<Compiled> KernelCache::find(CompileRequest const& request, CompilerInfo const& compiler) {
  auto const start = Clock::now();
  CacheKey const key = make_key(request, compiler);
  std::shared_ptr<Compiled const> known = impl_->remembered(key.folder_name());
  if (!known) {
    LoadResult found = impl_->load(key);
    if (found.status != LoadStatus::kLoaded) return std::nullopt;
    known = impl_->remember(key.folder_name(), std::move(found.compiled));
  }
  Compiled compiled = *known;
  compiled.from_cache = true;
  compiled.seconds = seconds_since(start);
  return compiled;
}

std::optional<Compiled> KernelCache::find_any(CompileRequest const& request) {
  for (fs::path const& folder : impl_->readable()) {
    std::string const prefix = safe_name(request.name) + ".";
    std::vector<fs::path> entries;
    std::error_code failed;
    for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
      if (at->path().filename().string().starts_with(prefix)) entries.push_back(at->path());
    }
    std::sort(entries.begin(), entries.end());
    for (fs::path const& entry : entries) {
      std::optional<CacheKey> const key = entry_key(entry);
      if (!key || !serves(*key, request)) continue;
      LoadResult found = load_entry(entry, *key);
      if (found.status == LoadStatus::kLoaded) return std::move(found.compiled);
    }
  }
  return std::nullopt;
}

std::vector<KernelCache::Entry> KernelCache::entries() const {
  std::vector<Entry> result;
  std::vector<fs::path> const folders = impl_->readable();
  for (fs::path const& folder : folders) {
    std::error_code failed;
    for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
      if (std::optional<Entry> entry = describe_entry(at->path())) result.push_back(std::move(*entry));
    }
  }
  std::sort(result.begin(), result.end(), [](Entry const& a, Entry const& b) { return a.folder < b.folder; });
  return result;
}

std::string KernelCache::writable_folder() const { return impl_->writable.string(); }

std::size_t KernelCache::clear() {
  std::size_t removed = 0;
  {
    std::lock_guard lock(impl_->mutex);
    impl_->memory.clear();
  }
  if (!impl_->trusted_writable()) return 0;
  for (Entry const& entry : entries()) {
    if (entry.folder.parent_path() != impl_->writable) continue;
    // Renamed first: nobody sees an entry that is half gone.
    fs::path const leaving = impl_->writable / fmt::format("{}{}", kTemporaryPrefix, unique_suffix());
    std::error_code failed;
    fs::rename(entry.folder, leaving, failed);
    if (failed == std::errc::no_such_file_or_directory) continue;  // another process is clearing too
    if (failed) throw bad_argument(entry.folder.string(), failed.message(), "an entry that can be removed");
    fs::remove_all(leaving, failed);
    ++removed;
  }
  std::error_code failed;
  std::vector<fs::path> damaged;
  for (fs::directory_iterator at(impl_->writable, failed), end; !failed && at != end; at.increment(failed)) {
    if (at->path().filename().string().starts_with(kDamagedPrefix)) damaged.push_back(at->path());
  }
  for (fs::path const& folder : damaged) fs::remove_all(folder, failed);
  return removed;
}

}  // namespace deepwell::jit
