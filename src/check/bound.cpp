// The error bound of a scaled product, element by element.
//
// One MMA step adds the products p_i of a step of k to an accumulator c. With x rounded down to a power of two written [x]:
//
// Block-scaled and unscaled units (spec of the arithmetic: num/tensor_core.cpp). E is the largest of the addends' exponents,
// where a product's exponent is the sum of its factors' exponents, so 2^E <= max([c], max_i u(a_i) u(b_i)) with u(v) the power
// of two of v's exponent (of the format's smallest one for subnormal numbers). Every addend loses less than 2^(E-25). A product
// whose factors have f fraction bits together is a multiple of 2^(e-f) where e is its exponent, and |p| < 4 * 2^e: it loses
// nothing unless |p| < 2^(E-23+f). So with `small` such products
//     step loss  <= (small + 1) 2^(E-25) + [c'] 2^-23
// where c' is the new accumulator, whose conversion to FP32 truncates. Truncation is toward zero, so losses of one sign add up
// over k: no square roots here.
//
// Packed FP4 unit: groups of 16 products are exact; four groups and c are cut at 35 bits below the largest exponent, a group's
// being that of its scales: step loss <= 5 * 2^(E-35) + [c'] 2^-23.
//
// Hopper: two steps as above over half the products each, on zero and on top of it, so that the accumulator inside a step is at
// most s = sum |p_i|; then an FP32 addition, rounded to nearest:
//     step loss <= (small + 2) 2^(E-25) + 2 [s] 2^-23 + [c'] 2^-24 .
//
// What an accumulator is: the exact sum of what this split of k has added up so far, and the loss so far on top of it. Where
// FP32 scales are applied outside, the MMA adds up one scale group at a time from zero; where such scales turn out to be powers
// of two, block-scaled targets put them inside after all: there the bound takes the larger of the two accumulators.
//
// Where factors stand outside, the MMA sees less than the scaled numbers: block-scaled units apply the exponents of FP32 scales
// and leave a factor f of 1 to 4 (a's fraction times b's), Hopper applies nothing. Powers of two change no rounding, so [x]
// above is then f [x / f] for an x in the unit of d, with f the fraction of the product of the scales.
//
// Factors outside: partial * factor_a rounded to nearest, then an FMA with factor_b onto the accumulator, rounded to nearest:
//     group loss <= 2^-24 f [partial a b / f] + 2^-149 + 2^-24 [c'] ,
// f being factor_b's fraction; the middle term where the first product is an FP32 subnormal: two FP32 scales on Hopper stand
// outside as they are, which makes it 2^-150 b. Splits: one addition each, in rising order. c: one addition. d in bf16: half a
// unit of 8 bits.
#include "check/bound.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/error.hpp"
#include "num/formats.hpp"

namespace deepwell::check {
namespace {

constexpr std::int64_t kLanes = 8;
constexpr int kStep = 32;
constexpr double kTiny = 0x1p-149;  // FP32's smallest step

/// x >= 0 rounded down to a power of two; 0 stays 0.
double floor_power(double x) {
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) & 0x7ff0000000000000u);
}

struct FormatFacts {
  int fraction_bits;
  double smallest;  // power of two of the smallest exponent
};
FormatFacts facts(Dtype dtype) {
  return dtype == Dtype::kE2m1 ? FormatFacts{1, 1.0} : FormatFacts{3, 0x1p-6};
}

/// x >= 0 over its power of two; 1 for 0.
double fraction(double x) { return x == 0 ? 1.0 : x / floor_power(x); }

/// x >= 0 rounded down to a power of two times f.
double floor_power(double x, double f) { return f * floor_power(x / f); }

/// Per step of 32: the scale, and the largest power of two of an element's exponent.
struct RowFacts {
  std::vector<double> values, scales, powers;  // [k], [steps], [steps]
};

