// Instruction family: ldmatrix, stmatrix, movmatrix.
//
// Lane i of the first 8, 16 or 32 lanes gives the address of row i, 16 bytes. Which byte of which row a register's byte
// holds is `place_of` below; loads and stores use the same map.
#include <bit>
#include <cstring>

#include "emu/instr/instr.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

static_assert(std::endian::native == std::endian::little, "fragments are copied byte by byte");

constexpr std::string_view kLoadSection = "Warp-level matrix instructions: ldmatrix";
constexpr std::string_view kStoreSection = "Warp-level matrix instructions: stmatrix";
constexpr std::string_view kMoveSection = "Warp-level matrix instructions: movmatrix";

constexpr int kRowBytes = 16;

enum class Layout : std::uint32_t {
  kRows,          // m8n8 .b16, and m8n16 after widening: lane 4g + t holds 4 bytes of row g
  kTransposed16,  // m8n8 .trans .b16: rows 2t, 2t + 1 of 16-bit column g
  kTransposed8,   // m16n16 .trans .b8: rows 4t to 4t + 3 of byte column g, the next register of column g + 8
  kTransposedD8,  // m16n8 .trans .b8 (stores): rows 2t, 2t + 1 of columns g and g + 8, as mma leaves D
};
enum class Packing : std::uint32_t { kNone, kNibbles, kSixBits };

enum Aux : std::size_t { kLayout, kPacking, kRowCount };

struct PlaceInTile {
  int row, byte;
};

PlaceInTile place_of(Layout layout, int lane, int reg, int byte) {
  int const g = lane / 4, t = lane % 4;
  switch (layout) {
    case Layout::kRows: return {8 * reg + g, 4 * t + byte};
    case Layout::kTransposed16: return {8 * reg + 2 * t + byte / 2, 2 * g + byte % 2};
    case Layout::kTransposed8: return {16 * (reg / 2) + 4 * t + byte, g + 8 * (reg % 2)};
    case Layout::kTransposedD8: return {8 * reg + 2 * t + byte % 2, g + 8 * (byte / 2)};
  }
  return {};
}

/// Up to 32 rows; `defined` has the same shape and is looked at only when `all_defined` is false.
struct Tile {
  alignas(16) std::uint8_t bytes[kLanes][kRowBytes];
  std::uint8_t defined[kLanes][kRowBytes];
  bool all_defined = true;
};

void require_full_warp(Warp& warp, Instr const& instr, Mask mask) {
  if (mask != kFullMask) {
    fail(warp, instr, std::countr_zero(~mask),
         fmt::format("{} needs all 32 lanes of the warp, but only lanes {:#010x} execute it",
                     instr.info->parts[0], mask));
  }
}

Mask first_lanes(int count) { return count == kLanes ? kFullMask : (Mask{1} << count) - 1; }

Space space_of_opcode(Instr const& instr) {
  return instr.has(".shared") || instr.has(".shared::cta") ? Space::kShared : Space::kGeneric;
}

Place row_place(Warp& warp, Instr const& instr, int lane, std::uint64_t address, Access access) {
  Place const place =
      resolve(warp, instr, lane, space_of_opcode(instr), address, kRowBytes, kRowBytes, access);
  if (place.space != Space::kShared) {
    fail(warp, instr, lane,
         fmt::format("{} works on shared memory, but address {:#x} lies elsewhere", instr.info->parts[0],
                     address));
  }
  return place;
}

/// 16 elements packed in the row's first bytes, each widened to the low bits of one byte.
void widen(Packing packing, std::uint8_t (&row)[kRowBytes], std::uint8_t (&defined)[kRowBytes]) {
  std::uint8_t const bits = packing == Packing::kNibbles ? 4 : 6;
  std::uint8_t wide[kRowBytes], wide_defined[kRowBytes];
  for (int i = 0; i < kRowBytes; ++i) {
    int const first = i * bits / 8, last = (i * bits + bits - 1) / 8;
    std::uint32_t const word = row[first] | static_cast<std::uint32_t>(row[last]) << 8;
    std::uint32_t const source = first == last ? row[first] : word;
    wide[i] = static_cast<std::uint8_t>(source >> (i * bits % 8) & ((1u << bits) - 1));
    wide_defined[i] = defined[first] != 0 && defined[last] != 0;
  }
  std::memcpy(row, wide, kRowBytes);
  std::memcpy(defined, wide_defined, kRowBytes);
}

