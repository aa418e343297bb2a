// The disk cache: what is stored, keys, damage, many processes, killed processes, failures at every step, permissions.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <functional>
#include <random>
#include <set>

#include "base/file.hpp"
#include "base/options.hpp"
#include "jit/cache_entry.hpp"
#include "unit/jit/fake_compiler.hpp"

namespace deepwell::jit {
namespace {
namespace fs = std::filesystem;

constexpr char const* kSteps[] = {"open", "load", "lock", "make", "write", "rename", "quarantine"};

mode_t mode_of(fs::path const& path) {
  struct stat info {};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

std::vector<std::string> names_in(fs::path const& folder, std::string_view prefix = "") {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    std::string name = at->path().filename().string();
    if (name.starts_with(prefix)) names.push_back(std::move(name));
  }
  return names;
}

/// Runs `body` in a child process; returns its exit code, or 128 + the signal that ended it.
int in_child(std::function<int()> const& body) {
  pid_t const pid = ::fork();
  if (pid == 0) {
    int code = 99;
    try {
      code = body();
    } catch (...) {
    }
    ::_exit(code);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// What the hook does at a step; plain data, as hooks are plain functions.
struct Injection {
  std::string step;
  int skip = 0;   // occurrences to let pass
  int error = 0;  // errno to throw; 0: kill the process
  int fired = 0;
};
Injection injection;

void inject(std::string_view step, fs::path const& path) {
  if (step != injection.step || injection.skip-- > 0) return;
  ++injection.fired;
  if (injection.error == 0) ::raise(SIGKILL);
  throw fs::filesystem_error("injected", path, std::error_code(injection.error, std::generic_category()));
}

class KernelCacheTest : public ::testing::Test {
 protected:
  KernelCacheTest() { cache_test_hooks() = {}; }
  ~KernelCacheTest() override { cache_test_hooks() = {}; }

  void start_injecting(std::string step, int error, int skip = 0) {
    injection = {.step = std::move(step), .skip = skip, .error = error, .fired = 0};
    cache_test_hooks().before = inject;
  }
  void stop_injecting() { cache_test_hooks() = {}; }

  /// A fresh cache object gives the right result, stores it, and a further one serves it from disk.
  void expect_healthy() {
    stop_injecting();
    FakeCompiler fresh;
    EXPECT_TRUE(same_result(KernelCache(root_.string()).get(request_, fresh), expected_));
    int const calls = fresh.calls;
    Compiled const again = KernelCache(root_.string()).get(request_, fresh);
    EXPECT_TRUE(again.from_cache);
    EXPECT_TRUE(same_result(again, expected_));
    EXPECT_EQ(fresh.calls, calls);
    EXPECT_EQ(KernelCache(root_.string()).entries().size(), 1u);
  }

  TemporaryFolder const folder_{"deepwell-cache-test-"};
  fs::path const root_ = folder_.path() / "cache";
  CompileRequest const request_ = sample_request();
  Compiled const expected_ = FakeCompiler::expected(request_);
  FakeCompiler compiler_;
};

TEST_F(KernelCacheTest, CompilesOnceAndServesFromDiskAfterwards) {
  Compiled const first = KernelCache(root_.string()).get(request_, compiler_);
  EXPECT_FALSE(first.from_cache);
  EXPECT_TRUE(same_result(first, expected_));
  Compiled const second = KernelCache(root_.string()).get(request_, compiler_);
  EXPECT_TRUE(second.from_cache);
  EXPECT_TRUE(same_result(second, expected_));
  EXPECT_EQ(compiler_.calls, 1);
  std::optional<Compiled> const found = KernelCache(root_.string()).find(request_, compiler_.info());
  ASSERT_TRUE(found);
  EXPECT_TRUE(same_result(*found, expected_));
}

TEST_F(KernelCacheTest, AnEntryIsAReadableFolderForTheOwnerAlone) {
  KernelCache cache(root_.string());
  EXPECT_FALSE(cache.find(request_, compiler_.info()));
  cache.get(request_, compiler_);
  fs::path const entry = root_ / make_key(request_, compiler_.info()).folder_name();
  EXPECT_TRUE(entry.filename().string().starts_with("sample_t128."));
  EXPECT_EQ(mode_of(root_), 0700u);
  EXPECT_EQ(mode_of(entry), 0700u);
  EXPECT_EQ(names_in(root_).size(), 1u);  // no lock, no temporary folder is left
  for (char const* name : {"manifest.json", "kernel.cu", "kernel.cubin", "kernel.ptx", "log.txt"}) {
    EXPECT_EQ(mode_of(entry / name), 0600u) << name;
  }
  EXPECT_EQ(read_text_file(entry / "kernel.cu"), request_.source);
  std::string const manifest = read_text_file(entry / "manifest.json");
  for (char const* part :
       {"\"sample_t128\"", "\"sm_120a\"", "\"13.0 test\"", "\"device_sources\"", "\"kernel.cubin\""}) {
    EXPECT_NE(manifest.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(manifest.find(root_.string()), std::string::npos);
  EXPECT_EQ(manifest.find("/nowhere"), std::string::npos);
}

TEST_F(KernelCacheTest, EntriesMoveWithTheirFolder) {
  KernelCache(root_.string()).get(request_, compiler_);
  fs::path const elsewhere = folder_.path() / "elsewhere";
  fs::rename(root_, elsewhere);
  EXPECT_TRUE(KernelCache(elsewhere.string()).get(request_, compiler_).from_cache);
}

TEST_F(KernelCacheTest, MemoryServesWithoutTheDisk) {
  KernelCache cache(root_.string());
  cache.get(request_, compiler_);
  fs::remove_all(root_);
  Compiled const again = cache.get(request_, compiler_);
  EXPECT_TRUE(again.from_cache);
  EXPECT_TRUE(same_result(again, expected_));
  EXPECT_EQ(compiler_.calls, 1);
}

TEST_F(KernelCacheTest, EveryInputChangesTheKeyAndThePathDoesNot) {
  std::set<std::string> hashes = {make_key(request_, compiler_.info()).hash};
  auto const with = [&](std::function<void(CompileRequest&, CompilerInfo&)> const& change) {
    CompileRequest request = request_;
    CompilerInfo info = compiler_.info();
    change(request, info);
    return make_key(request, info);
  };
  std::size_t expected = 1;
  auto const differs = [&](char const* what,
                           std::function<void(CompileRequest&, CompilerInfo&)> const& change) {
    hashes.insert(with(change).hash);
    EXPECT_EQ(hashes.size(), ++expected) << what;
  };
  differs("source", [](auto& r, auto&) { r.source += " "; });
  differs("target", [](auto& r, auto&) { r.target = "sm_121a"; });
  differs("entry", [](auto& r, auto&) { r.entry = "other"; });
  differs("line_info", [](auto& r, auto&) { r.line_info = true; });
  differs("compiler kind", [](auto&, auto& i) { i.kind = "nvrtc"; });
  differs("compiler kind", [](auto&, auto& i) { i.kind = "nvcc"; });
  differs("compiler version", [](auto&, auto& i) { i.full_version = "13.0 other"; });
  {
    TemporaryFolder const checkout;
    fs::create_directories(checkout.path() / "plan" / "deepwell");
    fs::create_directories(checkout.path() / "kernels" / "deepwell");
    write_new_file(checkout.path() / "plan" / "deepwell" / "one.h", "// one\n", 0600, false);
    ScopedOption const device(Option::kDeviceDir, checkout.path().string());
    differs("device sources", [](auto&, auto&) {});
  }
  EXPECT_EQ(with([](auto&, auto& i) { i.path = "/other"; }).hash, make_key(request_, compiler_.info()).hash);
  EXPECT_EQ(with([](auto&, auto& i) { i.found_in = "elsewhere"; }).hash,
            make_key(request_, compiler_.info()).hash);
  EXPECT_NE(with([](auto& r, auto&) { r.name = "renamed"; }).folder_name(),
            make_key(request_, compiler_.info()).folder_name());
}

TEST_F(KernelCacheTest, NamesAreMadeSafeForFolders) {
  CompileRequest hostile = request_;
  hostile.name = "../../etc/" + std::string(400, 'x') + "\n\xff";
  FakeCompiler compiler;
  KernelCache cache(root_.string());
  cache.get(hostile, compiler);
  ASSERT_EQ(cache.entries().size(), 1u);
  EXPECT_EQ(cache.entries()[0].folder.parent_path(), root_);
  EXPECT_TRUE(KernelCache(root_.string()).get(hostile, compiler).from_cache);
  hostile.entry = "not a name";
  EXPECT_THROW(cache.get(hostile, compiler), Error);
}

TEST_F(KernelCacheTest, EveryKindOfDamageIsNoticedAndRepaired) {
  fs::path const entry = root_ / make_key(request_, compiler_.info()).folder_name();
  struct Damage {
    char const* what;
    std::function<void(fs::path const&)> apply;
  };
  auto const overwrite = [](fs::path const& path, std::string_view text) {
    fs::remove_all(path);
    write_new_file(path, text, 0600, false);
  };
  std::vector<Damage> const damages = {
      {"truncated", [](fs::path const& path) { fs::resize_file(path, fs::file_size(path) / 2); }},
      {"emptied", [](fs::path const& path) { fs::resize_file(path, 0); }},
      {"longer", [](fs::path const& path) { fs::resize_file(path, fs::file_size(path) + 1); }},
      {"removed", [](fs::path const& path) { fs::remove(path); }},
      {"a folder", [](fs::path const& path) { fs::remove(path), fs::create_directory(path); }},
      {"other text", [&](fs::path const& path) { overwrite(path, "{\"format\": [1, {}], \"x\": null}"); }},
      {"flipped bit",
       [&](fs::path const& path) {
         std::string text = read_text_file(path);
         text[text.size() / 3] = static_cast<char>(text[text.size() / 3] ^ 4);
         overwrite(path, text);
       }},
  };
  std::size_t moved = 0;
  for (char const* file : {"manifest.json", "kernel.cu", "kernel.cubin", "kernel.ptx", "log.txt"}) {
    for (Damage const& damage : damages) {
      SCOPED_TRACE(std::string(file) + " " + damage.what);
      KernelCache(root_.string()).get(request_, compiler_);
      damage.apply(entry / file);
      CapturedLog const log;
      EXPECT_FALSE(KernelCache(root_.string()).find(request_, compiler_.info()));
      int const before = compiler_.calls;
      Compiled const repaired = KernelCache(root_.string()).get(request_, compiler_);
      EXPECT_EQ(compiler_.calls, before + 1);
      EXPECT_TRUE(same_result(repaired, expected_));
      EXPECT_EQ(log.count("is damaged and is built again"), 1u);
      EXPECT_EQ(names_in(root_, ".damaged.").size(), ++moved);
      EXPECT_TRUE(KernelCache(root_.string()).get(request_, compiler_).from_cache);
    }
  }
  EXPECT_EQ(KernelCache(root_.string()).clear(), 1u);
  EXPECT_TRUE(names_in(root_).empty());
}

TEST_F(KernelCacheTest, RandomDamageNeverGivesAnotherResult) {
  CapturedLog const log;
  std::mt19937 random(20);
  fs::path const entry = root_ / make_key(request_, compiler_.info()).folder_name();
  char const* const files[] = {"manifest.json", "kernel.cu", "kernel.cubin", "kernel.ptx", "log.txt"};
  for (int round = 0; round < 150; ++round) {
    KernelCache(root_.string()).get(request_, compiler_);
    fs::path const path = entry / files[random() % 5];
    std::string text = read_text_file(path);
    for (unsigned i = 0, count = 1 + random() % 4; i < count; ++i) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    fs::remove(path);
    write_new_file(path, text, 0600, false);
    ASSERT_TRUE(same_result(KernelCache(root_.string()).get(request_, compiler_), expected_))
        << path << " round " << round;
  }
}

TEST_F(KernelCacheTest, SixtyFourProcessesAtOnce) {
  compiler_.tally = folder_.path() / "tally";
  compiler_.delay = std::chrono::milliseconds(30);
  for (bool const lock_works : {true, false}) {
    SCOPED_TRACE(lock_works);
    fs::remove_all(root_);
    fs::remove(compiler_.tally);
    std::vector<pid_t> children;
    for (int i = 0; i < 64; ++i) {
      pid_t const pid = ::fork();
      if (pid == 0) {
        if (!lock_works) start_injecting("lock", ENOLCK);
        int wrong = 99;
        try {
          KernelCache cache(root_.string());
          wrong = !same_result(cache.get(request_, compiler_), expected_);
        } catch (...) {
        }
        ::_exit(wrong);
      }
      children.push_back(pid);
    }
    for (pid_t const pid : children) {
      int status = -1;
      ASSERT_EQ(::waitpid(pid, &status, 0), pid);
      EXPECT_EQ(status, 0);
    }
    EXPECT_EQ(KernelCache(root_.string()).entries().size(), 1u);
    EXPECT_TRUE(names_in(root_, ".tmp.").empty());
    EXPECT_TRUE(names_in(root_, ".damaged.").empty());
    if (lock_works) {
      EXPECT_EQ(fs::file_size(compiler_.tally), 1u) << "the lock did not spare the work";
    }
    expect_healthy();
  }
}

TEST_F(KernelCacheTest, ProcessesKilledAtEveryStepLeaveNothingHarmful) {
  for (char const* step : kSteps) {
    for (int skip = 0; skip < (std::string_view(step) == "write" ? 5 : 1); ++skip) {
      SCOPED_TRACE(std::string(step) + " " + std::to_string(skip));
      fs::remove_all(root_);
      if (std::string_view(step) == "quarantine") {
        KernelCache(root_.string()).get(request_, compiler_);
        fs::resize_file(root_ / make_key(request_, compiler_.info()).folder_name() / "kernel.ptx", 1);
      }
      EXPECT_EQ(in_child([&] {
                  set_log_sink([](LogLevel, std::string_view) {});
                  start_injecting(step, 0, skip);
                  KernelCache(root_.string()).get(request_, compiler_);
                  return 0;
                }),
                128 + SIGKILL);
      CapturedLog const log;
      EXPECT_LE(KernelCache(root_.string()).entries().size(), 1u);
      expect_healthy();
    }
  }
}

TEST_F(KernelCacheTest, FailuresAtEveryStepStillGiveTheKernel) {
  for (char const* step : kSteps) {
    for (int const error : {ENOSPC, EDQUOT, EROFS, EACCES, EIO, ESTALE, ENOENT, EMFILE}) {
      for (int skip = 0; skip < (std::string_view(step) == "write" ? 5 : 1); ++skip) {
        SCOPED_TRACE(std::string(step) + " " + std::strerror(error) + " " + std::to_string(skip));
        fs::remove_all(root_);
        CapturedLog const log;
        if (std::string_view(step) == "quarantine") {
          KernelCache(root_.string()).get(request_, compiler_);
          fs::resize_file(root_ / make_key(request_, compiler_.info()).folder_name() / "kernel.ptx", 1);
        }
        start_injecting(step, error, skip);
        EXPECT_TRUE(same_result(KernelCache(root_.string()).get(request_, compiler_), expected_));
        EXPECT_GE(injection.fired, 1);
        EXPECT_TRUE(names_in(root_, ".tmp.").empty());
        expect_healthy();
      }
    }
  }
}

TEST_F(KernelCacheTest, AFullDiskIsReportedOnceAndServedAround) {
  CapturedLog const log;
  KernelCache cache(root_.string());
  start_injecting("write", ENOSPC);
  for (int i = 0; i < 5; ++i) {
    CompileRequest request = sample_request("kernel_" + std::to_string(i));
    request.source += std::to_string(i);
    EXPECT_TRUE(same_result(cache.get(request, compiler_), FakeCompiler::expected(request)));
  }
  EXPECT_EQ(log.count("No space left on device"), 1u);
  EXPECT_EQ(log.count(""), 1u);
  EXPECT_TRUE(cache.entries().empty());
}

TEST_F(KernelCacheTest, AFileSizeLimitHitsTheRealWrites) {
  EXPECT_EQ(in_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              rlimit const limit{.rlim_cur = 1000, .rlim_max = 1000};
              if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 3;
              CapturedLog const log;
              bool const right = same_result(KernelCache(root_.string()).get(request_, compiler_), expected_);
              return right && log.count("kernels are not stored") == 1 && names_in(root_).empty() ? 0 : 5;
            }),
            0);
}

// Root writes everywhere, so the check runs as nobody when the tests run as root.
TEST_F(KernelCacheTest, AReadOnlyHomeIsServedAround) {
  fs::permissions(folder_.path(), fs::perms(0755));
  fs::create_directory(root_);
  fs::permissions(root_, fs::perms(0755));
  EXPECT_EQ(in_child([&] {
              if (::geteuid() == 0) {
                if (::chown(root_.c_str(), 65534, 65534) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0)
                  return 3;
              }
              if (::chmod(root_.c_str(), 0500) != 0) return 4;
              CapturedLog const log;
              KernelCache cache((root_ / "deeper").string());
              if (!same_result(cache.get(request_, compiler_), expected_)) return 5;
              KernelCache direct(root_.string());
              if (!same_result(direct.get(request_, compiler_), expected_)) return 6;
              if (compiler_.calls != 2) return 7;
              return log.count("kernels are not stored") == 2 ? 0 : 8;
            }),
            0);
  EXPECT_TRUE(names_in(root_).empty());
  ::chmod(root_.c_str(), 0700);
}

TEST_F(KernelCacheTest, ImpossibleFoldersAreServedAround) {
  write_new_file(folder_.path() / "file", "", 0600, false);
  for (fs::path const& folder :
       {fs::path("/proc/deepwell-cache"), folder_.path() / "file", folder_.path() / "file" / "below"}) {
    SCOPED_TRACE(folder);
    CapturedLog const log;
    FakeCompiler compiler;
    KernelCache cache(folder.string());
    EXPECT_TRUE(same_result(cache.get(request_, compiler), expected_));
    EXPECT_EQ(log.count("kernel cache"), 1u);
    EXPECT_TRUE(cache.get(request_, compiler).from_cache);
    EXPECT_TRUE(cache.entries().empty());
  }
}

TEST_F(KernelCacheTest, FoldersThatOthersMayChangeAreRefused) {
  CapturedLog const log;
  KernelCache(root_.string()).get(request_, compiler_);
  fs::path const link = folder_.path() / "link";
  fs::create_directory_symlink(root_, link);
  for (mode_t const mode : {0777, 01777, 0770, 0720, 0702}) {
    for (fs::path const& path : {root_, link}) {
      SCOPED_TRACE(fmt::format("{:o} {}", mode, path.string()));
      ASSERT_EQ(::chmod(root_.c_str(), mode), 0);
      FakeCompiler compiler;
      KernelCache cache(path.string());
      EXPECT_FALSE(cache.find(request_, compiler.info()));
      EXPECT_FALSE(cache.get(request_, compiler).from_cache);
      EXPECT_TRUE(cache.entries().empty());
      EXPECT_EQ(cache.clear(), 0u);
      EXPECT_FALSE(KernelCache(":" + path.string()).find(request_, compiler.info()))
          << "as a read-only folder";
    }
  }
  ASSERT_EQ(::chmod(root_.c_str(), 0755), 0);
  EXPECT_TRUE(KernelCache(root_.string()).find(request_, compiler_.info()));
}

TEST_F(KernelCacheTest, TheWarningAboutAFolderNamesItAndTheReason) {
  fs::create_directory(root_);
  ASSERT_EQ(::chmod(root_.c_str(), 0777), 0);
  CapturedLog const log;
  KernelCache(root_.string()).get(request_, compiler_);
  KernelCache(root_.string()).get(request_, compiler_);
  EXPECT_EQ(log.count(root_.string() + " is not used: others may write to it (mode 777)"), 1u);
  EXPECT_EQ(log.count(""), 1u);
}

TEST_F(KernelCacheTest, AFolderOfSomebodyElseIsRefused) {
  // As root, a folder given to nobody; otherwise one of root's.
  fs::path folder = "/usr";
  if (::geteuid() == 0) {
    folder = root_;
    fs::create_directory(root_);
    fs::permissions(root_, fs::perms(0755));
    ASSERT_EQ(::chown(root_.c_str(), 65534, 65534), 0);
  }
  CapturedLog const log;
  KernelCache cache(folder.string());
  EXPECT_TRUE(same_result(cache.get(request_, compiler_), expected_));
  EXPECT_EQ(log.count("it belongs to user"), 1u);
  EXPECT_EQ(cache.writable_folder(), "");
  EXPECT_TRUE(names_in(root_).empty());
}

TEST_F(KernelCacheTest, AFolderThatTurnsHostileLaterIsNoticed) {
  CapturedLog const log;
  KernelCache cache(root_.string());
  cache.get(request_, compiler_);
  ASSERT_EQ(::chmod(root_.c_str(), 0777), 0);
  CompileRequest other = sample_request("other");
  other.source += "other";
  EXPECT_TRUE(same_result(cache.get(other, compiler_), FakeCompiler::expected(other)));
  EXPECT_EQ(names_in(root_).size(), 1u);
}

TEST_F(KernelCacheTest, ReadOnlyFoldersServeAndAreNotWritten) {
  fs::path const shared = folder_.path() / "shared";
  KernelCache(shared.string()).get(request_, compiler_);
  std::string const folders =
      root_.string() + ":" + (folder_.path() / "absent").string() + ":" + shared.string();
  KernelCache cache(folders);
  EXPECT_EQ(cache.writable_folder(), root_.string());
  EXPECT_TRUE(cache.get(request_, compiler_).from_cache);
  EXPECT_EQ(cache.entries().size(), 1u);
  CompileRequest other = sample_request("other");
  other.source += "other";
  EXPECT_FALSE(cache.get(other, compiler_).from_cache);
  EXPECT_EQ(names_in(shared).size(), 1u);
  EXPECT_EQ(names_in(root_).size(), 1u);
  EXPECT_EQ(cache.clear(), 1u);
  EXPECT_EQ(names_in(shared).size(), 1u);

  // Damage in a read-only folder: another build goes to the writable one.
  fs::resize_file(shared / make_key(request_, compiler_.info()).folder_name() / "kernel.cubin", 10);
  CapturedLog const log;
  EXPECT_TRUE(same_result(KernelCache(folders).get(request_, compiler_), expected_));
  EXPECT_EQ(names_in(shared).size(), 1u);
  EXPECT_TRUE(KernelCache(root_.string()).find(request_, compiler_.info()));
  // No writable folder at all.
  FakeCompiler compiler;
  KernelCache none(":" + (folder_.path() / "absent").string());
  EXPECT_TRUE(same_result(none.get(request_, compiler), expected_));
  EXPECT_EQ(none.writable_folder(), "");
}

TEST_F(KernelCacheTest, TheDefaultFolderFollowsTheOptions) {
  ScopedOption const option(Option::kCacheDir, "");
  ScopedOption const home(Option::kHome, folder_.path().string());
  {
    ScopedOption const xdg(Option::kXdgCacheHome, "");
    EXPECT_EQ(KernelCache().writable_folder(), (folder_.path() / ".cache" / "deepwell").string());
    ScopedOption const relative(Option::kXdgCacheHome, "relative");
    EXPECT_EQ(KernelCache().writable_folder(), (folder_.path() / ".cache" / "deepwell").string());
  }
  ScopedOption const xdg(Option::kXdgCacheHome, (folder_.path() / "xdg").string());
  EXPECT_EQ(KernelCache().writable_folder(), (folder_.path() / "xdg" / "deepwell").string());
  ScopedOption const named(Option::kCacheDir, root_.string());
  EXPECT_EQ(KernelCache().writable_folder(), root_.string());
}

TEST_F(KernelCacheTest, ThreadsShareOneCompile) {
  compiler_.delay = std::chrono::milliseconds(50);
  KernelCache cache(root_.string());
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] { right += same_result(cache.get(request_, compiler_), expected_); });
    }
  }
  EXPECT_EQ(right, 8);
  EXPECT_EQ(compiler_.calls, 1);
}

