// Catches what the library logs, for tests.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"

namespace deepwell {

/// Collects messages from its construction to its end, when the sink before it comes back.
class CapturedLog {
 public:
  CapturedLog() {
    before_ = set_log_sink([this](LogLevel, std::string_view text) {
      std::lock_guard lock(mutex_);
      lines_.emplace_back(text);
    });
  }
  ~CapturedLog() { set_log_sink(before_); }
  CapturedLog(CapturedLog const&) = delete;
  CapturedLog& operator=(CapturedLog const&) = delete;

  /// Messages that contain `part`.
  std::size_t count(std::string_view part) const {
    std::lock_guard lock(mutex_);
    std::size_t found = 0;
    for (std::string const& line : lines_) found += line.find(part) != std::string::npos;
    return found;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  LogSink before_;
};

}  // namespace deepwell