Outcome load(Warp& warp, Instr const& instr, Mask mask) {
  require_full_warp(warp, instr, mask);
  Layout const layout = static_cast<Layout>(instr.aux[kLayout]);
  Packing const packing = static_cast<Packing>(instr.aux[kPacking]);
  int const rows = static_cast<int>(instr.aux[kRowCount]);
  std::uint64_t addresses[kLanes];
  addresses_of(warp, instr, instr.ops[1], first_lanes(rows), addresses);
  Tile tile;
  Place places[kLanes];
  for (int row = 0; row < rows; ++row) {
    Place const place = places[row] = row_place(warp, instr, row, addresses[row], Access::kRead);
    std::memcpy(tile.bytes[row], place.data, kRowBytes);
    bool const whole = !warp.check || place.initialised(kRowBytes);
    if (whole) {
      std::memset(tile.defined[row], 1, kRowBytes);
    } else {
      std::memcpy(tile.defined[row], place.shadow, kRowBytes);
    }
    if (packing != Packing::kNone) widen(packing, tile.bytes[row], tile.defined[row]);
    if (!whole) {
      for (std::uint8_t const byte : tile.defined[row]) tile.all_defined &= byte != 0;
    }
  }
  observe(
      warp, instr,
      {.mask = first_lanes(rows), .places = places, .bytes = kRowBytes, .kind = race::kRead, .order = {}});
  auto const& registers = instr.ops[0].elements;
  for (int reg = 0; reg < static_cast<int>(registers.size()); ++reg) {
    Value const& value = registers[static_cast<std::size_t>(reg)];
    std::uint32_t* const out = warp.d32(value);
    Mask poison = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      std::uint32_t bits = 0;
      if (layout == Layout::kRows) {
        std::memcpy(&bits, &tile.bytes[8 * reg + lane / 4][4 * (lane % 4)], 4);
      } else {
        for (int byte = 0; byte < 4; ++byte) {
          PlaceInTile const at = place_of(layout, lane, reg, byte);
          bits |= static_cast<std::uint32_t>(tile.bytes[at.row][at.byte]) << (8 * byte);
        }
      }
      out[lane] = bits;
      for (int byte = 0; byte < 4 && !tile.all_defined; ++byte) {
        PlaceInTile const at = place_of(layout, lane, reg, byte);
        if (tile.defined[at.row][at.byte] == 0) poison |= Mask{1} << lane;
      }
    }
    if (warp.check) warp.set_poison(value, mask, poison);
  }
  return Outcome::kNext;
}

Outcome store(Warp& warp, Instr const& instr, Mask mask) {
  require_full_warp(warp, instr, mask);
  Layout const layout = static_cast<Layout>(instr.aux[kLayout]);
  int const rows = static_cast<int>(instr.aux[kRowCount]);
  std::uint64_t addresses[kLanes];
  addresses_of(warp, instr, instr.ops[0], first_lanes(rows), addresses);
  Tile tile;
  auto const& registers = instr.ops[1].elements;
  for (int reg = 0; reg < static_cast<int>(registers.size()); ++reg) {
    Value const& value = registers[static_cast<std::size_t>(reg)];
    std::uint32_t const* const in = warp.s32(value);
    Mask const poison = warp.check ? warp.poison_of(value) : 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int byte = 0; byte < 4; ++byte) {
        PlaceInTile const at = place_of(layout, lane, reg, byte);
        tile.bytes[at.row][at.byte] = static_cast<std::uint8_t>(in[lane] >> (8 * byte));
        tile.defined[at.row][at.byte] = (poison >> lane & 1) == 0;
      }
    }
  }
  Place places[kLanes];
  for (int row = 0; row < rows; ++row) {
    Place const place = places[row] = row_place(warp, instr, row, addresses[row], Access::kWrite);
    std::memcpy(place.data, tile.bytes[row], kRowBytes);
    if (place.shadow != nullptr) std::memcpy(place.shadow, tile.defined[row], kRowBytes);
  }
  observe(
      warp, instr,
      {.mask = first_lanes(rows), .places = places, .bytes = kRowBytes, .kind = race::kWrite, .order = {}});
  return Outcome::kNext;
}

