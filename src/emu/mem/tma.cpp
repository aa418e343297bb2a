// Tile copies of the TMA unit, and element-wise reductions.
#include "emu/mem/tma.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "emu/mem/fault.hpp"
namespace deepwell::emu {
namespace {

template <class T>
T load_as(std::byte const* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <class T, class F>
void combine(std::span<std::byte> into, std::span<std::byte const> with, F const& f) {
  for (std::size_t i = 0; i + sizeof(T) <= into.size(); i += sizeof(T)) {
    T const value = f(load_as<T>(&into[i]), load_as<T>(&with[i]));
    std::memcpy(&into[i], &value, sizeof value);
  }
}

template <class T>
void reduce_integers(ReduceOp op, std::span<std::byte> into, std::span<std::byte const> with) {
  using U = std::make_unsigned_t<T>;
  switch (op) {
    case ReduceOp::kAdd: return combine<U>(into, with, [](U a, U b) { return static_cast<U>(a + b); });
    case ReduceOp::kMin: return combine<T>(into, with, [](T a, T b) { return std::min(a, b); });
    case ReduceOp::kMax: return combine<T>(into, with, [](T a, T b) { return std::max(a, b); });
    case ReduceOp::kInc:
      return combine<U>(into, with, [](U a, U b) { return a >= b ? U{0} : static_cast<U>(a + 1); });
    case ReduceOp::kDec:
      return combine<U>(into, with, [](U a, U b) { return a == 0 || a > b ? b : static_cast<U>(a - 1); });
    case ReduceOp::kAnd: return combine<U>(into, with, [](U a, U b) { return static_cast<U>(a & b); });
    case ReduceOp::kOr: return combine<U>(into, with, [](U a, U b) { return static_cast<U>(a | b); });
    case ReduceOp::kXor: return combine<U>(into, with, [](U a, U b) { return static_cast<U>(a ^ b); });
  }
}

/// f16 and bf16 are widened to double, where a sum of two is exact, and rounded once to nearest even.
struct HalfFormat {
  int exponent_bits, mantissa_bits;
};
constexpr HalfFormat kF16{5, 10}, kBf16{8, 7};

double widen(std::uint16_t bits, HalfFormat f) {
  int const bias = (1 << (f.exponent_bits - 1)) - 1;
  int const exponent = bits >> f.mantissa_bits & ((1 << f.exponent_bits) - 1);
  int const mantissa = bits & ((1 << f.mantissa_bits) - 1);
  double const sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == (1 << f.exponent_bits) - 1) {
    return mantissa ? std::numeric_limits<double>::quiet_NaN()
                    : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - f.mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << f.mantissa_bits), exponent - bias - f.mantissa_bits);
}

std::uint16_t narrow(double value, HalfFormat f) {
  if (std::isnan(value)) return 0x7fff;
  std::uint16_t const sign = std::signbit(value) ? 0x8000 : 0;
  int const bias = (1 << (f.exponent_bits - 1)) - 1;
  int const infinity = ((1 << f.exponent_bits) - 1) << f.mantissa_bits;
  double const magnitude = std::abs(value);
  if (magnitude == 0) return sign;
  if (std::isinf(magnitude)) return static_cast<std::uint16_t>(sign | infinity);
  int const exponent = std::max(std::ilogb(magnitude), 1 - bias);
  double const scaled =
      std::ldexp(magnitude, f.mantissa_bits - exponent);  // below 2^(mantissa bits + 1), exact
  double whole = std::floor(scaled);
  double const rest = scaled - whole;
  if (rest > 0.5 || (rest == 0.5 && std::fmod(whole, 2.0) != 0)) whole += 1;
  // A subnormal has exponent field 0 and no hidden bit; adding lets a carry run into the exponent.
  int const field = (exponent + bias - 1) << f.mantissa_bits;
  int const bits = field + static_cast<int>(whole);
  return static_cast<std::uint16_t>(sign | std::min(bits, infinity));
}

void reduce_halves(ReduceOp op, HalfFormat f, std::span<std::byte> into, std::span<std::byte const> with) {
  combine<std::uint16_t>(into, with, [&](std::uint16_t a, std::uint16_t b) -> std::uint16_t {
    double const x = widen(a, f), y = widen(b, f);
    if (op == ReduceOp::kAdd) return narrow(x + y, f);
    if (std::isnan(x)) return std::isnan(y) ? 0x7fff : b;
    if (std::isnan(y)) return a;
    bool const first =
        op == ReduceOp::kMin ? x < y || (x == y && std::signbit(x)) : x > y || (x == y && !std::signbit(x));
    return first ? a : b;
  });
}

/// To 10 mantissa bits, to nearest, ties to even; subnormals stay, a NaN becomes 0x7fffe000.
void round_to_tf32(std::byte* at) {
  auto bits = load_as<std::uint32_t>(at);
  if ((bits & 0x7fffffff) > 0x7f800000) {
    bits = 0x7fffe000;
  } else {
    bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
  }
  std::memcpy(at, &bits, sizeof bits);
}

float flush(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}

}  // namespace

