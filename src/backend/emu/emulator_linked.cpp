// Emulated devices of a program that has the emulator linked in.
#include "backend/emu/emu_backend.hpp"
#include "backend/emu/emulator.hpp"
#include "backend/emu/launches.hpp"

namespace deepwell {

std::unique_ptr<Backend> make_emulated(std::string_view device) {
  return std::make_unique<EmuBackend>(device);
}

std::string run_launches(std::string_view launches, std::string_view folder,
                         std::span<LaunchArray const> arrays) {
  return emu::run_launches_here(launches, folder, arrays);
}

EmulatorState emulator_state() { return {.place = "linked in", .unusable = {}}; }

}  // namespace deepwell
