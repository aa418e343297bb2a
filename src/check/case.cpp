// The list of built-in cases.
#include "check/case.hpp"

#include <fmt/format.h>

#include <array>

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

char const* pitch_name(Pitch pitch) {
  return pitch == Pitch::kContiguous ? "" : pitch == Pitch::kPadded ? "/padded" : "/odd";
}

std::string operand_name(OperandCase const& o) {
  char const* layout = o.layout == ScaleLayout::kRows ? "r" : o.layout == ScaleLayout::kColumns ? "c" : "o";
  return fmt::format("{}{}:{}{}.{}x{}.{}", name_of(o.dtype), pitch_name(o.pitch), name_of(o.scale),
                     o.powers ? "2" : "", o.gran_mn, o.gran_k, layout);
}

OperandCase operand(Dtype dtype, ScaleFormat scale, int gran_k, int gran_mn = 1) {
  OperandCase out{.dtype = dtype, .scale = scale, .gran_mn = gran_mn, .gran_k = gran_k};
  out.layout = scale == ScaleFormat::kPacked ? ScaleLayout::kColumns : ScaleLayout::kRows;
  return out;
}

Case sized(DataKind data, std::int64_t m, std::int64_t n, std::int64_t k, std::string label = {}) {
  Case c;
  c.data = data;
  c.m = m, c.n = n, c.k = k;
  c.label = std::move(label);
  return c;
}

constexpr Dtype kE4m3 = Dtype::kE4m3, kE2m1 = Dtype::kE2m1;
constexpr ScaleFormat kF32 = ScaleFormat::kF32, kBytes = ScaleFormat::kUe8m0, kPacked = ScaleFormat::kPacked;

class List {
 public:
  explicit List(bool quick) : quick_(quick) {}
  void add(Case const& c) { cases.push_back(c); }
  bool quick() const { return quick_; }
  std::vector<Case> cases;

 private:
  bool quick_;
};

/// Every pair of element types with every pair of scale formats and granularities, in small shapes.
void add_formats(List& list) {
  constexpr std::array<Dtype, 2> dtypes{kE4m3, kE2m1};
  constexpr std::array<ScaleFormat, 3> formats{kF32, kBytes, kPacked};
  int count = 0;
  for (Dtype a : dtypes) {
    for (Dtype b : dtypes) {
      for (ScaleFormat a_scale : formats) {
        for (ScaleFormat b_scale : formats) {
          for (int grans = 0; grans < 4; ++grans) {
            int const ga = grans % 2 == 0 ? 128 : 32, gb = grans / 2 == 0 ? 128 : 32;
            ++count;
            int const combination = static_cast<int>(a) + 2 * static_cast<int>(b) +
                                    (a_scale == kF32 ? 4 : 0) + (b_scale == kF32 ? 8 : 0) + grans;
            // Shapes and types of d rotate over the kernels, so that each is built for one of them only.
            bool const decode = combination % 3 != 0;
            if (list.quick() && count % 7 != 0) continue;
            Case c;
            c.data = count % 3 == 0 ? DataKind::kExact : DataKind::kRandom;
            c.m = decode ? 5 : 72, c.n = decode ? 72 : 136, c.k = 320;
            c.a = operand(a, a_scale, ga);
            c.b = operand(b, b_scale, gb, b_scale != kPacked && count % 2 == 0 ? 128 : 1);
            c.a.powers = count % 5 == 0, c.b.powers = count % 5 < 2;
            c.d = combination % 4 == 0 ? Dtype::kF32 : Dtype::kBf16;
            list.add(c);
          }
        }
      }
    }
  }
}

