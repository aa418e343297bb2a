// Instruction family: wmma, matrices in fragments whose layout a program does not know. Here a fragment is one or two of mma's:
// of A and B those of 16 or of 8 rows (columns of B count as rows), one after the other, and what the manual's number of
// registers has room for beyond that are copies; of C and D two tiles of 16 x 8. m8n32k16 is computed transposed: B has the
// fragments of 16 rows. So it is in the code that ptxas makes for SM 9.0.
#include <algorithm>

#include "emu/instr/mma.hpp"
#include "emu/instr/table.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

using namespace mma;
using num::Format;

constexpr std::string_view kLoadSection = "Warp-level matrix instructions: wmma.load";
constexpr std::string_view kStoreSection = "Warp-level matrix instructions: wmma.store";
constexpr std::string_view kMmaSection = "Warp-level matrix instructions: wmma.mma";

enum class Matrix : std::uint32_t { kA, kB, kC };

struct Dims {
  int m = 0, n = 0, k = 0;
};
Dims dims_of(Instr const& instr) {
  for (std::string const& part : instr.info->parts) {
    std::size_t const n = part.find('n'), k = part.rfind('k');
    if (!part.starts_with(".m") || n == std::string::npos || k == std::string::npos || k < n) continue;
    return {std::stoi(part.substr(2)), std::stoi(part.substr(n + 1)), std::stoi(part.substr(k + 1))};
  }
  throw unsupported(instr, "a wmma without a shape");
}

// Instr::aux of loads and stores.
enum LoadAux : std::size_t { kMatrix, kSpace, kElementBits, kRowMajor, kM, kN, kDepth };

struct Cell {
  int row, column;
};

/// Where element e of register r of a lane lies, in the whole matrix. `r` is below the registers that are not copies.
Cell cell_of(Instr const& instr, int lane, int r, int e) {
  int const g = lane / 4, t = lane % 4, bits = static_cast<int>(instr.aux[kElementBits]);
  int const m = static_cast<int>(instr.aux[kM]), n = static_cast<int>(instr.aux[kN]);
  bool const transposed = m == 8 && n == 32;
  if (static_cast<Matrix>(instr.aux[kMatrix]) == Matrix::kC) {
    int const i = bits == 16 ? 2 * r + e : r;  // as if elements were in registers of their own
    int const tile = i / 4, major = g + 8 * (i / 2 % 2), minor = 2 * t + i % 2;
    if (transposed) return {minor, 16 * tile + major};
    return m == 32 ? Cell{16 * tile + major, minor} : Cell{major, 8 * tile + minor};
  }
  bool const of_a = static_cast<Matrix>(instr.aux[kMatrix]) == Matrix::kA;
  int const per_register = bits >= 32 ? 1 : 32 / bits;
  int const blocks = static_cast<int>(instr.aux[kDepth]) / (4 * per_register);  // registers along k
  bool const sixteen = m != 8 ? of_a : transposed && !of_a;
  int const in_tile = r % (sixteen ? 2 * blocks : blocks), tile = r / (sixteen ? 2 * blocks : blocks);
  int const outer = sixteen ? 16 * tile + g + 8 * (in_tile % 2) : 8 * tile + g;
  int const inner = 4 * per_register * (sixteen ? in_tile / 2 : in_tile) + per_register * t + e;
  return of_a ? Cell{outer, inner} : Cell{inner, outer};
}

/// Registers that are not copies: as many as the matrix fills.
std::size_t distinct_registers(Instr const& instr) {
  std::size_t const m = instr.aux[kM], n = instr.aux[kN], k = instr.aux[kDepth];
  Matrix const matrix = static_cast<Matrix>(instr.aux[kMatrix]);
  std::size_t const elements = matrix == Matrix::kA ? m * k : matrix == Matrix::kB ? k * n : m * n;
  std::size_t const bits = instr.aux[kElementBits];
  return elements * bits / (kLanes * (bits == 64 ? 64 : 32));
}

struct Addressing {
  std::uint64_t base;
  std::int64_t stride;  // elements
  bool row_major;
  int bits;
  std::uint64_t of(Cell cell) const {
    std::int64_t const major = row_major ? cell.row : cell.column, minor = row_major ? cell.column : cell.row;
    return base + static_cast<std::uint64_t>((major * stride + minor) * bits / 8);
  }
};

