// Runs another program and collects what it says.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace deepwell {

struct SubprocessRequest {
  std::vector<std::string> argv;  // argv[0]: a path, or a name that is looked up in PATH
  std::filesystem::path folder;   // working folder; empty: the caller's
  std::optional<std::vector<std::string>> environment;  // "NAME=value"; nullopt: the caller's
  std::string input;                                    // for standard input
  std::chrono::milliseconds timeout{0};                 // 0: none
};

struct SubprocessResult {
  int exit_code = 0;       // 128 + signal when a signal ended it
  bool timed_out = false;  // it and its process group were killed
  std::string out, err;
};

/// Waits for the end. Throws Error kToolchain when the program cannot be started; with a folder, a shell starts it, whose exit codes
/// 126 and 127 then say so. Thread-safe.
SubprocessResult run_subprocess(SubprocessRequest const& request);

}  // namespace deepwell