RowFacts facts_of(ref::Operand const& operand, std::int64_t batch, std::int64_t row) {
  RowFacts out;
  std::int64_t const steps = (operand.k + kStep - 1) / kStep;
  double const smallest = facts(operand.dtype).smallest;
  out.values.resize(static_cast<std::size_t>(operand.k));
  out.scales.resize(static_cast<std::size_t>(steps));
  out.powers.resize(static_cast<std::size_t>(steps));
  ref::decode_row(operand, batch, row, out.values.data());
  for (std::int64_t step = 0; step < steps; ++step) {
    out.scales[step] = ref::scale_at(operand.scales, batch, row, step * kStep);
    double largest = 0;
    for (std::int64_t k = step * kStep; k < std::min(operand.k, (step + 1) * kStep); ++k)
      largest = std::max(largest, std::fabs(out.values[k]));
    out.powers[step] = std::max(floor_power(largest), smallest);
  }
  return out;
}

/// The running state of one element of d. All sums are exact, in the unit of d.
struct Lane {
  double total = 0;  // over the splits that have ended
  double sum = 0;    // of this split
  double group = 0;  // of this group of outside scales
  double loss = 0;
  double magnitude = 0;
};

struct Rules {
  Arithmetic arithmetic;
  bool outside;
  bool whole_outside;   // FP32 scales of both operands, none of which an MMA applies any part of
  std::int64_t group;   // elements of k that share outside scales
  double exact_factor;  // 2^(f - 23): below this times 2^E a product may lose bits

  /// The largest accumulator of an MMA that can stand here.
  double accumulator(Lane const& lane) const {
    double const group = std::fabs(lane.group), sum = std::fabs(lane.sum);
    if (!outside) return sum + lane.loss;
    return (arithmetic.unit == Arithmetic::Unit::kHopper ? group : std::max(group, sum)) + lane.loss;
  }
};

/// Adds one step of up to 32 products to eight lanes.
void add_step(Rules const& rules, double const* x, double const* y, int count, double x_scale, double x_power,
              double const* y_scale, double const* y_power, Lane* lanes) {
  double products[kStep][kLanes];
  double sum[kLanes] = {}, magnitude[kLanes] = {};
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < kLanes; ++j) {
      double const product = x[i] * y[i * kLanes + j];
      products[i][j] = product;
      sum[j] += product;
      magnitude[j] += std::fabs(product);
    }
  }
  double scale[kLanes], f[kLanes], largest[kLanes], small_below[kLanes], small[kLanes] = {};
  bool const hopper = rules.arithmetic.unit == Arithmetic::Unit::kHopper;
  for (int j = 0; j < kLanes; ++j) {
    scale[j] = std::fabs(x_scale * y_scale[j]);
    f[j] = fraction(scale[j]);
    double const start = hopper ? magnitude[j] * scale[j] : rules.accumulator(lanes[j]);
    double const product_power =
        rules.arithmetic.unit == Arithmetic::Unit::kPackedFp4 ? scale[j] : x_power * y_power[j] * scale[j];
    largest[j] = floor_power(std::max(start, product_power), f[j]);
    small_below[j] = scale[j] > 0 ? largest[j] * rules.exact_factor / scale[j] : 0.0;
  }
  if (rules.arithmetic.unit != Arithmetic::Unit::kPackedFp4) {
    for (int i = 0; i < count; ++i) {
      for (int j = 0; j < kLanes; ++j) {
        double const size = std::fabs(products[i][j]);
        small[j] += static_cast<double>((size < small_below[j]) & (size > 0.0));
      }
    }
  }
  for (int j = 0; j < kLanes; ++j) {
    Lane& lane = lanes[j];
    double const part = sum[j] * x_scale * y_scale[j], part_magnitude = magnitude[j] * scale[j];
    lane.sum += part;
    lane.group += part;
    lane.magnitude += part_magnitude;
    double const after = floor_power(rules.accumulator(lane), f[j]);
    double const tiny = kTiny * f[j];
    switch (rules.arithmetic.unit) {
      case Arithmetic::Unit::kBlockScaled:
        lane.loss += (small[j] + 1) * largest[j] * 0x1p-25 + after * 0x1p-23 + tiny;
        break;
      case Arithmetic::Unit::kPackedFp4:
        // Charged per half of the 64-element step: two such charges cover one step's.
        lane.loss += 2.5 * largest[j] * 0x1p-35 + after * 0x1p-23 + tiny;
        break;
      case Arithmetic::Unit::kHopper:
        lane.loss += (small[j] + 2) * largest[j] * 0x1p-25 + floor_power(part_magnitude, f[j]) * 0x1p-22 +
                     after * 0x1p-24 + tiny;
        break;
    }
  }
}

