// Instruction family: cvt to and from the small and half formats. Values travel as double, which holds every source
// exactly (64-bit integers are first rounded to odd); num/ rounds once to the destination.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "emu/instr/instr.hpp"
#include "num/arithmetic.hpp"
#include "num/formats.hpp"

namespace deepwell::emu {
namespace {

using num::Format;
using num::Rounding;

constexpr std::string_view kSection = "Data movement and conversion instructions: cvt";
constexpr std::string_view kPackedSection = "Data movement and conversion instructions: cvt, packed formats";

enum Aux : std::size_t { kTo, kFrom, kRound, kFlags, kWidth };
enum Flag : std::uint32_t {
  kFtz = 1,
  kSat = 2,        // clamp to [0, 1]
  kRelu = 4,       // negative to +0
  kSatfinite = 8,  // clamp to the largest finite value
  kIntegral = 16,  // round to an integral value in the same format
};

num::EncodeOptions encode_options(Instr const& instr) {
  return {.rounding = static_cast<Rounding>(instr.aux[kRound]),
          .satfinite = (instr.aux[kFlags] & kSatfinite) != 0,
          .relu = (instr.aux[kFlags] & kRelu) != 0};
}

double round_to_integral(double value, Rounding rounding) {
  double rounded = value;
  switch (rounding) {
    case Rounding::kZero: rounded = std::trunc(value); break;
    case Rounding::kUp: rounded = std::ceil(value); break;
    case Rounding::kDown: rounded = std::floor(value); break;
    case Rounding::kNearestAway: rounded = std::round(value); break;
    case Rounding::kNearestEven:
      rounded = std::floor(value);
      if (double const rest = value - rounded; rest > 0.5 || (rest == 0.5 && std::fmod(rounded, 2.0) != 0))
        rounded += 1;
      break;
  }
  return std::copysign(rounded, value);
}

/// Exact below 2^53; above, the dropped bits are gathered in the last one, so that a later rounding is right.
double to_double(std::uint64_t magnitude, bool negative) {
  int const excess = std::max(0, static_cast<int>(std::bit_width(magnitude)) - 53);
  std::uint64_t const dropped = magnitude & ((std::uint64_t{1} << excess) - 1);
  double const value = std::ldexp(static_cast<double>(magnitude >> excess | (dropped != 0)), excess);
  return negative ? -value : value;
}

std::uint64_t sign_extend(std::uint64_t bits, int width) {
  if (width == 64) return bits;
  std::uint64_t const sign = std::uint64_t{1} << (width - 1);
  bits &= (sign << 1) - 1;
  return (bits ^ sign) - sign;
}

/// NaN: 0, or for 64-bit integers the value with only the top bit set. Beyond the range: its nearest end.
std::uint64_t to_integer(double value, Rounding rounding, int width, bool is_signed) {
  if (std::isnan(value)) return width == 64 ? std::uint64_t{1} << 63 : 0;
  double const rounded = round_to_integral(value, rounding);
  double const limit = std::ldexp(1.0, is_signed ? width - 1 : width);  // first value above the range
  if (rounded >= limit)
    return is_signed ? (std::uint64_t{1} << (width - 1)) - 1 : ~std::uint64_t{0} >> (64 - width);
  if (!is_signed) return rounded <= 0 ? 0 : static_cast<std::uint64_t>(rounded);
  if (rounded <= -limit) return sign_extend(std::uint64_t{1} << (width - 1), width);
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(rounded));
}

double decode_half(Format format, std::uint64_t bits) {
  std::uint16_t const code = static_cast<std::uint16_t>(bits);
  return format == Format::kF16 ? num::f16_to_float(code) : num::bf16_to_float(code);
}

double decode_f32(std::uint64_t bits, bool ftz) {
  std::uint32_t code = static_cast<std::uint32_t>(bits);
  if (ftz) code = num::flush_subnormal(Format::kF32, code);
  return std::bit_cast<float>(code);
}

/// .sat of a result: [0, 1], NaN gives +0.
double clamp_to_unit(double value) { return value > 0.0 ? std::min(value, 1.0) : 0.0; }

template <class F>
Outcome each_lane(Warp& warp, Instr const& instr, Mask mask, F&& convert) {
  for_lanes(mask, [&](int lane) { warp.set_lane(instr.v(0), lane, convert(lane)); });
  warp.propagate(instr, mask);
  return Outcome::kNext;
}

std::uint64_t encode_scalar(Instr const& instr, double value) {
  if (instr.aux[kFlags] & kSat) value = clamp_to_unit(value);
  return num::encode(static_cast<Format>(instr.aux[kTo]), value, encode_options(instr));
}

// f32, f64 -> f16, bf16, tf32
Outcome from_f32(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const* const in = warp.s32(instr.v(1));
  // Measured on SM 9.0: .ftz leaves the subnormal sources of an f16 alone.
  bool const ftz = (instr.aux[kFlags] & kFtz) != 0 && static_cast<Format>(instr.aux[kTo]) != Format::kF16;
  if (static_cast<Format>(instr.aux[kTo]) == Format::kBf16 && instr.aux[kFlags] == 0 &&
      static_cast<Rounding>(instr.aux[kRound]) == Rounding::kNearestEven) {
    return each_lane(warp, instr, mask,
                     [&](int lane) { return num::float_to_bf16(std::bit_cast<float>(in[lane])); });
  }
  return each_lane(warp, instr, mask,
                   [&](int lane) { return encode_scalar(instr, decode_f32(in[lane], ftz)); });
}

Outcome from_f64(Warp& warp, Instr const& instr, Mask mask) {
  std::uint64_t const* const in = warp.s64(instr.v(1));
  return each_lane(warp, instr, mask, [&](int lane) -> std::uint64_t {
    double const value = std::bit_cast<double>(in[lane]);
    if (std::isnan(value) && (instr.aux[kFlags] & kSat) == 0)
      return num::narrow_nan(in[lane], static_cast<Format>(instr.aux[kTo]));
    return encode_scalar(instr, value);
  });
}

/// cvt.rna.tf32.f32. Measured on an H100: a NaN loses its low 13 bits, with .satfinite it then loses one more unit.
Outcome to_tf32_away(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const* const in = warp.s32(instr.v(1));
  bool const satfinite = instr.aux[kFlags] & kSatfinite;
  return each_lane(warp, instr, mask, [&](int lane) -> std::uint64_t {
    std::uint32_t const bits = in[lane];
    if ((bits & 0x7fffffffu) > 0x7f800000u) return num::drop_tf32_tail(bits) - (satfinite ? 0x2000u : 0u);
    return encode_scalar(instr, std::bit_cast<float>(bits));
  });
}

// Integers -> f16, bf16
template <bool kSigned>
Outcome from_integer(Warp& warp, Instr const& instr, Mask mask) {
  int const width = static_cast<int>(instr.aux[kWidth]);
  return each_lane(warp, instr, mask, [&](int lane) {
    std::uint64_t bits = warp.lane_of(instr.v(1), lane);
    bool negative = false;
    if constexpr (kSigned) {
      bits = sign_extend(bits, width);
      negative = bits >> 63;
      if (negative) bits = 0 - bits;
    } else if (width < 64) {
      bits &= (std::uint64_t{1} << width) - 1;
    }
    return encode_scalar(instr, to_double(bits, negative));
  });
}

// f16, bf16 -> integers
template <bool kSigned>
Outcome half_to_integer(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const* const in = warp.s32(instr.v(1));
  Format const from = static_cast<Format>(instr.aux[kFrom]);
  int const width = static_cast<int>(instr.aux[kWidth]);
  Rounding const rounding = static_cast<Rounding>(instr.aux[kRound]);
  return each_lane(warp, instr, mask, [&](int lane) {
    return to_integer(decode_half(from, in[lane]), rounding, width, kSigned);
  });
}

// f16, bf16 -> f16, bf16
Outcome half_to_half(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const* const in = warp.s32(instr.v(1));
  Format const from = static_cast<Format>(instr.aux[kFrom]);
  std::uint32_t const flags = instr.aux[kFlags];
  Rounding const rounding = static_cast<Rounding>(instr.aux[kRound]);
  return each_lane(warp, instr, mask, [&](int lane) -> std::uint64_t {
    double value = decode_half(from, in[lane]);
    if ((flags & kIntegral) && std::isfinite(value)) value = round_to_integral(value, rounding);
    return encode_scalar(instr, value);
  });
}

// f16, bf16 -> f32, f64
Outcome half_to_f32(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const* const in = warp.s32(instr.v(1));
  Format const from = static_cast<Format>(instr.aux[kFrom]);
  std::uint32_t const flags = instr.aux[kFlags];
  return each_lane(warp, instr, mask, [&](int lane) -> std::uint64_t {
    std::uint16_t const code = static_cast<std::uint16_t>(in[lane]);
    float const value = from == Format::kF16 ? num::f16_to_float(code) : num::bf16_to_float(code);
    if (flags & kSat) return std::bit_cast<std::uint32_t>(static_cast<float>(clamp_to_unit(value)));
    std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    if (flags & kFtz)
      bits = std::isnan(value) ? num::kCanonicalNan : num::flush_subnormal(Format::kF32, bits);
    return bits;
  });
}

/// A NaN keeps its sign and payload.
Outcome half_to_f64(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const* const in = warp.s32(instr.v(1));
  Format const from = static_cast<Format>(instr.aux[kFrom]);
  std::uint32_t const flags = instr.aux[kFlags];
  return each_lane(warp, instr, mask, [&](int lane) -> std::uint64_t {
    double value = decode_half(from, in[lane]);
    if (flags & kSat) value = clamp_to_unit(value);
    return std::isnan(value) ? num::widen_nan(in[lane], from) : std::bit_cast<std::uint64_t>(value);
  });
}

// Two f32 -> one packed register; the first source goes to the upper half.
Outcome pack_two_f32(Warp& warp, Instr const& instr, Mask mask) {
  std::uint32_t const* const high = warp.s32(instr.v(1));
  std::uint32_t const* const low = warp.s32(instr.v(2));
  Format const to = static_cast<Format>(instr.aux[kTo]);
  int const width = static_cast<int>(instr.aux[kWidth]);
  num::EncodeOptions const options = encode_options(instr);
  bool const plain_bf16 =
      to == Format::kBf16 && instr.aux[kFlags] == 0 && options.rounding == Rounding::kNearestEven;
  auto one = [&](std::uint32_t bits) -> std::uint64_t {
    float const value = std::bit_cast<float>(bits);
    if (plain_bf16) return num::float_to_bf16(value);
    if (to == Format::kUe8m0) return num::encode_ue8m0(value, options.rounding, options.satfinite);
    return num::encode(to, value, options);
  };
  return each_lane(warp, instr, mask, [&](int lane) { return one(high[lane]) << width | one(low[lane]); });
}

// One packed register -> another, element by element.
Outcome repack(Warp& warp, Instr const& instr, Mask mask) {
  Format const to = static_cast<Format>(instr.aux[kTo]), from = static_cast<Format>(instr.aux[kFrom]);
  int const to_width = static_cast<int>(instr.aux[kWidth] & 0xff),
            from_width = static_cast<int>(instr.aux[kWidth] >> 8);
  std::uint32_t const element = (1u << from_width) - 1;
  num::EncodeOptions const options = encode_options(instr);
  std::uint32_t const* const in = warp.s32(instr.v(1));
  return each_lane(warp, instr, mask, [&](int lane) {
    std::uint64_t out = 0;
    for (int i = 0; i < 2; ++i) {
      float const value = num::decode_f32(from, in[lane] >> (i * from_width) & element);
      std::uint64_t const code = to == Format::kUe8m0
                                     ? num::encode_ue8m0(value, options.rounding, options.satfinite)
                                     : num::encode(to, value, options);
      out |= code << (i * to_width);
    }
    return out;
  });
}

struct NamedFormat {
  std::string_view name;
  Format format;
  int element_width;  // in the packed register
};
constexpr NamedFormat kFormats[] = {
    {".f16", Format::kF16, 16},    {".bf16", Format::kBf16, 16},    {".tf32", Format::kTf32, 32},
    {".f16x2", Format::kF16, 16},  {".bf16x2", Format::kBf16, 16},  {".e4m3x2", Format::kE4m3, 8},
    {".e5m2x2", Format::kE5m2, 8}, {".e2m3x2", Format::kE2m3, 8},   {".e3m2x2", Format::kE3m2, 8},
    {".e2m1x2", Format::kE2m1, 4}, {".ue8m0x2", Format::kUe8m0, 8},
};

NamedFormat const* find_format(std::string_view part) {
  for (NamedFormat const& known : kFormats) {
    if (known.name == part) return &known;
  }
  return nullptr;
}

void set_modifiers(Instr& instr) {
  static constexpr struct {
    std::string_view name;
    Rounding rounding;
    bool integral;
  } kRoundings[] = {
      {".rn", Rounding::kNearestEven, false}, {".rna", Rounding::kNearestAway, false},
      {".rz", Rounding::kZero, false},        {".rp", Rounding::kUp, false},
      {".rm", Rounding::kDown, false},        {".rni", Rounding::kNearestEven, true},
      {".rzi", Rounding::kZero, true},        {".rpi", Rounding::kUp, true},
      {".rmi", Rounding::kDown, true},
  };
  std::uint32_t flags = 0;
  instr.aux[kRound] = static_cast<std::uint32_t>(Rounding::kNearestEven);
  for (auto const& known : kRoundings) {
    if (!instr.has(known.name)) continue;
    instr.aux[kRound] = static_cast<std::uint32_t>(known.rounding);
    if (known.integral) flags |= kIntegral;
  }
  if (instr.has(".ftz")) flags |= kFtz;
  if (instr.has(".sat")) flags |= kSat;
  if (instr.has(".relu")) flags |= kRelu;
  if (instr.has(".satfinite")) flags |= kSatfinite;
  instr.aux[kFlags] = flags;
  auto const& parts = instr.info->parts;
  for (std::string_view const modifier : {".relu", ".satfinite"}) {
    if (std::count(parts.begin(), parts.end(), modifier) > 1)
      throw unsupported(instr, fmt::format("{} is written twice", modifier));
  }
}

struct IntegerType {
  bool is_integer, is_signed;
  int width;
};
IntegerType integer_type(std::string_view part) {
  if (part.size() < 3 || (part[1] != 'u' && part[1] != 's') || part[2] < '0' || part[2] > '9') return {};
  return {.is_integer = true, .is_signed = part[1] == 's', .width = std::stoi(std::string(part.substr(2)))};
}

Exec bind_scalar(Instr& instr, BindContext const&) {
  set_modifiers(instr);
  auto const& parts = instr.info->parts;
  std::string_view const to = parts[parts.size() - 2], from = parts[parts.size() - 1];
  NamedFormat const* const to_format = find_format(to);
  NamedFormat const* const from_format = find_format(from);
  if (to_format) instr.aux[kTo] = static_cast<std::uint32_t>(to_format->format);
  if (from_format) instr.aux[kFrom] = static_cast<std::uint32_t>(from_format->format);
  IntegerType const small = integer_type(from_format ? to : from);
  bool const bf16 = from == ".bf16" || to == ".bf16";
  if (bf16 && small.is_integer) {
    if (instr.has(".sat")) throw unsupported(instr, "bf16 converts to integers without .sat");
    if (small.width == 8 && instr.v(from_format ? 0 : 1).bits != 8)
      throw unsupported(instr, "bf16 and 8-bit integers convert in 8-bit registers");
  }
  if (IntegerType const type = integer_type(from); type.is_integer) {
    instr.aux[kWidth] = static_cast<std::uint32_t>(type.width);
    return type.is_signed ? from_integer<true> : from_integer<false>;
  }
  if (IntegerType const type = integer_type(to); type.is_integer) {
    instr.aux[kWidth] = static_cast<std::uint32_t>(type.width);
    return type.is_signed ? half_to_integer<true> : half_to_integer<false>;
  }
  if (to == ".f32") return half_to_f32;
  if (to == ".f64") return half_to_f64;
  if (from == ".f32") return instr.has(".rna") ? to_tf32_away : from_f32;
  if (from == ".f64") return from_f64;
  return half_to_half;
}

Exec bind_packed(Instr& instr, BindContext const&) {
  set_modifiers(instr);
  auto const& parts = instr.info->parts;
  NamedFormat const* const to = find_format(parts[parts.size() - 2]);
  NamedFormat const* const from = find_format(parts[parts.size() - 1]);
  instr.aux[kTo] = static_cast<std::uint32_t>(to->format);
  instr.aux[kWidth] = static_cast<std::uint32_t>(to->element_width);
  for (int k = 0; k < 2; ++k) {
    NamedFormat const* const format = k == 0 ? to : from;
    if (format != nullptr && format->element_width == 4 && instr.v(k).bits != 8)
      throw unsupported(instr, "two e2m1 elements are a register of 8 bits");
  }
  if (from == nullptr) return pack_two_f32;
  instr.aux[kFrom] = static_cast<std::uint32_t>(from->format);
  instr.aux[kWidth] |= static_cast<std::uint32_t>(from->element_width) << 8;
  return repack;
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
  return out;
}

#define DW_INTEGERS "(.u8|.s8|.u16|.s16|.u32|.s32|.u64|.s64)"
#define DW_FLOAT_ROUNDING "(.rn|.rz|.rm|.rp)"
#define DW_INTEGER_ROUNDING "(.rni|.rzi|.rmi|.rpi)"
#define DW_RELU_SATFINITE "[.relu|.satfinite] [.relu|.satfinite]"
// clang-format off
constexpr Row kRows[] = {
    // f16
    row("cvt " DW_FLOAT_ROUNDING " [.ftz] [.sat] .f16 .f32", "d>U, s>T", 10, Needs::kAny, bind_scalar, kSection),
    row("cvt (.rn|.rz) " DW_RELU_SATFINITE " .f16 .f32", "d>U, s>T", 70, Needs::kSm80, bind_scalar, kSection),
    row("cvt " DW_FLOAT_ROUNDING " [.sat] .f16 .f64", "d>U, s>T", 10, Needs::kAny, bind_scalar, kSection),
    row("cvt " DW_FLOAT_ROUNDING " [.sat] .f16 " DW_INTEGERS, "d>U, s>T", 10, Needs::kAny, bind_scalar, kSection),
    row("cvt " DW_INTEGER_ROUNDING " [.sat] " DW_INTEGERS " .f16", "d>U, s>T", 10, Needs::kAny, bind_scalar, kSection),
    row("cvt [.rni|.rzi|.rmi|.rpi] [.sat] .f16 .f16", "d>U, s>T", 10, Needs::kAny, bind_scalar, kSection),
    row("cvt [.ftz] [.sat] .f32 .f16", "d>U, s>T", 10, Needs::kAny, bind_scalar, kSection),
    row("cvt [.sat] .f64 .f16", "d>U, s>T", 10, Needs::kAny, bind_scalar, kSection),
    // bf16
    row("cvt " DW_FLOAT_ROUNDING " [.ftz] .bf16 .f32", "d>U, s>T", 70, Needs::kSm80, bind_scalar, kSection),
    row("cvt (.rn|.rz) " DW_RELU_SATFINITE " .bf16 .f32", "d>U, s>T", 70, Needs::kSm80, bind_scalar, kSection),
    row("cvt " DW_FLOAT_ROUNDING " .bf16 .f64", "d>U, s>T", 78, Needs::kSm90, bind_scalar, kSection),
    row("cvt " DW_FLOAT_ROUNDING " .bf16 " DW_INTEGERS, "d>U, s>T", 78, Needs::kSm90, bind_scalar, kSection),
    row("cvt " DW_INTEGER_ROUNDING " [.sat] " DW_INTEGERS " .bf16", "d>U, s>T", 78, Needs::kSm90, bind_scalar, kSection),
    row("cvt " DW_INTEGER_ROUNDING " .bf16 .bf16", "d>U, s>T", 78, Needs::kSm90, bind_scalar, kSection),
    row("cvt [.rn|.rz|.rm|.rp] [.ftz] .f32 .bf16", "d>U, s>T", 71, Needs::kSm80, bind_scalar, kSection),
    row("cvt [.rn|.rz|.rm|.rp] .f64 .bf16", "d>U, s>T", 78, Needs::kSm90, bind_scalar, kSection),
    row("cvt " DW_FLOAT_ROUNDING " .bf16 .f16", "d>U, s>T", 78, Needs::kSm90, bind_scalar, kSection),
    row("cvt " DW_FLOAT_ROUNDING " .f16 .bf16", "d>U, s>T", 78, Needs::kSm90, bind_scalar, kSection),
    // tf32
    row("cvt .rna [.satfinite] .tf32 .f32", "d32, s32", 70, Needs::kSm80, bind_scalar, kSection),
    row("cvt (.rn|.rz) [.relu] .tf32 .f32", "d32, s32", 78, Needs::kSm90, bind_scalar, kSection),
    row("cvt (.rn|.rz) [.relu] .satfinite [.relu] .tf32 .f32", "d32, s32", 86, Needs::kSm100, bind_scalar, kSection),
    // packed halves
    row("cvt (.rn|.rz) " DW_RELU_SATFINITE " (.f16x2|.bf16x2) .f32", "d32, s32, s32", 70, Needs::kSm80, bind_packed, kPackedSection),
    // FP8
    row("cvt .rn [.relu] .satfinite [.relu] (.e4m3x2|.e5m2x2) .f32", "d16, s32, s32", 78, Needs::kSm89, bind_packed, kPackedSection),
    row("cvt .rn [.relu] .satfinite [.relu] (.e4m3x2|.e5m2x2) .f16x2", "d16, s32", 78, Needs::kSm89, bind_packed, kPackedSection),
    row("cvt .rn [.relu] .f16x2 (.e4m3x2|.e5m2x2)", "d32, s16", 78, Needs::kSm89, bind_packed, kPackedSection),
    // FP6, FP4
    row("cvt .rn [.relu] .satfinite [.relu] (.e2m3x2|.e3m2x2) .f32", "d16, s32, s32", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
    row("cvt .rn [.relu] .satfinite [.relu] .e2m1x2 .f32", "d8, s32, s32", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
    row("cvt .rn [.relu] .satfinite [.relu] .e2m1x2 .f16x2", "d8, s32", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
    row("cvt .rn [.relu] .f16x2 (.e2m3x2|.e3m2x2)", "d32, s16", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
    row("cvt .rn [.relu] .f16x2 .e2m1x2", "d32, s8", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
    // UE8M0
    row("cvt (.rz|.rp) [.satfinite] .ue8m0x2 .f32", "d16, s32, s32", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
    row("cvt (.rz|.rp) [.satfinite] .ue8m0x2 .bf16x2", "d16, s32", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
    row("cvt .rn .bf16x2 .ue8m0x2", "d32, s16", 86, Needs::kSm100aPlus, bind_packed, kPackedSection),
};
// clang-format on
#undef DW_INTEGERS
#undef DW_FLOAT_ROUNDING
#undef DW_INTEGER_ROUNDING
#undef DW_RELU_SATFINITE

}  // namespace

std::span<Row const> convert_rows() { return kRows; }

}  // namespace deepwell::emu