char const* name_of(ReduceOp op) {
  static constexpr char const* kNames[] = {"add", "min", "max", "inc", "dec", "and", "or", "xor"};
  return kNames[static_cast<int>(op)];
}

void check_reduce(ReduceOp op, TensorMapType type) {
  using enum ReduceOp;
  bool ok = false;
  switch (type) {
    case TensorMapType::kU32: ok = true; break;
    case TensorMapType::kS32:
    case TensorMapType::kU64:
    case TensorMapType::kS64: ok = op != kInc && op != kDec; break;
    case TensorMapType::kF16:
    case TensorMapType::kBf16: ok = op == kAdd || op == kMin || op == kMax; break;
    case TensorMapType::kF32:
    case TensorMapType::kF32Ftz:
    case TensorMapType::kF64: ok = op == kAdd; break;
    default: break;
  }
  DW_CHECK(ok, kUnsupported, "a bulk reduction .{} does not exist or is not modelled for {}", name_of(op),
           name_of(type));
}

void reduce_elements(ReduceOp op, TensorMapType type, std::span<std::byte> into,
                     std::span<std::byte const> with) {
  check_reduce(op, type);
  switch (type) {
    case TensorMapType::kU32: return reduce_integers<std::uint32_t>(op, into, with);
    case TensorMapType::kS32: return reduce_integers<std::int32_t>(op, into, with);
    case TensorMapType::kU64: return reduce_integers<std::uint64_t>(op, into, with);
    case TensorMapType::kS64: return reduce_integers<std::int64_t>(op, into, with);
    case TensorMapType::kF16: return reduce_halves(op, kF16, into, with);
    case TensorMapType::kBf16: return reduce_halves(op, kBf16, into, with);
    case TensorMapType::kF32: return combine<float>(into, with, [](float a, float b) { return a + b; });
    case TensorMapType::kF32Ftz:
      return combine<float>(into, with, [](float a, float b) { return flush(flush(a) + flush(b)); });
    case TensorMapType::kF64: return combine<double>(into, with, [](double a, double b) { return a + b; });
    default: break;
  }
}

Tile::Tile(TensorMapSpec const& map, std::span<std::int32_t const> coordinates, std::uint32_t shared_address)
    : map_(map),
      type_(static_cast<TensorMapType>(map.data_type)),
      swizzle_(static_cast<TensorMapSwizzle>(map.swizzle)),
      shared_address_(shared_address) {
  try {
    check_tensor_map(map);
  } catch (Error const& error) {
    throw Fault(Finding::kTensorMap, error.what());
  }
  DW_REQUIRE(static_cast<int>(coordinates.size()) == map.rank, kTensorMap,
             "the instruction has {} coordinates but the tensor map has rank {}", coordinates.size(),
             map.rank);
  std::copy(coordinates.begin(), coordinates.end(), coordinates_.begin());
  DW_REQUIRE(shared_address % 128 == 0, kTensorMap,
             "the shared address {:#x} of a tensor copy is not a multiple of 128 bytes", shared_address);
  // Hardware takes another start for an illegal instruction (seen on SM 9.0).
  std::int64_t const inner_bits = coordinates_[0] * bits_of(type_);
  DW_REQUIRE(inner_bits % 128 == 0, kTensorMap,
             "coordinate 0 is {}: {} bits from the start of the row, not a multiple of 16 bytes",
             coordinates_[0], inner_bits);
  DW_REQUIRE(type_ != TensorMapType::kU4Align16 || coordinates_[0] % 128 == 0, kTensorMap,
             "coordinate 0 is {}; for 16U4_ALIGN16B it is a multiple of 128", coordinates_[0]);
  steps_.fill(1);
  steps_[0] = map.box[0];
  for (int i = 1; i < map.rank; ++i)
    steps_[i] = (map.box[i] + map.element_strides[i] - 1) / map.element_strides[i];
  set_sizes();
}

