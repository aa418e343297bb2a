// Instruction family: mma.sync of floating-point formats with 16 rows, block-scaled or not. Fragments are gathered into plain
// tiles; the arithmetic is num/'s.
#include "emu/instr/mma.hpp"

#include <algorithm>

namespace deepwell::emu {
namespace mma {

void begin(Warp& warp, Instr const& instr, Mask mask) {
  if (mask != kFullMask) {
    fail(warp, instr, std::countr_zero(~mask),
         fmt::format("mma needs all 32 lanes of the warp, but only lanes {:#010x} execute it", mask));
  }
  static constexpr char const* kNames[] = {"", "operand a of mma", "operand b of mma", "operand c of mma"};
  for (std::size_t i = kA; i <= kC; ++i) {
    for (Value const& value : instr.ops[i].elements) warp.require_defined(instr, value, mask, kNames[i]);
  }
}

namespace {

/// A byte-id or thread-id, which must be the same in all lanes.
std::uint32_t selector_of(Warp& warp, Instr const& instr, Value const& value, char const* what,
                          char const* name) {
  warp.require_defined(instr, value, kFullMask, "a scale selector of mma");
  std::uint32_t const* const lanes = warp.s32(value);
  if (!value.is_constant() && std::memcmp(lanes, lanes + 1, (kLanes - 1) * sizeof *lanes) != 0) {
    int const lane = static_cast<int>(std::mismatch(lanes, lanes + kLanes - 1, lanes + 1).second - lanes);
    fail(warp, instr, lane,
         fmt::format("{} of scale {} is {} here but {} in lane 0; it must be the same in all lanes", what,
                     name, lanes[lane], lanes[0]));
  }
  return lanes[0];
}

/// Why {byte-id, thread-id} cannot be, or nothing.
std::string wrong_ids(std::uint64_t byte_id, std::uint64_t thread_id, bool of_a, int count) {
  std::uint64_t const step = static_cast<std::uint64_t>(count);
  if (byte_id > 4 - step || byte_id % step != 0) {
    return fmt::format("byte-id of scale {} is {}, expected {}", of_a ? "a" : "b", byte_id,
                       count == 1   ? "0 to 3"
                       : count == 2 ? "0 or 2"
                                    : "0");
  }
  if (thread_id > (of_a ? 1u : 3u)) {
    return fmt::format("thread-id of scale {} is {}, expected 0 to {}", of_a ? "a" : "b", thread_id,
                       of_a ? 1 : 3);
  }
  return {};
}

}  // namespace

void gather_scales(Warp& warp, Instr const& instr, std::size_t first, bool of_a, int count,
                   std::uint8_t* out) {
  Operand const& data = instr.ops[of_a ? first : first + 2];
  Operand const& selector = instr.ops[of_a ? first + 1 : first + 3];
  char const* const name = of_a ? "a" : "b";
  std::uint32_t const byte_id = selector_of(warp, instr, selector.elements[0], "byte-id", name);
  std::uint32_t const thread_id = selector_of(warp, instr, selector.elements[1], "thread-id", name);
  if (std::string const wrong = wrong_ids(byte_id, thread_id, of_a, count); !wrong.empty())
    fail(warp, instr, -1, wrong);
  Value const& value = data.elements.empty() ? data.value : data.elements[0];
  std::uint32_t const* const lanes = warp.s32(value);
  // Row g of A is in lane 4g + 2 thread-id, row g + 8 in the next; column g of B in lane 4g + thread-id.
  warp.require_defined(instr, value, of_a ? 0x33333333u << 2 * thread_id : 0x11111111u << thread_id,
                       of_a ? "scale a of mma" : "scale b of mma");
  auto const take = [&](int row, std::uint32_t word) {
    std::uint32_t const codes = word >> (8 * byte_id);
    std::memcpy(out + row * count, &codes, static_cast<std::size_t>(count));
  };
  for (int row = 0; row < 8; ++row) {
    std::uint32_t const* const four = lanes + 4 * row + (of_a ? 2 * thread_id : thread_id);
    take(row, four[0]);
    if (of_a) take(row + 8, four[1]);
  }
}

num::Format operand_format(Instr const& instr, std::string_view part) {
  using num::Format;
  static constexpr std::pair<std::string_view, Format> kFormats[] = {
      {".e4m3", Format::kE4m3}, {".e5m2", Format::kE5m2}, {".e3m2", Format::kE3m2}, {".e2m3", Format::kE2m3},
      {".e2m1", Format::kE2m1}, {".bf16", Format::kBf16}, {".f16", Format::kF16},   {".tf32", Format::kTf32},
  };
  for (auto const& [name, format] : kFormats) {
    if (name == part) return format;
  }
  throw unsupported(instr, fmt::format("no operand format {}", part));
}

Types types_of(Instr const& instr) {
  auto const& parts = instr.info->parts;
  std::size_t const after = instr.has(".block_scale") || parts.back() == ".satfinite" ? 1 : 0;
  std::size_t const d = parts.size() - 4 - after;
  return {parts[d], parts[d + 1], parts[d + 2], parts[d + 3],
          after ? std::string_view(parts[d + 4]) : std::string_view()};
}

void set_common(Instr& instr, BindContext const& context) {
  instr.is_mma = true;
  for (std::string const& part : instr.info->parts) {
    std::size_t const n = part.find('n'), k = part.rfind('k');
    if (!part.starts_with(".m") || n == std::string::npos || k == std::string::npos || k < n) continue;
    instr.aux[kShapeRows] = static_cast<std::uint32_t>(std::stoi(part.substr(2)));
    instr.aux[kK] = static_cast<std::uint32_t>(std::stoi(part.substr(k + 1)));
    instr.multiply_adds =
        instr.aux[kShapeRows] * static_cast<std::uint32_t>(std::stoi(part.substr(n + 1))) * instr.aux[kK];
  }
  if (instr.aux[kK] == 0) throw unsupported(instr, "an mma without a shape");
  instr.aux[kCore] = static_cast<std::uint32_t>(context.target.is_hopper() ? num::TensorCore::kHopper
                                                                           : num::TensorCore::kBlackwell);
}

void check_scale_operands(Instr const& instr, std::size_t first, int count) {
  for (bool const of_a : {true, false}) {
    Operand const& data = instr.ops[of_a ? first : first + 2];
    bool const one = data.elements.size() == 1 || (data.elements.empty() && data.value.exists());
    Value const& value = data.elements.empty() ? data.value : data.elements[0];
    if (!one || value.bits != 32 || !value.is_register())
      throw unsupported(instr, "scale data that is not one 32-bit register");
    auto const& ids = instr.ops[of_a ? first + 1 : first + 3];
    std::uint64_t known[2] = {};
    for (std::size_t i = 0; i < 2 && i < ids.element_immediates.size(); ++i)
      known[i] = static_cast<std::uint64_t>(ids.element_immediates[i].value_or(0));
    if (std::string const wrong = wrong_ids(known[0], known[1], of_a, count); !wrong.empty())
      throw unsupported(instr, wrong);
  }
}

int bind_fp4_scales(Instr& instr) {
  bool const four = instr.has(".scale_vec::4X");
  bool const ue4m3 = types_of(instr).scale == ".ue4m3";
  if (four != ue4m3)
    throw unsupported(instr, "scale_vec::4X goes with ue4m3 scales, scale_vec::2X with ue8m0");
  instr.aux[kScaleFormat] = static_cast<std::uint32_t>(ue4m3 ? num::Format::kUe4m3 : num::Format::kUe8m0);
  return four ? 4 : 2;
}

}  // namespace mma

namespace {

using namespace mma;
using num::Format;

constexpr std::string_view kSection = "Warp-level matrix instructions: mma";
constexpr std::string_view kScaledSection = "Warp-level matrix instructions: mma with block scaling";
constexpr std::size_t kScales = 4;  // first operand after C

enum class Kind { kF32, kF16, kScaled };  // the accumulator; block-scaled ones have f32

template <class Code, int kMaxK, Kind kKind>
Outcome run_float(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  alignas(64) Code a[num::kMmaM * kMaxK];
  alignas(64) Code b[num::kMmaN * kMaxK];
  Accumulators sums;
  constexpr bool kHalf = kKind == Kind::kF16;
  int const k = static_cast<int>(instr.aux[kK]);
  gather_a(warp, instr, k * static_cast<int>(sizeof(Code)), a);
  gather_b(warp, instr, k * static_cast<int>(sizeof(Code)), b);
  gather_c<kHalf>(warp, instr, sums);
  num::MmaTile<Code> tile{.a_format = static_cast<Format>(instr.aux[kFormatA]),
                          .b_format = static_cast<Format>(instr.aux[kFormatB]),
                          .k = k,
                          .a = a,
                          .b = b,
                          .c = sums.data(),
                          .d = sums.data(),
                          .accumulator = kHalf ? Format::kF16 : Format::kF32};
  std::uint8_t scale_a[num::kMmaM], scale_b[num::kMmaN];
  if constexpr (kKind == Kind::kScaled) {
    gather_scales(warp, instr, kScales, true, 1, scale_a);
    gather_scales(warp, instr, kScales, false, 1, scale_b);
    tile.scale_a = scale_a;
    tile.scale_b = scale_b;
  }
  num::mma(core_of(instr), tile);
  scatter_d<kHalf>(warp, instr, sums);
  return Outcome::kNext;
}

template <int kBlocks>
Outcome run_fp4(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  constexpr int kRowBytes = 32;
  alignas(64) std::uint8_t a[num::kMmaM * kRowBytes];
  alignas(64) std::uint8_t b[num::kMmaN * kRowBytes];
  Accumulators sums;
  gather_a(warp, instr, kRowBytes, a);
  gather_b(warp, instr, kRowBytes, b);
  gather_c<false>(warp, instr, sums);
  std::uint8_t scale_a[num::kMmaM * kBlocks], scale_b[num::kMmaN * kBlocks];
  gather_scales(warp, instr, kScales, true, kBlocks, scale_a);
  gather_scales(warp, instr, kScales, false, kBlocks, scale_b);
  num::mma_fp4({.scale_format = static_cast<Format>(instr.aux[kScaleFormat]),
                .blocks = kBlocks,
                .a = a,
                .b = b,
                .scale_a = scale_a,
                .scale_b = scale_b,
                .c = sums.data(),
                .d = sums.data()});
  scatter_d<false>(warp, instr, sums);
  return Outcome::kNext;
}

Exec bind_float(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  Types const types = types_of(instr);
  Format const a = operand_format(instr, types.a), b = operand_format(instr, types.b);
  instr.aux[kFormatA] = static_cast<std::uint32_t>(a);
  instr.aux[kFormatB] = static_cast<std::uint32_t>(b);
  bool const half = types.d == ".f16";
  switch (a) {
    case Format::kBf16: return run_float<std::uint16_t, 16, Kind::kF32>;
    case Format::kF16:
      return half ? run_float<std::uint16_t, 16, Kind::kF16> : run_float<std::uint16_t, 16, Kind::kF32>;
    case Format::kTf32: return run_float<std::uint32_t, 8, Kind::kF32>;
    default: return half ? run_float<std::uint8_t, 32, Kind::kF16> : run_float<std::uint8_t, 32, Kind::kF32>;
  }
}

Exec bind_scaled(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  check_scale_operands(instr, kScales, 1);
  Types const types = types_of(instr);
  instr.aux[kFormatA] = static_cast<std::uint32_t>(operand_format(instr, types.a));
  instr.aux[kFormatB] = static_cast<std::uint32_t>(operand_format(instr, types.b));
  return run_float<std::uint8_t, 32, Kind::kScaled>;
}

Exec bind_fp4(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  int const blocks = bind_fp4_scales(instr);
  check_scale_operands(instr, kScales, blocks);
  return blocks == 4 ? run_fp4<4> : run_fp4<2>;
}

// Operand vectors of 16x8 f32 accumulators with A in four or two registers.
constexpr std::string_view kA4 = "d4x32, s4x32, s2x32, s4x32";
constexpr std::string_view kA2 = "d4x32, s2x32, s1x32, s4x32";
constexpr std::string_view kA4Half = "d2x32, s4x32, s2x32, s2x32";
constexpr std::string_view kA2Half = "d2x32, s2x32, s1x32, s2x32";
constexpr std::string_view kA4Scaled = "d4x32, s4x32, s2x32, s4x32, x, s2x16, x, s2x16";

constexpr Row row(std::string_view pattern, std::string_view operands, int ptx, Needs needs,
                  Exec (*bind)(Instr&, BindContext const&), std::string_view section = kSection) {
  return mma::row(pattern, operands, ptx, needs, bind, section, kArithmetic);
}

#define DW_F8 "(.e4m3|.e5m2)"
#define DW_F8F6F4 "(.e4m3|.e5m2|.e3m2|.e2m3|.e2m1)"
// clang-format off
constexpr Row kRows[] = {
    row("mma .sync .aligned .m16n8k16 .row .col .f32 .f16 .f16 .f32", kA4, 70, Needs::kSm80, bind_float),
    row("mma .sync .aligned .m16n8k8 .row .col .f32 .f16 .f16 .f32", kA2, 65, Needs::kAny, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .f16 .f16 .f16 .f16", kA4Half, 70, Needs::kSm80, bind_float),
    row("mma .sync .aligned .m16n8k8 .row .col .f16 .f16 .f16 .f16", kA2Half, 65, Needs::kAny, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .f32 .bf16 .bf16 .f32", kA4, 70, Needs::kSm80, bind_float),
    row("mma .sync .aligned .m16n8k8 .row .col .f32 .bf16 .bf16 .f32", kA2, 70, Needs::kSm80, bind_float),
    row("mma .sync .aligned .m16n8k8 .row .col .f32 .tf32 .tf32 .f32", kA4, 70, Needs::kSm80, bind_float),
    row("mma .sync .aligned .m16n8k4 .row .col .f32 .tf32 .tf32 .f32", kA2, 70, Needs::kSm80, bind_float),

    row("mma .sync .aligned .m16n8k32 .row .col .f32 " DW_F8 " " DW_F8 " .f32", kA4, 84, Needs::kSm89, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .f32 " DW_F8 " " DW_F8 " .f32", kA2, 87, Needs::kSm89, bind_float),
    row("mma .sync .aligned .m16n8k32 .row .col .f16 " DW_F8 " " DW_F8 " .f16", kA4Half, 87, Needs::kSm89, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .f16 " DW_F8 " " DW_F8 " .f16", kA2Half, 87, Needs::kSm89, bind_float),

    row("mma .sync .aligned .kind::f8f6f4 .m16n8k32 .row .col .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32", kA4, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .m16n8k32 .row .col .kind::f8f6f4 .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32", kA4, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .kind::f8f6f4 .m16n8k32 .row .col .f16 " DW_F8F6F4 " " DW_F8F6F4 " .f16", kA4Half, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .m16n8k32 .row .col .kind::f8f6f4 .f16 " DW_F8F6F4 " " DW_F8F6F4 " .f16", kA4Half, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .kind::f8f6f4 .m16n8k16 .row .col .f32 " DW_F8 " " DW_F8 " .f32", kA2, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .kind::f8f6f4 .f32 " DW_F8 " " DW_F8 " .f32", kA2, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .kind::f8f6f4 .m16n8k16 .row .col .f16 " DW_F8 " " DW_F8 " .f16", kA2Half, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .kind::f8f6f4 .f16 " DW_F8 " " DW_F8 " .f16", kA2Half, 87, Needs::kSm120aPlus, bind_float),

    row("mma .sync .aligned .kind::mxf8f6f4 .block_scale [.scale_vec::1X] .m16n8k32 .row .col .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_scaled, kScaledSection),
    row("mma .sync .aligned .m16n8k32 .row .col .kind::mxf8f6f4 .block_scale [.scale_vec::1X] .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_scaled, kScaledSection),

    row("mma .sync .aligned .kind::mxf4 .block_scale [.scale_vec::2X] .m16n8k64 .row .col .f32 .e2m1 .e2m1 .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),
    row("mma .sync .aligned .m16n8k64 .row .col .kind::mxf4 .block_scale [.scale_vec::2X] .f32 .e2m1 .e2m1 .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),
    row("mma .sync .aligned .kind::mxf4nvf4 .block_scale (.scale_vec::2X|.scale_vec::4X) .m16n8k64 .row .col .f32 .e2m1 .e2m1 .f32 (.ue8m0|.ue4m3)", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),
    row("mma .sync .aligned .m16n8k64 .row .col .kind::mxf4nvf4 .block_scale (.scale_vec::2X|.scale_vec::4X) .f32 .e2m1 .e2m1 .f32 (.ue8m0|.ue4m3)", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),
};
// clang-format on
#undef DW_F8
#undef DW_F8F6F4

}  // namespace

std::span<Row const> mma_rows() { return kRows; }

}  // namespace deepwell::emu
