// The parameters of a kernel as written on a command line, and what they become: a parameter block and filled buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace deepwell {

/// One kernel parameter.
///   buffer:BYTES[:FILL]   a pointer to BYTES bytes (also 4k, 2m); FILL is zero (default), poison (never written), iota (u32
///                         0, 1, 2, ...), random (seeded bytes), a byte 0xNN, or f32=VALUE
///   u8|u16|u32|u64|s32|s64|f32|f64:VALUE
struct LaunchParam {
  bool is_buffer = false;
  std::vector<std::byte> value;  // of a scalar, little endian, as wide as its type
  std::size_t bytes = 0;         // of a buffer
  std::string fill = "zero";
};

/// Throws Error kBadArgument naming the text and what was expected.
LaunchParam parse_launch_param(std::string_view text);

/// The bytes of a filled buffer; empty for "poison". `seed` is for "random".
std::vector<std::byte> make_fill(LaunchParam const& param, std::uint64_t seed);

/// Places parameters one after the other at their natural alignment, as PTX lays out a parameter list. Buffers take 8 bytes,
/// given in `addresses` in order.
std::vector<std::byte> parameter_block(std::span<LaunchParam const> params,
                                       std::span<std::uint64_t const> addresses);

/// What to print after a launch: buffer parameter `param` as `type`, `count` elements (0: all).
struct DumpRequest {
  std::size_t param = 0;
  std::string type = "u32";
  std::size_t count = 0;
};
/// "INDEX[:TYPE[:COUNT]]"; throws Error unless INDEX is a buffer of `params` and TYPE is one of dump_text's.
DumpRequest parse_dump(std::string_view text, std::span<LaunchParam const> params);

/// "8", "8,4" or "8,4,2"; missing ones are 1. Throws Error naming `what`.
std::vector<std::uint32_t> parse_extent(std::string_view what, std::string_view text);

/// One element per line of `columns` values: "0: 1 2 3 4". Types: u8 u16 u32 u64 s32 s64 f32 f64. `count` 0: all.
std::string dump_text(std::span<std::byte const> bytes, std::string_view type, std::size_t count);

}  // namespace deepwell
