// Texts and error codes as they cross the emulator library's boundary.
#pragma once

#include <string>
#include <string_view>

#include "backend/emu/emulator_library.h"
#include "base/error.hpp"

namespace deepwell::emulator_library {

inline dw_emulator_text text(std::string_view view) { return {.data = view.data(), .size = view.size()}; }
inline std::string_view view(dw_emulator_text text) { return {text.data, text.size}; }

constexpr int code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBadArgument: return DW_EMULATOR_BAD_ARGUMENT;
    case ErrorCode::kUnsupported: return DW_EMULATOR_UNSUPPORTED;
    case ErrorCode::kToolchain: return DW_EMULATOR_TOOLCHAIN;
    case ErrorCode::kDevice: return DW_EMULATOR_DEVICE;
    case ErrorCode::kInternal: break;
  }
  return DW_EMULATOR_INTERNAL;
}

constexpr ErrorCode error_code(int code) {
  switch (code) {
    case DW_EMULATOR_BAD_ARGUMENT: return ErrorCode::kBadArgument;
    case DW_EMULATOR_UNSUPPORTED: return ErrorCode::kUnsupported;
    case DW_EMULATOR_TOOLCHAIN: return ErrorCode::kToolchain;
    case DW_EMULATOR_DEVICE: return ErrorCode::kDevice;
    default: break;
  }
  return ErrorCode::kInternal;
}

}  // namespace deepwell::emulator_library
