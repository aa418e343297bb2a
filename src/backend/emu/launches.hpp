// Launch files with buffers in host memory, in the process that has the emulator.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "backend/emu/emulator.hpp"

namespace deepwell::emu {

/// run_launches() of backend/emu/emulator.hpp.
std::string run_launches_here(std::string_view launches, std::string_view folder,
                              std::span<LaunchArray const> arrays);

}  // namespace deepwell::emu
