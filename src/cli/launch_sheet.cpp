// Parses launch parameters and dumps memory for `deepwell emulate`.
#include "cli/launch_sheet.hpp"

#include <bit>
#include <charconv>
#include <cstring>

#include "base/error.hpp"

namespace deepwell {
namespace {

constexpr std::size_t kLargestBuffer = std::size_t{1} << 40;

/// A whole number, decimal or 0x..., with an optional sign for signed types.
template <class Integer>
bool parse_integer(std::string_view text, Integer& value) {
  bool const hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

template <class Float>
bool parse_float(std::string_view text, Float& value) {
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

/// `value` as bytes, lowest first, whatever the host's order.
template <class T>
std::vector<std::byte> little_endian(T value) {
  using Bits =
      std::conditional_t<sizeof(T) == 8, std::uint64_t,
                         std::conditional_t<sizeof(T) == 4, std::uint32_t,
                                            std::conditional_t<sizeof(T) == 2, std::uint16_t, std::uint8_t>>>;
  auto bits = std::bit_cast<Bits>(value);
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(bits) >> (8 * i)));
  return bytes;
}

template <class T>
T from_little_endian(std::span<std::byte const> bytes) {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) bits |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  if constexpr (sizeof(T) == 8) return std::bit_cast<T>(bits);
  if constexpr (sizeof(T) == 4) return std::bit_cast<T>(static_cast<std::uint32_t>(bits));
  if constexpr (sizeof(T) == 2) return std::bit_cast<T>(static_cast<std::uint16_t>(bits));
  if constexpr (sizeof(T) == 1) return std::bit_cast<T>(static_cast<std::uint8_t>(bits));
}

template <class T>
std::vector<std::byte> scalar(std::string_view whole, std::string_view text) {
  T value{};
  bool good = false;
  if constexpr (std::is_floating_point_v<T>) {
    good = parse_float(text, value);
  } else {
    good = parse_integer(text, value);
  }
  if (!good) throw bad_argument("--param", std::string(whole), "a value of that type after the colon");
  return little_endian(value);
}

std::size_t parse_bytes(std::string_view whole, std::string_view text) {
  std::size_t unit = 1;
  if (!text.empty() && (text.back() == 'k' || text.back() == 'K')) unit = 1024;
  if (!text.empty() && (text.back() == 'm' || text.back() == 'M')) unit = 1024 * 1024;
  if (unit > 1) text.remove_suffix(1);
  std::size_t bytes = 0;
  if (!parse_integer(text, bytes) || bytes == 0 || bytes > kLargestBuffer / unit) {
    throw bad_argument("--param", std::string(whole),
                       "buffer:BYTES[:FILL] with BYTES from 1 to 2^40 (4k, 2m)");
  }
  return bytes * unit;
}

void check_fill(std::string_view whole, std::string_view fill) {
  if (fill == "zero" || fill == "poison" || fill == "iota" || fill == "random") return;
  std::uint8_t byte = 0;
  float value = 0;
  if (fill.starts_with("0x") && parse_integer(fill, byte)) return;
  if (fill.starts_with("f32=") && parse_float(fill.substr(4), value)) return;
  throw bad_argument("--param", std::string(whole),
                     "a fill of zero, poison, iota, random, 0xNN or f32=VALUE");
}

std::uint64_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = (state += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

template <class T>
std::string dump_as(std::span<std::byte const> bytes, std::size_t count, std::size_t columns) {
  std::size_t const present = bytes.size() / sizeof(T);
  if (count == 0 || count > present) count = present;
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % columns == 0) out += fmt::format("{}{}:", i == 0 ? "" : "\n", i);
    out += fmt::format(" {}", from_little_endian<T>(bytes.subspan(i * sizeof(T), sizeof(T))));
  }
  return out + "\n";
}

}  // namespace

LaunchParam parse_launch_param(std::string_view text) {
  auto const colon = text.find(':');
  std::string_view const type = text.substr(0, colon);
  std::string_view const rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  LaunchParam param;
  if (type == "buffer") {
    param.is_buffer = true;
    auto const second = rest.find(':');
    param.bytes = parse_bytes(text, rest.substr(0, second));
    if (second != std::string_view::npos) param.fill = rest.substr(second + 1);
    check_fill(text, param.fill);
    return param;
  }
  if (type == "u8")
    param.value = scalar<std::uint8_t>(text, rest);
  else if (type == "u16")
    param.value = scalar<std::uint16_t>(text, rest);
  else if (type == "u32")
    param.value = scalar<std::uint32_t>(text, rest);
  else if (type == "u64")
    param.value = scalar<std::uint64_t>(text, rest);
  else if (type == "s32")
    param.value = scalar<std::int32_t>(text, rest);
  else if (type == "s64")
    param.value = scalar<std::int64_t>(text, rest);
  else if (type == "f32")
    param.value = scalar<float>(text, rest);
  else if (type == "f64")
    param.value = scalar<double>(text, rest);
  else
    throw bad_argument("--param", std::string(text),
                       "buffer:BYTES[:FILL] or u8|u16|u32|u64|s32|s64|f32|f64:VALUE");
  return param;
}

