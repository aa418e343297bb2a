// Instruction family: f32, f64 and packed f32x2 arithmetic (PTX ISA 9.7.3). f32 results that are NaN are 0x7fffffff.
#include <cfenv>
#include <cmath>

#include "emu/instr/lanes.hpp"
#include "num/arithmetic.hpp"
#include "num/formats.hpp"

namespace deepwell::emu {
namespace {

constexpr u32 kNan = 0x7fffffffu;

inline float flush(float value) {
  u32 const bits = std::bit_cast<u32>(value);
  return std::bit_cast<float>((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}
inline float canonical(float value) { return value == value ? value : std::bit_cast<float>(kNan); }
inline float saturate(float value) {
  return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
}  // NaN gives 0

inline double quiet(double nan) {
  return std::bit_cast<double>(std::bit_cast<u64>(nan) | 0x0008000000000000u);
}
/// The NaN of an f64 operation on these operands: the last one that is NaN, with its sign and payload (as measured on SM 9.0);
/// where none is, the sign and the quiet bit alone.
template <class... A>
double nan_f64(A... operands) {
  double out = std::bit_cast<double>(u64{0xfff8000000000000});
  ((out = std::isnan(operands) ? quiet(operands) : out), ...);
  return out;
}
template <class... A>
double with_nan(double result, A... operands) {
  return std::isnan(result) ? nan_f64(operands...) : result;
}

enum class Round { kNear, kZero, kDown, kUp };

/// The value `main + rest` (|rest| at most half a unit of main) rounded to f32 in a directed mode.
float rounded(double main, double rest, Round how) {
  float const near = static_cast<float>(main);
  if (std::isnan(near) || std::isinf(main)) return near;
  double const difference = main - static_cast<double>(near);
  double const sign = std::isinf(near)  ? (near > 0 ? -1.0 : 1.0)
                      : difference != 0 ? difference
                                        : rest;  // exact minus near
  if (sign == 0) return near;
  bool up = how == Round::kUp;
  if (how == Round::kZero) up = main < 0;
  if (up) return sign > 0 ? std::nextafter(near, HUGE_VALF) : near;
  return sign < 0 ? std::nextafter(near, -HUGE_VALF) : near;
}

constexpr num::ArithmeticOptions directed(Round how) {
  return {.rounding = how == Round::kZero   ? num::Rounding::kZero
                      : how == Round::kDown ? num::Rounding::kDown
                                            : num::Rounding::kUp};
}
u32 bits_of(float value) { return std::bit_cast<u32>(value); }

template <Round kHow>
float add_f32(float a, float b) {
  if constexpr (kHow == Round::kNear) return a + b;
  return std::bit_cast<float>(num::add(num::Format::kF32, bits_of(a), bits_of(b), directed(kHow)));
}
template <Round kHow>
float mul_f32(float a, float b) {
  if constexpr (kHow == Round::kNear) return a * b;
  return std::bit_cast<float>(num::mul(num::Format::kF32, bits_of(a), bits_of(b), directed(kHow)));
}
template <Round kHow>
float fma_f32(float a, float b, float c) {
  if constexpr (kHow == Round::kNear) return std::fma(a, b, c);
  return std::bit_cast<float>(
      num::fma(num::Format::kF32, bits_of(a), bits_of(b), bits_of(c), directed(kHow)));
}
template <Round kHow>
float div_f32(float a, float b) {
  float const near = a / b;
  if constexpr (kHow == Round::kNear) return near;
  if (!std::isfinite(near) && (std::isnan(near) || std::isinf(a) || b == 0)) return near;
  if (std::isinf(b)) return near;
  // The remainder a - q b of a quotient in double is exact and has the sign of what is missing.
  double const q = static_cast<double>(a) / b;
  double const missing = std::fma(-q, static_cast<double>(b), static_cast<double>(a)) / b;
  return rounded(q, missing, kHow);
}
template <Round kHow>
float sqrt_f32(float a) {
  float const near = std::sqrt(a);
  if constexpr (kHow == Round::kNear) return near;
  if (!(a > 0) || std::isinf(a)) return near;
  double const root = std::sqrt(static_cast<double>(a));
  return rounded(root, std::fma(-root, root, static_cast<double>(a)), kHow);
}

/// f64 in other rounding modes: through the host's, kept out of line so that nothing moves across.
template <class F>
[[gnu::noinline]] double with_rounding(Round how, F compute) {
  static constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  std::fesetround(kModes[static_cast<int>(how)]);
  double volatile result = compute();
  std::fesetround(FE_TONEAREST);
  return result;
}
template <Round kHow>
double add_f64(double a, double b) {
  if constexpr (kHow == Round::kNear) return with_nan(a + b, a, b);
  double volatile x = a, y = b;
  return with_nan(with_rounding(kHow, [&] { return x + y; }), a, b);
}
template <Round kHow>
double mul_f64(double a, double b) {
  if constexpr (kHow == Round::kNear) return with_nan(a * b, a, b);
  double volatile x = a, y = b;
  return with_nan(with_rounding(kHow, [&] { return x * y; }), a, b);
}
template <Round kHow>
double fma_f64(double a, double b, double c) {
  // The NaN of b goes before that of c.
  if constexpr (kHow == Round::kNear) return with_nan(std::fma(a, b, c), a, c, b);
  double volatile x = a, y = b, z = c;
  return with_nan(with_rounding(kHow, [&] { return std::fma(x, y, z); }), a, c, b);
}
template <Round kHow>
double div_f64(double a, double b) {
  // A quotient is the one operation whose NaN is the first operand's.
  if constexpr (kHow == Round::kNear) return with_nan(a / b, b, a);
  double volatile x = a, y = b;
  return with_nan(with_rounding(kHow, [&] { return x / y; }), b, a);
}
template <Round kHow>
double sqrt_f64(double a) {
  if constexpr (kHow == Round::kNear) return with_nan(std::sqrt(a), a);
  double volatile x = a;
  return with_nan(with_rounding(kHow, [&] { return std::sqrt(x); }), a);
}

// ---- f32 with modifiers --------------------------------------------------------------------------------------------

template <auto kFunction, bool kFlush, bool kSaturate, class... A>
inline float shaped(A... a) {
  float out = kFlush ? kFunction(flush(a)...) : kFunction(a...);
  if constexpr (kSaturate) {
    out = saturate(out);
  } else {
    out = canonical(out);
  }
  return kFlush ? flush(out) : out;
}
template <auto kFunction, bool kFlush, bool kSaturate>
Outcome unary(Warp& w, Instr const& i, Mask m) {
  return alu<[](float a) -> float { return shaped<kFunction, kFlush, kSaturate>(a); }>(w, i, m);
}
template <auto kFunction, bool kFlush, bool kSaturate>
Outcome binary(Warp& w, Instr const& i, Mask m) {
  return alu<[](float a, float b) -> float { return shaped<kFunction, kFlush, kSaturate>(a, b); }>(w, i, m);
}
template <auto kFunction, bool kFlush, bool kSaturate>
Outcome ternary(Warp& w, Instr const& i, Mask m) {
  return alu<[](float a, float b, float c) -> float {
    return shaped<kFunction, kFlush, kSaturate>(a, b, c);
  }>(w, i, m);
}

#define DW_SHAPES(shape, function)                                                                  \
  (i.has(".ftz") ? (i.has(".sat") ? &shape<&function, true, true> : &shape<&function, true, false>) \
                 : (i.has(".sat") ? &shape<&function, false, true> : &shape<&function, false, false>))
#define DW_ROUNDED(shape, function)                                    \
  [](Instr& i, BindContext const&) -> Exec {                           \
    if (i.has(".rz")) return DW_SHAPES(shape, function<Round::kZero>); \
    if (i.has(".rm")) return DW_SHAPES(shape, function<Round::kDown>); \
    if (i.has(".rp")) return DW_SHAPES(shape, function<Round::kUp>);   \
    return DW_SHAPES(shape, function<Round::kNear>);                   \
  }
#define DW_PLAIN(shape, function) \
  [](Instr& i, BindContext const&) -> Exec { return DW_SHAPES(shape, function); }

float sub_near(float a, float b) { return a - b; }
template <Round kHow>
float sub_f32(float a, float b) {
  if constexpr (kHow == Round::kNear) return sub_near(a, b);
  return add_f32<kHow>(a, -b);
}
template <Round kHow>
double sub_f64(double a, double b) {
  return add_f64<kHow>(a, std::isnan(b) ? b : -b);
}
template <Round kHow>
float rcp_f32(float a) {
  return div_f32<kHow>(1.0f, a);
}
template <Round kHow>
double rcp_f64(double a) {
  return div_f64<kHow>(1.0, a);
}

// The approximate functions: computed in double and rounded once, well inside the error the manual allows.
float div_full(float a, float b) { return static_cast<float>(static_cast<double>(a) / b); }
/// A finite numerator over 2^126 and more gives zero, an infinite one NaN, as the manual says.
float div_approx(float a, float b) {
  if (std::fabs(b) > 0x1p126f && std::isfinite(b)) {
    if (std::isinf(a)) return std::bit_cast<float>(kNan);
    if (!std::isnan(a)) return std::signbit(a) != std::signbit(b) ? -0.0f : 0.0f;
  }
  return div_full(a, b);
}
float rcp_approx(float a) { return static_cast<float>(1.0 / static_cast<double>(a)); }
float sqrt_approx(float a) { return static_cast<float>(std::sqrt(static_cast<double>(a))); }
float rsqrt_approx(float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))); }
float sin_approx(float a) { return static_cast<float>(std::sin(static_cast<double>(a))); }
float cos_approx(float a) { return static_cast<float>(std::cos(static_cast<double>(a))); }
float lg2_approx(float a) { return static_cast<float>(std::log2(static_cast<double>(a))); }
float ex2_approx(float a) { return static_cast<float>(std::exp2(static_cast<double>(a))); }
float tanh_approx(float a) { return static_cast<float>(std::tanh(static_cast<double>(a))); }
/// The .approx.ftz forms of f64 compute the upper 32 bits from the upper 32 bits.
template <class F>
double upper_half(double a, F function) {
  u64 const bits = std::bit_cast<u64>(a) & 0xffffffff00000000u;
  bool const subnormal = (bits & 0x7ff0000000000000u) == 0;
  double const in = std::bit_cast<double>(subnormal ? bits & 0x8000000000000000u : bits);
  double const out = function(in);
  if (std::isnan(out)) return std::bit_cast<double>(u64{0x7fffffff00000000});
  u64 const result = (std::bit_cast<u64>(out) + 0x80000000u) & 0xffffffff00000000u;
  return std::bit_cast<double>((result & 0x7ff0000000000000u) == 0 ? result & 0x8000000000000000u : result);
}
double rcp_f64_approx(double a) {
  return upper_half(a, [](double x) { return 1.0 / x; });
}
double rsqrt_f64_approx(double a) { return with_nan(1.0 / std::sqrt(a), a); }
double rsqrt_f64_approx_ftz(double a) { return upper_half(a, rsqrt_f64_approx); }

float neg_f32(float a) { return std::bit_cast<float>(std::bit_cast<u32>(a) ^ 0x80000000u); }
float abs_f32(float a) { return std::bit_cast<float>(std::bit_cast<u32>(a) & 0x7fffffffu); }
// A NaN keeps its sign.
double neg_f64(double a) { return std::isnan(a) ? quiet(a) : -a; }
double abs_f64(double a) { return std::isnan(a) ? quiet(a) : std::fabs(a); }

/// Of two NaN the second, quiet.
float other_than_nan(float b) { return b; }
double other_than_nan(double b) { return std::isnan(b) ? quiet(b) : b; }
template <class T>
T smaller(T a, T b) {
  if (std::isnan(a)) return other_than_nan(b);
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}
template <class T>
T larger(T a, T b) {
  if (std::isnan(a)) return other_than_nan(b);
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

struct MinMax {
  bool larger, nan, flush, xorsign, abs;
};
float min_max(MinMax const& how, float const* values, int count) {
  float v[3] = {};
  u32 sign = 0;
  bool any_nan = false;
  for (int k = 0; k < count; ++k) {
    v[k] = how.flush ? flush(values[k]) : values[k];
    any_nan |= std::isnan(v[k]);
    sign ^= std::bit_cast<u32>(v[k]) & 0x80000000u;
    if (how.abs || how.xorsign) v[k] = abs_f32(v[k]);
  }
  if (how.nan && any_nan) return std::bit_cast<float>(kNan);
  float out = v[0];
  for (int k = 1; k < count; ++k) out = how.larger ? larger(out, v[k]) : smaller(out, v[k]);
  out = canonical(out);
  return how.xorsign && out == out ? std::bit_cast<float>((std::bit_cast<u32>(out) & 0x7fffffffu) | sign)
                                   : out;
}
/// aux: larger, nan, flush, xorsign, abs, count.
Outcome min_max_f32(Warp& w, Instr const& i, Mask m) {
  MinMax const how{i.aux[0] != 0, i.aux[1] != 0, i.aux[2] != 0, i.aux[3] != 0, i.aux[4] != 0};
  int const count = static_cast<int>(i.ops.size()) - 1;
  u32 const* sources[3] = {};
  for (int k = 0; k < count; ++k) sources[k] = w.s32(i.v(k + 1));
  u32* const out = w.d32(i.v(0));
  for_lanes(m, [&](int lane) {
    float values[3];
    for (int k = 0; k < count; ++k) values[k] = std::bit_cast<float>(sources[k][lane]);
    out[lane] = std::bit_cast<u32>(min_max(how, values, count));
  });
  w.propagate(i, m);
  return Outcome::kNext;
}
template <bool kLarger>
Outcome min_max_plain(Warp& w, Instr const& i, Mask m) {
  // The other operand when one is NaN; of two zeros the negative one is smaller.
  return alu<[](float a, float b) -> float {
    bool const first = kLarger ? (a > b || (a == b && std::bit_cast<i32>(a) >= 0))
                               : (a < b || (a == b && std::bit_cast<i32>(a) < 0));
    float const chosen = first || b != b ? a : b;
    return canonical(chosen);
  }>(w, i, m);
}
template <bool kLarger>
Exec bind_min_max(Instr& i, BindContext const&) {
  i.aux[0] = kLarger;
  i.aux[1] = i.has(".NaN");
  i.aux[2] = i.has(".ftz");
  i.aux[3] = i.has(".xorsign");
  i.aux[4] = i.has(".abs");
  if (i.ops.size() == 3 && i.aux[3] != i.aux[4]) throw unsupported(i, ".xorsign and .abs go together");
  if (i.ops.size() == 3 && i.aux[1] + i.aux[2] + i.aux[3] + i.aux[4] == 0) return &min_max_plain<kLarger>;
  return &min_max_f32;
}

// ---- f32x2 ---------------------------------------------------------------------------------------------------------

template <auto kFunction, bool kFlush, class... A>
u64 both_halves(A... a) {
  float const low = shaped<kFunction, kFlush, false>(std::bit_cast<float>(static_cast<u32>(a))...);
  float const high = shaped<kFunction, kFlush, false>(std::bit_cast<float>(static_cast<u32>(a >> 32))...);
  return std::bit_cast<u32>(low) | (u64{std::bit_cast<u32>(high)} << 32);
}
template <auto kFunction, bool kFlush>
Outcome binary_x2(Warp& w, Instr const& i, Mask m) {
  return alu<[](u64 a, u64 b) -> u64 { return both_halves<kFunction, kFlush>(a, b); }>(w, i, m);
}
template <auto kFunction, bool kFlush>
Outcome ternary_x2(Warp& w, Instr const& i, Mask m) {
  return alu<[](u64 a, u64 b, u64 c) -> u64 { return both_halves<kFunction, kFlush>(a, b, c); }>(w, i, m);
}
#define DW_ROUNDED_X2(shape, function)                                                                       \
  [](Instr& i, BindContext const&) -> Exec {                                                                 \
    bool const z = i.has(".ftz");                                                                            \
    if (i.has(".rz"))                                                                                        \
      return z ? &shape<&function<Round::kZero>, true> : &shape<&function<Round::kZero>, false>;             \
    if (i.has(".rm"))                                                                                        \
      return z ? &shape<&function<Round::kDown>, true> : &shape<&function<Round::kDown>, false>;             \
    if (i.has(".rp")) return z ? &shape<&function<Round::kUp>, true> : &shape<&function<Round::kUp>, false>; \
    return z ? &shape<&function<Round::kNear>, true> : &shape<&function<Round::kNear>, false>;               \
  }

#define DW_ROUNDED_F64(count, function)                              \
  [](Instr& i, BindContext const&) -> Exec {                         \
    if (i.has(".rz")) return DW_F64_##count(function<Round::kZero>); \
    if (i.has(".rm")) return DW_F64_##count(function<Round::kDown>); \
    if (i.has(".rp")) return DW_F64_##count(function<Round::kUp>);   \
    return DW_F64_##count(function<Round::kNear>);                   \
  }
#define DW_F64_1(f) &alu<[](double a) -> double { return f(a); }>
#define DW_F64_2(f) &alu<[](double a, double b) -> double { return f(a, b); }>
#define DW_F64_3(f) &alu<[](double a, double b, double c) -> double { return f(a, b, c); }>

// ---- testp, copysign -------------------------------------------------------------------------------------------------

template <class T>
bool tested(T value, int which) {
  switch (which) {
    case 0: return std::isfinite(value);
    case 1: return std::isinf(value);
    case 2: return !std::isnan(value);
    case 3: return std::isnan(value);
    case 4: return std::isnormal(value) || value == 0;  // zeros count as normal
    default: return std::fpclassify(value) == FP_SUBNORMAL;
  }
}
template <class T>
Outcome testp(Warp& w, Instr const& i, Mask m) {
  auto const* const a = source<T>(w, i.v(1));
  Mask out = 0;
  for_lanes(m, [&](int lane) {
    if (tested(std::bit_cast<T>(a[lane]), i.choice[0])) out |= Mask{1} << lane;
  });
  w.set_predicate(i.v(0), m, out);
  w.propagate(i, m);
  return Outcome::kNext;
}

// ---- mixed precision -------------------------------------------------------------------------------------------------

/// add, sub and fma of f16 or bf16 with f32: the narrow numbers are exact in f32. aux: 0 operation (add, sub, fma), 1 format,
/// 2 Round, 3 .sat.
template <Round kHow>
float mixed_f32(u32 operation, float a, float b, float c) {
  if (operation == 2) return fma_f32<kHow>(a, b, c);
  return add_f32<kHow>(a, operation == 1 ? -b : b);
}
Outcome mixed(Warp& w, Instr const& i, Mask m) {
  auto const format = static_cast<num::Format>(i.aux[1]);
  bool const fused = i.aux[0] == 2;
  u32 const* const a = w.s32(i.v(1));
  u32 const* const b = w.s32(i.v(2));
  u32 const* const c = fused ? w.s32(i.v(3)) : b;
  u32* const out = w.d32(i.v(0));
  for_lanes(m, [&](int lane) {
    float const x = num::decode_f32(format, a[lane]);
    float const y = fused ? num::decode_f32(format, b[lane]) : std::bit_cast<float>(b[lane]);
    float const z = std::bit_cast<float>(c[lane]);
    float result = 0;
    switch (static_cast<Round>(i.aux[2])) {
      case Round::kNear: result = mixed_f32<Round::kNear>(i.aux[0], x, y, z); break;
      case Round::kZero: result = mixed_f32<Round::kZero>(i.aux[0], x, y, z); break;
      case Round::kDown: result = mixed_f32<Round::kDown>(i.aux[0], x, y, z); break;
      case Round::kUp: result = mixed_f32<Round::kUp>(i.aux[0], x, y, z); break;
    }
    out[lane] = bits_of(i.aux[3] != 0 ? saturate(result) : canonical(result));
  });
  w.propagate(i, m);
  return Outcome::kNext;
}
template <u32 kOperation>
Exec bind_mixed(Instr& i, BindContext const&) {
  i.aux[0] = kOperation;
  i.aux[1] = static_cast<u32>(i.info->parts.back() == ".f16" ? num::Format::kF16 : num::Format::kBf16);
  i.aux[2] = static_cast<u32>(i.has(".rz")   ? Round::kZero
                              : i.has(".rm") ? Round::kDown
                              : i.has(".rp") ? Round::kUp
                                             : Round::kNear);
  i.aux[3] = i.has(".sat");
  return &mixed;
}

#define DW_RND "[.rn|.rz|.rm|.rp] "

constexpr Row kRows[] = {
    {.pattern = "add " DW_RND "[.sat] .f32 (.f16|.bf16)",
     .operands = "d32, s16, s32",
     .ptx = 86,
     .needs = Needs::kSm100,
     .section = "9.7.5 add",
     .bind = &bind_mixed<0>},
    {.pattern = "sub " DW_RND "[.sat] .f32 (.f16|.bf16)",
     .operands = "d32, s16, s32",
     .ptx = 86,
     .needs = Needs::kSm100,
     .section = "9.7.5 sub",
     .bind = &bind_mixed<1>},
    {.pattern = "fma (.rn|.rz|.rm|.rp) [.sat] .f32 (.f16|.bf16)",
     .operands = "d32, s16, s16, s32",
     .ptx = 86,
     .needs = Needs::kSm100,
     .section = "9.7.5 fma",
     .bind = &bind_mixed<2>},
    {.pattern = "add " DW_RND "[.ftz] [.sat] .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 add",
     .bind = DW_ROUNDED(binary, add_f32)},
    {.pattern = "sub " DW_RND "[.ftz] [.sat] .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 sub",
     .bind = DW_ROUNDED(binary, sub_f32)},
    {.pattern = "mul " DW_RND "[.ftz] [.sat] .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 mul",
     .bind = DW_ROUNDED(binary, mul_f32)},
    {.pattern = "fma (.rn|.rz|.rm|.rp) [.ftz] [.sat] .f32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.3 fma",
     .bind = DW_ROUNDED(ternary, fma_f32)},
    {.pattern = "mad (.rn|.rz|.rm|.rp) [.ftz] [.sat] .f32",
     .operands = "d32, s32, s32, s32",
     .section = "9.7.3 mad",
     .bind = DW_ROUNDED(ternary, fma_f32)},
    {.pattern = "div (.rn|.rz|.rm|.rp) [.ftz] .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 div",
     .bind = DW_ROUNDED(binary, div_f32)},
    {.pattern = "div (.approx|.full) [.ftz] .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 div",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       return i.has(".full") ? DW_SHAPES(binary, div_full) : DW_SHAPES(binary, div_approx);
     },
     .note = "rounded to nearest from double; the manual allows 2 ulp"},
    {.pattern = "rcp (.rn|.rz|.rm|.rp) [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 rcp",
     .bind = DW_ROUNDED(unary, rcp_f32)},
    {.pattern = "rcp .approx [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 rcp",
     .bind = DW_PLAIN(unary, rcp_approx),
     .note = "rounded to nearest from double; the manual allows 1 ulp"},
    {.pattern = "sqrt (.rn|.rz|.rm|.rp) [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 sqrt",
     .bind = DW_ROUNDED(unary, sqrt_f32)},
    {.pattern = "sqrt .approx [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 sqrt",
     .bind = DW_PLAIN(unary, sqrt_approx),
     .note = "rounded to nearest from double; the manual allows a relative error of 2^-23"},
    {.pattern = "rsqrt .approx [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 rsqrt",
     .bind = DW_PLAIN(unary, rsqrt_approx),
     .note = "rounded to nearest from double; the manual allows a relative error of 2^-22.9"},
    {.pattern = "sin .approx [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 sin",
     .bind = DW_PLAIN(unary, sin_approx),
     .note = "rounded to nearest from double; the manual allows 2^-20.5 absolute in [-pi, pi]"},
    {.pattern = "cos .approx [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 cos",
     .bind = DW_PLAIN(unary, cos_approx),
     .note = "rounded to nearest from double; the manual allows 2^-20.5 absolute in [-pi, pi]"},
    {.pattern = "lg2 .approx [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 lg2",
     .bind = DW_PLAIN(unary, lg2_approx),
     .note = "rounded to nearest from double; the manual allows 2^-22 absolute"},
    {.pattern = "ex2 .approx [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 ex2",
     .bind = DW_PLAIN(unary, ex2_approx),
     .note = "rounded to nearest from double; the manual allows 2 ulp"},
    {.pattern = "tanh .approx .f32",
     .operands = "d32, s32",
     .ptx = 70,
     .section = "9.7.3 tanh",
     .bind = DW_PLAIN(unary, tanh_approx),
     .note = "rounded to nearest from double; the manual allows a relative error of 2^-11"},
    {.pattern = "neg [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 neg",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (i.has(".ftz")) return &alu<[](float a) -> float { return canonical(neg_f32(flush(a))); }>;
       return &alu<[](float a) -> float { return canonical(neg_f32(a)); }>;
     }},
    {.pattern = "abs [.ftz] .f32",
     .operands = "d32, s32",
     .section = "9.7.3 abs",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (i.has(".ftz")) return &alu<[](float a) -> float { return canonical(abs_f32(flush(a))); }>;
       return &alu<[](float a) -> float { return canonical(abs_f32(a)); }>;
     }},
    {.pattern = "min [.ftz] [.NaN] [.xorsign] [.abs] .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 min",
     .bind = &bind_min_max<false>},
    {.pattern = "max [.ftz] [.NaN] [.xorsign] [.abs] .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 max",
     .bind = &bind_min_max<true>},
    {.pattern = "min [.ftz] [.NaN] [.abs] .f32",
     .operands = "d32, s32, s32, s32",
     .ptx = 88,
     .needs = Needs::kSm100,
     .section = "9.7.3 min",
     .bind = &bind_min_max<false>},
    {.pattern = "max [.ftz] [.NaN] [.abs] .f32",
     .operands = "d32, s32, s32, s32",
     .ptx = 88,
     .needs = Needs::kSm100,
     .section = "9.7.3 max",
     .bind = &bind_min_max<true>},
    {.pattern = "copysign .f32",
     .operands = "d32, s32, s32",
     .section = "9.7.3 copysign",
     .exec = &alu<[](u32 a, u32 b) -> u32 { return (b & 0x7fffffffu) | (a & 0x80000000u); }>},
    {.pattern = "copysign .f64",
     .operands = "d64, s64, s64",
     .section = "9.7.3 copysign",
     .exec = &alu<[](double a, double b) -> double { return std::copysign(b, a); }>},
    {.pattern = "testp (.finite|.infinite|.number|.notanumber|.normal|.subnormal) .f32",
     .operands = "d1, s32",
     .section = "9.7.3 testp",
     .exec = &testp<float>},
    {.pattern = "testp (.finite|.infinite|.number|.notanumber|.normal|.subnormal) .f64",
     .operands = "d1, s64",
     .section = "9.7.3 testp",
     .exec = &testp<double>},
    {.pattern = "add " DW_RND ".f64",
     .operands = "d64, s64, s64",
     .section = "9.7.3 add",
     .bind = DW_ROUNDED_F64(2, add_f64)},
    {.pattern = "sub " DW_RND ".f64",
     .operands = "d64, s64, s64",
     .section = "9.7.3 sub",
     .bind = DW_ROUNDED_F64(2, sub_f64)},
    {.pattern = "mul " DW_RND ".f64",
     .operands = "d64, s64, s64",
     .section = "9.7.3 mul",
     .bind = DW_ROUNDED_F64(2, mul_f64)},
    {.pattern = "fma (.rn|.rz|.rm|.rp) .f64",
     .operands = "d64, s64, s64, s64",
     .section = "9.7.3 fma",
     .bind = DW_ROUNDED_F64(3, fma_f64)},
    {.pattern = "mad (.rn|.rz|.rm|.rp) .f64",
     .operands = "d64, s64, s64, s64",
     .section = "9.7.3 mad",
     .bind = DW_ROUNDED_F64(3, fma_f64)},
    {.pattern = "div (.rn|.rz|.rm|.rp) .f64",
     .operands = "d64, s64, s64",
     .section = "9.7.3 div",
     .bind = DW_ROUNDED_F64(2, div_f64)},
    {.pattern = "rcp (.rn|.rz|.rm|.rp) .f64",
     .operands = "d64, s64",
     .section = "9.7.3 rcp",
     .bind = DW_ROUNDED_F64(1, rcp_f64)},
    {.pattern = "sqrt (.rn|.rz|.rm|.rp) .f64",
     .operands = "d64, s64",
     .section = "9.7.3 sqrt",
     .bind = DW_ROUNDED_F64(1, sqrt_f64)},
    {.pattern = "rcp .approx .ftz .f64",
     .operands = "d64, s64",
     .section = "9.7.3 rcp",
     .exec = &alu<[](double a) -> double { return rcp_f64_approx(a); }>,
     .note = "the upper 32 bits, rounded to nearest; SM 9.0 differs by one unit of them"},
    {.pattern = "rsqrt .approx [.ftz] .f64",
     .operands = "d64, s64",
     .section = "9.7.3 rsqrt",
     .bind = [](Instr& i, BindContext const&) -> Exec {
       if (i.has(".ftz")) return DW_F64_1(rsqrt_f64_approx_ftz);
       return DW_F64_1(rsqrt_f64_approx);
     },
     .note = "with .ftz the upper 32 bits; rounded to nearest, SM 9.0 differs by one unit"},
    {.pattern = "neg .f64", .operands = "d64, s64", .section = "9.7.3 neg", .exec = DW_F64_1(neg_f64)},
    {.pattern = "abs .f64", .operands = "d64, s64", .section = "9.7.3 abs", .exec = DW_F64_1(abs_f64)},
    {.pattern = "min .f64",
     .operands = "d64, s64, s64",
     .section = "9.7.3 min",
     .exec = &alu<[](double a, double b) -> double { return smaller(a, b); }>},
    {.pattern = "max .f64",
     .operands = "d64, s64, s64",
     .section = "9.7.3 max",
     .exec = &alu<[](double a, double b) -> double { return larger(a, b); }>},
    {.pattern = "add " DW_RND "[.ftz] .f32x2",
     .operands = "d64, s64, s64",
     .ptx = 86,
     .needs = Needs::kSm100,
     .section = "9.7.3 add",
     .bind = DW_ROUNDED_X2(binary_x2, add_f32)},
    {.pattern = "sub " DW_RND "[.ftz] .f32x2",
     .operands = "d64, s64, s64",
     .ptx = 86,
     .needs = Needs::kSm100,
     .section = "9.7.3 sub",
     .bind = DW_ROUNDED_X2(binary_x2, sub_f32)},
    {.pattern = "mul " DW_RND "[.ftz] .f32x2",
     .operands = "d64, s64, s64",
     .ptx = 86,
     .needs = Needs::kSm100,
     .section = "9.7.3 mul",
     .bind = DW_ROUNDED_X2(binary_x2, mul_f32)},
    {.pattern = "fma (.rn|.rz|.rm|.rp) [.ftz] .f32x2",
     .operands = "d64, s64, s64, s64",
     .ptx = 86,
     .needs = Needs::kSm100,
     .section = "9.7.3 fma",
     .bind = DW_ROUNDED_X2(ternary_x2, fma_f32)},
};

}  // namespace

std::span<Row const> alu_float_rows() { return kRows; }

}  // namespace deepwell::emu
