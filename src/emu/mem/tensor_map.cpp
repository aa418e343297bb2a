// Tensor maps: the driver's rules for cuTensorMapEncodeTiled, the 128-byte encoding, swizzles.
#include "emu/mem/tensor_map.hpp"

#include <algorithm>
#include <cstring>

namespace deepwell::emu {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kBytes = 128;
constexpr std::size_t kDimsAt = 16, kStridesAt = 56, kBoxAt = 88, kElementStridesAt = 108, kChecksumAt = 120;

template <class T>
void put(std::span<std::byte> bytes, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[at + i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}

template <class T>
T get(std::span<std::byte const> bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value |= std::to_integer<std::uint64_t>(bytes[at + i]) << (8 * i);
  return static_cast<T>(value);
}

std::uint64_t checksum(std::span<std::byte const> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (std::byte byte : bytes) {
    hash ^= std::to_integer<std::uint64_t>(byte);
    hash *= 0x100000001b3ull;
    hash ^= hash >> 29;
  }
  return hash;
}

[[noreturn]] void reject(std::string field, std::string got, std::string expected) {
  throw bad_argument("tensor map " + std::move(field), std::move(got), std::move(expected));
}

void require(bool ok, std::string field, std::uint64_t got, std::string expected) {
  if (!ok) reject(std::move(field), fmt::format("{}", got), std::move(expected));
}

std::string indexed(char const* field, int i) { return fmt::format("{}[{}]", field, i); }

void check_enums(TensorMapSpec const& spec) {
  require(spec.data_type >= 0 && spec.data_type <= 15, "data_type", spec.data_type,
          "a CUtensorMapDataType, 0 to 15");
  require(spec.interleave >= 0 && spec.interleave <= 2, "interleave", spec.interleave,
          "a CUtensorMapInterleave, 0 to 2");
  require(spec.swizzle >= 0 && spec.swizzle <= 6, "swizzle", spec.swizzle, "a CUtensorMapSwizzle, 0 to 6");
  require(spec.l2_promotion >= 0 && spec.l2_promotion <= 3, "l2_promotion", spec.l2_promotion,
          "a CUtensorMapL2promotion, 0 to 3");
  require(spec.oob_fill >= 0 && spec.oob_fill <= 1, "oob_fill", spec.oob_fill, "0 (zero) or 1 (NaN)");
  auto const type = static_cast<TensorMapType>(spec.data_type);
  DW_CHECK(type != TensorMapType::kU6Align16, kUnsupported,
           "tensor map data_type 16U6_ALIGN16B is not modelled");
  DW_CHECK(spec.interleave == 0, kUnsupported, "tensor map interleave {} is not modelled; 0 (none) is",
           spec.interleave);
  DW_CHECK(static_cast<TensorMapSwizzle>(spec.swizzle) != TensorMapSwizzle::k128BAtom32BFlip8B, kUnsupported,
           "tensor map swizzle 128B_ATOM_32B_FLIP_8B is not modelled");
}

}  // namespace

char const* name_of(TensorMapType type) {
  static constexpr char const* kNames[] = {
      "u8",  "u16",  "u32",     "s32",  "u64",      "s64",          "f16",           "f32",
      "f64", "bf16", "f32.ftz", "tf32", "tf32.ftz", "16U4_ALIGN8B", "16U4_ALIGN16B", "16U6_ALIGN16B"};
  auto const index = static_cast<std::size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "?";
}

int bits_of(TensorMapType type) {
  switch (type) {
    case TensorMapType::kU8: return 8;
    case TensorMapType::kU16:
    case TensorMapType::kF16:
    case TensorMapType::kBf16: return 16;
    case TensorMapType::kU32:
    case TensorMapType::kS32:
    case TensorMapType::kF32:
    case TensorMapType::kF32Ftz:
    case TensorMapType::kTf32:
    case TensorMapType::kTf32Ftz: return 32;
    case TensorMapType::kU64:
    case TensorMapType::kS64:
    case TensorMapType::kF64: return 64;
    case TensorMapType::kU4Align8:
    case TensorMapType::kU4Align16: return 4;
    case TensorMapType::kU6Align16: return 6;
  }
  return 0;
}

int span_of(TensorMapSwizzle swizzle) {
  switch (swizzle) {
    case TensorMapSwizzle::kNone: return 0;
    case TensorMapSwizzle::k32B: return 32;
    case TensorMapSwizzle::k64B: return 64;
    default: return 128;
  }
}

bool is_floating(TensorMapType type) {
  return type >= TensorMapType::kF16 && type <= TensorMapType::kTf32Ftz;
}

void check_tensor_map(TensorMapSpec const& spec) {
  check_enums(spec);
  auto const type = static_cast<TensorMapType>(spec.data_type);
  auto const swizzle = static_cast<TensorMapSwizzle>(spec.swizzle);
  bool const align16 = type == TensorMapType::kU4Align16;
  bool const align8 = type == TensorMapType::kU4Align8;
  std::uint64_t const granule = align16 ? 32 : 16;

  require(spec.rank >= 1 && spec.rank <= 5, "rank", spec.rank, "1 to 5");
  require(spec.base % granule == 0, "base", spec.base, fmt::format("a multiple of {} bytes", granule));
  for (int i = 0; i < spec.rank; ++i) {
    require(spec.dims[i] >= 1 && spec.dims[i] <= (1ull << 32), indexed("dims", i), spec.dims[i], "1 to 2^32");
    require(spec.box[i] >= 1 && spec.box[i] <= 256, indexed("box", i), spec.box[i], "1 to 256");
    if (i > 0) {
      require(spec.element_strides[i] >= 1 && spec.element_strides[i] <= 8, indexed("element_strides", i),
              spec.element_strides[i], "1 to 8");
      std::uint64_t const stride = spec.strides_bytes[i - 1];
      require(stride % granule == 0, indexed("strides_bytes", i - 1), stride,
              fmt::format("a multiple of {} bytes", granule));
      require(stride < (1ull << 40), indexed("strides_bytes", i - 1), stride, "less than 2^40");
    }
  }
  if (align16) {
    require(spec.dims[0] % 128 == 0, "dims[0]", spec.dims[0], "a multiple of 128 for 16U4_ALIGN16B");
    require(spec.box[0] == 128, "box[0]", spec.box[0], "128 for 16U4_ALIGN16B");
    bool const known = swizzle == TensorMapSwizzle::kNone || swizzle == TensorMapSwizzle::k128B ||
                       swizzle == TensorMapSwizzle::k128BAtom32B;
    require(known, "swizzle", spec.swizzle, "none, 128B or 128B_ATOM_32B for 16U4_ALIGN16B");
  }
  if (align8) require(spec.dims[0] % 2 == 0, "dims[0]", spec.dims[0], "a multiple of 2 for 16U4_ALIGN8B");
  std::uint64_t const inner_bits = std::uint64_t{spec.box[0]} * bits_of(type);
  require(inner_bits % 128 == 0, "box[0]", spec.box[0],
          fmt::format("a multiple of 16 bytes of {} elements", name_of(type)));
  std::uint64_t const inner_bytes = align16 ? spec.box[0] : inner_bits / 8;
  int const span = span_of(swizzle);
  require(span == 0 || inner_bytes <= static_cast<std::uint64_t>(span), "box[0]", spec.box[0],
          fmt::format("at most the swizzle span of {} bytes ({} bytes wanted)", span, inner_bytes));
  require(spec.oob_fill == 0 || is_floating(type), "oob_fill", spec.oob_fill,
          fmt::format("0 for {}: NaN fill is for floating-point types", name_of(type)));
}

std::array<std::byte, 128> pack_tensor_map(TensorMapSpec const& spec) {
  std::array<std::byte, kBytes> bytes{};
  std::memcpy(bytes.data(), "DWTM", 4);
  put<std::uint8_t>(bytes, 4, kVersion);
  put<std::uint8_t>(bytes, 5, static_cast<std::uint8_t>(spec.rank));
  put<std::uint8_t>(bytes, 6, static_cast<std::uint8_t>(spec.data_type));
  put<std::uint8_t>(bytes, 7, static_cast<std::uint8_t>(spec.swizzle));
  put<std::uint64_t>(bytes, 8, spec.base);
  for (int i = 0; i < 5; ++i) {
    put<std::uint64_t>(bytes, kDimsAt + 8 * i, spec.dims[i]);
    put<std::uint32_t>(bytes, kBoxAt + 4 * i, spec.box[i]);
    put<std::uint8_t>(bytes, kElementStridesAt + i, std::min(spec.element_strides[i], 255u));
  }
  for (int i = 0; i < 4; ++i) put<std::uint64_t>(bytes, kStridesAt + 8 * i, spec.strides_bytes[i]);
  put<std::uint8_t>(bytes, 113, static_cast<std::uint8_t>(spec.interleave));
  put<std::uint8_t>(bytes, 114, static_cast<std::uint8_t>(spec.l2_promotion));
  put<std::uint8_t>(bytes, 115, static_cast<std::uint8_t>(spec.oob_fill));
  put<std::uint64_t>(bytes, kChecksumAt, checksum(std::span<std::byte const>(bytes).first(kChecksumAt)));
  return bytes;
}

TensorMapSpec unpack_tensor_map(std::span<std::byte const> bytes) {
  DW_CHECK(bytes.size() == kBytes, kInternal, "a tensor map has 128 bytes, got {}", bytes.size());
  DW_REQUIRE(
      std::memcmp(bytes.data(), "DWTM", 4) == 0 && get<std::uint8_t>(bytes, 4) == kVersion, kTensorMap,
      "these 128 bytes are not a tensor map (they begin {:02x} {:02x} {:02x} {:02x}): none was encoded "
      "or copied here",
      get<std::uint8_t>(bytes, 0), get<std::uint8_t>(bytes, 1), get<std::uint8_t>(bytes, 2),
      get<std::uint8_t>(bytes, 3));
  DW_REQUIRE(
      get<std::uint64_t>(bytes, kChecksumAt) == checksum(bytes.first(kChecksumAt)), kTensorMap,
      "this tensor map is damaged: its checksum does not match, parts of it were overwritten or not copied");
  TensorMapSpec spec;
  spec.rank = get<std::uint8_t>(bytes, 5);
  spec.data_type = get<std::uint8_t>(bytes, 6);
  spec.swizzle = get<std::uint8_t>(bytes, 7);
  spec.base = get<std::uint64_t>(bytes, 8);
  for (int i = 0; i < 5; ++i) {
    spec.dims[i] = get<std::uint64_t>(bytes, kDimsAt + 8 * i);
    spec.box[i] = get<std::uint32_t>(bytes, kBoxAt + 4 * i);
    spec.element_strides[i] = get<std::uint8_t>(bytes, kElementStridesAt + i);
  }
  for (int i = 0; i < 4; ++i) spec.strides_bytes[i] = get<std::uint64_t>(bytes, kStridesAt + 8 * i);
  spec.interleave = get<std::uint8_t>(bytes, 113);
  spec.l2_promotion = get<std::uint8_t>(bytes, 114);
  spec.oob_fill = get<std::uint8_t>(bytes, 115);
  return spec;
}

std::uint32_t swizzle_address(TensorMapSwizzle swizzle, std::uint32_t address) {
  switch (swizzle) {
    case TensorMapSwizzle::k32B: return address ^ ((address >> 3) & 0x10u);
    case TensorMapSwizzle::k64B: return address ^ ((address >> 3) & 0x30u);
    case TensorMapSwizzle::k128B: return address ^ ((address >> 3) & 0x70u);
    case TensorMapSwizzle::k128BAtom32B: return address ^ ((address >> 2) & 0x60u);
    case TensorMapSwizzle::k128BAtom64B: return address ^ ((address >> 1) & 0x40u);
    case TensorMapSwizzle::kNone:
    case TensorMapSwizzle::k128BAtom32BFlip8B: break;
  }
  return address;
}

std::array<std::byte, 128> encode_tensor_map(TensorMapSpec const& spec) {
  check_tensor_map(spec);
  return pack_tensor_map(spec);
}

}  // namespace deepwell::emu