/// Address and stride, which all lanes share.
Addressing addressing_of(Warp& warp, Instr const& instr, std::size_t address_operand, Mask mask) {
  if (mask != kFullMask) {
    fail(warp, instr, std::countr_zero(~mask),
         fmt::format("wmma needs all 32 lanes of the warp, but only lanes {:#010x} execute it", mask));
  }
  std::uint64_t addresses[kLanes];
  addresses_of(warp, instr, instr.ops[address_operand], mask, addresses);
  std::size_t const after = instr.ops.size() - 1;
  bool const has_stride = after >= 2;
  bool const row_major = instr.aux[kRowMajor] != 0;
  Matrix const matrix = static_cast<Matrix>(instr.aux[kMatrix]);
  std::uint32_t const rows = matrix == Matrix::kB ? instr.aux[kDepth] : instr.aux[kM];
  std::uint32_t const columns = matrix == Matrix::kA ? instr.aux[kDepth] : instr.aux[kN];
  std::uint32_t stride = row_major ? columns : rows;
  for (int lane = 0; lane < kLanes; ++lane) {
    if (addresses[lane] != addresses[0])
      fail(warp, instr, lane, "the address differs from that of lane 0; it must be the same in all lanes");
    if (!has_stride) continue;
    warp.require_defined(instr, instr.v(static_cast<int>(after)), mask, "the stride of wmma");
    std::uint32_t const given =
        static_cast<std::uint32_t>(warp.lane_of(instr.v(static_cast<int>(after)), lane));
    if (lane > 0 && given != stride)
      fail(warp, instr, lane,
           fmt::format("the stride is {} here but {} in lane 0; it must be the same in all lanes", given,
                       stride));
    stride = given;
  }
  int const bits = static_cast<int>(instr.aux[kElementBits]);
  std::int64_t const step = static_cast<std::int32_t>(stride);
  return {addresses[0], step, row_major, bits};
}

/// Calls body(register, first element, elements, bytes) for the accesses of a fragment: whole registers where their elements
/// lie side by side, else single elements.
template <class Body>
void for_pieces(Instr const& instr, Addressing const& at, Body const& body) {
  int const per_register = at.bits >= 32 ? 1 : 32 / at.bits;
  std::size_t const registers = distinct_registers(instr);
  for (std::size_t r = 0; r < registers; ++r) {
    bool const whole =
        per_register == 1 ||
        at.of(cell_of(instr, 0, static_cast<int>(r), 1)) * 8 ==
            at.of(cell_of(instr, 0, static_cast<int>(r), 0)) * 8 + static_cast<std::uint64_t>(at.bits) ||
        at.bits < 8;
    int const pieces = whole ? 1 : per_register;
    for (int e = 0; e < pieces; ++e)
      body(r, e, static_cast<unsigned>(whole ? per_register * at.bits / 8 : at.bits / 8));
  }
}

Outcome load(Warp& warp, Instr const& instr, Mask mask) {
  Addressing const at = addressing_of(warp, instr, 1, mask);
  auto const& registers = instr.ops[0].elements;
  std::size_t const distinct = distinct_registers(instr);
  std::vector<std::array<std::uint64_t, kLanes>> values(distinct);
  std::vector<Mask> poison(distinct, 0);
  for_pieces(instr, at, [&](std::size_t r, int e, unsigned bytes) {
    Place places[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      std::uint64_t const address = at.of(cell_of(instr, lane, static_cast<int>(r), e));
      places[lane] = resolve(warp, instr, lane, static_cast<Space>(instr.aux[kSpace]), address, bytes, bytes,
                             Access::kRead);
      values[r][static_cast<std::size_t>(lane)] |= load_bits(places[lane], bytes) << (e * at.bits);
      if (warp.check && !places[lane].initialised(bytes)) poison[r] |= Mask{1} << lane;
    }
    observe(warp, instr, {.mask = mask, .places = places, .bytes = bytes, .kind = race::kRead, .order = {}});
  });
  for (std::size_t i = 0; i < registers.size(); ++i) {
    for (int lane = 0; lane < kLanes; ++lane)
      warp.set_lane(registers[i], lane, values[i % distinct][static_cast<std::size_t>(lane)]);
    if (warp.check) warp.set_poison(registers[i], mask, poison[i % distinct]);
  }
  return Outcome::kNext;
}