/// Element (i, j) of the 8x8 matrix of 16 bits lies in lane 4i + j / 2, half j % 2.
Outcome transpose(Warp& warp, Instr const& instr, Mask mask) {
  require_full_warp(warp, instr, mask);
  std::uint32_t const* const in = warp.s32(instr.v(1));
  Mask const poison = warp.check ? warp.poison_of(instr.v(1)) : 0;
  std::uint32_t result[kLanes];
  Mask result_poison = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    int const row = lane / 4, column = 2 * (lane % 4);
    result[lane] = 0;
    for (int half = 0; half < 2; ++half) {
      int const source = 4 * (column + half) + row / 2;
      result[lane] |= (in[source] >> (16 * (row % 2)) & 0xffff) << (16 * half);
      if (poison >> source & 1) result_poison |= Mask{1} << lane;
    }
  }
  std::memcpy(warp.d32(instr.v(0)), result, sizeof result);
  if (warp.check) warp.set_poison(instr.v(0), mask, result_poison);
  return Outcome::kNext;
}

int matrices_of(Instr const& instr) { return instr.has(".x4") ? 4 : instr.has(".x2") ? 2 : 1; }

Exec bind_load(Instr& instr, BindContext const&) {
  int const matrices = matrices_of(instr);
  bool const wide = instr.has(".m16n16");
  Layout layout = instr.has(".trans") ? Layout::kTransposed16 : Layout::kRows;
  if (wide) layout = Layout::kTransposed8;
  Packing packing = Packing::kNone;
  if (instr.has(".b4x16_p64")) packing = Packing::kNibbles;
  if (instr.has(".b6x16_p32")) packing = Packing::kSixBits;
  std::size_t const registers = static_cast<std::size_t>(matrices) * (wide ? 2 : 1);
  if (instr.ops[0].elements.size() != registers) {
    throw unsupported(
        instr, fmt::format("a vector of {} registers, expected {}", instr.ops[0].elements.size(), registers));
  }
  instr.aux[kLayout] = static_cast<std::uint32_t>(layout);
  instr.aux[kPacking] = static_cast<std::uint32_t>(packing);
  instr.aux[kRowCount] = static_cast<std::uint32_t>(matrices * (wide ? 16 : 8));
  return load;
}

Exec bind_store(Instr& instr, BindContext const&) {
  int const matrices = matrices_of(instr);
  Layout layout = instr.has(".trans") ? Layout::kTransposed16 : Layout::kRows;
  if (instr.has(".m16n8")) layout = Layout::kTransposedD8;
  if (instr.ops[1].elements.size() != static_cast<std::size_t>(matrices)) {
    throw unsupported(
        instr, fmt::format("a vector of {} registers, expected {}", instr.ops[1].elements.size(), matrices));
  }
  instr.aux[kLayout] = static_cast<std::uint32_t>(layout);
  instr.aux[kRowCount] = static_cast<std::uint32_t>(matrices * 8);
  return store;
}

constexpr Row row(std::string_view pattern, std::string_view operands, int ptx, Needs needs,
                  Exec (*bind)(Instr&, BindContext const&), std::string_view section) {
  Row out{};
  out.pattern = pattern;
  out.operands = operands;
  out.ptx = ptx;
  out.needs = needs;
  out.section = section;
  out.bind = bind;
  out.rendezvous = Rendezvous::kAligned;
  return out;
}

constexpr Row movmatrix_row() {
  Row out =
      row("movmatrix .sync .aligned .m8n8 .trans .b16", "d32, s32", 78, Needs::kAny, nullptr, kMoveSection);
  out.exec = transpose;
  return out;
}

// Shape, count and .trans stand in any order.
#define DW_SPACE " [.shared|.shared::cta] "
#define DW_PACKED ".b8x16 (.b6x16_p32|.b4x16_p64)"
#define DW_ORDERS(verb, shape, count, type, operands, ptx, needs, bind, section)                       \
  row(verb " .sync .aligned " shape " " count " [.trans]" DW_SPACE type, operands, ptx, needs, bind,   \
      section),                                                                                        \
      row(verb " .sync .aligned " shape " .trans " count DW_SPACE type, operands, ptx, needs, bind,    \
          section),                                                                                    \
      row(verb " .sync .aligned .trans " shape " " count DW_SPACE type, operands, ptx, needs, bind,    \
          section),                                                                                    \
      row(verb " .sync .aligned " count " [.trans] " shape DW_SPACE type, operands, ptx, needs, bind,  \
          section),                                                                                    \
      row(verb " .sync .aligned " count " " shape " .trans" DW_SPACE type, operands, ptx, needs, bind, \
          section),                                                                                    \
      row(verb " .sync .aligned .trans " count " " shape DW_SPACE type, operands, ptx, needs, bind, section)
