// Parameters and tensor maps of a launch file.
#pragma once

#include <vector>

#include "emu/launch/json_node.hpp"
#include "emu/launch/sheet.hpp"

namespace deepwell::emu {

/// "params": buffers and maps are those that `sheet` has already.
std::vector<SheetParam> read_params(JsonNode const& node, Sheet const& sheet);
/// "struct": members with "at" inside `bytes` bytes, the rest zero.
SheetParam read_struct(JsonNode const& members, std::uint64_t bytes, Sheet const& sheet);
/// "tensor_maps", under the names of cuTensorMapEncodeTiled's arguments and of their values.
void read_tensor_maps(JsonNode const& node, Sheet& sheet);

}  // namespace deepwell::emu