Outcome store(Warp& warp, Instr const& instr, Mask mask) {
  Addressing const at = addressing_of(warp, instr, 0, mask);
  auto const& registers = instr.ops[1].elements;
  for_pieces(instr, at, [&](std::size_t r, int e, unsigned bytes) {
    Place places[kLanes];
    Mask const poison = warp.check ? warp.poison_of(registers[r]) : 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      std::uint64_t const address = at.of(cell_of(instr, lane, static_cast<int>(r), e));
      Place const place = places[lane] = resolve(warp, instr, lane, static_cast<Space>(instr.aux[kSpace]),
                                                 address, bytes, bytes, Access::kWrite);
      if ((poison >> lane & 1) != 0 && place.space == Space::kGlobal)
        warp.report_poison(instr, registers[r], Mask{1} << lane, "the value that is stored to global memory");
      store_bits(place, bytes, warp.lane_of(registers[r], lane) >> (e * at.bits));
      place.mark(bytes, (poison >> lane & 1) == 0);
    }
    observe(warp, instr, {.mask = mask, .places = places, .bytes = bytes, .kind = race::kWrite, .order = {}});
  });
  ++warp.cta->cluster->progress;
  return Outcome::kNext;
}

int bits_of_element(std::string_view type) {
  if (type == ".b1") return 1;
  if (type == ".s4" || type == ".u4") return 4;
  return bits_of_type(type);
}

template <Matrix kWhich, bool kStores>
Exec bind_memory(Instr& instr, BindContext const&) {
  Dims const dims = dims_of(instr);
  instr.aux[kMatrix] = static_cast<std::uint32_t>(kWhich);
  bool const shared = instr.has(".shared") || instr.has(".shared::cta");
  instr.aux[kSpace] = static_cast<std::uint32_t>(shared                 ? Space::kShared
                                                 : instr.has(".global") ? Space::kGlobal
                                                                        : Space::kGeneric);
  instr.aux[kElementBits] = static_cast<std::uint32_t>(bits_of_element(instr.info->parts.back()));
  instr.aux[kRowMajor] = instr.has(".row");
  instr.aux[kM] = static_cast<std::uint32_t>(dims.m);
  instr.aux[kN] = static_cast<std::uint32_t>(dims.n);
  instr.aux[kDepth] = static_cast<std::uint32_t>(dims.k);
  std::size_t const given = instr.ops[kStores ? 1 : 0].elements.size(), distinct = distinct_registers(instr);
  // Fragments of A and B of f16 always have eight registers.
  bool const copies = kWhich != Matrix::kC && instr.info->parts.back() == ".f16";
  std::size_t const expected = copies ? 8 : distinct;
  if (given != expected)
    throw unsupported(instr, fmt::format("a vector of {} registers, expected {}", given, expected));
  return kStores ? store : load;
}

// ---- wmma.mma of 16 rows or 32 ---------------------------------------------------------------------------------------

// Instr::aux, after mma's.
constexpr std::size_t kShapeAux =
    kSelector;  // 0: two tiles side by side, 1: one below the other, 2: transposed

template <class Code>
constexpr int kMaxDepth = 16;

/// Registers of the fragments that meet in tile 0 or 1: of 16 rows, and of 8.
struct TileRegisters {
  Registers sixteen, eight, c, d;
};
TileRegisters tile_registers(Instr const& instr, std::size_t tile, std::size_t row_bytes) {
  std::size_t const shape = instr.aux[kShapeAux];
  std::size_t const blocks = row_bytes / kBlockBytes;
  Registers const a = instr.ops[kA].elements, b = instr.ops[kB].elements;
  Registers const wide = shape == 2 ? b : a, narrow = shape == 2 ? a : b;
  Registers const c = instr.ops[kC].elements, d = instr.ops[kD].elements;
  return {wide.subspan(shape == 0 ? 0 : tile * 2 * blocks, 2 * blocks),
          narrow.subspan(shape == 0 ? tile * blocks : 0, blocks),
          c.subspan(tile * c.size() / 2, c.size() / 2), d.subspan(tile * d.size() / 2, d.size() / 2)};
}