#define DW_TRANSPOSED(verb, shape, count, type, operands, ptx, needs, bind, section)                         \
  row(verb " .sync .aligned " shape " " count " .trans" DW_SPACE type, operands, ptx, needs, bind, section), \
      row(verb " .sync .aligned " shape " .trans " count DW_SPACE type, operands, ptx, needs, bind,          \
          section),                                                                                          \
      row(verb " .sync .aligned .trans " shape " " count DW_SPACE type, operands, ptx, needs, bind,          \
          section),                                                                                          \
      row(verb " .sync .aligned " count " .trans " shape DW_SPACE type, operands, ptx, needs, bind,          \
          section),                                                                                          \
      row(verb " .sync .aligned " count " " shape " .trans" DW_SPACE type, operands, ptx, needs, bind,       \
          section),                                                                                          \
      row(verb " .sync .aligned .trans " count " " shape DW_SPACE type, operands, ptx, needs, bind, section)
// clang-format off
constexpr Row kRows[] = {
    DW_ORDERS("ldmatrix", ".m8n8", ".x1", ".b16", "d1x32, a", 65, Needs::kAny, bind_load, kLoadSection),
    DW_ORDERS("ldmatrix", ".m8n8", ".x2", ".b16", "d2x32, a", 65, Needs::kAny, bind_load, kLoadSection),
    DW_ORDERS("ldmatrix", ".m8n8", ".x4", ".b16", "d4x32, a", 65, Needs::kAny, bind_load, kLoadSection),

    row("ldmatrix .sync .aligned .m8n16 .x1" DW_SPACE DW_PACKED, "d1x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    row("ldmatrix .sync .aligned .m8n16 .x2" DW_SPACE DW_PACKED, "d2x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    row("ldmatrix .sync .aligned .m8n16 .x4" DW_SPACE DW_PACKED, "d4x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    row("ldmatrix .sync .aligned .x1 .m8n16" DW_SPACE DW_PACKED, "d1x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    row("ldmatrix .sync .aligned .x2 .m8n16" DW_SPACE DW_PACKED, "d2x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    row("ldmatrix .sync .aligned .x4 .m8n16" DW_SPACE DW_PACKED, "d4x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),

    DW_TRANSPOSED("ldmatrix", ".m16n16", ".x1", ".b8", "d2x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    DW_TRANSPOSED("ldmatrix", ".m16n16", ".x2", ".b8", "d4x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    DW_TRANSPOSED("ldmatrix", ".m16n16", ".x1", DW_PACKED, "d2x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),
    DW_TRANSPOSED("ldmatrix", ".m16n16", ".x2", DW_PACKED, "d4x32, a", 86, Needs::kSm100aPlus, bind_load, kLoadSection),

    DW_ORDERS("stmatrix", ".m8n8", ".x1", ".b16", "a, s1x32", 78, Needs::kSm90, bind_store, kStoreSection),
    DW_ORDERS("stmatrix", ".m8n8", ".x2", ".b16", "a, s2x32", 78, Needs::kSm90, bind_store, kStoreSection),
    DW_ORDERS("stmatrix", ".m8n8", ".x4", ".b16", "a, s4x32", 78, Needs::kSm90, bind_store, kStoreSection),
    DW_TRANSPOSED("stmatrix", ".m16n8", ".x1", ".b8", "a, s1x32", 86, Needs::kSm100aPlus, bind_store, kStoreSection),
    DW_TRANSPOSED("stmatrix", ".m16n8", ".x2", ".b8", "a, s2x32", 86, Needs::kSm100aPlus, bind_store, kStoreSection),
    DW_TRANSPOSED("stmatrix", ".m16n8", ".x4", ".b8", "a, s4x32", 86, Needs::kSm100aPlus, bind_store, kStoreSection),

    movmatrix_row(),
};
// clang-format on
#undef DW_SPACE
#undef DW_PACKED
#undef DW_ORDERS
#undef DW_TRANSPOSED

}  // namespace

std::span<Row const> matrix_rows() { return kRows; }

}  // namespace deepwell::emu
