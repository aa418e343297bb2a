// libFuzzer entry: any bytes are a PTX module or a named error, and what is printed of a module parses to the same text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "emu/ptx/syntax.hpp"

using namespace deepwell;

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string printed;
  try {
    printed = emu::ptx::print(emu::ptx::parse({reinterpret_cast<char const*>(data), size}, "fuzz"));
  } catch (Error const& error) {
    if (error.code() == ErrorCode::kInternal) std::abort();
    return 0;
  }
  if (emu::ptx::print(emu::ptx::parse(printed, "printed")) != printed) std::abort();
  return 0;
}