template <class Code>
Outcome run_float(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  int const k = static_cast<int>(instr.aux[kK]);
  int const row_bytes = k * static_cast<int>(sizeof(Code));
  bool const half_c = instr.ops[kC].elements.size() == 4, half_d = instr.ops[kD].elements.size() == 4;
  Format const accumulator = half_c && half_d ? Format::kF16 : Format::kF32;
  Format const format = static_cast<Format>(instr.aux[kFormatA]);
  Accumulators sums[2];
  for (std::size_t i = 0; i < 2; ++i) {
    TileRegisters const registers = tile_registers(instr, i, static_cast<std::size_t>(row_bytes));
    alignas(64) Code a[num::kMmaM * kMaxDepth<Code>], b[num::kMmaN * kMaxDepth<Code>];
    gather_a(warp, registers.sixteen, row_bytes, a);
    gather_b(warp, registers.eight, row_bytes, b);
    if (half_c) {
      gather_c<true>(warp, registers.c, sums[i]);
    } else {
      gather_c<false>(warp, registers.c, sums[i]);
    }
    if (half_c && !half_d) {
      for (std::uint32_t& code : sums[i])
        code = std::bit_cast<std::uint32_t>(num::f16_to_float(static_cast<std::uint16_t>(code)));
    }
    // tf32 takes two steps of k 4.
    int const steps = format == Format::kTf32 ? 2 : 1;
    for (int step = 0; step < steps; ++step) {
      alignas(64) Code part_a[num::kMmaM * kMaxDepth<Code>], part_b[num::kMmaN * kMaxDepth<Code>];
      int const depth = k / steps;
      for (int row = 0; row < num::kMmaM; ++row)
        std::copy_n(a + row * k + step * depth, depth, part_a + row * depth);
      for (int row = 0; row < num::kMmaN; ++row)
        std::copy_n(b + row * k + step * depth, depth, part_b + row * depth);
      num::mma(core_of(instr), num::MmaTile<Code>{.a_format = format,
                                                  .b_format = format,
                                                  .k = depth,
                                                  .a = part_a,
                                                  .b = part_b,
                                                  .c = sums[i].data(),
                                                  .d = sums[i].data(),
                                                  .accumulator = accumulator});
    }
    if (half_d && !half_c) {
      for (std::uint32_t& code : sums[i]) code = num::float_to_f16(std::bit_cast<float>(code));
    }
  }
  for (std::size_t i = 0; i < 2; ++i) {
    Registers const d = tile_registers(instr, i, static_cast<std::size_t>(row_bytes)).d;
    if (half_d) {
      scatter_d<true>(warp, d, sums[i]);
    } else {
      scatter_d<false>(warp, d, sums[i]);
    }
  }
  return Outcome::kNext;
}

Outcome run_int(Warp& warp, Instr const& instr, Mask mask) {
  begin(warp, instr, mask);
  Accumulators sums[2];
  constexpr int kDepthBytes = 16;
  for (std::size_t i = 0; i < 2; ++i) {
    TileRegisters const registers = tile_registers(instr, i, kDepthBytes);
    alignas(64) std::uint8_t a[num::kMmaM * kDepthBytes], b[num::kMmaN * kDepthBytes];
    gather_a(warp, registers.sixteen, kDepthBytes, a);
    gather_b(warp, registers.eight, kDepthBytes, b);
    gather_c<false>(warp, registers.c, sums[i]);
    num::mma_int({.a_signed = instr.aux[kFormatA] != 0,
                  .b_signed = instr.aux[kFormatB] != 0,
                  .satfinite = instr.aux[kSaturate] != 0,
                  .k = kDepthBytes,
                  .a = a,
                  .b = b,
                  .c = sums[i].data(),
                  .d = sums[i].data()});
  }
  for (std::size_t i = 0; i < 2; ++i)
    scatter_d<false>(warp, tile_registers(instr, i, kDepthBytes).d, sums[i]);
  return Outcome::kNext;
}

void bind_tiles(Instr& instr, BindContext const& context) {
  set_common(instr, context);
  Dims const dims = dims_of(instr);
  instr.aux[kShapeAux] = dims.m == 16 ? 0 : dims.m == 32 ? 1 : 2;
}

