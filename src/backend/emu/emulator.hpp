// Emulated devices as a program has them: linked in (emulator_linked.cpp), or in a library that is loaded when it is first asked
// for (emulator_loaded.cpp). The build links one of the two: cmake/emulator_library.cmake.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backend/backend.hpp"

namespace deepwell {

/// Throws what EmuBackend's constructor throws, and kUnsupported where the emulator's library is needed and cannot be used.
std::unique_ptr<Backend> make_emulated(std::string_view device);

struct EmulatorState {
  std::string place;     // "linked in", or the library's file
  std::string unusable;  // why there are no emulated devices; empty: there are
};
/// Loads the library where there is one to load.
EmulatorState emulator_state();

}  // namespace deepwell
