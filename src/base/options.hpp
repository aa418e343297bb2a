// Options of the library: one table from which come the environment look-ups, the listing for `doctor` and the documentation.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deepwell {

enum class Option {
  kCacheDir,
  kKernels,
  kAfterWarmup,
  kCompiler,
  kNvrtc,
  kNvcc,
  kHostCompiler,
  kWheelPaths,
  kDeviceDir,
  kLineInfo,
  kCompileThreads,
  kLogLevel,
  kCudaDriver,
  kEmulator,
  kDevice,
  kThreads,
  kEveryReaderArrives,
  kBackgroundBuilds,
  kCompileAll,
  kUpdateGolden,
  // Names that belong to the system or to other software; read here so that they are looked up in one place.
  kCudaHome,
  kVirtualEnv,
  kPath,
  kHome,
  kXdgCacheHome,
};

enum class OptionType { kText, kPath, kPathList, kInteger, kFlag };
char const* name_of(OptionType type);

/// Another environment name that is accepted. With a `meaning`, the alias is a flag and stands for that value when it is set.
struct OptionAlias {
  std::string_view name;
  std::string_view meaning;
};

/// One row of the table.
struct OptionRow {
  Option id;
  std::string_view name;  // of the environment variable
  OptionType type;
  std::string_view default_value;
  std::string_view help;
  std::vector<OptionAlias> aliases;
};

/// All options, in the order of `Option`.
std::span<OptionRow const> option_table();
OptionRow const& option_row(Option id);

/// A value and where it came from: "default", "set in the process", or "environment NAME".
struct OptionValue {
  std::string text;
  std::string source;
};

/// In this order: set in the process, the environment name, its aliases, the default. Set but empty counts as not set.
OptionValue option_value(Option id);

/// Typed access; throws Error kBadArgument naming the option when its text does not parse.
std::string option_text(Option id);
bool option_flag(Option id);  // 1/0, true/false, yes/no, on/off
long long option_integer(Option id);
std::vector<std::string> option_list(Option id);  // entries between ':'; empty entries are dropped

/// Sets an option for this process (tools, bindings); nullopt returns to the environment. Thread-safe.
void set_option(Option id, std::optional<std::string> value);

/// Sets an option until the end of a scope (tests).
class ScopedOption {
 public:
  ScopedOption(Option id, std::string value);
  ~ScopedOption();
  ScopedOption(ScopedOption const&) = delete;
  ScopedOption& operator=(ScopedOption const&) = delete;

 private:
  Option id_;
  std::optional<std::string> before_;
};

/// The home folder: HOME, else the account's; empty when there is none.
std::filesystem::path home_folder();

}  // namespace deepwell