Exec bind_tiles_int(Instr& instr, BindContext const& context) {
  bind_tiles(instr, context);
  instr.aux[kFormatA] = instr.aux[kFormatB] = instr.has(".s8");
  instr.aux[kSaturate] = instr.has(".satfinite");
  return run_int;
}

template <Format kFormat>
Exec bind_tiles_float(Instr& instr, BindContext const& context) {
  bind_tiles(instr, context);
  instr.aux[kFormatA] = static_cast<std::uint32_t>(kFormat);
  return kFormat == Format::kTf32 ? run_float<std::uint32_t> : run_float<std::uint16_t>;
}

using Bind = Exec (*)(Instr&, BindContext const&);
constexpr Bind kLoadA = bind_memory<Matrix::kA, false>, kLoadB = bind_memory<Matrix::kB, false>,
               kLoadC = bind_memory<Matrix::kC, false>, kStoreD = bind_memory<Matrix::kC, true>;
constexpr std::string_view kCountsNote = "counted as one access a register or element";

constexpr Row load_row(std::string_view pattern, std::string_view operands, Bind bind,
                       Needs needs = Needs::kAny, int ptx = 60) {
  return mma::row(pattern, operands, ptx, needs, bind, kLoadSection, kCountsNote);
}
constexpr Row store_row(std::string_view pattern, std::string_view operands) {
  return mma::row(pattern, operands, 60, Needs::kAny, kStoreD, kStoreSection, kCountsNote);
}
constexpr Row mma_row(std::string_view pattern, std::string_view operands, Bind bind, std::string_view note,
                      Needs needs = Needs::kAny, int ptx = 60) {
  return mma::row(pattern, operands, ptx, needs, bind, kMmaSection, note);
}

#define DW_LAYOUT "(.row|.col)"
#define DW_SHAPES "(.m16n16k16|.m8n32k16|.m32n8k16)"
#define DW_SPACE " [.global|.shared|.shared::cta] "
#define DW_MMA "wmma .mma .sync .aligned (.row|.col) (.row|.col) "
#define DW_RN "[.rn|.rz|.rm|.rp]"
// Shape and layout stand in either order.
#define DW_LOAD(matrix, layout, shapes, types, operands, ...)                                       \
  load_row("wmma .load ." matrix " .sync .aligned " layout " " shapes DW_SPACE types, operands,     \
           __VA_ARGS__),                                                                            \
      load_row("wmma .load ." matrix " .sync .aligned " shapes " " layout DW_SPACE types, operands, \
               __VA_ARGS__)
#define DW_STORE(shapes, types, operands)                                                    \
  store_row("wmma .store .d .sync .aligned " DW_LAYOUT " " shapes DW_SPACE types, operands), \
      store_row("wmma .store .d .sync .aligned " shapes " " DW_LAYOUT DW_SPACE types, operands)
