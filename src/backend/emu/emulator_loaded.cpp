// Emulated devices of a program that loads the emulator's library.
#include "backend/emu/emulator.hpp"
#include "backend/emu/library_backend.hpp"

namespace deepwell {

std::unique_ptr<Backend> make_emulated(std::string_view device) {
  return std::make_unique<LibraryBackend>(device);
}

EmulatorState emulator_state() {
  EmulatorState state{.place = emulator_library_path(), .unusable = {}};
  try {
    open_emulator_library();
  } catch (Error const& error) {
    state.unusable = error.what();
  }
  return state;
}

}  // namespace deepwell
