// Instruction family: mma.sync in all its forms. Fragments are gathered into plain tiles; the arithmetic is num/'s.
//
// Lane l = 4g + t. With p elements in a 32-bit register and registers r counted from 0: register r of A holds row
// g + 8 (r & 1), columns 4p (r >> 1) + p t and on; register r of B holds column g, rows 4p r + p t and on; C and D hold row
// g + 8 (r >> 1), column 2t + (r & 1), or for f16 row g + 8r, columns 2t and 2t + 1.
#include <bit>
#include <cstring>

#include "emu/instr/instr.hpp"
#include "num/tensor_core.hpp"

namespace deepwell::emu {
namespace {

using num::Format;
static_assert(std::endian::native == std::endian::little,
              "fragments are copied byte by byte, low element first");

constexpr std::string_view kSection = "Warp-level matrix instructions: mma";
constexpr std::string_view kScaledSection = "Warp-level matrix instructions: mma with block scaling";
constexpr std::string_view kArithmetic =
    "bit for bit as published: products exact, aligned to the largest exponent, truncated; see "
    "num/tensor_core.hpp";

// Instr::aux of this family.
enum Aux : std::size_t { kFormatA, kFormatB, kK, kAccumulator, kCore, kScaleVector, kScaleFormat, kSaturate };

enum OperandIndex : std::size_t { kD, kA, kB, kC, kScaleA, kSelectorA, kScaleB, kSelectorB };

int lane_row(int lane, int reg) { return lane / 4 + 8 * (reg & 1); }

template <class Code>
void gather_a(Warp& warp, Instr const& instr, int k, Code* out) {
  constexpr int kPerRegister = 4 / sizeof(Code);
  auto const& registers = instr.ops[kA].elements;
  for (int r = 0; r < static_cast<int>(registers.size()); ++r) {
    std::uint32_t const* const lanes = warp.s32(registers[static_cast<std::size_t>(r)]);
    int const column = 4 * kPerRegister * (r >> 1);
    for (int lane = 0; lane < kLanes; ++lane) {
      std::memcpy(out + lane_row(lane, r) * k + column + kPerRegister * (lane % 4), &lanes[lane], 4);
    }
  }
}

template <class Code>
void gather_b(Warp& warp, Instr const& instr, int k, Code* out) {
  constexpr int kPerRegister = 4 / sizeof(Code);
  auto const& registers = instr.ops[kB].elements;
  for (int r = 0; r < static_cast<int>(registers.size()); ++r) {
    std::uint32_t const* const lanes = warp.s32(registers[static_cast<std::size_t>(r)]);
    int const row = 4 * kPerRegister * r;
    for (int lane = 0; lane < kLanes; ++lane) {
      std::memcpy(out + lane / 4 * k + row + kPerRegister * (lane % 4), &lanes[lane], 4);
    }
  }
}

using Accumulators = std::array<std::uint32_t, num::kMmaM * num::kMmaN>;

void gather_c(Warp& warp, Instr const& instr, bool half, Accumulators& out) {
  auto const& registers = instr.ops[kC].elements;
  for (int r = 0; r < static_cast<int>(registers.size()); ++r) {
    std::uint32_t const* const lanes = warp.s32(registers[static_cast<std::size_t>(r)]);
    for (int lane = 0; lane < kLanes; ++lane) {
      std::uint32_t const bits = lanes[lane];
      if (half) {
        std::uint32_t* const at =
            &out[static_cast<std::size_t>((lane / 4 + 8 * r) * num::kMmaN + 2 * (lane % 4))];
        at[0] = bits & 0xffff;
        at[1] = bits >> 16;
      } else {
        out[static_cast<std::size_t>((lane / 4 + 8 * (r >> 1)) * num::kMmaN + 2 * (lane % 4) + (r & 1))] =
            bits;
      }
    }
  }
}

void scatter_d(Warp& warp, Instr const& instr, bool half, Accumulators const& in) {
  auto const& registers = instr.ops[kD].elements;
  for (int r = 0; r < static_cast<int>(registers.size()); ++r) {
    Value const& value = registers[static_cast<std::size_t>(r)];
    std::uint32_t* const lanes = warp.d32(value);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (half) {
        std::uint32_t const* const at =
            &in[static_cast<std::size_t>((lane / 4 + 8 * r) * num::kMmaN + 2 * (lane % 4))];
        lanes[lane] = at[0] | at[1] << 16;
      } else {
        lanes[lane] =
            in[static_cast<std::size_t>((lane / 4 + 8 * (r >> 1)) * num::kMmaN + 2 * (lane % 4) + (r & 1))];
      }
    }
    if (warp.check) warp.set_poison(value, kFullMask, 0);
  }
}

/// All 32 lanes must be there, with defined operands.
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

num::TensorCore core_of(Instr const& instr) { return static_cast<num::TensorCore>(instr.aux[kCore]); }

/// The scale codes of `rows` rows (of A) or columns (of B), `count` bytes each, chosen by {byte-id, thread-id}.
void gather_scales(Warp& warp, Instr const& instr, bool of_a, int count, std::uint8_t* out) {
  Operand const& data = instr.ops[of_a ? kScaleA : kScaleB];
  Operand const& selector = instr.ops[of_a ? kSelectorA : kSelectorB];
  char const* const name = of_a ? "a" : "b";
  auto uniform = [&](Value const& value, char const* what) {
    warp.require_defined(instr, value, kFullMask, "a scale selector of mma");
    std::uint64_t const first = warp.lane_of(value, 0);
    for (int lane = 1; lane < kLanes; ++lane) {
      if (warp.lane_of(value, lane) != first) {
        fail(warp, instr, lane,
             fmt::format("{} of scale {} is {} here but {} in lane 0; it must be the same in all lanes", what,
                         name, warp.lane_of(value, lane), first));
      }
    }
    return first;
  };
  std::uint64_t const byte_id = uniform(selector.elements[0], "byte-id");
  std::uint64_t const thread_id = uniform(selector.elements[1], "thread-id");
  std::uint64_t const max_byte = 4 - static_cast<std::uint64_t>(count);
  if (byte_id > max_byte || byte_id % static_cast<std::uint64_t>(count) != 0) {
    fail(warp, instr, -1,
         fmt::format("byte-id of scale {} is {}, expected {}", name, byte_id,
                     count == 1   ? "0 to 3"
                     : count == 2 ? "0 or 2"
                                  : "0"));
  }
  if (thread_id > (of_a ? 1u : 3u)) {
    fail(warp, instr, -1,
         fmt::format("thread-id of scale {} is {}, expected 0 to {}", name, thread_id, of_a ? 1 : 3));
  }
  Value const& value = data.elements.empty() ? data.value : data.elements[0];
  int const rows = of_a ? num::kMmaM : num::kMmaN;
  Mask sources = 0;
  std::uint32_t const* const lanes = warp.s32(value);
  for (int row = 0; row < rows; ++row) {
    int const lane = of_a ? 4 * (row % 8) + 2 * static_cast<int>(thread_id) + row / 8
                          : 4 * row + static_cast<int>(thread_id);
    sources |= Mask{1} << lane;
    for (int i = 0; i < count; ++i) {
      out[row * count + i] =
          static_cast<std::uint8_t>(lanes[lane] >> (8 * (byte_id + static_cast<std::uint64_t>(i))));
    }
  }
  warp.require_defined(instr, value, sources, of_a ? "scale a of mma" : "scale b of mma");
}

template <class Code, int kMaxK, bool kScaled>
Outcome run_float(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  alignas(64) Code a[num::kMmaM * kMaxK];
  alignas(64) Code b[num::kMmaN * kMaxK];
  Accumulators sums;
  int const k = static_cast<int>(instr.aux[kK]);
  Format const accumulator = static_cast<Format>(instr.aux[kAccumulator]);
  bool const half = accumulator == Format::kF16;
  gather_a(warp, instr, k, a);
  gather_b(warp, instr, k, b);
  gather_c(warp, instr, half, sums);
  num::MmaTile<Code> tile{.a_format = static_cast<Format>(instr.aux[kFormatA]),
                          .b_format = static_cast<Format>(instr.aux[kFormatB]),
                          .k = k,
                          .a = a,
                          .b = b,
                          .c = sums.data(),
                          .d = sums.data(),
                          .accumulator = accumulator};
  std::uint8_t scale_a[num::kMmaM], scale_b[num::kMmaN];
  if constexpr (kScaled) {
    gather_scales(warp, instr, true, 1, scale_a);
    gather_scales(warp, instr, false, 1, scale_b);
    tile.scale_a = scale_a;
    tile.scale_b = scale_b;
  }
  num::mma(core_of(instr), tile);
  scatter_d(warp, instr, half, sums);
  return Outcome::kNext;
}

Outcome run_fp4(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  constexpr int kRowBytes = 32;
  alignas(64) std::uint8_t a[num::kMmaM * kRowBytes];
  alignas(64) std::uint8_t b[num::kMmaN * kRowBytes];
  Accumulators sums;
  gather_a(warp, instr, kRowBytes, a);
  gather_b(warp, instr, kRowBytes, b);
  gather_c(warp, instr, false, sums);
  int const blocks = static_cast<int>(instr.aux[kScaleVector]);
  std::uint8_t scale_a[num::kMmaM * 4], scale_b[num::kMmaN * 4];
  gather_scales(warp, instr, true, blocks, scale_a);
  gather_scales(warp, instr, false, blocks, scale_b);
  num::mma_fp4({.scale_format = static_cast<Format>(instr.aux[kScaleFormat]),
                .blocks = blocks,
                .a = a,
                .b = b,
                .scale_a = scale_a,
                .scale_b = scale_b,
                .c = sums.data(),
                .d = sums.data()});
  scatter_d(warp, instr, false, sums);
  return Outcome::kNext;
}

Outcome run_int(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  alignas(64) std::uint8_t a[num::kMmaM * 32];
  alignas(64) std::uint8_t b[num::kMmaN * 32];
  Accumulators sums;
  int const k = static_cast<int>(instr.aux[kK]);
  gather_a(warp, instr, k, a);
  gather_b(warp, instr, k, b);
  gather_c(warp, instr, false, sums);
  num::mma_int({.a_signed = instr.aux[kFormatA] != 0,
                .b_signed = instr.aux[kFormatB] != 0,
                .satfinite = instr.aux[kSaturate] != 0,
                .k = k,
                .a = a,
                .b = b,
                .c = sums.data(),
                .d = sums.data()});
  scatter_d(warp, instr, false, sums);
  return Outcome::kNext;
}

struct NamedFormat {
  std::string_view name;
  Format format;
};
constexpr NamedFormat kOperandFormats[] = {
    {".e4m3", Format::kE4m3}, {".e5m2", Format::kE5m2}, {".e3m2", Format::kE3m2}, {".e2m3", Format::kE2m3},
    {".e2m1", Format::kE2m1}, {".bf16", Format::kBf16}, {".f16", Format::kF16},   {".tf32", Format::kTf32},
};

Format operand_format(Instr const& instr, std::string_view part) {
  for (NamedFormat const& known : kOperandFormats) {
    if (known.name == part) return known.format;
  }
  throw unsupported(instr, fmt::format("no operand format {}", part));
}

/// The opcode ends in d, a, b and c type, and for block scaling the scale's type after them.
struct Types {
  std::string_view d, a, b, c, scale;
};
Types types_of(Instr const& instr) {
  auto const& parts = instr.info->parts;
  std::size_t const after = instr.has(".block_scale") ? 1 : 0;
  std::size_t const d = parts.size() - 4 - after;
  return {parts[d], parts[d + 1], parts[d + 2], parts[d + 3],
          after ? std::string_view(parts[d + 4]) : std::string_view()};
}

int k_of(Instr const& instr) {
  for (std::string const& part : instr.info->parts) {
    if (part.starts_with(".m16n8k")) return std::stoi(part.substr(7));
  }
  throw unsupported(instr, "an mma without a shape");
}

void set_common(Instr& instr, BindContext const& context) {
  instr.is_mma = true;
  instr.aux[kK] = static_cast<std::uint32_t>(k_of(instr));
  instr.multiply_adds = num::kMmaM * num::kMmaN * instr.aux[kK];
  instr.aux[kCore] = static_cast<std::uint32_t>(context.target.is_hopper() ? num::TensorCore::kHopper
                                                                           : num::TensorCore::kBlackwell);
}

Exec bind_float(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  Types const types = types_of(instr);
  Format const a = operand_format(instr, types.a), b = operand_format(instr, types.b);
  instr.aux[kFormatA] = static_cast<std::uint32_t>(a);
  instr.aux[kFormatB] = static_cast<std::uint32_t>(b);
  instr.aux[kAccumulator] = static_cast<std::uint32_t>(types.d == ".f16" ? Format::kF16 : Format::kF32);
  switch (a) {
    case Format::kBf16:
    case Format::kF16: return run_float<std::uint16_t, 16, false>;
    case Format::kTf32: return run_float<std::uint32_t, 8, false>;
    default: return run_float<std::uint8_t, 32, false>;
  }
}

void check_scale_operands(Instr const& instr) {
  for (std::size_t i : {kScaleA, kScaleB}) {
    Operand const& data = instr.ops[i];
    bool const one = data.elements.size() == 1 || (data.elements.empty() && data.value.exists());
    Value const& value = data.elements.empty() ? data.value : data.elements[0];
    if (!one || value.bits != 32 || !value.is_register())
      throw unsupported(instr, "scale data that is not one 32-bit register");
  }
}

Exec bind_scaled(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  check_scale_operands(instr);
  Types const types = types_of(instr);
  instr.aux[kFormatA] = static_cast<std::uint32_t>(operand_format(instr, types.a));
  instr.aux[kFormatB] = static_cast<std::uint32_t>(operand_format(instr, types.b));
  instr.aux[kAccumulator] = static_cast<std::uint32_t>(Format::kF32);
  return run_float<std::uint8_t, 32, true>;
}

Exec bind_fp4(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  check_scale_operands(instr);
  bool const four = instr.has(".scale_vec::4X");
  bool const ue4m3 = types_of(instr).scale == ".ue4m3";
  if (four != ue4m3)
    throw unsupported(instr, "scale_vec::4X goes with ue4m3 scales, scale_vec::2X with ue8m0");
  instr.aux[kScaleVector] = four ? 4 : 2;
  instr.aux[kScaleFormat] = static_cast<std::uint32_t>(ue4m3 ? Format::kUe4m3 : Format::kUe8m0);
  return run_fp4;
}

Exec bind_int(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  Types const types = types_of(instr);
  instr.aux[kFormatA] = types.a == ".s8";
  instr.aux[kFormatB] = types.b == ".s8";
  instr.aux[kSaturate] = instr.has(".satfinite");
  return run_int;
}

// Operand vectors of 16x8 f32 accumulators with A in four or two registers.
constexpr std::string_view kA4 = "d4x32, s4x32, s2x32, s4x32";
constexpr std::string_view kA2 = "d4x32, s2x32, s1x32, s4x32";
constexpr std::string_view kA4Half = "d2x32, s4x32, s2x32, s2x32";
constexpr std::string_view kA2Half = "d2x32, s2x32, s1x32, s2x32";
constexpr std::string_view kA4Scaled = "d4x32, s4x32, s2x32, s4x32, x, s2x16, x, s2x16";

constexpr Row row(std::string_view pattern, std::string_view operands, int ptx, Needs needs,
                  Exec (*bind)(Instr&, BindContext const&), std::string_view section = kSection,
                  std::string_view note = kArithmetic) {
  Row out{};
  out.pattern = pattern;
  out.operands = operands;
  out.ptx = ptx;
  out.needs = needs;
  out.section = section;
  out.bind = bind;
  out.rendezvous = Rendezvous::kAligned;
  out.note = note;
  return out;
}

constexpr std::string_view kIntNote = "exact; wraps, or saturates with .satfinite";

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

