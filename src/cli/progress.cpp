// Progress line: drawn over itself with a carriage return, erased at the end.
#include "cli/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "base/table.hpp"

namespace deepwell {
namespace {

constexpr std::size_t kDefaultColumns = 80;

std::size_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return size.ws_col;
}

}  // namespace

std::string progress_text(std::string_view what, std::size_t done, std::size_t total, std::string_view detail,
                          std::size_t columns) {
  std::string text =
      total > 0 ? fmt::format("{}  {}/{}", what, done, total) : fmt::format("{}  {}", what, done);
  if (!detail.empty()) text += fmt::format("  {}", detail);
  return fit_to_width(text, columns);
}

Progress::Progress(std::string what, std::size_t total)
    : what_(std::move(what)), total_(total), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::update(std::size_t done, std::string_view detail) {
  if (!terminal_) return;
  std::lock_guard const lock(mutex_);
  auto const now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_ < std::chrono::milliseconds(50) && done != total_) return;
  last_ = now;
  drawn_ = true;
  fmt::print(stderr, "\r{}\x1b[K", progress_text(what_, done, total_, detail, terminal_columns() - 1));
  std::fflush(stderr);
}

}  // namespace deepwell
