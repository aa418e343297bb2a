// Emulated devices of a program that loads the emulator's library.
#include <vector>

#include "backend/emu/emulator.hpp"
#include "backend/emu/library_backend.hpp"
#include "backend/emu/library_texts.hpp"

namespace deepwell {

std::unique_ptr<Backend> make_emulated(std::string_view device) {
  return std::make_unique<LibraryBackend>(device);
}

std::string run_launches(std::string_view launches, std::string_view folder,
                         std::span<LaunchArray const> arrays) {
  using emulator_library::text;
  dw_emulator_table const& table = open_emulator_library();
  std::vector<dw_emulator_array> given;
  for (LaunchArray const& array : arrays) {
    given.push_back({.name = text(array.name),
                     .data = array.bytes.data(),
                     .bytes = array.bytes.size(),
                     .written = array.written});
  }
  dw_emulator_text report{};
  check_emulator_call(table,
                      table.run_launches(text(launches), text(folder), given.data(), given.size(), &report));
  return std::string(emulator_library::view(report));
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