    row("mma .sync .aligned .m16n8k32 .row .col .f32 (.e4m3|.e5m2) (.e4m3|.e5m2) .f32", kA4, 84, Needs::kSm89, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .f32 (.e4m3|.e5m2) (.e4m3|.e5m2) .f32", kA2, 87, Needs::kSm89, bind_float),
    row("mma .sync .aligned .m16n8k32 .row .col .f16 (.e4m3|.e5m2) (.e4m3|.e5m2) .f16", kA4Half, 87, Needs::kSm89, bind_float),
    row("mma .sync .aligned .m16n8k16 .row .col .f16 (.e4m3|.e5m2) (.e4m3|.e5m2) .f16", kA2Half, 87, Needs::kSm89, bind_float),

    row("mma .sync .aligned .kind::f8f6f4 .m16n8k32 .row .col .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32", kA4, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .m16n8k32 .row .col .kind::f8f6f4 .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32", kA4, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .kind::f8f6f4 .m16n8k32 .row .col .f16 " DW_F8F6F4 " " DW_F8F6F4 " .f16", kA4Half, 87, Needs::kSm120aPlus, bind_float),
    row("mma .sync .aligned .m16n8k32 .row .col .kind::f8f6f4 .f16 " DW_F8F6F4 " " DW_F8F6F4 " .f16", kA4Half, 87, Needs::kSm120aPlus, bind_float),

    row("mma .sync .aligned .kind::mxf8f6f4 .block_scale [.scale_vec::1X] .m16n8k32 .row .col .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_scaled, kScaledSection),
    row("mma .sync .aligned .m16n8k32 .row .col .kind::mxf8f6f4 .block_scale [.scale_vec::1X] .f32 " DW_F8F6F4 " " DW_F8F6F4 " .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_scaled, kScaledSection),

    row("mma .sync .aligned .kind::mxf4 .block_scale [.scale_vec::2X] .m16n8k64 .row .col .f32 .e2m1 .e2m1 .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),
    row("mma .sync .aligned .m16n8k64 .row .col .kind::mxf4 .block_scale [.scale_vec::2X] .f32 .e2m1 .e2m1 .f32 .ue8m0", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),
    row("mma .sync .aligned .kind::mxf4nvf4 .block_scale (.scale_vec::2X|.scale_vec::4X) .m16n8k64 .row .col .f32 .e2m1 .e2m1 .f32 (.ue8m0|.ue4m3)", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),
    row("mma .sync .aligned .m16n8k64 .row .col .kind::mxf4nvf4 .block_scale (.scale_vec::2X|.scale_vec::4X) .f32 .e2m1 .e2m1 .f32 (.ue8m0|.ue4m3)", kA4Scaled, 87, Needs::kSm120aPlus, bind_fp4, kScaledSection),

    row("mma .sync .aligned .m16n8k32 .row .col [.satfinite] .s32 (.s8|.u8) (.s8|.u8) .s32", kA4, 70, Needs::kSm80, bind_int, kSection, kIntNote),
    row("mma .sync .aligned .m16n8k16 .row .col [.satfinite] .s32 (.s8|.u8) (.s8|.u8) .s32", kA2, 70, Needs::kSm80, bind_int, kSection, kIntNote),
};
// clang-format on
#undef DW_F8F6F4

}  // namespace

std::span<Row const> mma_rows() { return kRows; }

}  // namespace deepwell::emu
