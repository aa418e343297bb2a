// Emulated devices as a program has them: linked in (emulator_linked.cpp), or in a library that is loaded when it is first asked
// for (emulator_loaded.cpp). The build links one of the two: cmake/emulator_library.cmake.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "backend/backend.hpp"

namespace deepwell {

/// Throws what EmuBackend's constructor throws, and kUnsupported where the emulator's library is needed and cannot be used.
std::unique_ptr<Backend> make_emulated(std::string_view device);

/// Host memory behind a buffer of a launch file; `written` as emu::SheetBuffer's, or null: all of it is.
struct LaunchArray {
  std::string_view name;
  std::span<std::byte> bytes;
  std::uint8_t* written = nullptr;
};
/// Runs a launch file (emu/launch/sheet_json.hpp) whose buffers may lie in host memory, and returns the report as JSON. Arrays then
/// hold what the last seed left. `folder`: what the file's own files are named against; empty: they are refused. Throws what
/// parse_sheet and run_sheet throw; arrays are as before then.
std::string run_launches(std::string_view launches, std::string_view folder,
                         std::span<LaunchArray const> arrays);

struct EmulatorState {
  std::string place;     // "linked in", or the library's file
  std::string unusable;  // why there are no emulated devices; empty: there are
};
/// Loads the library where there is one to load.
EmulatorState emulator_state();

}  // namespace deepwell
