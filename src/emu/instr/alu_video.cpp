// Instruction family: video instructions on two halfwords or four bytes of a word (PTX ISA 9.7.18.2), and scalar ones (9.7.18.1),
// without selectors and masks.
#include <algorithm>

#include "emu/instr/lanes.hpp"

namespace deepwell::emu {
namespace {

enum class Video : u32 { kAdd, kSub, kAvrg, kAbsDiff, kMin, kMax, kSet, kShl, kShr, kMad };

/// aux: 0 operation, 1 parts of a word, 2 signs (1 d, 2 a, 4 b), 3 .sat, 4 second operation (0 none, 1 add, 2 min, 3 max),
/// 5 comparison or 1: .wrap, 6 right shift of mad.
struct Form {
  Video op;
  int parts, bits;
  bool d_signed, a_signed, b_signed, saturates;
  u32 second, extra, shift;
};
Form form_of(Instr const& i) {
  auto const parts = static_cast<int>(i.aux[1]);
  return {static_cast<Video>(i.aux[0]),
          parts,
          32 / parts,
          (i.aux[2] & 1) != 0,
          (i.aux[2] & 2) != 0,
          (i.aux[2] & 4) != 0,
          i.aux[3] != 0,
          i.aux[4],
          i.aux[5],
          i.aux[6]};
}

i64 part_of(u32 word, int part, int bits, bool is_signed) {
  u32 const raw = bits == 32 ? word : word >> (part * bits) & ((1u << bits) - 1);
  if (!is_signed) return raw;
  int const shift = 32 - bits;
  return static_cast<i32>(raw << shift) >> shift;
}

i64 compute(Form const& form, i64 a, i64 b) {
  switch (form.op) {
    case Video::kAdd: return a + b;
    case Video::kSub: return a - b;
    case Video::kAvrg: return (a + b + (a + b >= 0 ? 1 : 0)) >> 1;
    case Video::kAbsDiff: return a > b ? a - b : b - a;
    case Video::kMin: return std::min(a, b);
    case Video::kMax: return std::max(a, b);
    case Video::kShl:
    case Video::kShr: {
      i64 const by = form.extra != 0 ? (b & 31) : std::min<i64>(b, 32);
      if (form.op == Video::kShr) return a >> by;
      return static_cast<i64>(static_cast<u64>(a) << by);
    }
    case Video::kSet:
      switch (form.extra) {
        case 0: return a == b;
        case 1: return a != b;
        case 2: return a < b;
        case 3: return a <= b;
        case 4: return a > b;
        default: return a >= b;
      }
    case Video::kMad: break;  // multiply_add()
  }
  return 0;
}

i64 saturated(i64 value, int bits, bool is_signed) {
  i64 const low = is_signed ? -(i64{1} << (bits - 1)) : 0;
  i64 const high = is_signed ? (i64{1} << (bits - 1)) - 1 : (i64{1} << bits) - 1;
  return std::clamp(value, low, high);
}

/// Two or four parts. With .add they are added to all of c; otherwise c, from which parts outside a mask would come, is not used.
Outcome video(Warp& w, Instr const& i, Mask mask) {
  Form const form = form_of(i);
  u32 const* const a = w.s32(i.v(1));
  u32 const* const b = w.s32(i.v(2));
  u32 const* const c = w.s32(i.v(3));
  u32* const out = w.d32(i.v(0));
  u32 const part_mask = (1u << form.bits) - 1;
  for_lanes(mask, [&](int lane) {
    u32 word = 0;
    u32 sum = c[lane];
    for (int part = 0; part < form.parts; ++part) {
      i64 value = compute(form, part_of(a[lane], part, form.bits, form.a_signed),
                          part_of(b[lane], part, form.bits, form.b_signed));
      if (form.saturates) value = saturated(value, form.bits, form.d_signed);
      if (form.second == 1) {
        sum += static_cast<u32>(value);  // the parts are added to the whole of c
        continue;
      }
      word |= (static_cast<u32>(value) & part_mask) << (part * form.bits);
    }
    out[lane] = form.second == 1 ? sum : word;
  });
  w.propagate(i, mask);
  return Outcome::kNext;
}

i64 low_extended(i64 value) { return static_cast<i32>(static_cast<u32>(value)); }

/// .sat of a result of 64 bits. Only shifts and mad have an upper limit of unsigned results: the others keep the low bits there.
i64 scalar_saturated(Form const& form, i64 value, bool is_signed) {
  if (form.op == Video::kShl) {  // 34 bits are left of a shift
    i64 const upper = static_cast<i64>(static_cast<u64>(value) << 30) >> 62;
    value = static_cast<i64>(static_cast<u64>(upper) << 32 | static_cast<u32>(value));
  }
  if (is_signed) return saturated(value, 32, true);
  bool const has_limit = form.op == Video::kShl || form.op == Video::kShr || form.op == Video::kMad;
  return has_limit ? saturated(value, 32, false) : std::max<i64>(value, 0);
}

/// Product and sum are of signed numbers, whatever the types say: with unsigned a and b alone the sum's 64 bits are shifted and
/// limited as an unsigned number's.
u32 multiply_add(Form const& form, u32 a, u32 b, u32 c) {
  bool const is_signed = form.a_signed || form.b_signed;
  i64 value = i64{static_cast<i32>(a)} * static_cast<i32>(b) + static_cast<i32>(c);
  value = is_signed ? value >> form.shift : static_cast<i64>(static_cast<u64>(value) >> form.shift);
  return static_cast<u32>(form.saturates ? scalar_saturated(form, value, is_signed) : value);
}

/// What ptxas makes of scalar instructions for SM 9.0 and SM 12.x alike, and an H200 gave, where the manual says otherwise too
/// (bench/results/silicon_sm90.md): results have 64 bits until the second operation has compared them, but sums, differences and
/// saturated shifts are cut to 32 and extended by their sign first.
u32 scalar_result(Form const& form, u32 a, u32 b, u32 c) {
  if (form.op == Video::kMad) return multiply_add(form, a, b, c);
  i64 value = compute(form, part_of(a, 0, 32, form.a_signed), part_of(b, 0, 32, form.b_signed));
  if (form.saturates) value = scalar_saturated(form, value, form.d_signed);
  if (form.second < 2) return static_cast<u32>(value) + (form.second == 1 ? c : 0);
  bool const sums = form.op == Video::kAdd || form.op == Video::kSub;
  bool const shifts = form.op == Video::kShl || form.op == Video::kShr;
  if (sums || (shifts && form.saturates)) value = low_extended(value);
  bool const is_signed = form.op == Video::kSet ? form.a_signed : form.d_signed;
  i64 const third = part_of(c, 0, 32, is_signed);
  bool const less = is_signed ? value < third : static_cast<u64>(value) < static_cast<u64>(third);
  return static_cast<u32>(less == (form.second == 2) ? value : third);
}

Outcome scalar(Warp& w, Instr const& i, Mask mask) {
  Form const form = form_of(i);
  u32 const* const a = w.s32(i.v(1));
  u32 const* const b = w.s32(i.v(2));
  u32 const* const c = i.ops.size() > 3 ? w.s32(i.v(3)) : nullptr;
  u32* const out = w.d32(i.v(0));
  for_lanes(mask,
            [&](int lane) { out[lane] = scalar_result(form, a[lane], b[lane], c != nullptr ? c[lane] : 0); });
  w.propagate(i, mask);
  return Outcome::kNext;
}

template <Video kOp, int kParts>
Exec bind(Instr& i, BindContext const&) {
  i.aux[0] = static_cast<u32>(kOp);
  i.aux[1] = kParts;
  u32 signs = 0, types = 0;
  for (std::string const& part : i.info->parts) {
    if (part != ".u32" && part != ".s32") continue;
    if (part == ".s32") signs |= 1u << types;
    ++types;
  }
  // Comparisons give an unsigned number and name two types, as shifts do with b; those of vset come without the result's.
  if (kOp == Video::kSet) signs <<= 1;
  i.aux[2] = signs;
  i.aux[3] = i.has(".sat");
  bool const adds = i.has(".add");
  i.aux[4] = adds ? 1 : i.has(".min") ? 2 : i.has(".max") ? 3 : 0;
  if constexpr (kOp == Video::kSet) i.aux[5] = static_cast<u32>(i.choice[2]);
  if constexpr (kOp == Video::kShl || kOp == Video::kShr) i.aux[5] = i.has(".wrap");
  if constexpr (kOp == Video::kMad) i.aux[6] = i.has(".shr7") ? 7 : i.has(".shr15") ? 15 : 0;
  if (kParts == 1 && kOp != Video::kMad && (i.aux[4] != 0) != (i.ops.size() == 4))
    throw unsupported(i, "a third source goes with .add, .min or .max");
  return kParts == 1 ? &scalar : &video;
}

#define DW_SIGN "(.u32|.s32) "
#define DW_SECOND_NOTE \
  "what ptxas 13.0 makes of it, on SM 9.0 and 12.x alike; .sat, .min and .max are not always the manual's"
#define DW_SCALAR(name, op)                                                                          \
  {                                                                                                  \
    .pattern = name " " DW_SIGN DW_SIGN DW_SIGN "[.sat] [.add|.min|.max]",                           \
    .operands = "d32, s32, s32, ?s32", .ptx = 20, .section = "9.7.18.1 " name, .bind = &bind<op, 1>, \
    .note = DW_SECOND_NOTE                                                                           \
  }
#define DW_SIMD(name, op, parts)                                                                            \
  {                                                                                                         \
    .pattern = name " " DW_SIGN DW_SIGN DW_SIGN "[.sat|.add]", .operands = "d32, s32, s32, s32", .ptx = 30, \
    .section = "9.7.18.2 " name, .bind = &bind<op, parts>                                                   \
  }

// clang-format off
constexpr Row kRows[] = {
    DW_SCALAR("vadd", Video::kAdd), DW_SCALAR("vsub", Video::kSub), DW_SCALAR("vabsdiff", Video::kAbsDiff),
    DW_SCALAR("vmin", Video::kMin), DW_SCALAR("vmax", Video::kMax),
    DW_SIMD("vadd2", Video::kAdd, 2), DW_SIMD("vsub2", Video::kSub, 2), DW_SIMD("vavrg2", Video::kAvrg, 2),
    DW_SIMD("vabsdiff2", Video::kAbsDiff, 2), DW_SIMD("vmin2", Video::kMin, 2), DW_SIMD("vmax2", Video::kMax, 2),
    DW_SIMD("vadd4", Video::kAdd, 4), DW_SIMD("vsub4", Video::kSub, 4), DW_SIMD("vavrg4", Video::kAvrg, 4),
    DW_SIMD("vabsdiff4", Video::kAbsDiff, 4), DW_SIMD("vmin4", Video::kMin, 4), DW_SIMD("vmax4", Video::kMax, 4),
    {.pattern = "vset " DW_SIGN DW_SIGN "(.eq|.ne|.lt|.le|.gt|.ge) [.add|.min|.max]", .operands = "di32, s32, s32, ?si32",
     .ptx = 20, .section = "9.7.18.1 vset", .bind = &bind<Video::kSet, 1>,
     .note = DW_SECOND_NOTE},
    {.pattern = "vset2 " DW_SIGN DW_SIGN "(.eq|.ne|.lt|.le|.gt|.ge) [.add]", .operands = "di32, s32, s32, si32",
     .ptx = 30, .section = "9.7.18.2 vset2", .bind = &bind<Video::kSet, 2>},
    {.pattern = "vset4 " DW_SIGN DW_SIGN "(.eq|.ne|.lt|.le|.gt|.ge) [.add]", .operands = "di32, s32, s32, si32",
     .ptx = 30, .section = "9.7.18.2 vset4", .bind = &bind<Video::kSet, 4>},
    {.pattern = "vshl " DW_SIGN DW_SIGN ".u32 [.sat] (.clamp|.wrap) [.add|.min|.max]", .operands = "d32, s32, s32, ?s32",
     .ptx = 20, .section = "9.7.18.1 vshl", .bind = &bind<Video::kShl, 1>,
     .note = DW_SECOND_NOTE},
    {.pattern = "vshr " DW_SIGN DW_SIGN ".u32 [.sat] (.clamp|.wrap) [.add|.min|.max]", .operands = "d32, s32, s32, ?s32",
     .ptx = 20, .section = "9.7.18.1 vshr", .bind = &bind<Video::kShr, 1>,
     .note = DW_SECOND_NOTE},
    {.pattern = "vmad " DW_SIGN DW_SIGN DW_SIGN "[.sat] [.shr7|.shr15]", .operands = "d32, s32, s32, s32",
     .ptx = 20, .section = "9.7.18.1 vmad", .bind = &bind<Video::kMad, 1>,
     .note = "what ptxas 13.0 makes of it, on SM 9.0 and 12.x alike; .sat, .shr7 and .shr15 are not always the manual's"},
};
// clang-format on

}  // namespace

std::span<Row const> alu_video_rows() { return kRows; }

}  // namespace deepwell::emu
