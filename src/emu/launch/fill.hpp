// The contents of buffers that a launch file describes: constants, random numbers by a seed, lists of values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "emu/launch/element.hpp"

namespace deepwell::emu {

class JsonNode;

/// What "fill" or "values" says, for `count` elements; empty for "poison". Random numbers depend on `seed` and `name` alone:
/// splitmix64, a draw for each element, two for "normal".
std::vector<std::byte> fill_buffer(JsonNode const& fill, ElementType const& type, std::uint64_t count,
                                   std::uint64_t seed, std::string_view name);
std::vector<std::byte> values_of(JsonNode const& values, ElementType const& type, std::uint64_t count);

/// One element from JSON: a number, "nan", "inf", "-inf", or "0x..." for its bits.
std::uint64_t element_of(JsonNode const& value, ElementType const& type);

}  // namespace deepwell::emu
