// One line of progress on stderr, on a terminal only: "compiling  12/48  gemm_mx_e4m3_...".
#pragma once

#include <chrono>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

namespace deepwell {

/// Thread-safe. Draws at most every 50 ms, erases the line when destroyed, and does nothing where stderr is no terminal.
class Progress {
 public:
  /// `total` 0: unknown.
  Progress(std::string what, std::size_t total);
  ~Progress();
  Progress(Progress const&) = delete;
  Progress& operator=(Progress const&) = delete;

  void update(std::size_t done, std::string_view detail = {});

 private:
  std::mutex mutex_;
  std::string what_;
  std::size_t total_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

/// The text of the line: at most `columns` wide. Progress draws it; tests read it.
std::string progress_text(std::string_view what, std::size_t done, std::size_t total, std::string_view detail,
                          std::size_t columns);

}  // namespace deepwell
