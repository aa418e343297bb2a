// Instruction family: mma.sp, products with an A of which half the elements are stored, and metadata that says which.
//
// A row of A with K columns is stored as its K / 2 elements, in the fragment of a dense A with K / 2 columns. Metadata is a
// stream of 2-bit numbers for a row: of each chunk of four units two numbers say which units are stored. A unit is an element,
// for packed 4-bit formats a pair of them; for tf32 half an element, so that a chunk has two elements and one of them is stored
// (0b0100 the first, 0b1110 the second). For one row and one column of D, the product is that of the stored elements and the
// elements of B that stand where they belong.
//
// Metadata of rows g and g + 8 lie in lanes 4g to 4g + 3. 16 bits a row: one lane, the selector, has row g in its lower half and
// row g + 8 in its upper half. 32 bits a row: a pair of lanes, 0 and 1 or 2 and 3. Of 16-bit and wider elements each lane has
// its half of both rows, arranged as before; of narrower ones the first lane has row g and the second row g + 8. 64 bits: two
// such pairs.
#include "emu/instr/mma.hpp"

namespace deepwell::emu {
namespace {

using namespace mma;
using num::Format;

constexpr std::string_view kSection = "Warp-level matrix instructions: mma.sp";
constexpr std::size_t kMetadata = 4, kSelectorOperand = 5, kScales = 6;

/// How the elements of A are described by metadata.
struct Sparsity {
  int stored;         // elements of a row that are stored: K / 2
  int unit;           // elements a 2-bit number stands for; 0: half of one
  int bits() const {  // of metadata, for a row
    return unit == 0 ? 4 * stored : 2 * stored / unit;
  }
};

/// The metadata of row m as a stream of bits.
std::uint64_t metadata_of(std::uint32_t const* lanes, int m, int bits, int selector, bool wide_elements) {
  int const g = m % 8;
  bool const upper = m >= 8;
  std::uint32_t const* const quad = lanes + 4 * g;
  if (bits == 16) return quad[selector] >> (upper ? 16 : 0) & 0xffff;
  if (bits == 32 && wide_elements) {
    std::uint32_t const low = quad[2 * selector] >> (upper ? 16 : 0) & 0xffff;
    std::uint32_t const high = quad[2 * selector + 1] >> (upper ? 16 : 0) & 0xffff;
    return low | high << 16;
  }
  if (bits == 32) return quad[2 * selector + upper];
  return quad[upper] | static_cast<std::uint64_t>(quad[2 + upper]) << 32;
}

/// places[i]: the column of A, and row of B, of stored element i of row m.
void places_of(Warp& warp, Instr const& instr, Sparsity const& sparsity, std::uint64_t metadata, int m,
               std::uint8_t* places) {
  auto const bad = [&](int chunk, std::uint64_t code, char const* expected) {
    fail(warp, instr, 4 * (m % 8),
         fmt::format("metadata of row {} has {:#06b} for chunk {}, expected {}", m, code, chunk, expected));
  };
  if (sparsity.unit == 0) {
    for (int i = 0; i < sparsity.stored; ++i) {
      std::uint64_t const code = metadata >> (4 * i) & 0xf;
      if (code != 0b0100 && code != 0b1110) bad(i, code, "0b0100 or 0b1110");
      places[i] = static_cast<std::uint8_t>(2 * i + (code == 0b1110));
    }
    return;
  }
  int const units = sparsity.stored / sparsity.unit;
  bool const ordered = instr.has(".sp::ordered_metadata");
  for (int i = 0; i < units; ++i) {
    std::uint64_t const first = metadata >> (4 * (i / 2)) & 3, second = metadata >> (4 * (i / 2) + 2) & 3;
    if (first == second || (ordered && first > second))
      bad(i / 2, first | second << 2,
          ordered ? "two different numbers, the lower one first" : "two different numbers");
    int const unit = 4 * (i / 2) + static_cast<int>(i % 2 == 0 ? first : second);
    for (int e = 0; e < sparsity.unit; ++e)
      places[i * sparsity.unit + e] = static_cast<std::uint8_t>(unit * sparsity.unit + e);
  }
}

/// Calls body(m, places) for the rows of A.
template <class Body>
void for_rows(Warp& warp, Instr const& instr, Sparsity const& sparsity, bool wide_elements,
              Body const& body) {
  Value const& value = instr.ops[kMetadata].value;
  int const selector = static_cast<int>(instr.aux[kSelector]);
  Mask lanes = kFullMask;
  if (sparsity.bits() == 16) lanes = 0x11111111u << selector;
  if (sparsity.bits() == 32) lanes = 0x33333333u << 2 * selector;
  warp.require_defined(instr, value, lanes, "the metadata of mma.sp");
  for (int m = 0; m < num::kMmaM; ++m) {
    std::uint8_t places[64];
    places_of(warp, instr, sparsity,
              metadata_of(warp.s32(value), m, sparsity.bits(), selector, wide_elements), m, places);
    body(m, places);
  }
}

enum class Kind { kF32, kF16, kScaled };

/// Each row of A meets a B of its own, with the rows that its elements stand for.
template <class Code, int kMaxK, Kind kKind>
Outcome run_float(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  constexpr bool kHalf = kKind == Kind::kF16;
  int const k = static_cast<int>(instr.aux[kK]), stored = k / 2;
  alignas(64) Code a[num::kMmaM * kMaxK / 2], b[num::kMmaN * kMaxK], chosen[num::kMmaN * kMaxK / 2];
  Accumulators sums, row_sums;
  gather_a(warp, instr, stored * static_cast<int>(sizeof(Code)), a);
  gather_b(warp, instr, k * static_cast<int>(sizeof(Code)), b);
  gather_c<kHalf>(warp, instr, sums);
  num::MmaTile<Code> tile{.a_format = static_cast<Format>(instr.aux[kFormatA]),
                          .b_format = static_cast<Format>(instr.aux[kFormatB]),
                          .k = stored,
                          .a = a,
                          .b = chosen,
                          .c = sums.data(),
                          .d = row_sums.data(),
                          .accumulator = kHalf ? Format::kF16 : Format::kF32};
  std::uint8_t scale_a[num::kMmaM], scale_b[num::kMmaN];
  if constexpr (kKind == Kind::kScaled) {
    gather_scales(warp, instr, kScales, true, 1, scale_a);
    gather_scales(warp, instr, kScales, false, 1, scale_b);
    tile.scale_a = scale_a;
    tile.scale_b = scale_b;
  }
  Sparsity const sparsity{stored, sizeof(Code) == 4 ? 0 : 1};
  for_rows(warp, instr, sparsity, sizeof(Code) > 1, [&](int m, std::uint8_t const* places) {
    for (int n = 0; n < num::kMmaN; ++n) {
      for (int i = 0; i < stored; ++i) chosen[n * stored + i] = b[n * k + places[i]];
    }
    num::mma(core_of(instr), tile);
    std::copy_n(row_sums.data() + m * num::kMmaN, num::kMmaN, sums.data() + m * num::kMmaN);
  });
  scatter_d<kHalf>(warp, instr, sums);
  return Outcome::kNext;
}

template <int kBlocks>
Outcome run_fp4(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  constexpr int kRowBytes = 32;  // of 64 stored elements
  alignas(64) std::uint8_t a[num::kMmaM * kRowBytes], b[num::kMmaN * 2 * kRowBytes],
      chosen[num::kMmaN * kRowBytes];
  Accumulators sums, row_sums;
  gather_a(warp, instr, kRowBytes, a);
  gather_b(warp, instr, 2 * kRowBytes, b);
  gather_c<false>(warp, instr, sums);
  std::uint8_t scale_a[num::kMmaM * kBlocks], scale_b[num::kMmaN * kBlocks];
  gather_scales(warp, instr, kScales, true, kBlocks, scale_a);
  gather_scales(warp, instr, kScales, false, kBlocks, scale_b);
  for_rows(warp, instr, {.stored = 64, .unit = 2}, false, [&](int m, std::uint8_t const* places) {
    for (int n = 0; n < num::kMmaN; ++n) {
      for (int i = 0; i < kRowBytes; ++i)  // a pair is a byte
        chosen[n * kRowBytes + i] = b[n * 2 * kRowBytes + places[2 * i] / 2];
    }
    num::mma_fp4({.scale_format = static_cast<Format>(instr.aux[kScaleFormat]),
                  .blocks = kBlocks,
                  .a = a,
                  .b = chosen,
                  .scale_a = scale_a,
                  .scale_b = scale_b,
                  .c = sums.data(),
                  .d = row_sums.data()});
    std::copy_n(row_sums.data() + m * num::kMmaN, num::kMmaN, sums.data() + m * num::kMmaN);
  });
  scatter_d<false>(warp, instr, sums);
  return Outcome::kNext;
}

/// As exact sums do not mind zeros, A becomes a dense matrix.
template <bool kNibbles>
Outcome run_int(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  constexpr int kMaxK = 128;
  int const k = static_cast<int>(instr.aux[kK]), stored = k / 2;
  bool const a_signed = instr.aux[kFormatA] != 0, b_signed = instr.aux[kFormatB] != 0;
  alignas(64) std::uint8_t packed[num::kMmaM * kMaxK], a[num::kMmaM * kMaxK] = {}, b[num::kMmaN * kMaxK];
  auto const element = [&](int index, bool is_signed) -> std::uint8_t {
    if constexpr (!kNibbles) return packed[index];
    std::uint8_t const nibble = packed[index / 2] >> (index % 2 * 4) & 0xf;
    return is_signed && (nibble & 8) != 0 ? nibble | 0xf0 : nibble;
  };
  gather_b(warp, instr, kNibbles ? k / 2 : k, packed);
  for (int i = 0; i < num::kMmaN * k; ++i) b[i] = element(i, b_signed);
  gather_a(warp, instr, kNibbles ? stored / 2 : stored, packed);
  for_rows(warp, instr, {stored, kNibbles ? 2 : 1}, false, [&](int m, std::uint8_t const* places) {
    for (int i = 0; i < stored; ++i) a[m * k + places[i]] = element(m * stored + i, a_signed);
  });
  Accumulators sums;
  gather_c<false>(warp, instr, sums);
  num::mma_int({.a_signed = a_signed,
                .b_signed = b_signed,
                .satfinite = instr.aux[kSaturate] != 0,
                .k = k,
                .a = a,
                .b = b,
                .c = sums.data(),
                .d = sums.data()});
  scatter_d<false>(warp, instr, sums);
  return Outcome::kNext;
}

void bind_sparse(Instr& instr, BindContext const& context, int selectors) {
  set_common(instr, context);
  Operand const& selector = instr.ops[kSelectorOperand];
  if (!selector.is_immediate || selector.immediate < 0 || selector.immediate >= selectors) {
    throw unsupported(instr, fmt::format("the sparsity selector must be a constant, 0 to {}", selectors - 1));
  }
  instr.aux[kSelector] = static_cast<std::uint32_t>(selector.immediate);
}

/// Lanes that metadata of so many bits a row can lie in.
int selectors_for(int bits) { return bits == 16 ? 4 : bits == 32 ? 2 : 1; }

Exec bind_float(Instr& instr, BindContext const& context) {
  Types const types = types_of(instr);
  Format const a = operand_format(instr, types.a), b = operand_format(instr, types.b);
  set_common(instr, context);
  int const stored = static_cast<int>(instr.aux[kK]) / 2;
  bind_sparse(instr, context, selectors_for(Sparsity{stored, a == Format::kTf32 ? 0 : 1}.bits()));
  instr.aux[kFormatA] = static_cast<std::uint32_t>(a);
  instr.aux[kFormatB] = static_cast<std::uint32_t>(b);
  bool const half = types.d == ".f16";
  if (instr.has(".block_scale")) {
    check_scale_operands(instr, kScales, 1);
    return run_float<std::uint8_t, 64, Kind::kScaled>;
  }
  switch (a) {
    case Format::kBf16: return run_float<std::uint16_t, 32, Kind::kF32>;
    case Format::kF16:
      return half ? run_float<std::uint16_t, 32, Kind::kF16> : run_float<std::uint16_t, 32, Kind::kF32>;
    case Format::kTf32: return run_float<std::uint32_t, 16, Kind::kF32>;
    default: return half ? run_float<std::uint8_t, 64, Kind::kF16> : run_float<std::uint8_t, 64, Kind::kF32>;
  }
}

Exec bind_fp4(Instr& instr, BindContext const& context) {
  bind_sparse(instr, context, 1);
  int const blocks = bind_fp4_scales(instr);
  check_scale_operands(instr, kScales, blocks);
  return blocks == 4 ? run_fp4<4> : run_fp4<2>;
}

Exec bind_int(Instr& instr, BindContext const& context) {
  Types const types = types_of(instr);
  bool const nibbles = types.a.ends_with("4");
  set_common(instr, context);
  bind_sparse(instr, context,
              selectors_for(Sparsity{static_cast<int>(instr.aux[kK]) / 2, nibbles ? 2 : 1}.bits()));
  instr.aux[kFormatA] = types.a[1] == 's';
  instr.aux[kFormatB] = types.b[1] == 's';
  instr.aux[kSaturate] = instr.has(".satfinite");
  return nibbles ? run_int<true> : run_int<false>;
}

// Operands of f32 accumulators with A in two or four registers, and B in as many.
constexpr std::string_view k2 = "d4x32, s2x32, s2x32, s4x32, s32, s32",
                           k4 = "d4x32, s4x32, s4x32, s4x32, s32, s32",
                           k2Half = "d2x32, s2x32, s2x32, s2x32, s32, s32",
                           k4Half = "d2x32, s4x32, s4x32, s2x32, s32, s32",
                           k4Scaled = "d4x32, s4x32, s4x32, s4x32, s32, s32, x, s2x16, x, s2x16";

constexpr Row row(std::string_view pattern, std::string_view operands, Needs needs,
                  Exec (*bind)(Instr&, BindContext const&), std::string_view note = kArithmetic) {
  bool const kinds = needs == Needs::kSm120aPlus || needs == Needs::kSm12xa;
  return mma::row(pattern, operands,
                  kinds                   ? 87
                  : needs == Needs::kSm89 ? 84
                                          : 71,
                  needs, bind, kSection, note);
}

#define DW_SP "mma (.sp|.sp::ordered_metadata) .sync .aligned "
#define DW_ORDERED "mma .sp::ordered_metadata .sync .aligned "
#define DW_F8 " (.e4m3|.e5m2) (.e4m3|.e5m2) "
#define DW_F8F6F4 " (.e4m3|.e5m2|.e3m2|.e2m3|.e2m1) (.e4m3|.e5m2|.e3m2|.e2m3|.e2m1) "
#define DW_I8 " .row .col [.satfinite] .s32 (.s8|.u8) (.s8|.u8) .s32"
#define DW_I4 " .row .col [.satfinite] .s32 (.s4|.u4) (.s4|.u4) .s32"
// clang-format off
constexpr Row kRows[] = {
    row(DW_SP ".m16n8k16 .row .col .f32 .f16 .f16 .f32", k2, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k32 .row .col .f32 .f16 .f16 .f32", k4, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k16 .row .col .f16 .f16 .f16 .f16", k2Half, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k32 .row .col .f16 .f16 .f16 .f16", k4Half, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k16 .row .col .f32 .bf16 .bf16 .f32", k2, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k32 .row .col .f32 .bf16 .bf16 .f32", k4, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k8 .row .col .f32 .tf32 .tf32 .f32", k2, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k16 .row .col .f32 .tf32 .tf32 .f32", k4, Needs::kSm80, bind_float),
    row(DW_SP ".m16n8k64 .row .col .f32" DW_F8 ".f32", k4, Needs::kSm89, bind_float),

    row(DW_ORDERED ".m16n8k64 .row .col .f16" DW_F8 ".f16", k4Half, Needs::kSm120aPlus, bind_float),
    row(DW_ORDERED ".kind::f8f6f4 .m16n8k64 .row .col .f32" DW_F8F6F4 ".f32", k4, Needs::kSm120aPlus, bind_float),
    row(DW_ORDERED ".m16n8k64 .row .col .kind::f8f6f4 .f32" DW_F8F6F4 ".f32", k4, Needs::kSm120aPlus, bind_float),
    row(DW_ORDERED ".kind::f8f6f4 .m16n8k64 .row .col .f16" DW_F8F6F4 ".f16", k4Half, Needs::kSm120aPlus, bind_float),
    row(DW_ORDERED ".m16n8k64 .row .col .kind::f8f6f4 .f16" DW_F8F6F4 ".f16", k4Half, Needs::kSm120aPlus, bind_float),

    row(DW_ORDERED ".kind::mxf8f6f4 .block_scale [.scale_vec::1X] .m16n8k64 .row .col .f32" DW_F8F6F4 ".f32 .ue8m0", k4Scaled, Needs::kSm120aPlus, bind_float),
    row(DW_ORDERED ".m16n8k64 .row .col .kind::mxf8f6f4 .block_scale [.scale_vec::1X] .f32" DW_F8F6F4 ".f32 .ue8m0", k4Scaled, Needs::kSm120aPlus, bind_float),
    row(DW_ORDERED ".kind::mxf4 .block_scale [.scale_vec::2X] .m16n8k128 .row .col .f32 .e2m1 .e2m1 .f32 .ue8m0", k4Scaled, Needs::kSm12xa, bind_fp4),
    row(DW_ORDERED ".m16n8k128 .row .col .kind::mxf4 .block_scale [.scale_vec::2X] .f32 .e2m1 .e2m1 .f32 .ue8m0", k4Scaled, Needs::kSm12xa, bind_fp4),
    row(DW_ORDERED ".kind::mxf4nvf4 .block_scale (.scale_vec::2X|.scale_vec::4X) .m16n8k128 .row .col .f32 .e2m1 .e2m1 .f32 (.ue8m0|.ue4m3)", k4Scaled, Needs::kSm12xa, bind_fp4),
    row(DW_ORDERED ".m16n8k128 .row .col .kind::mxf4nvf4 .block_scale (.scale_vec::2X|.scale_vec::4X) .f32 .e2m1 .e2m1 .f32 (.ue8m0|.ue4m3)", k4Scaled, Needs::kSm12xa, bind_fp4),

    row(DW_SP ".m16n8k32" DW_I8, k2, Needs::kSm80, bind_int, kIntNote),
    row(DW_SP ".m16n8k64" DW_I8, k4, Needs::kSm80, bind_int, kIntNote),
    row(DW_SP ".m16n8k64" DW_I4, k2, Needs::kSm80, bind_int, kIntNote),
    row(DW_SP ".m16n8k128" DW_I4, k4, Needs::kSm80, bind_int, kIntNote),
};
// clang-format on
#undef DW_SP
#undef DW_ORDERED
#undef DW_F8
#undef DW_F8F6F4
#undef DW_I8
#undef DW_I4

}  // namespace

std::span<Row const> mma_sparse_rows() { return kRows; }

}  // namespace deepwell::emu
