// Reads and writes .npy headers.
#include "emu/launch/npy.hpp"

#include <charconv>
#include <cstring>
#include <optional>

#include "base/error.hpp"

namespace deepwell::emu {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxDimensions = 32;

/// What follows 'key': in the header's dictionary, blanks skipped.
std::optional<std::string_view> value_of(std::string_view header, std::string_view key) {
  std::size_t const at = header.find("'" + std::string(key) + "'");
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = header.substr(at + key.size() + 2);
  std::size_t const colon = rest.find_first_not_of(' ');
  if (colon == std::string_view::npos || rest[colon] != ':') return std::nullopt;
  rest = rest.substr(colon + 1);
  std::size_t const begin = rest.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::nullopt;
  return rest.substr(begin);
}

std::optional<std::vector<std::uint64_t>> parse_shape(std::string_view text) {
  if (text.empty() || text[0] != '(') return std::nullopt;
  std::vector<std::uint64_t> shape;
  text.remove_prefix(1);
  for (;;) {
    while (!text.empty() && (text[0] == ' ' || text[0] == ',')) text.remove_prefix(1);
    if (text.empty() || shape.size() > kMaxDimensions) return std::nullopt;
    if (text[0] == ')') return shape;
    std::uint64_t value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    shape.push_back(value);
  }
}

}  // namespace

NpyHeader parse_npy(std::span<std::byte const> file, std::string_view name) {
  auto const bad = [&](std::string got, std::string expected) {
    return bad_argument(std::string(name), std::move(got), std::move(expected));
  };
  std::string_view const text(reinterpret_cast<char const*>(file.data()), file.size());
  if (!text.starts_with(kMagic) || text.size() < 12)
    throw bad(fmt::format("{} bytes that do not begin as a .npy file", file.size()), "a NumPy .npy file");
  auto const byte = [&](std::size_t i) { return std::to_integer<std::size_t>(file[i]); };
  bool const is_short = byte(6) == 1;
  std::size_t const begin = is_short ? 10 : 12;
  std::size_t const size =
      is_short ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
  if (byte(6) < 1 || byte(6) > 3 || size > text.size() - begin)
    throw bad(fmt::format("version {}, a header of {} bytes", byte(6), size),
              "a whole .npy file of version 1 to 3");
  std::string_view const header = text.substr(begin, size);
  NpyHeader out;
  out.data_at = begin + size;
  auto const descriptor = value_of(header, "descr");
  std::size_t const quote =
      descriptor && (*descriptor)[0] == '\'' ? descriptor->find('\'', 1) : std::string_view::npos;
  if (quote == std::string_view::npos) throw bad("a structured or missing 'descr'", "an array of numbers");
  out.descriptor = std::string(descriptor->substr(1, quote - 1));
  auto const order = value_of(header, "fortran_order");
  if (!order || !order->starts_with("False")) throw bad("fortran_order", "an array in row-major (C) order");
  auto const shape = value_of(header, "shape");
  auto const dims = shape ? parse_shape(*shape) : std::nullopt;
  if (!dims) throw bad("a 'shape' that is no tuple of sizes", "an array of at most 32 dimensions");
  out.shape = *dims;
  return out;
}

std::string write_npy(std::string_view descriptor, std::span<std::uint64_t const> shape,
                      std::span<std::byte const> data) {
  std::string dims;
  for (std::uint64_t const dim : shape) dims += fmt::format("{}, ", dim);
  if (shape.size() > 1) dims.resize(dims.size() - 2);
  if (shape.size() == 1) dims.resize(dims.size() - 1);
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descriptor, dims);
  header.resize((10 + header.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  std::string out(kMagic);
  out += {1, 0, static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  out += header;
  out.append(reinterpret_cast<char const*>(data.data()), data.size());
  return out;
}

}  // namespace deepwell::emu
