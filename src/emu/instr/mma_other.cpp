// Instruction family: mma.sync of integers and bits in all shapes, of f64, and m8n8k4 of f16, which is four products at once.
#include <algorithm>

#include "emu/instr/mma.hpp"
#include "num/tensor_core_other.hpp"

namespace deepwell::emu {
namespace {

using namespace mma;
using num::Format;
using num::Rounding;

constexpr std::string_view kSection = "Warp-level matrix instructions: mma";

// ---- integers -------------------------------------------------------------------------------------------------------

/// Bytes of one element each, from rows of packed 4-bit ones.
void widen(std::uint8_t const* packed, int count, bool is_signed, std::uint8_t* out) {
  for (int i = 0; i < count; ++i) {
    std::uint8_t const nibble = packed[i / 2] >> (i % 2 * 4) & 0xf;
    out[i] = is_signed && (nibble & 8) != 0 ? nibble | 0xf0 : nibble;
  }
}

template <std::size_t kHalves, bool kNibbles>
Outcome run_int(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  constexpr int kMaxK = 64;
  alignas(16) std::uint8_t a[num::kMmaM * kMaxK] = {}, b[num::kMmaN * kMaxK];
  Accumulators sums{};
  int const k = static_cast<int>(instr.aux[kK]);
  bool const a_signed = instr.aux[kFormatA] != 0, b_signed = instr.aux[kFormatB] != 0;
  if constexpr (kNibbles) {
    alignas(16) std::uint8_t packed[num::kMmaM * kMaxK / 2] = {};
    gather_a(warp, instr, k / 2, packed);
    widen(packed, num::kMmaM * k, a_signed, a);
    gather_b(warp, instr, k / 2, packed);
    widen(packed, num::kMmaN * k, b_signed, b);
  } else {
    gather_a(warp, instr, k, a);
    gather_b(warp, instr, k, b);
  }
  gather_c<false, kHalves>(warp, instr, sums);
  num::mma_int({.a_signed = a_signed,
                .b_signed = b_signed,
                .satfinite = instr.aux[kSaturate] != 0,
                .k = k,
                .a = a,
                .b = b,
                .c = sums.data(),
                .d = sums.data()});
  scatter_d<false, kHalves>(warp, instr, sums);
  return Outcome::kNext;
}

}  // namespace

Exec mma::bind_int(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  Types const types = types_of(instr);
  instr.aux[kFormatA] = types.a[1] == 's';
  instr.aux[kFormatB] = types.b[1] == 's';
  instr.aux[kSaturate] = instr.has(".satfinite");
  bool const nibbles = types.a.ends_with("4");
  if (instr.aux[kShapeRows] == 8) return nibbles ? run_int<1, true> : run_int<1, false>;
  return nibbles ? run_int<2, true> : run_int<2, false>;
}

namespace {
// ---- single bits ----------------------------------------------------------------------------------------------------

template <std::size_t kHalves>
Outcome run_bits(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  constexpr int kMaxBytes = 32;
  alignas(16) std::uint8_t a[num::kMmaM * kMaxBytes] = {}, b[num::kMmaN * kMaxBytes];
  Accumulators sums{};
  int const k = static_cast<int>(instr.aux[kK]);
  gather_a(warp, instr, k / 8, a);
  gather_b(warp, instr, k / 8, b);
  gather_c<false, kHalves>(warp, instr, sums);
  num::mma_bits(
      {.is_and = instr.aux[kFormatA] != 0, .k = k, .a = a, .b = b, .c = sums.data(), .d = sums.data()});
  scatter_d<false, kHalves>(warp, instr, sums);
  return Outcome::kNext;
}

}  // namespace

Exec mma::bind_bits(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  instr.aux[kFormatA] = instr.has(".and");
  return instr.aux[kShapeRows] == 8 ? run_bits<1> : run_bits<2>;
}

namespace {
// ---- f64 ------------------------------------------------------------------------------------------------------------

/// Row and column of register r of a lane: A and C with `columns` of 4 or 2 a register pair, as for 32-bit elements.
Outcome run_f64(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  double a[num::kMmaM * 16], b[num::kMmaN * 16], c[num::kMmaM * num::kMmaN];
  std::size_t const k = instr.aux[kK], halves = instr.aux[kShapeRows] / 8;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    std::size_t const g = lane / 4, t = lane % 4;
    auto const value = [&](std::size_t operand, std::size_t r) {
      return std::bit_cast<double>(warp.s64(instr.ops[operand].elements[r])[lane]);
    };
    for (std::size_t r = 0; r < halves * k / 4; ++r)
      a[(g + 8 * (r % halves)) * k + 4 * (r / halves) + t] = value(kA, r);
    for (std::size_t r = 0; r < k / 4; ++r) b[g * k + 4 * r + t] = value(kB, r);
    for (std::size_t r = 0; r < 2 * halves; ++r)
      c[(g + 8 * (r / 2)) * num::kMmaN + 2 * t + r % 2] = value(kC, r);
  }
  num::mma_f64({.rounding = static_cast<Rounding>(instr.aux[kScaleFormat]),
                .rows = static_cast<int>(8 * halves),
                .k = static_cast<int>(k),
                .a = a,
                .b = b,
                .c = c,
                .d = c});
  for (std::size_t r = 0; r < 2 * halves; ++r) {
    std::uint64_t* const out = warp.d64(instr.ops[kD].elements[r]);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      out[lane] =
          std::bit_cast<std::uint64_t>(c[(lane / 4 + 8 * (r / 2)) * num::kMmaN + 2 * (lane % 4) + r % 2]);
    }
  }
  define(warp, instr.ops[kD].elements);
  return Outcome::kNext;
}

}  // namespace