/// Sizes that end inside tiles, steps and scale words.
void add_edges(List& list) {
  for (std::int64_t k : {32, 64, 96, 128, 160, 416, 544, 1056}) {
    for (Dtype b : {kE4m3, kE2m1}) {
      if (list.quick() && k % 96 != 0) continue;
      Case c = sized(k % 64 == 0 ? DataKind::kExact : DataKind::kRandom, 3, 40, k);
      c.a = operand(kE4m3, kPacked, 32), c.b = operand(b, kPacked, 32);
      c.d = Dtype::kF32;
      list.add(c);
      c.m = 70;
      c.a = operand(kE4m3, kF32, 128), c.b = operand(b, kBytes, 32);
      list.add(c);
    }
  }
  constexpr int kSizes[][2] = {{1, 1},   {1, 7},    {2, 33},  {8, 129},  {9, 64},
                               {17, 65}, {33, 127}, {65, 31}, {129, 135}};
  for (auto [m, n] : kSizes) {
    if (list.quick() && m > 9) continue;
    for (Dtype d : {Dtype::kBf16, Dtype::kF32}) {
      Case c = sized(DataKind::kExact, m, n, 256);
      c.a = operand(kE4m3, kPacked, 128), c.b = operand(kE4m3, kBytes, 128, 128);
      c.d = d;
      list.add(c);
      c.data = DataKind::kRandom;
      c.c = CMode::kOther;
      list.add(c);
    }
  }
  // Blocks of 128 rows on both sides.
  for (ScaleFormat a : {kF32, kBytes}) {
    for (int gran_k : {32, 128}) {
      Case c = sized(DataKind::kRandom, gran_k == 32 ? 140 : 6, 200, 352);
      c.a = operand(kE4m3, a, gran_k, 128);
      c.b = operand(gran_k == 32 ? kE2m1 : kE4m3, a == kF32 ? kBytes : kF32, gran_k, 128);
      list.add(c);
    }
  }
  // Calls that say nothing about granularities.
  for (ScaleFormat b : {kF32, kBytes, kPacked}) {
    Case c = sized(DataKind::kRandom, 4, 200, 512);
    c.a = operand(kE4m3, b, 128), c.b = operand(kE4m3, b, 128, b == kPacked ? 1 : 128);
    c.default_recipe = true;
    list.add(c);
  }
  // The ragged case that is also the emulator's yardstick.
  Case c = sized(DataKind::kRandom, 200, 264, 640);
  c.a = operand(kE4m3, kPacked, 128), c.b = operand(kE4m3, kPacked, 128);
  list.add(c);
  c.data = DataKind::kExact;
  list.add(c);
}

void add_c_modes(List& list) {
  for (CMode mode : {CMode::kNone, CMode::kSame, CMode::kOther}) {
    for (Dtype d : {Dtype::kBf16, Dtype::kF32}) {
      for (Pitch pitch : {Pitch::kContiguous, Pitch::kPadded, Pitch::kOdd}) {
        for (std::int64_t m : {4, 66}) {
          if (list.quick() && (m != 4 || pitch == Pitch::kPadded)) continue;
          Case c = sized(pitch == Pitch::kOdd ? DataKind::kExact : DataKind::kRandom, m, 77, 256);
          c.a = operand(kE4m3, kPacked, 128), c.b = operand(kE4m3, kPacked, 128);
          c.d = d, c.c = mode, c.d_pitch = pitch;
          list.add(c);
        }
      }
    }
  }
}

/// Views with every pitch of data and scales.
void add_layouts(List& list) {
  for (Pitch pitch : {Pitch::kContiguous, Pitch::kPadded, Pitch::kOdd}) {
    for (ScaleLayout layout : {ScaleLayout::kRows, ScaleLayout::kColumns, ScaleLayout::kOddColumns}) {
      for (ScaleFormat format : {kF32, kBytes, kPacked}) {
        if (format == kPacked && layout == ScaleLayout::kRows) continue;  // packed words have rows fastest
        if (list.quick() && pitch == Pitch::kPadded) continue;
        for (Dtype b : {kE4m3, kE2m1}) {
          Case c = sized(b == kE2m1 ? DataKind::kExact : DataKind::kRandom, b == kE2m1 ? 6 : 67, 90, 352);
          c.a = operand(kE4m3, format, 128), c.b = operand(b, format, 32);
          c.a.pitch = c.b.pitch = pitch;
          c.a.layout = c.b.layout = layout;
          list.add(c);
        }
      }
    }
  }
}

