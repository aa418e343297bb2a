// Devices that kernel tests run on, one context each for the whole program, so that kernels are built once.
#pragma once

#include <cctype>
#include <map>
#include <memory>
#include <string>

#include "backend/emu/emu_backend.hpp"
#include "base/options.hpp"
#include "base/thread_pool.hpp"
#include "ops/context.hpp"

namespace deepwell {

inline std::string const kKernelTestDevices[] = {"emu:sm_120a", "emu:sm_121a", "emu:sm_120f", "emu:sm_90a"};

inline Context& context_of(std::string const& device) {
  static std::map<std::string, std::unique_ptr<Context>> contexts;
  std::unique_ptr<Context>& context = contexts[device];
  if (!context) {
    set_option(Option::kBackgroundBuilds, "0");
    context = std::make_unique<Context>(device);
  }
  return *context;
}

inline ThreadPool& test_pool() {
  static ThreadPool pool;
  return pool;
}

/// A test name from any text.
inline std::string test_name(std::string text) {
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return text;
}

}  // namespace deepwell
