// Messages of the library: four levels, one sink (standard error unless replaced). Thread-safe.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>
#include <string_view>

namespace deepwell {

enum class LogLevel { kError, kWarning, kInfo, kDebug };
char const* name_of(LogLevel level);

/// True when a message of this level reaches the sink. The limit is option DEEPWELL_LOG unless `set_log_level` was called.
bool log_enabled(LogLevel level);
void set_log_level(LogLevel most_detailed);

using LogSink = std::function<void(LogLevel, std::string_view message)>;
/// Replaces the sink and returns the one before; an empty function means standard error.
LogSink set_log_sink(LogSink sink);

void log_message(LogLevel level, std::string_view message);
/// Logs only the first message with this key in the process; returns whether it was the first.
bool log_once(LogLevel level, std::string_view key, std::string_view message);

template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_message(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kInfo))
    log_message(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kDebug))
    log_message(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace deepwell