void add_hostile(List& list) {
  for (ScaleFormat a : {kF32, kBytes, kPacked}) {
    for (ScaleFormat b : {kF32, kBytes, kPacked}) {
      for (Dtype type : {kE4m3, kE2m1}) {
        if (list.quick() && (a == kBytes || b == kBytes)) continue;
        Case c = sized(DataKind::kHostile, type == kE4m3 ? 5 : 40, 72, 352);
        c.a = operand(type, a, 32), c.b = operand(type, b, 32);
        c.d = Dtype::kF32;
        list.add(c);
      }
    }
  }
}

/// V4-Flash's linear layers at decode sizes; the large ones at one size only.
void add_v4_linears(List& list) {
  struct Linear {
    char const* name;
    std::int64_t n, k;
  };
  constexpr Linear kLinears[] = {{"wkv", 512, 4096},
                                 {"wq_a", 1024, 4096},
                                 {"shared_experts.w1", 2048, 4096},
                                 {"shared_experts.w2", 4096, 2048},
                                 {"indexer.wq_b", 8192, 1024},
                                 {"wo_b", 4096, 8192},
                                 {"wq_b", 32768, 1024}};
  for (Linear const& linear : kLinears) {
    for (std::int64_t m : {1, 4, 8, 16}) {
      bool const large = linear.n * linear.k > (8 << 20);
      bool const medium = linear.n * linear.k > (2 << 20);
      if ((large && m != 4) || (medium && m != 1 && m != 16 && m != 4)) continue;
      if (list.quick() && (large || medium || m != 4)) continue;
      Case c = sized(DataKind::kRandom, m, linear.n, linear.k, linear.name);
      c.a = operand(kE4m3, kPacked, 128),
      c.b = operand(kE4m3, m == 4 ? kBytes : kPacked, 128, m == 4 ? 128 : 1);
      list.add(c);
    }
  }
  constexpr Linear kExperts[] = {{"experts.w1", 2048, 4096}, {"experts.w2", 4096, 2048}};
  for (Linear const& expert : kExperts) {
    for (std::int64_t m : {1, 6, 16}) {
      if (list.quick()) continue;
      Case c = sized(DataKind::kRandom, m, expert.n, expert.k, expert.name);
      c.a = operand(kE4m3, m == 6 ? kF32 : kPacked, 128), c.b = operand(kE2m1, kPacked, 32);
      c.a.powers = true;
      list.add(c);
    }
  }
  // So many rows of weights that tiles are large, with a last one that is not full.
  for (std::int64_t m : {3, 12, 20}) {
    for (DataKind data : {DataKind::kExact, DataKind::kRandom}) {
      if (list.quick()) continue;
      Case c = sized(data, m, 12936, 288, "many weights");
      c.a = operand(kE4m3, data == DataKind::kExact ? kPacked : kF32, 128), c.b = operand(kE2m1, kPacked, 32);
      list.add(c);
      c.b = operand(kE4m3, kPacked, 128);
      list.add(c);
    }
  }
  // Long sums, where truncation adds up, bit for bit and in FP32.
  for (DataKind data : {DataKind::kExact, DataKind::kRandom}) {
    Case c = sized(data, 2, 64, 8192, "long k");
    c.a = operand(kE4m3, kPacked, 128), c.b = operand(kE4m3, kPacked, 128);
    c.d = Dtype::kF32;
    list.add(c);
    c.a.scale = kF32, c.b.scale = kF32;
    list.add(c);
  }
}

/// k so long that slots of scales are used again; splits that begin inside of one.
void add_slots(List& list) {
  for (ScaleLayout layout : {ScaleLayout::kRows, ScaleLayout::kColumns}) {
    Case c = sized(DataKind::kExact, 3, 40, 2560, "splits of ten k tiles");
    c.a = operand(kE4m3, kF32, 128), c.b = operand(kE4m3, kF32, 128, 128);
    c.a.layout = layout;
    c.d = Dtype::kF32;
    list.add(c);
    c.a = operand(kE4m3, kF32, 32), c.b = operand(kE2m1, kPacked, 32);
    c.a.layout = layout;
    list.add(c);
  }
  Case c = sized(DataKind::kExact, 3, 40, 2560, "splits of ten k tiles");
  c.a = operand(kE4m3, kPacked, 128), c.b = operand(kE4m3, kPacked, 128);
  list.add(c);
}