TEST_F(KernelCacheTest, AFailedCompileIsToldToAllAndTriedAgainLater) {
  compiler_.delay = std::chrono::milliseconds(20);
  compiler_.fail = true;
  KernelCache cache(root_.string());
  std::atomic<int> failed{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        try {
          cache.get(request_, compiler_);
        } catch (Error const& error) {
          failed += error.code() == ErrorCode::kToolchain;
        }
      });
    }
  }
  EXPECT_EQ(failed, 4);
  EXPECT_TRUE(names_in(root_).empty());
  compiler_.fail = false;
  EXPECT_TRUE(same_result(cache.get(request_, compiler_), expected_));
}

TEST_F(KernelCacheTest, AChildOfAForkDoesNotWaitForItsParentsThread) {
  compiler_.delay = std::chrono::milliseconds(300);
  KernelCache cache(root_.string());
  std::jthread parent([&] { cache.get(request_, compiler_); });
  while (compiler_.calls == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(in_child([&] {
              ::alarm(20);
              return same_result(cache.get(request_, compiler_), expected_) ? 0 : 5;
            }),
            0);
}

TEST_F(KernelCacheTest, LeftoversOfKilledProcessesAreSwept) {
  for (char const* name : {".tmp.old", ".tmp.new", ".damaged.old", ".lock.old"})
    make_private_folders(root_ / name);
  write_new_file(root_ / ".tmp.old" / "kernel.cu", "x", 0600, false);
  auto const long_ago = fs::file_time_type::clock::now() - std::chrono::hours(24 * 30);
  for (char const* name : {".tmp.old", ".damaged.old", ".lock.old"})
    fs::last_write_time(root_ / name, long_ago);
  KernelCache(root_.string()).get(request_, compiler_);
  EXPECT_EQ(names_in(root_, "."), std::vector<std::string>{".tmp.new"});
}

TEST_F(KernelCacheTest, ListsAndClears) {
  KernelCache cache(root_.string());
  for (int i = 0; i < 3; ++i) {
    CompileRequest request = sample_request("kernel_" + std::to_string(i));
    request.source += std::to_string(i);
    cache.get(request, compiler_);
  }
  write_new_file(root_ / "foreign", "not ours", 0600, false);
  make_private_folders(root_ / "foreign.folder");
  std::vector<KernelCache::Entry> const entries = cache.entries();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].name, "kernel_0");
  EXPECT_EQ(entries[0].target, "sm_120a");
  EXPECT_EQ(entries[0].compiler, "fake 13.0 test");
  EXPECT_GT(entries[0].bytes, 5000u);
  EXPECT_EQ(cache.clear(), 3u);
  EXPECT_TRUE(cache.entries().empty());
  EXPECT_EQ(names_in(root_).size(), 2u) << "what is not ours stays";
  EXPECT_FALSE(cache.get(sample_request("kernel_0"), compiler_).from_cache);
}

}  // namespace
}  // namespace deepwell::jit
