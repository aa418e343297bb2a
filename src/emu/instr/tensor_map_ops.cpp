// Instruction family: tensormap.replace and its copy with a fence; prefetches, cache policies and discard.
#include <bit>
#include <cstring>

#include "emu/instr/async.hpp"

namespace deepwell::emu {
namespace {

enum class Field : std::uint32_t {
  kGlobalAddress,
  kRank,
  kBoxDim,
  kGlobalDim,
  kGlobalStride,
  kElementStride,
  kElemtype,
  kInterleave,
  kSwizzleMode,
  kSwizzleAtomicity,
  kFillMode
};

/// PTX numbers element types by itself: index in this table to CUtensorMapDataType.
constexpr TensorMapType kElementTypes[] = {
    TensorMapType::kU8,      TensorMapType::kU16,      TensorMapType::kU32,       TensorMapType::kS32,
    TensorMapType::kU64,     TensorMapType::kS64,      TensorMapType::kF16,       TensorMapType::kF32,
    TensorMapType::kF32Ftz,  TensorMapType::kF64,      TensorMapType::kBf16,      TensorMapType::kTf32,
    TensorMapType::kTf32Ftz, TensorMapType::kU4Align8, TensorMapType::kU4Align16, TensorMapType::kU6Align16};

/// Swizzle mode (0 none, 1 32B, 2 64B, 3 128B) and atomicity (0 16B, 1 32B, 2 32B with flip, 3 64B) of CUDA's one enum.
int mode_of(int swizzle) { return swizzle >= 4 ? 3 : swizzle; }
int atomicity_of(int swizzle) { return swizzle >= 4 ? swizzle - 3 : 0; }
int swizzle_of(int mode, int atomicity) {
  DW_REQUIRE(atomicity == 0 || mode == 3, kTensorMap,
             "tensormap.replace: swizzle atomicity {} needs the 128-byte swizzle mode, got mode {}",
             atomicity, mode);
  return atomicity == 0 ? mode : 3 + atomicity;
}

void replace_field(TensorMapSpec& map, Field field, std::uint32_t ordinal, std::uint64_t value) {
  auto in_range = [&](std::uint64_t limit, char const* what) {
    DW_REQUIRE(value < limit, kTensorMap, "tensormap.replace: {} is {}; 0 to {} are possible", what, value,
               limit - 1);
    return static_cast<int>(value);
  };
  switch (field) {
    case Field::kGlobalAddress: map.base = value; break;
    case Field::kRank: map.rank = in_range(5, "the rank, minus one,") + 1; break;
    case Field::kBoxDim: map.box[ordinal] = static_cast<std::uint32_t>(value); break;
    case Field::kGlobalDim: map.dims[ordinal] = value; break;
    case Field::kGlobalStride: map.strides_bytes[ordinal] = value; break;
    case Field::kElementStride: map.element_strides[ordinal] = static_cast<std::uint32_t>(value); break;
    case Field::kElemtype:
      map.data_type = static_cast<int>(kElementTypes[in_range(std::size(kElementTypes), "the element type")]);
      break;
    case Field::kInterleave: map.interleave = in_range(3, "the interleave layout"); break;
    case Field::kSwizzleMode:
      map.swizzle = swizzle_of(in_range(4, "the swizzle mode"), atomicity_of(map.swizzle));
      break;
    case Field::kSwizzleAtomicity:
      map.swizzle = swizzle_of(mode_of(map.swizzle), in_range(4, "the swizzle atomicity"));
      break;
    case Field::kFillMode: map.oob_fill = in_range(2, "the fill mode"); break;
  }
}

// Operands: address, then ordinal and new value, or new value. aux[0] space, aux[1] field, aux[2] ordinal, aux[3] value's index.
Outcome exec_replace(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t at[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, at);
  Value const& value = instr.v(static_cast<int>(instr.aux[3]));
  warp.require_defined(instr, value, mask, "the new value");
  for_lanes(mask, [&](int lane) {
    Place const place =
        resolve(warp, instr, lane, static_cast<Space>(instr.aux[0]), at[lane], 128, 16, Access::kReadWrite);
    reported(warp, instr, lane, [&] {
      DW_REQUIRE(place.initialised(128), kTensorMap, "the tensor map was never written completely");
      TensorMapSpec map = unpack_tensor_map(std::span<std::byte const>(place.data, 128));
      replace_field(map, static_cast<Field>(instr.aux[1]), instr.aux[2], warp.lane_of(value, lane));
      auto const bytes = pack_tensor_map(map);
      std::memcpy(place.data, bytes.data(), bytes.size());
      observe_one(warp, instr, lane, place, 128, race::kRead | race::kWrite);
    });
  });
  return Outcome::kNext;
}

template <bool kOrdinal>
Exec bind_replace(Instr& instr, BindContext const& context) {
  instr.aux[0] = static_cast<std::uint32_t>(instr.has(".global") ? Space::kGlobal : shared_space_of(instr));
  static constexpr std::pair<char const*, Field> kFields[] = {
      {".global_address", Field::kGlobalAddress},
      {".rank", Field::kRank},
      {".box_dim", Field::kBoxDim},
      {".global_dim", Field::kGlobalDim},
      {".global_stride", Field::kGlobalStride},
      {".element_stride", Field::kElementStride},
      {".elemtype", Field::kElemtype},
      {".interleave_layout", Field::kInterleave},
      {".swizzle_mode", Field::kSwizzleMode},
      {".swizzle_atomicity", Field::kSwizzleAtomicity},
      {".fill_mode", Field::kFillMode}};
  Field field = Field::kRank;
  for (auto const& [name, known] : kFields) {
    if (instr.has(name)) field = known;
  }
  instr.aux[1] = static_cast<std::uint32_t>(field);
  instr.aux[3] = kOrdinal ? 2 : 1;
  if (kOrdinal) {
    std::int64_t const limit = field == Field::kGlobalStride ? 4 : 5;
    if (!instr.ops[1].is_immediate || instr.ops[1].immediate < 0 || instr.ops[1].immediate >= limit) {
      throw unsupported(instr, fmt::format("the ordinal must be a constant, 0 to {}", limit - 1));
    }
    instr.aux[2] = static_cast<std::uint32_t>(instr.ops[1].immediate);
  }
  static constexpr std::pair<Field, std::int64_t> kNumbered[] = {{Field::kElemtype, 16},
                                                                 {Field::kInterleave, 3},
                                                                 {Field::kSwizzleMode, 4},
                                                                 {Field::kSwizzleAtomicity, 4},
                                                                 {Field::kFillMode, 2}};
  for (auto [numbered, limit] : kNumbered) {
    if (numbered == Field::kElemtype && context.target.is_hopper()) limit = 13;  // no packed types
    if (field == numbered &&
        (!instr.ops[1].is_immediate || instr.ops[1].immediate < 0 || instr.ops[1].immediate >= limit))
      throw unsupported(instr, fmt::format("the new value must be a constant, 0 to {}", limit - 1));
  }
  return exec_replace;
}

// Operands: global destination, shared source, 128. The warp makes one copy: all lanes name the same addresses.
Outcome exec_copy_fence(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t to[kLanes], from[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, from);
  int const first = std::countr_zero(mask);
  for_lanes(mask, [&](int lane) {
    if (to[lane] != to[first] || from[lane] != from[first])
      fail(warp, instr, lane, "the lanes of the warp name different addresses");
  });
  Place const source = resolve(warp, instr, first, Space::kShared, from[first], 128, 16, Access::kRead);
  Place const target = resolve(warp, instr, first, Space::kGlobal, to[first], 128, 64, Access::kWrite);
  if (warp.check && !source.initialised(128))
    fail(warp, instr, first, "the tensor map was never written completely");
  reported(warp, instr, first, [&] { unpack_tensor_map(std::span<std::byte const>(source.data, 128)); });
  std::memcpy(target.data, source.data, 128);
  target.mark(128, true);
  observe_one(warp, instr, first, source, 128, race::kRead);
  observe_one(warp, instr, first, target, 128, race::kWrite);
  return Outcome::kNext;
}

Exec bind_copy_fence(Instr& instr, BindContext const&) {
  if (!instr.ops[2].is_immediate || instr.ops[2].immediate != 128)
    throw unsupported(instr, "the size must be 128");
  return exec_copy_fence;
}

// A prefetch moves nothing that a program can see, and an address that is no memory is allowed.
Outcome exec_nothing(Warp&, Instr const&, Mask) { return Outcome::kNext; }

// Operand: address of a tensor map, which must be there.
Outcome exec_prefetch_map(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t at[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, at);
  Space const space = instr.has(".param") ? Space::kParam : Space::kGeneric;
  for_lanes(mask, [&](int lane) { resolve(warp, instr, lane, space, at[lane], 128, 64, Access::kRead); });
  return Outcome::kNext;
}

// Operands: global address, 128. The bytes are lost.
Outcome exec_discard(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t at[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, at);
  for_lanes(mask, [&](int lane) {
    Place const place =
        resolve(warp, instr, lane, static_cast<Space>(instr.aux[0]), at[lane], 128, 128, Access::kWrite);
    if (place.space != Space::kGlobal) fail(warp, instr, lane, "the address is not in global memory");
    if (instr.aux[1] != 0) {
      place.mark(128, false);
      observe_one(warp, instr, lane, place, 128, race::kWrite);
    }
  });
  return Outcome::kNext;
}

template <bool kDiscard>
Exec bind_discard(Instr& instr, BindContext const&) {
  if (!instr.ops[1].is_immediate || instr.ops[1].immediate != 128)
    throw unsupported(instr, "the size must be 128");
  instr.aux[0] = static_cast<std::uint32_t>(instr.has(".global") ? Space::kGlobal : Space::kGeneric);
  instr.aux[1] = kDiscard;
  return exec_discard;
}

// The policy is opaque; the machine has no caches, so every policy is the same word.
Outcome exec_create_policy(Warp& warp, Instr const& instr, Mask mask) {
  for_lanes(mask, [&](int lane) { warp.set_lane(instr.v(0), lane, 0x1000000000000000ull); });
  if (warp.check) warp.set_poison(instr.v(0), mask, 0);
  return Outcome::kNext;
}

constexpr std::string_view kReplace = "9.7.9.27.1.1 tensormap.replace",
                           kCopyFence = "9.7.13.15.18 tensormap.cp_fenceproxy",
                           kPrefetch = "9.7.9.15 prefetch, prefetchu", kPolicy = "9.7.9.18 createpolicy",
                           kApply = "9.7.9.16 applypriority", kDiscardSection = "9.7.9.17 discard";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "tensormap .replace .tile .global_address [.global|.shared::cta] .b1024 .b64", .operands = "a, s64", .ptx = 83, .needs = Needs::kSm90aPlus, .section = kReplace, .bind = bind_replace<false>},
    {.pattern = "tensormap .replace .tile .rank [.global|.shared::cta] .b1024 .b32", .operands = "a, s32", .ptx = 83, .needs = Needs::kSm90aPlus, .section = kReplace, .bind = bind_replace<false>},
    {.pattern = "tensormap .replace .tile (.box_dim|.global_dim|.element_stride) [.global|.shared::cta] .b1024 .b32", .operands = "a, s32, s32", .ptx = 83, .needs = Needs::kSm90aPlus, .section = kReplace, .bind = bind_replace<true>},
    {.pattern = "tensormap .replace .tile .global_stride [.global|.shared::cta] .b1024 .b64", .operands = "a, s32, s64", .ptx = 83, .needs = Needs::kSm90aPlus, .section = kReplace, .bind = bind_replace<true>},
    {.pattern = "tensormap .replace .tile (.elemtype|.interleave_layout|.swizzle_mode|.fill_mode) [.global|.shared::cta] .b1024 .b32", .operands = "a, s32", .ptx = 83, .needs = Needs::kSm90aPlus, .section = kReplace, .bind = bind_replace<false>},
    {.pattern = "tensormap .replace .tile .swizzle_atomicity [.global|.shared::cta] .b1024 .b32", .operands = "a, s32", .ptx = 86, .needs = Needs::kSm100aPlus, .section = kReplace, .bind = bind_replace<false>},
    {.pattern = "tensormap .cp_fenceproxy .global .shared::cta .tensormap::generic .release (.cta|.cluster|.gpu|.sys) .sync .aligned", .operands = "a, a, s32", .ptx = 83, .needs = Needs::kSm90, .section = kCopyFence, .bind = bind_copy_fence, .rendezvous = Rendezvous::kAligned},
    {.pattern = "prefetch [.global|.local] (.L1|.L2)", .operands = "a", .ptx = 20, .section = kPrefetch, .exec = exec_nothing},
    {.pattern = "prefetch .global (.L2::evict_last|.L2::evict_normal)", .operands = "a", .ptx = 74, .needs = Needs::kSm80, .section = kPrefetch, .exec = exec_nothing},
    {.pattern = "prefetch [.const|.param] .tensormap", .operands = "a", .ptx = 80, .needs = Needs::kSm90, .section = kPrefetch, .exec = exec_prefetch_map},
    {.pattern = "prefetchu .L1", .operands = "a", .ptx = 20, .section = kPrefetch, .exec = exec_nothing},
    {.pattern = "applypriority [.global] .L2::evict_normal", .operands = "a, s32", .ptx = 74, .needs = Needs::kSm80, .section = kApply, .bind = bind_discard<false>},
    {.pattern = "discard [.global] .L2", .operands = "a, s32", .ptx = 74, .needs = Needs::kSm80, .section = kDiscardSection, .bind = bind_discard<true>},
    {.pattern = "createpolicy .fractional (.L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged) [.L2::evict_first|.L2::evict_unchanged] .b64", .operands = "di64, ?sf32", .ptx = 74, .needs = Needs::kSm80, .section = kPolicy, .exec = exec_create_policy},
    {.pattern = "createpolicy .range [.global] (.L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged) [.L2::evict_first|.L2::evict_unchanged] .b64", .operands = "di64, a, si32, si32", .ptx = 74, .needs = Needs::kSm80, .section = kPolicy, .exec = exec_create_policy},
    {.pattern = "createpolicy .cvt .L2 .b64", .operands = "di64, si64", .ptx = 74, .needs = Needs::kSm80, .section = kPolicy, .exec = exec_create_policy},
};
// clang-format on

}  // namespace

std::span<Row const> tensor_map_op_rows() { return kRows; }

}  // namespace deepwell::emu
