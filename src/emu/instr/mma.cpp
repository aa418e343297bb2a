// Instruction family: mma.sync in all its forms. Fragments are gathered into plain tiles; the arithmetic is num/'s.
//
// Lane l = 4g + t. With p elements in a 32-bit register and registers r counted from 0: register r of A holds row
// g + 8 (r & 1), columns 4p (r >> 1) + p t and on; register r of B holds column g, rows 4p r + p t and on; C and D hold row
// g + 8 (r >> 1), column 2t + (r & 1), or for f16 row g + 8r, columns 2t and 2t + 1.
#include <algorithm>
#include <bit>
#include <cstring>

#include "emu/instr/instr.hpp"
#include "num/lanes.hpp"
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
enum Aux : std::size_t { kFormatA, kFormatB, kK, kCore, kScaleFormat, kSaturate };

enum OperandIndex : std::size_t { kD, kA, kB, kC, kScaleA, kSelectorA, kScaleB, kSelectorB };

constexpr int kBlockRows = 8, kBlockBytes = 16;  // of a row of four lanes, in one register

/// Copies what a register holds, eight rows of four lanes, to rows `stride` bytes apart.
void gather_block(std::uint32_t const* lanes, std::byte* out, int stride) {
  for (int row = 0; row < kBlockRows; ++row) std::memcpy(out + row * stride, lanes + 4 * row, kBlockBytes);
}

/// A as [16][row_bytes], B as [8][row_bytes].
void gather_a(Warp& warp, Instr const& instr, int row_bytes, void* out) {
  auto const& registers = instr.ops[kA].elements;
  for (std::size_t r = 0; r < registers.size(); ++r) {
    std::size_t const offset =
        (r & 1) * kBlockRows * static_cast<std::size_t>(row_bytes) + (r >> 1) * kBlockBytes;
    gather_block(warp.s32(registers[r]), static_cast<std::byte*>(out) + offset, row_bytes);
  }
}
void gather_b(Warp& warp, Instr const& instr, int row_bytes, void* out) {
  auto const& registers = instr.ops[kB].elements;
  for (std::size_t r = 0; r < registers.size(); ++r)
    gather_block(warp.s32(registers[r]), static_cast<std::byte*>(out) + r * kBlockBytes, row_bytes);
}

using Accumulators = std::array<std::uint32_t, num::kMmaM * num::kMmaN>;
constexpr int kHalfOutputs = num::kMmaM * num::kMmaN / 2;  // of eight rows

/// C as [16][8] codes. Even columns are in one register and odd columns in the next, or pairs of f16 in one.
template <bool kHalf>
void gather_c(Warp& warp, Instr const& instr, Accumulators& out) {
  auto const& registers = instr.ops[kC].elements;
  for (std::size_t rows = 0; rows < 2; ++rows) {
    std::uint32_t const* const first = warp.s32(registers[kHalf ? rows : 2 * rows]);
    std::uint32_t const* const second = kHalf ? first : warp.s32(registers[2 * rows + 1]);
    std::uint32_t* const to = out.data() + rows * kHalfOutputs;
    for (int lane = 0; lane < kLanes; lane += 4) {
      num::Words4 even, odd;
      num::load(even, first + lane);
      num::load(odd, second + lane);
      if (kHalf) {
        even &= 0xffff;
        odd >>= 16;
      }
      num::store(to + 2 * lane, num::interleave_low(even, odd));
      num::store(to + 2 * lane + 4, num::interleave_high(even, odd));
    }
  }
}