Tile Tile::gather4(TensorMapSpec const& map, std::span<std::int32_t const> coordinates,
                   std::uint32_t shared_address) {
  DW_REQUIRE(coordinates.size() == 5 && map.rank == 2, kTensorMap,
             "tile::gather4 needs a tensor map of rank 2 and 5 coordinates, got rank {} and {}", map.rank,
             coordinates.size());
  DW_REQUIRE(map.box[1] == 1, kTensorMap, "tile::gather4 needs a tensor map with box[1] = 1, got {}",
             map.box[1]);
  Tile tile(map, coordinates.first(2), shared_address);
  tile.gathers_ = true;
  std::copy_n(coordinates.begin() + 1, 4, tile.rows_.begin());
  tile.steps_[1] = 4;
  tile.set_sizes();
  return tile;
}

void Tile::set_sizes() {
  std::uint32_t rows = 1;
  for (int i = 1; i < map_.rank; ++i) rows *= steps_[i];
  row_bytes_ = map_.box[0] * static_cast<std::uint32_t>(bits_of(type_)) / 8;
  shared_row_bytes_ = type_ == TensorMapType::kU4Align16 ? 2 * row_bytes_ : row_bytes_;
  pitch_ =
      swizzle_ == TensorMapSwizzle::kNone ? shared_row_bytes_ : static_cast<std::uint32_t>(span_of(swizzle_));
  std::uint64_t const total = std::uint64_t{rows} * pitch_;
  DW_REQUIRE(total < (1u << 20), kTensorMap,
             "the tensor map's box of {} bytes exceeds shared memory and the transaction count", total);
  transaction_bytes_ = rows * row_bytes_;
  shared_bytes_ = static_cast<std::uint32_t>(total);
}

std::string Tile::describe() const {
  std::string dims, box, at;
  for (int i = 0; i < map_.rank; ++i) {
    char const* comma = i ? ", " : "";
    dims += fmt::format("{}{}", comma, map_.dims[i]);
    box += fmt::format("{}{}", comma, map_.box[i]);
    at += fmt::format("{}{}", comma, coordinates_[i]);
  }
  return fmt::format("tensor map {} at {:#x}, dims {{{}}}, box {{{}}}, coordinates {{{}}}", name_of(type_),
                     map_.base, dims, box, at);
}

std::int64_t Tile::inner_bytes() const {
  return (static_cast<std::int64_t>(map_.dims[0]) * bits_of(type_) + 7) / 8;
}

template <class Body>
void Tile::for_each_row(std::int64_t inner_limit_bytes, Body const& body) const {
  std::array<std::uint32_t, 5> at{};
  std::int64_t const start = coordinates_[0] * bits_of(type_) / 8;
  std::int64_t const first = std::clamp<std::int64_t>(-start, 0, row_bytes_);
  std::int64_t const last = std::clamp<std::int64_t>(inner_limit_bytes - start, 0, row_bytes_);
  for (std::uint32_t shared = shared_address_; shared < shared_address_ + shared_bytes_; shared += pitch_) {
    bool inside = first < last;
    std::uint64_t address = map_.base;
    for (int i = 1; i < map_.rank; ++i) {
      std::int64_t const c =
          gathers_ ? rows_[at[1]] : coordinates_[i] + std::int64_t{at[i]} * map_.element_strides[i];
      inside = inside && c >= 0 && c < static_cast<std::int64_t>(map_.dims[i]);
      address += static_cast<std::uint64_t>(c) * map_.strides_bytes[i - 1];
    }
    Row row;
    row.shared = shared;
    if (inside) {
      row.global = address + static_cast<std::uint64_t>(start + first);
      row.skip = static_cast<std::uint32_t>(first);
      row.inside = static_cast<std::uint32_t>(last - first);
    }
    try {
      body(row);
    } catch (Fault const& fault) {
      std::string where;
      for (int i = 1; i < map_.rank; ++i)
        where += fmt::format("{}{}", i > 1 ? ", " : "", at[i] * map_.element_strides[i]);
      throw with_context(fault, fmt::format("{}, box row {{{}}}", describe(), where));
    }
    for (int i = 1; i < map_.rank && ++at[i] == steps_[i]; ++i) at[i] = 0;
  }
}

void Tile::fill(std::span<std::byte> row) const {
  std::fill(row.begin(), row.end(), std::byte{0});
  if (map_.oob_fill == 0) return;
  // What SM 9.0 hardware fills with, whatever the element's width.
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = i % 2 == 0 ? std::byte{0xf7} : std::byte{0x7f};
}

void Tile::write_row(BulkMemory& memory, Row const& row, std::span<std::byte const> data,
                     std::span<std::uint8_t const> valid) const {
  for (std::uint32_t i = 0; i < shared_row_bytes_; i += 16) {
    memory.write_shared(swizzle_address(swizzle_, row.shared + i), data.subspan(i, 16), valid.subspan(i, 16));
  }
}

