// The sink of messages.
#include "base/log.hpp"

#include <unistd.h>

#include <atomic>
#include <mutex>
#include <set>

#include "base/options.hpp"

namespace deepwell {
namespace {

struct State {
  std::mutex mutex;
  LogSink sink;
  std::set<std::string, std::less<>> seen;
};

State& state() {
  static State* const instance = new State;  // outlives every static object that may still log
  return *instance;
}

std::atomic<int> chosen_level{-1};

int configured_level() {
  std::string const text = option_text(Option::kLogLevel);
  for (LogLevel level : {LogLevel::kError, LogLevel::kWarning, LogLevel::kInfo, LogLevel::kDebug}) {
    if (text == name_of(level)) return static_cast<int>(level);
  }
  log_once(LogLevel::kError, "log level",
           fmt::format("DEEPWELL_LOG: got {}, expected error, warning, info or debug", text));
  return static_cast<int>(LogLevel::kWarning);
}

void write_to_terminal(LogLevel level, std::string_view message) {
  std::string const line = fmt::format("deepwell {}: {}\n", name_of(level), message);
  std::size_t at = 0;
  while (at < line.size()) {
    ssize_t const written = ::write(STDERR_FILENO, line.data() + at, line.size() - at);
    if (written <= 0) return;
    at += static_cast<std::size_t>(written);
  }
}

}  // namespace

char const* name_of(LogLevel level) {
  switch (level) {
    case LogLevel::kError: return "error";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kInfo: return "info";
    case LogLevel::kDebug: return "debug";
  }
  return "?";
}

bool log_enabled(LogLevel level) {
  if (level == LogLevel::kError) return true;
  int const chosen = chosen_level.load(std::memory_order_relaxed);
  return static_cast<int>(level) <= (chosen >= 0 ? chosen : configured_level());
}

void set_log_level(LogLevel most_detailed) { chosen_level = static_cast<int>(most_detailed); }

LogSink set_log_sink(LogSink sink) {
  std::lock_guard lock(state().mutex);
  std::swap(state().sink, sink);
  return sink;
}

void log_message(LogLevel level, std::string_view message) {
  if (!log_enabled(level)) return;
  LogSink sink;
  {
    std::lock_guard lock(state().mutex);
    sink = state().sink;
  }
  if (sink) {
    sink(level, message);
  } else {
    write_to_terminal(level, message);
  }
}

bool log_once(LogLevel level, std::string_view key, std::string_view message) {
  {
    std::lock_guard lock(state().mutex);
    if (!state().seen.emplace(key).second) return false;
  }
  log_message(level, message);
  return true;
}

}  // namespace deepwell
