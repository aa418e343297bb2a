// The table of options, and the only reader of the environment.
#include "base/options.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.hpp"

namespace deepwell {
namespace {

std::vector<OptionRow> const& table() {
  // clang-format off
  static std::vector<OptionRow> const kTable = {
      {Option::kCacheDir, "DEEPWELL_CACHE_DIR", OptionType::kPathList, "",
       "Kernel cache as writable[:read-only...]; empty: $XDG_CACHE_HOME/deepwell or ~/.cache/deepwell", {{"DG_JIT_CACHE_DIR", ""}}},
      {Option::kKernels, "DEEPWELL_KERNELS", OptionType::kPathList, "",
       "Archives of compiled kernels (`deepwell compile --export FILE`); asked before the cache and before any compiler", {}},
      {Option::kAfterWarmup, "DEEPWELL_AFTER_WARMUP", OptionType::kText, "warn",
       "What a call does that needs a kernel which the warm-up did not load: warn (log its name and build it), error or off (build it)", {}},
      {Option::kCompiler, "DEEPWELL_COMPILER", OptionType::kText, "",
       "Run-time compiler: nvrtc or nvcc; empty: nvrtc, else nvcc; none: nothing is compiled", {{"DG_JIT_USE_NVRTC", "nvrtc"}}},
      {Option::kNvrtc, "DEEPWELL_NVRTC", OptionType::kPath, "",
       "An NVRTC library, or a folder that holds one; tried before all others", {}},
      {Option::kNvcc, "DEEPWELL_NVCC", OptionType::kPath, "",
       "An nvcc executable, or a folder that holds one; tried before all others", {{"DG_JIT_NVCC_COMPILER", ""}}},
      {Option::kHostCompiler, "DEEPWELL_HOST_COMPILER", OptionType::kPath, "",
       "The host compiler that nvcc calls (-ccbin); empty: nvcc's own choice", {}},
      {Option::kWheelPaths, "DEEPWELL_WHEEL_PATHS", OptionType::kPathList, "",
       "site-packages folders in which NVIDIA's wheels are looked for; the Python module sets it to its own", {}},
      {Option::kDeviceDir, "DEEPWELL_DEVICE_DIR", OptionType::kPath, "",
       "A checkout whose plan/ and kernels/ replace the embedded device sources (development)", {}},
      {Option::kLineInfo, "DEEPWELL_LINE_INFO", OptionType::kFlag, "0",
       "Compile kernels with source lines, for profilers and emulator reports", {{"DG_JIT_WITH_LINEINFO", ""}}},
      {Option::kCompileThreads, "DEEPWELL_COMPILE_THREADS", OptionType::kInteger, "0",
       "Threads that compile kernels; 0: all cores, at most 8", {}},
      {Option::kLogLevel, "DEEPWELL_LOG", OptionType::kText, "warning",
       "error, warning, info or debug", {{"DG_JIT_DEBUG", "debug"}}},
      {Option::kCudaDriver, "DEEPWELL_CUDA_DRIVER", OptionType::kPath, "",
       "The CUDA driver library; empty: libcuda.so.1 as the system finds it", {}},
      {Option::kEmulator, "DEEPWELL_EMULATOR", OptionType::kPath, "",
       "The emulator's library, or a folder that holds it, for programs that load it; empty: beside the library that loads it", {}},
      {Option::kDevice, "DEEPWELL_DEVICE", OptionType::kText, "best",
       "Device of tools and tests: cuda, cuda:1, emu:sm_120a, emu:sm_120a:48, best", {}},
      {Option::kThreads, "DEEPWELL_THREADS", OptionType::kInteger, "0",
       "Host threads of the references and of emulated runs without checks; 0: all cores", {}},
      {Option::kEveryReaderArrives, "DEEPWELL_EVERY_READER_ARRIVES", OptionType::kFlag, "0",
       "Build kernels in which each lane releases its shared memory by itself, for race checkers", {}},
      {Option::kBackgroundBuilds, "DEEPWELL_BACKGROUND_BUILDS", OptionType::kFlag, "1",
       "Build the other kernels of a weight's shape in the background when its first one is needed", {}},
      {Option::kCompileAll, "DEEPWELL_COMPILE_ALL", OptionType::kFlag, "0",
       "Tests of compilation take every kernel, target and compiler instead of a part that changes from day to day", {}},
      {Option::kUpdateGolden, "DEEPWELL_UPDATE_GOLDEN", OptionType::kFlag, "0",
       "Tests write their snapshots under tests/golden instead of comparing with them", {}},
      {Option::kCudaHome, "CUDA_HOME", OptionType::kPath, "",
       "A CUDA toolkit; looked at before /usr/local/cuda*", {{"CUDA_PATH", ""}}},
      {Option::kVirtualEnv, "VIRTUAL_ENV", OptionType::kPath, "",
       "The active Python environment; its wheels are looked at last", {}},
      {Option::kPath, "PATH", OptionType::kPathList, "",
       "Where nvcc is looked for after the toolkits", {}},
      {Option::kHome, "HOME", OptionType::kPath, "",
       "The home folder; empty: the account's", {}},
      {Option::kXdgCacheHome, "XDG_CACHE_HOME", OptionType::kPath, "",
       "Folder of caches; used when it is an absolute path", {}},
  };
  // clang-format on
  return kTable;
}

struct Overrides {
  std::mutex mutex;
  std::map<Option, std::string> values;
};

Overrides& overrides() {
  static Overrides instance;
  return instance;
}

std::string from_environment(std::string_view name) {
  char const* text = std::getenv(std::string(name).c_str());
  return text ? text : "";
}

std::optional<bool> parse_flag(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  if (text == "1" || text == "true" || text == "yes" || text == "on") return true;
  if (text == "0" || text == "false" || text == "no" || text == "off") return false;
  return std::nullopt;
}

}  // namespace

char const* name_of(OptionType type) {
  switch (type) {
    case OptionType::kText: return "text";
    case OptionType::kPath: return "path";
    case OptionType::kPathList: return "paths";
    case OptionType::kInteger: return "integer";
    case OptionType::kFlag: return "flag";
  }
  return "?";
}

std::span<OptionRow const> option_table() { return table(); }

OptionRow const& option_row(Option id) {
  for (OptionRow const& row : table()) {
    if (row.id == id) return row;
  }
  throw Error(ErrorCode::kInternal, fmt::format("option {} has no row in the table", static_cast<int>(id)));
}

OptionValue option_value(Option id) {
  OptionRow const& row = option_row(id);
  {
    Overrides& set = overrides();
    std::lock_guard lock(set.mutex);
    if (auto const found = set.values.find(id); found != set.values.end()) {
      return {.text = found->second, .source = "set in the process"};
    }
  }
  if (std::string text = from_environment(row.name); !text.empty()) {
    return {.text = std::move(text), .source = fmt::format("environment {}", row.name)};
  }
  for (OptionAlias const& alias : row.aliases) {
    std::string text = from_environment(alias.name);
    if (text.empty()) continue;
    if (!alias.meaning.empty()) {
      if (!parse_flag(text).value_or(false)) continue;
      text = alias.meaning;
    }
    return {.text = std::move(text), .source = fmt::format("environment {}", alias.name)};
  }
  return {.text = std::string(row.default_value), .source = "default"};
}

std::string option_text(Option id) { return option_value(id).text; }

bool option_flag(Option id) {
  std::string const text = option_text(id);
  std::optional<bool> const flag = parse_flag(text);
  if (!flag) throw bad_argument(std::string(option_row(id).name), text, "1 or 0");
  return *flag;
}

long long option_integer(Option id) {
  std::string const text = option_text(id);
  long long value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw bad_argument(std::string(option_row(id).name), text, "an integer");
  }
  return value;
}

