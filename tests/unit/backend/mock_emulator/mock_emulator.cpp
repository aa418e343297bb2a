// A stand-in for the emulator's library whose devices cannot be created. The device's name says what happens instead:
//   fail:<code>  an error with that code, texts of any bytes and length
//   log          a message at each level, and at one that does not exist; then an error
//   options      an error whose `got` has the options, as name=value
#include <cstdlib>
#include <string>
#include <string_view>

#include "backend/emu/emulator_library.h"

namespace {

dw_emulator_log logger = nullptr;
std::string message, got;
int code = 0;

dw_emulator_text text(std::string_view view) { return {view.data(), view.size()}; }

void last_error(dw_emulator_error* out) {
  *out = {code, text(message), text("the argument"), text(got), text(std::string_view("zero \0 inside", 13))};
}

void set_log(dw_emulator_log log) { logger = log; }

int create(dw_emulator_text device, dw_emulator_option const* options, size_t num_options,
           dw_emulator_device**) {
  std::string const name(device.data, device.size);
  message = std::string(100000, 'm') + "end";
  got.clear();
  code = DW_EMULATOR_BAD_ARGUMENT;
  if (name.starts_with("fail:")) code = std::atoi(name.c_str() + 5);
  if (name == "log") {
    for (int level : {0, 1, 2, 3, 99}) logger(level, text("level " + std::to_string(level)));
  }
  if (name == "options") {
    for (size_t i = 0; i < num_options; ++i)
      got += std::string(options[i].name.data, options[i].name.size) + "=" +
             std::string(options[i].value.data, options[i].value.size) + ";";
  }
  return code;
}

#ifndef MOCK_EMULATOR_VERSION
#define MOCK_EMULATOR_VERSION DW_EMULATOR_VERSION
#endif

dw_emulator_table make_table() {
  dw_emulator_table table{};
  table.version = MOCK_EMULATOR_VERSION;
  if (table.version != DW_EMULATOR_VERSION) return table;  // nothing that a caller of this version could use
  table.last_error = last_error;
  table.set_log = set_log;
  table.create = create;
  table.destroy = [](dw_emulator_device*) {};
  return table;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) dw_emulator_table const* deepwell_emulator() {
  static dw_emulator_table const table = make_table();
  return &table;
}
