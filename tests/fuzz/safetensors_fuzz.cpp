// libFuzzer entry: any bytes are a safetensors file or a named error, and tensors lie inside the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/error.hpp"
#include "checkpoint/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  auto const file = std::as_bytes(std::span(data, size));
  try {
    for (deepwell::StoredTensor const& tensor : deepwell::parse_safetensors(file, "fuzz").tensors) {
      if (tensor.offset > size || tensor.bytes.size() > size - tensor.offset) std::abort();
    }
  } catch (deepwell::Error const& error) {
    if (error.code() != deepwell::ErrorCode::kBadArgument) std::abort();
  }
  return 0;
}