Exec mma::bind_f64(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  Rounding const rounding = instr.has(".rz")   ? Rounding::kZero
                            : instr.has(".rm") ? Rounding::kDown
                            : instr.has(".rp") ? Rounding::kUp
                                               : Rounding::kNearestEven;
  instr.aux[kScaleFormat] = static_cast<std::uint32_t>(rounding);
  return run_f64;
}

namespace {
// ---- f16, m8n8k4 ----------------------------------------------------------------------------------------------------

// Lanes 4q to 4q + 3 and 16 above them compute product q, 0 to 3. `place` is a lane's number in its product: 0 to 3, and
// 4 to 7 for the upper lanes.
struct Quad {
  static int lane(int quad, int place) { return 4 * quad + place % 4 + 16 * (place / 4); }
};

/// Element i of a lane's registers, two in each.
std::uint16_t half_of(Warp& warp, Operand const& operand, int lane, int i) {
  std::uint32_t const word = warp.s32(operand.elements[static_cast<std::size_t>(i / 2)])[lane];
  return static_cast<std::uint16_t>(word >> (i % 2 * 16));
}

/// Vector m of A (or n of B): whole vectors lie in one lane, or element k of all in lane k of either half.
void quad_vector(Warp& warp, Operand const& operand, int quad, int vector, bool whole,
                 std::uint16_t (&out)[4]) {
  for (int k = 0; k < 4; ++k) {
    out[k] = whole ? half_of(warp, operand, Quad::lane(quad, vector), k)
                   : half_of(warp, operand, Quad::lane(quad, k + 4 * (vector / 4)), vector % 4);
  }
}

struct QuadPlace {
  int row, column;
};
/// Where element i of C or D at a place belongs.
QuadPlace quad_place(bool half, int place, int i) {
  if (half) return {place, i};
  return {(place & 1) + (i & 2) + (place & 4), (i & 4) + (place & 2) + (i & 1)};
}

Outcome run_quads(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  bool const a_rows = instr.aux[kFormatA] != 0, b_columns = instr.aux[kFormatB] != 0;
  bool const half_c = instr.aux[kSaturate] != 0, half_d = instr.aux[kScaleFormat] != 0;
  Format const c_format = half_c ? Format::kF16 : Format::kF32,
               d_format = half_d ? Format::kF16 : Format::kF32;
  std::uint32_t c[4][8][8], d[kLanes][8];
  for (int quad = 0; quad < 4; ++quad) {
    for (int place = 0; place < 8; ++place) {
      int const lane = Quad::lane(quad, place);
      for (int i = 0; i < 8; ++i) {
        QuadPlace const at = quad_place(half_c, place, i);
        c[quad][at.row][at.column] =
            half_c ? half_of(warp, instr.ops[kC], lane, i)
                   : warp.s32(instr.ops[kC].elements[static_cast<std::size_t>(i)])[lane];
      }
    }
  }
  for (int quad = 0; quad < 4; ++quad) {
    for (int place = 0; place < 8; ++place) {
      for (int i = 0; i < 8; ++i) {
        QuadPlace const at = quad_place(half_d, place, i);
        std::uint16_t a[4], b[4];
        quad_vector(warp, instr.ops[kA], quad, at.row, a_rows, a);
        quad_vector(warp, instr.ops[kB], quad, at.column, b_columns, b);
        d[Quad::lane(quad, place)][i] = num::dot4_f16(a, b, c[quad][at.row][at.column], c_format, d_format);
      }
    }
  }
  auto const& registers = instr.ops[kD].elements;
  for (std::size_t r = 0; r < registers.size(); ++r) {
    std::uint32_t* const out = warp.d32(registers[r]);
    for (int lane = 0; lane < kLanes; ++lane)
      out[lane] = half_d ? d[lane][2 * r] | d[lane][2 * r + 1] << 16 : d[lane][r];
  }
  define(warp, registers);
  return Outcome::kNext;
}

Exec bind_quads(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  instr.multiply_adds *= 4;
  auto const& parts = instr.info->parts;
  instr.aux[kFormatA] = parts[4] == ".row";
  instr.aux[kFormatB] = parts[5] == ".col";
  instr.aux[kScaleFormat] = parts[6] == ".f16";
  instr.aux[kSaturate] = parts.back() == ".f16";
  return run_quads;
}

constexpr std::string_view kBitsNote = "exact; wraps",
                           kF64Note = "a chain of fma, k upward, as measured on SM 9.0",
                           kQuadsNote = "in FP32 with FMA, as compiled code does where no unit has the shape";

constexpr Row row(std::string_view pattern, std::string_view operands, int ptx, Needs needs,
                  Exec (*bind)(Instr&, BindContext const&), std::string_view note) {
  return mma::row(pattern, operands, ptx, needs, bind, kSection, note);
}

#define DW_INT " .row .col [.satfinite] .s32 "
#define DW_I8 "(.s8|.u8) (.s8|.u8) .s32"
#define DW_I4 "(.s4|.u4) (.s4|.u4) .s32"
#define DW_RN "[.rn|.rz|.rm|.rp]"
#define DW_F64 ".f64 .f64 .f64 .f64"
#define DW_LAYOUTS "(.row|.col) (.row|.col)"
// clang-format off
constexpr Row kRows[] = {
    row("mma .sync .aligned .m16n8k32" DW_INT DW_I8, "d4x32, s4x32, s2x32, s4x32", 70, Needs::kSm80, bind_int, kIntNote),
    row("mma .sync .aligned .m16n8k16" DW_INT DW_I8, "d4x32, s2x32, s1x32, s4x32", 70, Needs::kSm80, bind_int, kIntNote),
    row("mma .sync .aligned .m8n8k16" DW_INT DW_I8, "d2x32, s1x32, s1x32, s2x32", 65, Needs::kAny, bind_int, kIntNote),
    row("mma .sync .aligned .m16n8k64" DW_INT DW_I4, "d4x32, s4x32, s2x32, s4x32", 70, Needs::kSm80, bind_int, kIntNote),
    row("mma .sync .aligned .m16n8k32" DW_INT DW_I4, "d4x32, s2x32, s1x32, s4x32", 70, Needs::kSm80, bind_int, kIntNote),
    row("mma .sync .aligned .m8n8k32" DW_INT DW_I4, "d2x32, s1x32, s1x32, s2x32", 65, Needs::kAny, bind_int, kIntNote),
    row("mma .sync .aligned .m16n8k256 .row .col .s32 .b1 .b1 .s32 (.xor|.and) .popc", "d4x32, s4x32, s2x32, s4x32", 71, Needs::kSm80, bind_bits, kBitsNote),
    row("mma .sync .aligned .m16n8k128 .row .col .s32 .b1 .b1 .s32 (.xor|.and) .popc", "d4x32, s2x32, s1x32, s4x32", 71, Needs::kSm80, bind_bits, kBitsNote),
    row("mma .sync .aligned .m8n8k128 .row .col .s32 .b1 .b1 .s32 (.xor|.and) .popc", "d2x32, s1x32, s1x32, s2x32", 71, Needs::kSm80, bind_bits, kBitsNote),
    row("mma .sync .aligned .m16n8k256 .row .col (.xor|.and) .popc .s32 .b1 .b1 .s32", "d4x32, s4x32, s2x32, s4x32", 71, Needs::kSm80, bind_bits, kBitsNote),
    row("mma .sync .aligned .m16n8k128 .row .col (.xor|.and) .popc .s32 .b1 .b1 .s32", "d4x32, s2x32, s1x32, s4x32", 71, Needs::kSm80, bind_bits, kBitsNote),
    row("mma .sync .aligned .m8n8k128 .row .col (.xor|.and) .popc .s32 .b1 .b1 .s32", "d2x32, s1x32, s1x32, s2x32", 71, Needs::kSm80, bind_bits, kBitsNote),
    row("mma .sync .aligned .m8n8k4 .row .col " DW_RN " " DW_F64, "d2x64, s1x64, s1x64, s2x64", 70, Needs::kSm80, bind_f64, kF64Note),
    row("mma .sync .aligned .m8n8k4 .row .col " DW_F64 " " DW_RN, "d2x64, s1x64, s1x64, s2x64", 70, Needs::kSm80, bind_f64, kF64Note),
    row("mma .sync .aligned .m16n8k4 .row .col " DW_RN " " DW_F64, "d4x64, s2x64, s1x64, s4x64", 78, Needs::kSm90, bind_f64, kF64Note),
    row("mma .sync .aligned .m16n8k4 .row .col " DW_F64 " " DW_RN, "d4x64, s2x64, s1x64, s4x64", 78, Needs::kSm90, bind_f64, kF64Note),
    row("mma .sync .aligned .m16n8k8 .row .col " DW_RN " " DW_F64, "d4x64, s4x64, s2x64, s4x64", 78, Needs::kSm90, bind_f64, kF64Note),
    row("mma .sync .aligned .m16n8k8 .row .col " DW_F64 " " DW_RN, "d4x64, s4x64, s2x64, s4x64", 78, Needs::kSm90, bind_f64, kF64Note),
    row("mma .sync .aligned .m16n8k16 .row .col " DW_RN " " DW_F64, "d4x64, s8x64, s4x64, s4x64", 78, Needs::kSm90, bind_f64, kF64Note),
    row("mma .sync .aligned .m16n8k16 .row .col " DW_F64 " " DW_RN, "d4x64, s8x64, s4x64, s4x64", 78, Needs::kSm90, bind_f64, kF64Note),
    row("mma .sync .aligned .m8n8k4 " DW_LAYOUTS " .f32 .f16 .f16 .f32", "d8x32, s2x32, s2x32, s8x32", 64, Needs::kAny, bind_quads, kQuadsNote),
    row("mma .sync .aligned .m8n8k4 " DW_LAYOUTS " .f16 .f16 .f16 .f16", "d4x32, s2x32, s2x32, s4x32", 64, Needs::kAny, bind_quads, kQuadsNote),
    row("mma .sync .aligned .m8n8k4 " DW_LAYOUTS " .f32 .f16 .f16 .f16", "d8x32, s2x32, s2x32, s4x32", 64, Needs::kAny, bind_quads, kQuadsNote),
};
// clang-format on
#undef DW_INT
#undef DW_I8
#undef DW_I4
#undef DW_RN
#undef DW_F64
#undef DW_LAYOUTS

}  // namespace

std::span<Row const> mma_other_rows() { return kRows; }

}  // namespace deepwell::emu
