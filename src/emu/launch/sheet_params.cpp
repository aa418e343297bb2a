// Reads parameters (scalars, addresses, maps, bytes, structs) and tensor maps.
#include "emu/launch/sheet_params.hpp"

#include <algorithm>
#include <charconv>

#include "emu/launch/fill.hpp"

namespace deepwell::emu {
namespace {

constexpr std::size_t kMaxParams = 4096;
constexpr std::uint64_t kMaxParamBytes = 32764;  // of all parameters of a kernel
constexpr std::uint64_t kMaxOffset = std::uint64_t{1} << 40;

std::size_t buffer_of(JsonNode const& node, Sheet const& sheet) {
  std::string const name = node.text();
  auto const found = std::find_if(sheet.buffers.begin(), sheet.buffers.end(),
                                  [&](SheetBuffer const& buffer) { return buffer.name == name; });
  if (found == sheet.buffers.end()) node.fail("the name of a buffer");
  return static_cast<std::size_t>(found - sheet.buffers.begin());
}

std::vector<std::byte> hex_bytes(JsonNode const& node) {
  std::string text = node.text();
  std::erase(text, ' ');
  if (text.empty() || text.size() % 2 != 0 || text.size() / 2 > kMaxParamBytes)
    node.fail("bytes as pairs of hexadecimal digits");
  std::vector<std::byte> out(text.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    unsigned value = 0;
    auto const [end, error] = std::from_chars(text.data() + 2 * i, text.data() + 2 * i + 2, value, 16);
    if (error != std::errc() || end != text.data() + 2 * i + 2)
      node.fail("bytes as pairs of hexadecimal digits");
    out[i] = static_cast<std::byte>(value);
  }
  return out;
}

constexpr char const* kKinds =
    "one of buffer, tensor_map, bytes, struct, or a scalar's type (u8 to u64, s8 to s64, f16, bf16, f32, "
    "f64, e4m3, ...)";

SheetParam read_param(JsonNode const& node, Sheet const& sheet, int depth);

SheetParam read_members(JsonNode const& members, std::uint64_t bytes, Sheet const& sheet, int depth) {
  if (depth > 8) members.fail("fewer nested structs");
  SheetParam out;
  out.bytes.resize(bytes);
  for (JsonNode const& node : members.elements(0, kMaxParams)) {
    SheetParam const member = read_param(node, sheet, depth + 1);
    std::size_t const at = node.at("at").whole(0, kMaxOffset);
    if (at > out.bytes.size() || member.bytes.size() > out.bytes.size() - at)
      node.fail(fmt::format("a member within the {} bytes of the struct", out.bytes.size()));
    std::copy(member.bytes.begin(), member.bytes.end(), out.bytes.begin() + static_cast<std::ptrdiff_t>(at));
    for (SheetReference reference : member.references) {
      reference.at += at;
      out.references.push_back(reference);
    }
  }
  return out;
}

SheetParam read_buffer_address(JsonNode const& node, JsonNode const& name, Sheet const& sheet) {
  SheetReference reference{
      .at = 0, .kind = SheetReference::Kind::kBuffer, .index = buffer_of(name, sheet), .offset = 0};
  if (auto const offset = node.find("offset"))
    reference.offset = static_cast<std::uint64_t>(
        offset->integer(-static_cast<std::int64_t>(kMaxOffset), static_cast<std::int64_t>(kMaxOffset)));
  return {.bytes = std::vector<std::byte>(8), .references = {reference}, .at = {}};
}

SheetParam read_map(JsonNode const& name, Sheet const& sheet) {
  std::string const text = name.text();
  auto const found = std::find_if(sheet.tensor_maps.begin(), sheet.tensor_maps.end(),
                                  [&](SheetTensorMap const& map) { return map.name == text; });
  if (found == sheet.tensor_maps.end()) name.fail("the name of a tensor map");
  SheetReference const reference{.at = 0,
                                 .kind = SheetReference::Kind::kTensorMap,
                                 .index = static_cast<std::size_t>(found - sheet.tensor_maps.begin()),
                                 .offset = 0};
  return {.bytes = std::vector<std::byte>(128), .references = {reference}, .at = {}};
}

SheetParam read_param(JsonNode const& node, Sheet const& sheet, int depth) {
  if (!node.is_object()) node.fail("an object with " + std::string(kKinds));
  std::string kind;
  for (auto const& [name, member] : node.members()) {
    if (name == "at" || name == "offset" || name == "size" || name == "comment") continue;
    if (!kind.empty()) node.fail(fmt::format("either \"{}\" or \"{}\"", kind, name));
    kind = name;
  }
  if (kind.empty()) node.fail(kKinds);
  if (node.has("offset") && kind != "buffer") node.at("offset").fail("no offset: it belongs to a buffer");
  if (node.has("size") && kind != "struct") node.at("size").fail("no size: it belongs to a struct");
  JsonNode const value = node.at(kind);
  SheetParam out;
  if (kind == "buffer") {
    out = read_buffer_address(node, value, sheet);
  } else if (kind == "tensor_map") {
    out = read_map(value, sheet);
  } else if (kind == "bytes") {
    out.bytes = hex_bytes(value);
  } else if (kind == "struct") {
    out = read_members(value, node.at("size").whole(1, kMaxParamBytes), sheet, depth);
  } else {
    ElementType const* const type = find_element_type(kind);
    if (type == nullptr || type->bits < 8) node.fail(kKinds);
    out.bytes.resize(bytes_of(*type, 1));
    set_element_bits(*type, out.bytes, 0, element_of(value, *type));
  }
  return out;
}

/// Index of a text among `names`, with the prefix of the driver's enumerators or without.
int enumerator(JsonNode const& node, std::string_view prefix, std::initializer_list<std::string_view> names) {
  if (node.is_string()) {
    std::string const whole = node.text();
    std::string_view text = whole;
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
    auto const found = std::find(names.begin(), names.end(), text);
    if (found != names.end()) return static_cast<int>(found - names.begin());
  }
  std::string known;
  for (std::string_view const one : names) known += fmt::format("{}{}", known.empty() ? "" : ", ", one);
  node.fail(fmt::format("{} followed by one of {}", prefix, known));
}

template <class T, std::size_t N>
void read_list(JsonNode const& node, std::size_t count, std::uint64_t least, std::uint64_t most,
               std::array<T, N>& out) {
  auto const list = node.elements(count, count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<T>(list[i].whole(least, most));
}

SheetTensorMap read_tensor_map(std::string const& name, JsonNode const& node, Sheet const& sheet) {
  node.require_members({"tensorDataType", "tensorRank", "globalAddress", "globalDim", "globalStrides",
                        "boxDim", "elementStrides", "interleave", "swizzle", "l2Promotion", "oobFill"});
  SheetTensorMap out;
  out.name = name;
  TensorMapSpec& spec = out.spec;
  spec.data_type = enumerator(
      node.at("tensorDataType"), "CU_TENSOR_MAP_DATA_TYPE_",
      {"UINT8", "UINT16", "UINT32", "INT32", "UINT64", "INT64", "FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16",
       "FLOAT32_FTZ", "TFLOAT32", "TFLOAT32_FTZ", "16U4_ALIGN8B", "16U4_ALIGN16B", "16U6_ALIGN16B"});
  JsonNode const dims = node.at("globalDim");
  std::size_t const rank = dims.elements(1, 5).size();
  spec.rank = static_cast<int>(rank);
  if (auto const own = node.find("tensorRank"); own && own->whole(1, 5) != rank)
    own->fail(fmt::format("the {} dimensions of globalDim", rank));
  JsonNode const address = node.at("globalAddress");
  if (address.is_object()) {
    address.require_members({"buffer", "offset"});
    out.buffer = buffer_of(address.at("buffer"), sheet);
    if (auto const offset = address.find("offset")) out.offset = offset->whole(0, kMaxOffset);
  } else {
    out.buffer = buffer_of(address, sheet);
  }
  read_list(dims, rank, 1, std::uint64_t{1} << 32, spec.dims);
  if (rank > 1 || node.has("globalStrides"))
    read_list(node.at("globalStrides"), rank - 1, 0, kMaxOffset, spec.strides_bytes);
  read_list(node.at("boxDim"), rank, 1, 256, spec.box);
  if (auto const strides = node.find("elementStrides")) read_list(*strides, rank, 1, 8, spec.element_strides);
  if (auto const one = node.find("interleave"))
    spec.interleave = enumerator(*one, "CU_TENSOR_MAP_INTERLEAVE_", {"NONE", "16B", "32B"});
  if (auto const one = node.find("swizzle"))
    spec.swizzle =
        enumerator(*one, "CU_TENSOR_MAP_SWIZZLE_",
                   {"NONE", "32B", "64B", "128B", "128B_ATOM_32B", "128B_ATOM_32B_FLIP_8B", "128B_ATOM_64B"});
  if (auto const one = node.find("l2Promotion"))
    spec.l2_promotion =
        enumerator(*one, "CU_TENSOR_MAP_L2_PROMOTION_", {"NONE", "L2_64B", "L2_128B", "L2_256B"});
  if (auto const one = node.find("oobFill"))
    spec.oob_fill = enumerator(*one, "CU_TENSOR_MAP_FLOAT_OOB_FILL_", {"NONE", "NAN_REQUEST_ZERO_FMA"});
  return out;
}

}  // namespace

std::vector<SheetParam> read_params(JsonNode const& node, Sheet const& sheet) {
  std::vector<SheetParam> out;
  for (JsonNode const& one : node.elements(0, kMaxParams)) {
    out.push_back(read_param(one, sheet, 0));
    if (auto const at = one.find("at")) out.back().at = at->whole(0, kMaxParamBytes);
  }
  return out;
}

SheetParam read_struct(JsonNode const& members, std::uint64_t bytes, Sheet const& sheet) {
  return read_members(members, bytes, sheet, 0);
}

void read_tensor_maps(JsonNode const& node, Sheet& sheet) {
  auto const members = node.members();
  if (members.size() > 4096) node.fail("at most 4096 maps");
  for (auto const& [name, map] : members) sheet.tensor_maps.push_back(read_tensor_map(name, map, sheet));
}

}  // namespace deepwell::emu