template <bool kHalf>
void scatter_d(Warp& warp, Instr const& instr, Accumulators const& in) {
  auto const& registers = instr.ops[kD].elements;
  for (std::size_t rows = 0; rows < 2; ++rows) {
    std::uint32_t* const first = warp.d32(registers[kHalf ? rows : 2 * rows]);
    std::uint32_t* const second = kHalf ? first : warp.d32(registers[2 * rows + 1]);
    std::uint32_t const* const from = in.data() + rows * kHalfOutputs;
    for (int lane = 0; lane < kLanes; lane += 4) {
      num::Words4 low, high;
      num::load(low, from + 2 * lane);
      num::load(high, from + 2 * lane + 4);
      num::Words4 const even = num::even_of(low, high), odd = num::odd_of(low, high);
      num::store(first + lane, kHalf ? even | odd << 16 : even);
      if (!kHalf) num::store(second + lane, odd);
    }
  }
  if (!warp.check) return;
  for (Value const& value : registers) warp.set_poison(value, kFullMask, 0);
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

/// The scale codes of the rows of A or the columns of B, kCount bytes each, chosen by {byte-id, thread-id}.
template <int kCount>
void gather_scales(Warp& warp, Instr const& instr, bool of_a, std::uint8_t* out) {
  Operand const& data = instr.ops[of_a ? kScaleA : kScaleB];
  Operand const& selector = instr.ops[of_a ? kSelectorA : kSelectorB];
  char const* const name = of_a ? "a" : "b";
  std::uint32_t const byte_id = selector_of(warp, instr, selector.elements[0], "byte-id", name);
  std::uint32_t const thread_id = selector_of(warp, instr, selector.elements[1], "thread-id", name);
  if (byte_id > 4 - kCount || byte_id % kCount != 0) {
    fail(warp, instr, -1,
         fmt::format("byte-id of scale {} is {}, expected {}", name, byte_id,
                     kCount == 1   ? "0 to 3"
                     : kCount == 2 ? "0 or 2"
                                   : "0"));
  }
  if (thread_id > (of_a ? 1u : 3u)) {
    fail(warp, instr, -1,
         fmt::format("thread-id of scale {} is {}, expected 0 to {}", name, thread_id, of_a ? 1 : 3));
  }
  Value const& value = data.elements.empty() ? data.value : data.elements[0];
  std::uint32_t const* const lanes = warp.s32(value);
  // Row g of A is in lane 4g + 2 thread-id, row g + 8 in the next; column g of B in lane 4g + thread-id.
  warp.require_defined(instr, value, of_a ? 0x33333333u << 2 * thread_id : 0x11111111u << thread_id,
                       of_a ? "scale a of mma" : "scale b of mma");
  auto const take = [&](int row, std::uint32_t word) {
    std::uint32_t const codes = word >> (8 * byte_id);
    std::memcpy(out + row * kCount, &codes, kCount);
  };
  for (int row = 0; row < 8; ++row) {
    std::uint32_t const* const four = lanes + 4 * row + (of_a ? 2 * thread_id : thread_id);
    take(row, four[0]);
    if (of_a) take(row + 8, four[1]);
  }
}

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
    gather_scales<1>(warp, instr, true, scale_a);
    gather_scales<1>(warp, instr, false, scale_b);
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
  gather_scales<kBlocks>(warp, instr, true, scale_a);
  gather_scales<kBlocks>(warp, instr, false, scale_b);
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

Outcome run_int(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  alignas(64) std::uint8_t a[num::kMmaM * 32];
  alignas(64) std::uint8_t b[num::kMmaN * 32];
  Accumulators sums;
  int const k = static_cast<int>(instr.aux[kK]);
  gather_a(warp, instr, k, a);
  gather_b(warp, instr, k, b);
  gather_c<false>(warp, instr, sums);
  num::mma_int({.a_signed = instr.aux[kFormatA] != 0,
                .b_signed = instr.aux[kFormatB] != 0,
                .satfinite = instr.aux[kSaturate] != 0,
                .k = k,
                .a = a,
                .b = b,
                .c = sums.data(),
                .d = sums.data()});
  scatter_d<false>(warp, instr, sums);
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
  bool const half = types.d == ".f16";
  switch (a) {
    case Format::kBf16: return run_float<std::uint16_t, 16, Kind::kF32>;
    case Format::kF16:
      return half ? run_float<std::uint16_t, 16, Kind::kF16> : run_float<std::uint16_t, 16, Kind::kF32>;
    case Format::kTf32: return run_float<std::uint32_t, 8, Kind::kF32>;
    default: return half ? run_float<std::uint8_t, 32, Kind::kF16> : run_float<std::uint8_t, 32, Kind::kF32>;
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
  return run_float<std::uint8_t, 32, Kind::kScaled>;
}

Exec bind_fp4(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  check_scale_operands(instr);
  bool const four = instr.has(".scale_vec::4X");
  bool const ue4m3 = types_of(instr).scale == ".ue4m3";
  if (four != ue4m3)
    throw unsupported(instr, "scale_vec::4X goes with ue4m3 scales, scale_vec::2X with ue8m0");
  instr.aux[kScaleFormat] = static_cast<std::uint32_t>(ue4m3 ? Format::kUe4m3 : Format::kUe8m0);
  return four ? run_fp4<4> : run_fp4<2>;
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
