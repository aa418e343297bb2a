// Instruction family: cvt among integers, f32 and f64 (PTX ISA 9.7.9 cvt). The half and small formats are in convert.cpp.
#include <cfenv>
#include <cmath>

#include "emu/instr/lanes.hpp"
#include "num/formats.hpp"

namespace deepwell::emu {
namespace {

enum class Round { kNear, kZero, kDown, kUp };
Round round_of(Instr const& i) {
  if (i.has(".rz") || i.has(".rzi")) return Round::kZero;
  if (i.has(".rm") || i.has(".rmi")) return Round::kDown;
  if (i.has(".rp") || i.has(".rpi")) return Round::kUp;
  return Round::kNear;
}

double to_integral(double value, Round how) {
  switch (how) {
    case Round::kZero: return std::trunc(value);
    case Round::kDown: return std::floor(value);
    case Round::kUp: return std::ceil(value);
    case Round::kNear: return std::nearbyint(value);
  }
  return value;
}
float flush(float value) {
  u32 const bits = std::bit_cast<u32>(value);
  return std::bit_cast<float>((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

/// A wide value as it stands before it is stored: sign and magnitude cover s64 and u64 at once.
struct Wide {
  bool negative;
  u64 magnitude;
};

struct Type {
  char kind;  // s, u, f
  int bits;
};
Type parse(std::string_view modifier) {
  int bits = 0;
  for (char const c : modifier.substr(2)) bits = bits * 10 + (c - '0');
  return {modifier[1], bits};
}
Type unpack(u32 code) { return {static_cast<char>(code & 0xff), static_cast<int>(code >> 8)}; }
u32 pack(Type type) {
  return static_cast<u32>(static_cast<unsigned char>(type.kind)) | (static_cast<u32>(type.bits) << 8);
}

Wide read_integer(u64 raw, Type type) {
  unsigned const shift = 64 - static_cast<unsigned>(type.bits);
  if (type.kind == 's') {
    i64 const value = static_cast<i64>(raw << shift) >> shift;
    return {value < 0, value < 0 ? u64{0} - static_cast<u64>(value) : static_cast<u64>(value)};
  }
  return {false, (raw << shift) >> shift};
}

u64 largest(Type type) {
  return type.kind == 's'  ? (u64{1} << (type.bits - 1)) - 1
         : type.bits == 64 ? ~u64{0}
                           : (u64{1} << type.bits) - 1;
}

u64 clamped(Wide value, Type to) {
  u64 const high = largest(to);
  if (!value.negative) return std::min(value.magnitude, high);
  if (to.kind == 'u') return 0;
  return u64{0} - std::min(value.magnitude, high + 1);
}

/// Floating point to integer: always clamped to the type, NaN gives 0 (s64, u64 from NaN: the sign bit alone, as hardware does).
u64 integer_from(double value, Type to, bool from_f64) {
  if (std::isnan(value)) return to.bits == 64 || from_f64 ? u64{1} << (to.bits - 1) : 0;
  bool const negative = value < 0;
  double const magnitude = std::fabs(value);
  u64 const whole = magnitude >= 18446744073709551616.0 ? ~u64{0} : static_cast<u64>(magnitude);
  return clamped({negative, whole}, to);
}

/// An integer rounded to T (float or double) in any mode.
template <class T>
T rounded_integer(Wide value, Round how) {
  constexpr int kDigits = std::numeric_limits<T>::digits;
  int const length = 64 - std::countl_zero(value.magnitude | 1);
  u64 kept = value.magnitude;
  int drop = length - kDigits;
  if (drop > 0) {
    u64 const tail = kept & ((u64{1} << drop) - 1);
    u64 const half = u64{1} << (drop - 1);
    kept >>= drop;
    bool away = false;
    switch (how) {
      case Round::kNear: away = tail > half || (tail == half && (kept & 1) != 0); break;
      case Round::kZero: break;
      case Round::kDown: away = value.negative && tail != 0; break;
      case Round::kUp: away = !value.negative && tail != 0; break;
    }
    kept += away ? 1 : 0;
  } else {
    drop = 0;
  }
  T const out = std::ldexp(static_cast<T>(kept), drop);
  return value.negative ? -out : out;
}

/// f64 to f32 in any mode; a NaN is narrowed by its bits instead.
float narrowed(double value, Round how) {
  float const near = static_cast<float>(value);
  if (how == Round::kNear || std::isinf(value)) return near;
  double const back = near;
  if (back == value) return near;
  bool const up = how == Round::kUp || (how == Round::kZero && value < 0);
  if (up) return back < value ? std::nextafter(near, HUGE_VALF) : near;
  return back > value ? std::nextafter(near, -HUGE_VALF) : near;
}

/// aux: to, from (packed types), rounding, saturate, flush, round to integral.
Outcome convert(Warp& w, Instr const& i, Mask mask) {
  Type const to = unpack(i.aux[0]), from = unpack(i.aux[1]);
  auto const how = static_cast<Round>(i.aux[2]);
  bool const saturate = i.aux[3] != 0, flushes = i.aux[4] != 0, integral = i.aux[5] != 0;
  Value const& target = i.v(0);
  for_lanes(mask, [&](int lane) {
    u64 const raw = w.lane_of(i.v(1), lane);
    u64 out = 0;
    if (from.kind != 'f') {
      Wide const value = read_integer(raw, from);
      if (to.kind == 'f') {
        out = to.bits == 32 ? std::bit_cast<u32>(rounded_integer<float>(value, how))
                            : std::bit_cast<u64>(rounded_integer<double>(value, how));
        if (saturate) {
          bool const one = !value.negative && value.magnitude != 0;
          out = to.bits == 32 ? (one ? 0x3f800000u : 0u) : (one ? std::bit_cast<u64>(1.0) : 0u);
        }
      } else {
        out = saturate ? clamped(value, to) : value.negative ? u64{0} - value.magnitude : value.magnitude;
      }
    } else {
      double value = 0;
      if (from.bits == 32) {
        float const single = std::bit_cast<float>(static_cast<u32>(raw));
        value = flushes ? flush(single) : single;
      } else {
        value = std::bit_cast<double>(raw);
      }
      if (to.kind != 'f') {
        out = integer_from(to_integral(value, how), to, from.bits == 64);
      } else {
        if (integral) value = to_integral(value, how);
        if (saturate) value = value > 0 ? (value < 1 ? value : 1) : 0;
        if (to.bits == 32) {
          float single = integral || from.bits == 32 ? static_cast<float>(value) : narrowed(value, how);
          if (flushes) single = flush(single);
          if (single == single) {
            out = std::bit_cast<u32>(single);
          } else if (from.bits == 64 && !saturate) {
            out = num::narrow_nan(raw, num::Format::kF32);
          } else {
            // Without any modifier the conversion is a move.
            out = !flushes && !integral && !saturate ? raw : 0x7fffffffu;
          }
        } else {
          out = std::bit_cast<u64>(value);
          if (flushes && std::isnan(value)) out = 0x7fffffffe0000000u;
        }
      }
    }
    if (to.kind != 'f' && to.bits < 64) {
      // The result fills a wider register sign- or zero-extended.
      unsigned const shift = 64 - static_cast<unsigned>(to.bits);
      out = to.kind == 's' ? static_cast<u64>(static_cast<i64>(out << shift) >> shift)
                           : (out << shift) >> shift;
    }
    w.set_lane(target, lane, out);
  });
  w.propagate(i, mask);
  return Outcome::kNext;
}

Outcome truncate(Warp& w, Instr const& i, Mask m) {
  return alu<[](u64 a) -> u32 { return static_cast<u32>(a); }>(w, i, m);
}
Outcome zero_extend(Warp& w, Instr const& i, Mask m) {
  return alu<[](u32 a) -> u64 { return a; }>(w, i, m);
}
Outcome sign_extend(Warp& w, Instr const& i, Mask m) {
  return alu<[](i32 a) -> i64 { return a; }>(w, i, m);
}
Outcome float_of_signed(Warp& w, Instr const& i, Mask m) {
  return alu<[](i32 a) -> float { return static_cast<float>(a); }>(w, i, m);
}
Outcome float_of_unsigned(Warp& w, Instr const& i, Mask m) {
  return alu<[](u32 a) -> float { return static_cast<float>(a); }>(w, i, m);
}

Exec bind_cvt(Instr& i, BindContext const&) {
  std::vector<std::string> const& parts = i.info->parts;
  Type const to = parse(parts[parts.size() - 2]), from = parse(parts.back());
  bool const integral = i.has(".rni") || i.has(".rzi") || i.has(".rmi") || i.has(".rpi");
  bool const rounds = i.has(".rn") || i.has(".rz") || i.has(".rm") || i.has(".rp");
  bool const saturate = i.has(".sat"), flushes = i.has(".ftz");
  if (from.kind == 'f' && to.kind != 'f' && !integral)
    throw unsupported(i, "a conversion to an integer names .rni, .rzi, .rmi or .rpi");
  if (from.kind != 'f' && to.kind == 'f' && !rounds)
    throw unsupported(i, "a conversion from an integer names .rn, .rz, .rm or .rp");
  if (from.kind == 'f' && to.kind == 'f' && from.bits == 64 && to.bits == 32 && !rounds)
    throw unsupported(i, "f64 to f32 names .rn, .rz, .rm or .rp");
  if (from.kind != 'f' && to.kind != 'f' && rounds)
    throw unsupported(i, "a conversion between integers does not round");
  if (from.kind == 'f' && to.kind == 'f' && from.bits <= to.bits &&
      (rounds || (integral && from.bits < to.bits)))
    throw unsupported(i, "this conversion is exact and takes no rounding");
  if (from.kind != 'f' && integral)
    throw unsupported(i, "the integer roundings are for floating-point sources");
  if (flushes && !(from.kind == 'f' && from.bits == 32) && !(to.kind == 'f' && to.bits == 32))
    throw unsupported(i, ".ftz without an f32");
  bool const fits = from.kind != 'f' && to.kind != 'f' &&
                    (from.kind == to.kind ? to.bits >= from.bits : from.kind == 'u' && to.bits > from.bits);
  if (saturate && fits)
    throw unsupported(i, ".sat is illegal where the target type holds every source value");
  i.aux[0] = pack(to);
  i.aux[1] = pack(from);
  i.aux[2] = static_cast<u32>(round_of(i));
  i.aux[3] = saturate;
  i.aux[4] = flushes;
  i.aux[5] = integral;
  int const d = i.v(0).bits, s = i.v(1).bits;
  if (!saturate) {
    if (to.kind != 'f' && from.kind != 'f' && to.bits == 32 && from.bits == 64 && d == 32 && s == 64)
      return &truncate;
    if (to.kind != 'f' && to.bits == 64 && from.bits == 32 && d == 64 && s == 32) {
      if (from.kind == 'u') return &zero_extend;
      if (from.kind == 's') return &sign_extend;
    }
    if (to.kind == 'f' && to.bits == 32 && from.bits == 32 && from.kind != 'f' &&
        round_of(i) == Round::kNear && d == 32 && s == 32) {
      return from.kind == 's' ? &float_of_signed : &float_of_unsigned;
    }
  }
  return &convert;
}

constexpr Row kRows[] = {
    {.pattern = "cvt [.rn|.rz|.rm|.rp|.rni|.rzi|.rmi|.rpi] [.ftz] [.sat] "
                "(.u8|.s8|.u16|.s16|.u32|.s32|.u64|.s64|.f32|.f64) "
                "(.u8|.s8|.u16|.s16|.u32|.s32|.u64|.s64|.f32|.f64)",
     .operands = "d>U, s>T",
     .section = "9.7.9 cvt",
     .bind = &bind_cvt,
     .note = "NaN to an integer of up to 32 bits from f32 gives 0, otherwise the sign bit alone"},
};

}  // namespace

std::span<Row const> alu_convert_rows() { return kRows; }

}  // namespace deepwell::emu