void end_group(Rules const& rules, double const* y_scale, Lane* lanes) {
  for (int j = 0; j < kLanes; ++j) {
    Lane& lane = lanes[j];
    double const b = std::fabs(y_scale[j]);
    lane.loss += floor_power(std::fabs(lane.group) + lane.loss, fraction(b)) * 0x1p-24 +
                 (rules.whole_outside ? std::max(b * 0x1p-150, kTiny) : kTiny) +
                 floor_power(std::fabs(lane.sum) + lane.loss) * 0x1p-24;
    lane.group = 0;
  }
}

void end_split(Lane* lanes) {
  for (int j = 0; j < kLanes; ++j) {
    Lane& lane = lanes[j];
    bool const first = lane.total == 0;  // nothing to add to, or nothing that rounds
    lane.total += lane.sum;
    lane.sum = lane.group = 0;
    if (!first) lane.loss += floor_power(std::fabs(lane.total) + lane.loss) * 0x1p-24;
  }
}

/// The steps of k in the order in which a kernel adds them, and where one chain of sums ends.
struct Turn {
  std::int64_t step;
  bool ends;
};

std::vector<Turn> turns(std::int64_t k, Arithmetic const& arithmetic) {
  constexpr std::int64_t kTile = 128 / kStep;
  std::int64_t const steps = (k + kStep - 1) / kStep;
  std::int64_t const split =
      arithmetic.split_k > 0 ? arithmetic.split_k / kStep : std::max<std::int64_t>(steps, 1);
  std::vector<Turn> out;
  for (std::int64_t first = 0; first < steps; first += split) {
    std::int64_t const end = std::min(steps, first + split);
    for (int chain = 0; chain < arithmetic.chains; ++chain) {
      for (std::int64_t s = first; s < end; ++s) {
        if ((s - first) / kTile % arithmetic.chains == chain) out.push_back({s, false});
      }
      if (!out.empty()) out.back().ends = true;
    }
  }
  return out;
}

double final_loss(Lane const& lane, double exact, bool has_c, Dtype d_type) {
  double loss = lane.loss + lane.magnitude * 0x1p-46;  // the reference's own roundings
  if (has_c) loss += floor_power(std::fabs(exact) + loss) * 0x1p-24;
  if (d_type == Dtype::kBf16) loss += std::max(floor_power(std::fabs(exact) + loss) * 0x1p-8, 0x1p-134);
  return loss;
}

}  // namespace

Arithmetic arithmetic_of(Arch const& arch, Dtype a, ref::ScaleFormat a_scale, Dtype b,
                         ref::ScaleFormat b_scale, std::int64_t split_k, int chains) {
  bool const a_f32 = a_scale == ref::ScaleFormat::kF32, b_f32 = b_scale == ref::ScaleFormat::kF32;
  Arithmetic out;
  out.split_k = split_k;
  out.chains = chains;
  if (!arch.block_scaled_mma) {
    // Power-of-two factors outside are exact; FP32 ones are not.
    out.unit = Arithmetic::Unit::kHopper;
    out.a_outside = out.b_outside = true;
    return out;
  }
  out.a_outside = a_f32;
  out.b_outside = b_f32;
  bool const packed = a == Dtype::kE2m1 && b == Dtype::kE2m1 && !a_f32 && !b_f32;
  if (packed) out.unit = Arithmetic::Unit::kPackedFp4;
  return out;
}