// clang-format off
constexpr Row kRows[] = {
    DW_LOAD("a", DW_LAYOUT, DW_SHAPES, ".f16", "d8x32, a, ?si32", kLoadA),
    DW_LOAD("b", DW_LAYOUT, DW_SHAPES, ".f16", "d8x32, a, ?si32", kLoadB),
    DW_LOAD("a", DW_LAYOUT, ".m16n16k16", ".bf16", "d4x32, a, ?si32", kLoadA, Needs::kSm80, 70),
    DW_LOAD("b", DW_LAYOUT, ".m16n16k16", ".bf16", "d4x32, a, ?si32", kLoadB, Needs::kSm80, 70),
    DW_LOAD("a", DW_LAYOUT, ".m32n8k16", ".bf16", "d8x32, a, ?si32", kLoadA, Needs::kSm80, 70),
    DW_LOAD("b", DW_LAYOUT, ".m32n8k16", ".bf16", "d2x32, a, ?si32", kLoadB, Needs::kSm80, 70),
    DW_LOAD("a", DW_LAYOUT, ".m8n32k16", ".bf16", "d2x32, a, ?si32", kLoadA, Needs::kSm80, 70),
    DW_LOAD("b", DW_LAYOUT, ".m8n32k16", ".bf16", "d8x32, a, ?si32", kLoadB, Needs::kSm80, 70),
    DW_LOAD("a", DW_LAYOUT, ".m16n16k16", "(.s8|.u8)", "d2x32, a, ?si32", kLoadA, Needs::kAny, 63),
    DW_LOAD("b", DW_LAYOUT, ".m16n16k16", "(.s8|.u8)", "d2x32, a, ?si32", kLoadB, Needs::kAny, 63),
    DW_LOAD("a", DW_LAYOUT, ".m32n8k16", "(.s8|.u8)", "d4x32, a, ?si32", kLoadA, Needs::kAny, 63),
    DW_LOAD("b", DW_LAYOUT, ".m32n8k16", "(.s8|.u8)", "d1x32, a, ?si32", kLoadB, Needs::kAny, 63),
    DW_LOAD("a", DW_LAYOUT, ".m8n32k16", "(.s8|.u8)", "d1x32, a, ?si32", kLoadA, Needs::kAny, 63),
    DW_LOAD("b", DW_LAYOUT, ".m8n32k16", "(.s8|.u8)", "d4x32, a, ?si32", kLoadB, Needs::kAny, 63),
    DW_LOAD("a", DW_LAYOUT, ".m16n16k8", ".tf32", "d4x32, a, ?si32", kLoadA, Needs::kSm80, 70),
    DW_LOAD("b", DW_LAYOUT, ".m16n16k8", ".tf32", "d4x32, a, ?si32", kLoadB, Needs::kSm80, 70),
    DW_LOAD("a", DW_LAYOUT, ".m8n8k4", ".f64", "d1x64, a, ?si32", kLoadA, Needs::kSm80, 70),
    DW_LOAD("b", DW_LAYOUT, ".m8n8k4", ".f64", "d1x64, a, ?si32", kLoadB, Needs::kSm80, 70),
    DW_LOAD("a", ".row", ".m8n8k32", "(.s4|.u4)", "d1x32, a, ?si32", kLoadA, Needs::kAny, 63),
    DW_LOAD("b", ".col", ".m8n8k32", "(.s4|.u4)", "d1x32, a, ?si32", kLoadB, Needs::kAny, 63),
    DW_LOAD("a", ".row", ".m8n8k128", ".b1", "d1x32, a, ?si32", kLoadA, Needs::kAny, 63),
    DW_LOAD("b", ".col", ".m8n8k128", ".b1", "d1x32, a, ?si32", kLoadB, Needs::kAny, 63),
    DW_LOAD("c", DW_LAYOUT, DW_SHAPES, ".f16", "d4x32, a, ?si32", kLoadC),
    DW_LOAD("c", DW_LAYOUT, DW_SHAPES, ".f32", "d8x32, a, ?si32", kLoadC),
    DW_LOAD("c", DW_LAYOUT, DW_SHAPES, ".s32", "d8x32, a, ?si32", kLoadC, Needs::kAny, 63),
    DW_LOAD("c", DW_LAYOUT, ".m16n16k8", ".f32", "d8x32, a, ?si32", kLoadC, Needs::kSm80, 70),
    DW_LOAD("c", DW_LAYOUT, ".m8n8k4", ".f64", "d2x64, a, ?si32", kLoadC, Needs::kSm80, 70),
    DW_LOAD("c", DW_LAYOUT, "(.m8n8k32|.m8n8k128)", ".s32", "d2x32, a, ?si32", kLoadC, Needs::kAny, 63),
    DW_STORE(DW_SHAPES, ".f16", "a, s4x32, ?si32"),
    DW_STORE(DW_SHAPES, "(.f32|.s32)", "a, s8x32, ?si32"),
    DW_STORE(".m16n16k8", ".f32", "a, s8x32, ?si32"),
    DW_STORE(".m8n8k4", ".f64", "a, s2x64, ?si32"),
    DW_STORE("(.m8n8k32|.m8n8k128)", ".s32", "a, s2x32, ?si32"),

    mma_row(DW_MMA DW_SHAPES " .f32 .f32", "d8x32, s8x32, s8x32, s8x32", bind_tiles_float<Format::kF16>, kArithmetic),
    mma_row(DW_MMA DW_SHAPES " .f32 .f16", "d8x32, s8x32, s8x32, s4x32", bind_tiles_float<Format::kF16>, kArithmetic),
    mma_row(DW_MMA DW_SHAPES " .f16 .f32", "d4x32, s8x32, s8x32, s8x32", bind_tiles_float<Format::kF16>, "as with f32 accumulators, then rounded to f16"),
    mma_row(DW_MMA DW_SHAPES " .f16 .f16", "d4x32, s8x32, s8x32, s4x32", bind_tiles_float<Format::kF16>, kArithmetic),
    mma_row(DW_MMA ".m16n16k16 .f32 .bf16 .bf16 .f32", "d8x32, s4x32, s4x32, s8x32", bind_tiles_float<Format::kBf16>, kArithmetic, Needs::kSm80, 70),
    mma_row(DW_MMA ".m32n8k16 .f32 .bf16 .bf16 .f32", "d8x32, s8x32, s2x32, s8x32", bind_tiles_float<Format::kBf16>, kArithmetic, Needs::kSm80, 70),
    mma_row(DW_MMA ".m8n32k16 .f32 .bf16 .bf16 .f32", "d8x32, s2x32, s8x32, s8x32", bind_tiles_float<Format::kBf16>, kArithmetic, Needs::kSm80, 70),
    mma_row(DW_MMA ".m16n16k8 .f32 .tf32 .tf32 .f32", "d8x32, s4x32, s4x32, s8x32", bind_tiles_float<Format::kTf32>, "as two products of k 4", Needs::kSm80, 70),
    mma_row(DW_MMA ".m16n16k16 .s32 .s8 .s8 .s32 [.satfinite]", "d8x32, s2x32, s2x32, s8x32", bind_tiles_int, kIntNote, Needs::kAny, 63),
    mma_row(DW_MMA ".m16n16k16 .s32 .u8 .u8 .s32 [.satfinite]", "d8x32, s2x32, s2x32, s8x32", bind_tiles_int, kIntNote, Needs::kAny, 63),
    mma_row(DW_MMA ".m32n8k16 .s32 .s8 .s8 .s32 [.satfinite]", "d8x32, s4x32, s1x32, s8x32", bind_tiles_int, kIntNote, Needs::kAny, 63),
    mma_row(DW_MMA ".m32n8k16 .s32 .u8 .u8 .s32 [.satfinite]", "d8x32, s4x32, s1x32, s8x32", bind_tiles_int, kIntNote, Needs::kAny, 63),
    mma_row(DW_MMA ".m8n32k16 .s32 .s8 .s8 .s32 [.satfinite]", "d8x32, s1x32, s4x32, s8x32", bind_tiles_int, kIntNote, Needs::kAny, 63),
    mma_row(DW_MMA ".m8n32k16 .s32 .u8 .u8 .s32 [.satfinite]", "d8x32, s1x32, s4x32, s8x32", bind_tiles_int, kIntNote, Needs::kAny, 63),
    mma_row("wmma .mma .sync .aligned .row .col .m8n8k32 .s32 .s4 .s4 .s32 [.satfinite]", "d2x32, s1x32, s1x32, s2x32", bind_int, kIntNote, Needs::kAny, 63),
    mma_row("wmma .mma .sync .aligned .row .col .m8n8k32 .s32 .u4 .u4 .s32 [.satfinite]", "d2x32, s1x32, s1x32, s2x32", bind_int, kIntNote, Needs::kAny, 63),
    mma_row("wmma .mma (.xor|.and) .popc .sync .aligned .row .col .m8n8k128 .s32 .b1 .b1 .s32", "d2x32, s1x32, s1x32, s2x32", bind_bits, "exact; wraps", Needs::kAny, 63),
    mma_row(DW_MMA ".m8n8k4 " DW_RN " .f64 .f64 .f64 .f64", "d2x64, s1x64, s1x64, s2x64", bind_f64, "a chain of fma, k upward", Needs::kSm80, 70),
    mma_row(DW_MMA ".m8n8k4 .f64 .f64 .f64 .f64 " DW_RN, "d2x64, s1x64, s1x64, s2x64", bind_f64, "a chain of fma, k upward", Needs::kSm80, 70),
};
// clang-format on
#undef DW_LAYOUT
#undef DW_SHAPES
#undef DW_SPACE
#undef DW_MMA
#undef DW_RN
#undef DW_LOAD
#undef DW_STORE

}  // namespace

std::span<Row const> wmma_rows() { return kRows; }

}  // namespace deepwell::emu