std::vector<std::byte> make_fill(LaunchParam const& param, std::uint64_t seed) {
  std::vector<std::byte> bytes(param.fill == "poison" ? 0 : param.bytes);
  auto const repeat = [&](auto const& word_at) {
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      std::vector<std::byte> const word = little_endian(static_cast<std::uint32_t>(word_at(i / 4)));
      std::memcpy(&bytes[i], word.data(), std::min<std::size_t>(4, bytes.size() - i));
    }
  };
  if (param.fill == "iota") {
    repeat([](std::size_t i) { return i; });
  } else if (param.fill == "random") {
    std::uint64_t state = seed;
    repeat([&](std::size_t) { return next_random(state); });
  } else if (param.fill.starts_with("f32=")) {
    float value = 0;
    parse_float(std::string_view(param.fill).substr(4), value);
    repeat([&](std::size_t) { return std::bit_cast<std::uint32_t>(value); });
  } else if (param.fill.starts_with("0x")) {
    std::uint8_t byte = 0;
    parse_integer(std::string_view(param.fill), byte);
    std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(byte));
  }
  return bytes;
}

std::vector<std::byte> parameter_block(std::span<LaunchParam const> params,
                                       std::span<std::uint64_t const> addresses) {
  std::vector<std::byte> block;
  std::size_t buffer = 0;
  for (LaunchParam const& param : params) {
    std::vector<std::byte> value = param.value;
    if (param.is_buffer) {
      DW_CHECK(buffer < addresses.size(), kInternal, "{} buffers but {} addresses", buffer + 1,
               addresses.size());
      value = little_endian(addresses[buffer++]);
    }
    while (block.size() % value.size() != 0) block.push_back(std::byte{0});
    block.insert(block.end(), value.begin(), value.end());
  }
  return block;
}

DumpRequest parse_dump(std::string_view text, std::span<LaunchParam const> params) {
  DumpRequest dump;
  auto const first = text.find(':');
  auto const second = first == std::string_view::npos ? first : text.find(':', first + 1);
  bool good = parse_integer(text.substr(0, first), dump.param);
  if (first != std::string_view::npos) dump.type = text.substr(first + 1, second - first - 1);
  if (second != std::string_view::npos) good = parse_integer(text.substr(second + 1), dump.count) && good;
  if (!good || dump.param >= params.size() || !params[dump.param].is_buffer) {
    throw bad_argument("--dump", std::string(text),
                       "INDEX[:TYPE[:COUNT]], INDEX counting all --param from 0 and naming a buffer");
  }
  dump_text({}, dump.type, 0);
  return dump;
}

std::vector<std::uint32_t> parse_extent(std::string_view what, std::string_view text) {
  std::vector<std::uint32_t> extent;
  std::string_view rest = text;
  for (bool more = true; more;) {
    auto const comma = rest.find(',');
    std::uint32_t value = 0;
    if (!parse_integer(rest.substr(0, comma), value) || value == 0 || extent.size() == 3) {
      throw bad_argument(std::string(what), std::string(text),
                         "one to three positive numbers: 8 or 8,4 or 8,4,2");
    }
    extent.push_back(value);
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
  }
  extent.resize(3, 1);
  return extent;
}

std::string dump_text(std::span<std::byte const> bytes, std::string_view type, std::size_t count) {
  if (type == "u8") return dump_as<std::uint8_t>(bytes, count, 16);
  if (type == "u16") return dump_as<std::uint16_t>(bytes, count, 8);
  if (type == "u32") return dump_as<std::uint32_t>(bytes, count, 8);
  if (type == "u64") return dump_as<std::uint64_t>(bytes, count, 4);
  if (type == "s32") return dump_as<std::int32_t>(bytes, count, 8);
  if (type == "s64") return dump_as<std::int64_t>(bytes, count, 4);
  if (type == "f32") return dump_as<float>(bytes, count, 8);
  if (type == "f64") return dump_as<double>(bytes, count, 4);
  throw bad_argument("--dump", std::string(type), "u8, u16, u32, u64, s32, s64, f32 or f64");
}

}  // namespace deepwell