std::vector<double> bounds(ref::Operand const& a, ref::Operand const& b, std::int64_t batch, double const* c,
                           std::vector<double> const& exact, Dtype d_type, Arithmetic const& arithmetic,
                           ThreadPool& pool) {
  std::int64_t const m = a.rows, n = b.rows, k = a.k;
  DW_CHECK(arithmetic.split_k >= 0 && arithmetic.split_k % kStep == 0, kInternal, "splits of {} elements",
           arithmetic.split_k);
  DW_CHECK(static_cast<std::int64_t>(exact.size()) == batch * m * n, kInternal,
           "{} exact values for [{}, {}, {}]", exact.size(), batch, m, n);
  Rules const rules{
      .arithmetic = arithmetic,
      .outside = arithmetic.a_outside || arithmetic.b_outside,
      .whole_outside = arithmetic.unit == Arithmetic::Unit::kHopper &&
                       a.scales.format == ref::ScaleFormat::kF32 && b.scales.format == ref::ScaleFormat::kF32,
      .group = std::gcd<std::int64_t>(a.scales.gran_k, b.scales.gran_k),
      .exact_factor = std::ldexp(1.0, facts(a.dtype).fraction_bits + facts(b.dtype).fraction_bits - 23)};
  std::vector<double> out(static_cast<std::size_t>(batch * m * n));
  std::int64_t const steps = (k + kStep - 1) / kStep, strips = (n + kLanes - 1) / kLanes;
  std::vector<Turn> const order = turns(k, arithmetic);
  for (std::int64_t z = 0; z < batch; ++z) {
    std::vector<RowFacts> rows;
    for (std::int64_t i = 0; i < m; ++i) rows.push_back(facts_of(a, z, i));
    pool.parallel_for(static_cast<std::size_t>(strips), [&](std::size_t strip) {
      std::int64_t const first = static_cast<std::int64_t>(strip) * kLanes,
                         used = std::min(kLanes, n - first);
      std::vector<double> values(static_cast<std::size_t>(k * kLanes));
      std::vector<double> scales(static_cast<std::size_t>(steps * kLanes)), powers(scales.size());
      for (std::int64_t j = 0; j < used; ++j) {
        RowFacts const column = facts_of(b, z, first + j);
        for (std::int64_t i = 0; i < k; ++i) values[i * kLanes + j] = column.values[i];
        for (std::int64_t s = 0; s < steps; ++s) {
          scales[s * kLanes + j] = column.scales[s];
          powers[s * kLanes + j] = column.powers[s];
        }
      }
      for (std::int64_t i = 0; i < m; ++i) {
        Lane lanes[kLanes];
        for (auto const& [s, ends] : order) {
          int const count = static_cast<int>(std::min<std::int64_t>(kStep, k - s * kStep));
          add_step(rules, rows[i].values.data() + s * kStep, values.data() + s * kStep * kLanes, count,
                   rows[i].scales[s], rows[i].powers[s], scales.data() + s * kLanes,
                   powers.data() + s * kLanes, lanes);
          bool const last_of_group = s + 1 == steps || (s + 1) * kStep % rules.group == 0;
          if (rules.outside && last_of_group) end_group(rules, scales.data() + s * kLanes, lanes);
          if (ends) end_split(lanes);
        }
        std::int64_t const at = (z * m + i) * n + first;
        for (std::int64_t j = 0; j < used; ++j) {
          double const sum = lanes[j].total + (c != nullptr ? c[at + j] : 0.0);
          DW_CHECK(!(std::fabs(sum - exact[at + j]) > lanes[j].magnitude * 0x1p-40), kInternal,
                   "the bound's own sum {} is not the reference's {}", sum, exact[at + j]);
          out[at + j] = final_loss(lanes[j], exact[at + j], c != nullptr, d_type);
        }
      }
    });
  }
  return out;
}

}  // namespace deepwell::check