void Tile::read_row(BulkMemory& memory, Row const& row, std::span<std::byte> data,
                    std::span<std::uint8_t> valid) const {
  for (std::uint32_t i = 0; i < shared_row_bytes_; i += 16) {
    memory.read_shared(swizzle_address(swizzle_, row.shared + i), data.subspan(i, 16), valid.subspan(i, 16));
  }
}

void Tile::load(BulkMemory& memory) const {
  std::vector<std::byte> packed(row_bytes_), spread(shared_row_bytes_);
  std::vector<std::uint8_t> valid(row_bytes_), spread_valid(shared_row_bytes_);
  for_each_row(inner_bytes(), [&](Row const& row) {
    fill(packed);
    std::fill(valid.begin(), valid.end(), std::uint8_t{1});
    if (row.inside) {
      memory.read_global(row.global, std::span(packed).subspan(row.skip, row.inside),
                         std::span(valid).subspan(row.skip, row.inside));
    }
    // The .ftz types load like the plain ones (seen on SM 9.0); they differ in reductions.
    if (type_ == TensorMapType::kTf32 || type_ == TensorMapType::kTf32Ftz) {
      for (std::uint32_t i = row.skip; i < row.skip + row.inside; i += 4) round_to_tf32(&packed[i]);
    }
    if (type_ != TensorMapType::kU4Align16) return write_row(memory, row, packed, valid);
    // Every 8 bytes of 16 values become 16 bytes; the upper 8 are padding.
    std::fill(spread.begin(), spread.end(), std::byte{0});
    std::fill(spread_valid.begin(), spread_valid.end(), std::uint8_t{0});
    for (std::uint32_t i = 0; i < row_bytes_; i += 8) {
      std::copy_n(packed.begin() + i, 8, spread.begin() + 2 * i);
      std::copy_n(valid.begin() + i, 8, spread_valid.begin() + 2 * i);
    }
    write_row(memory, row, spread, spread_valid);
  });
}

std::vector<GlobalPiece> Tile::gather(BulkMemory& memory) const {
  DW_CHECK(type_ != TensorMapType::kU4Align16, kUnsupported,
           "a tensor map of 16U4_ALIGN16B is for loads only");
  std::vector<GlobalPiece> pieces;
  std::vector<std::byte> data(row_bytes_);
  std::vector<std::uint8_t> valid(row_bytes_);
  std::string const where = describe();
  // Hardware takes it for an illegal instruction (seen on SM 9.0).
  for (int i = 0; i < map_.rank; ++i) {
    DW_REQUIRE(coordinates_[i] >= 0, kTensorMap, "{}: coordinate {} of a store or reduction is negative",
               where, i);
  }
  for_each_row((inner_bytes() + 15) / 16 * 16, [&](Row const& row) {
    if (!row.inside) return;
    read_row(memory, row, data, valid);
    auto const first = static_cast<std::ptrdiff_t>(row.skip),
               last = first + static_cast<std::ptrdiff_t>(row.inside);
    pieces.push_back({row.global,
                      {data.begin() + first, data.begin() + last},
                      {valid.begin() + first, valid.begin() + last},
                      where});
  });
  return pieces;
}

void store_pieces(BulkMemory& memory, std::span<GlobalPiece const> pieces) {
  for (GlobalPiece const& piece : pieces) {
    try {
      memory.write_global(piece.address, piece.data, piece.valid);
    } catch (Fault const& fault) {
      throw with_context(fault, piece.where);
    }
  }
}

void reduce_pieces(BulkMemory& memory, std::span<GlobalPiece const> pieces, ReduceOp op, TensorMapType type) {
  check_reduce(op, type);
  std::size_t const size = static_cast<std::size_t>(bits_of(type)) / 8;
  for (GlobalPiece const& piece : pieces) {
    try {
      DW_REQUIRE(std::all_of(piece.valid.begin(), piece.valid.end(), [](std::uint8_t v) { return v != 0; }),
                 kPoison, "a bulk reduction reads shared memory that was never written");
      for (std::size_t i = 0; i < piece.data.size(); i += size) {
        memory.update_global(piece.address + i, size, [&](std::span<std::byte> into) {
          reduce_elements(op, type, into, std::span<std::byte const>(piece.data).subspan(i, size));
        });
      }
    } catch (Fault const& fault) {
      throw with_context(fault, piece.where);
    }
  }
}

}  // namespace deepwell::emu
