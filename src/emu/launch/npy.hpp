// NumPy's file format, as far as buffers need it: arrays in row-major order, little endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deepwell::emu {

struct NpyHeader {
  std::string descriptor;  // "<f4"
  std::vector<std::uint64_t> shape;
  std::size_t data_at = 0;  // where the elements begin
};

/// The header of a .npy file. Throws Error kBadArgument naming `name` and what is wrong: no such file, another order or byte order,
/// structured types, sizes that do not fit.
NpyHeader parse_npy(std::span<std::byte const> file, std::string_view name);

/// A whole file.
std::string write_npy(std::string_view descriptor, std::span<std::uint64_t const> shape,
                      std::span<std::byte const> data);

}  // namespace deepwell::emu
