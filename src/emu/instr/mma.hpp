// What the families of mma instructions share: fragments gathered into plain tiles and scattered back, scales and types.
//
// Lane l = 4g + t. With p elements in a 32-bit register and registers r counted from 0: register r of A holds row
// g + 8 (r & 1), columns 4p (r >> 1) + p t and on; register r of B holds column g, rows 4p r + p t and on; C and D hold row
// g + 8 (r >> 1), column 2t + (r & 1), or for f16 row g + 8r, columns 2t and 2t + 1. Shapes with 8 rows have registers of rows
// g alone.
#pragma once

#include <array>
#include <bit>
#include <cstring>

#include "emu/instr/instr.hpp"
#include "num/lanes.hpp"
#include "num/tensor_core.hpp"

namespace deepwell::emu::mma {

static_assert(std::endian::native == std::endian::little,
              "fragments are copied byte by byte, low element first");

inline constexpr std::string_view kArithmetic =
    "bit for bit as published: products exact, aligned to the largest exponent, truncated; see "
    "num/tensor_core.hpp";
inline constexpr std::string_view kIntNote = "exact; wraps, or saturates with .satfinite";

// Instr::aux of these families.
enum Aux : std::size_t { kFormatA, kFormatB, kK, kCore, kScaleFormat, kSaturate, kShapeRows, kSelector };

enum OperandIndex : std::size_t { kD, kA, kB, kC };

inline constexpr int kBlockRows = 8, kBlockBytes = 16;  // of a row of four lanes, in one register

/// Copies what a register holds, eight rows of four lanes, to rows `stride` bytes apart.
inline void gather_block(std::uint32_t const* lanes, std::byte* out, int stride) {
  for (int row = 0; row < kBlockRows; ++row) std::memcpy(out + row * stride, lanes + 4 * row, kBlockBytes);
}

using Registers = std::span<Value const>;

/// A as [16][row_bytes]: registers alternate between rows 0 to 7 and 8 to 15.
inline void gather_a(Warp& warp, Registers registers, int row_bytes, void* out) {
  for (std::size_t r = 0; r < registers.size(); ++r) {
    std::size_t const offset =
        (r & 1) * kBlockRows * static_cast<std::size_t>(row_bytes) + (r >> 1) * kBlockBytes;
    gather_block(warp.s32(registers[r]), static_cast<std::byte*>(out) + offset, row_bytes);
  }
}

/// B as [8][row_bytes].
inline void gather_b(Warp& warp, Registers registers, int row_bytes, void* out) {
  for (std::size_t r = 0; r < registers.size(); ++r)
    gather_block(warp.s32(registers[r]), static_cast<std::byte*>(out) + r * kBlockBytes, row_bytes);
}
inline void gather_a(Warp& warp, Instr const& instr, int row_bytes, void* out) {
  gather_a(warp, Registers(instr.ops[kA].elements), row_bytes, out);
}
inline void gather_b(Warp& warp, Instr const& instr, int row_bytes, void* out) {
  gather_b(warp, Registers(instr.ops[kB].elements), row_bytes, out);
}

using Accumulators = std::array<std::uint32_t, num::kMmaM * num::kMmaN>;
inline constexpr std::size_t kHalfOutputs = num::kMmaM * num::kMmaN / 2;  // of eight rows

/// C as [8 kHalves][8] codes. Even columns are in one register and odd columns in the next, or pairs of f16 in one.
template <bool kHalf, std::size_t kHalves = 2>
void gather_c(Warp& warp, Registers registers, Accumulators& out) {
  for (std::size_t rows = 0; rows < kHalves; ++rows) {
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

template <bool kHalf, std::size_t kHalves = 2>
void gather_c(Warp& warp, Instr const& instr, Accumulators& out) {
  gather_c<kHalf, kHalves>(warp, Registers(instr.ops[kC].elements), out);
}

inline void define(Warp& warp, Registers registers) {
  if (!warp.check) return;
  for (Value const& value : registers) warp.set_poison(value, kFullMask, 0);
}

template <bool kHalf, std::size_t kHalves = 2>
void scatter_d(Warp& warp, Registers registers, Accumulators const& in) {
  for (std::size_t rows = 0; rows < kHalves; ++rows) {
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
  define(warp, registers);
}
template <bool kHalf, std::size_t kHalves = 2>
void scatter_d(Warp& warp, Instr const& instr, Accumulators const& in) {
  scatter_d<kHalf, kHalves>(warp, Registers(instr.ops[kD].elements), in);
}

/// All 32 lanes must be there, with defined operands.
void begin(Warp& warp, Instr const& instr, Mask mask);

inline num::TensorCore core_of(Instr const& instr) { return static_cast<num::TensorCore>(instr.aux[kCore]); }

/// The scale codes of the rows of A or the columns of B, `count` bytes each (1, 2 or 4), chosen by {byte-id, thread-id}. The
/// operands from `first` on: scale-a, its ids, scale-b, its ids.
void gather_scales(Warp& warp, Instr const& instr, std::size_t first, bool of_a, int count,
                   std::uint8_t* out);

/// The opcode ends in d, a, b and c type, and for block scaling the scale's type after them.
struct Types {
  std::string_view d, a, b, c, scale;
};
Types types_of(Instr const& instr);
num::Format operand_format(Instr const& instr, std::string_view part);

// For wmma.mma of 8 rows, whose fragments are those of mma.
Exec bind_int(Instr& instr, BindContext const& context);
Exec bind_bits(Instr& instr, BindContext const& context);
Exec bind_f64(Instr& instr, BindContext const& context);

/// Rows of the shape and k (".m16n8k32"), core and multiply-adds.
void set_common(Instr& instr, BindContext const& context);
/// Scale data is one 32-bit register; ids that are numbers must exist. `count` as above, `first` too.
void check_scale_operands(Instr const& instr, std::size_t first, int count);
/// Checks that scale_vec::4X goes with ue4m3 and 2X with ue8m0; returns the scales a row: 4 or 2.
int bind_fp4_scales(Instr& instr);

constexpr Row row(std::string_view pattern, std::string_view operands, int ptx, Needs needs,
                  Exec (*bind)(Instr&, BindContext const&), std::string_view section, std::string_view note) {
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

}  // namespace deepwell::emu::mma