std::vector<std::string> option_list(Option id) {
  std::vector<std::string> entries;
  std::string const text = option_text(id);
  for (std::size_t at = 0; at <= text.size();) {
    std::size_t const end = std::min(text.find(':', at), text.size());
    if (end > at) entries.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return entries;
}

void set_option(Option id, std::optional<std::string> value) {
  option_row(id);
  Overrides& set = overrides();
  std::lock_guard lock(set.mutex);
  if (value) {
    set.values[id] = std::move(*value);
  } else {
    set.values.erase(id);
  }
}

ScopedOption::ScopedOption(Option id, std::string value) : id_(id) {
  {
    Overrides& set = overrides();
    std::lock_guard lock(set.mutex);
    if (auto const found = set.values.find(id); found != set.values.end()) before_ = found->second;
  }
  set_option(id, std::move(value));
}

ScopedOption::~ScopedOption() { set_option(id_, std::move(before_)); }

std::filesystem::path home_folder() {
  if (std::string const home = option_text(Option::kHome); !home.empty()) return home;
  std::array<char, 16384> buffer;
  passwd account{};
  passwd* found = nullptr;
  if (getpwuid_r(geteuid(), &account, buffer.data(), buffer.size(), &found) != 0 || !found || !found->pw_dir)
    return {};
  return found->pw_dir;
}

}  // namespace deepwell