/// Four columns of d and c at once, or one by one: with several rows that depends on both pitches (rows of c are n + 3 apart), with one
/// row on neither; of 45 columns the last is alone.
void add_quads(List& list) {
  for (std::int64_t m : {1, 5}) {
    for (std::int64_t n : {45, 48}) {
      Case c = sized(DataKind::kExact, m, n, 288, "c apart");
      c.a = operand(kE4m3, kPacked, 128), c.b = operand(kE4m3, kPacked, 128);
      c.c = CMode::kOther;
      list.add(c);
    }
  }
}

void add_einsums(List& list) {
  for (std::int64_t h : {8, 4, 2, 1}) {
    for (std::int64_t t : {1, 3, 18}) {
      if (list.quick() && (h == 4 || t == 18)) continue;
      int const variant = static_cast<int>(h + t) % 3;
      Case c = sized(t == 3 ? DataKind::kExact : DataKind::kRandom, t, 136, 512);
      c.op = Op::kEinsum;
      c.batch = h;
      c.a = operand(kE4m3, kPacked, 128), c.b = operand(kE4m3, kPacked, 128);
      c.token_major = t != 1;
      list.add(c);
      c.n = 256;
      c.b = operand(kE4m3, variant == 0 ? kF32 : kBytes, 128, 128);
      c.flat_weights = variant != 1;
      list.add(c);
      c.a = operand(kE4m3, kF32, 128);
      c.b = operand(kE2m1, variant == 2 ? kBytes : kPacked, 32);
      c.flat_weights = false;
      list.add(c);
    }
  }
  if (list.quick()) return;
  for (std::int64_t t : {1, 4}) {
    Case c = sized(DataKind::kRandom, t, 1024, 4096, "wo_a");
    c.op = Op::kEinsum;
    c.batch = t == 1 ? 8 : 2;
    c.a = operand(kE4m3, kPacked, 128),
    c.b = operand(kE4m3, t == 1 ? kPacked : kBytes, 128, t == 1 ? 1 : 128);
    c.token_major = false;
    c.flat_weights = t != 1;
    list.add(c);
  }
}

}  // namespace

char const* name_of(Op op) { return op == Op::kGemm ? "gemm" : "einsum"; }
char const* name_of(DataKind kind) {
  return kind == DataKind::kExact ? "exact" : kind == DataKind::kRandom ? "random" : "hostile";
}

std::string Case::name() const {
  std::string const c_name = c == CMode::kNone ? "" : c == CMode::kSame ? "+same" : "+other";
  std::string out = fmt::format("{} {} {}{}x{}x{} {} x {} -> {}{}{}", name_of(op), name_of(data),
                                op == Op::kEinsum ? fmt::format("{}x", batch) : "", m, n, k, operand_name(a),
                                operand_name(b), name_of(d), pitch_name(d_pitch), c_name);
  if (op == Op::kEinsum)
    out += fmt::format(" {}{}", token_major ? "token-major" : "group-major", flat_weights ? " flat" : "");
  if (default_recipe) out += " default recipe";
  if (!label.empty()) out += " " + label;
  return out;
}

std::string Case::tensors() const {
  std::string const batches = op == Op::kEinsum ? fmt::format("{} x ", batch) : "";
  return fmt::format("{}{}x{}x{} {}.{} {}.{}{}", batches, m, n, k, name_of(a.dtype), name_of(a.scale),
                     name_of(b.dtype), name_of(b.scale), label.empty() ? "" : " " + label);
}

double multiplications(Case const& c) {
  return static_cast<double>(c.m) * static_cast<double>(c.n) * static_cast<double>(c.k) *
         static_cast<double>(c.batch);
}

std::vector<Case> builtin_cases(bool quick) {
  List list(quick);
  add_formats(list);
  add_edges(list);
  add_c_modes(list);
  add_layouts(list);
  add_hostile(list);
  add_v4_linears(list);
  add_slots(list);
  add_quads(list);
  add_einsums(list);
  return std::move(list.cases);
}

}  // namespace deepwell::check
