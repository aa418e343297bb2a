// The error bound of the hyper-connections' product, element by element, in the kernel's order of arithmetic (the head of
// kernels/deepwell/kernel/hc_prenorm.cuh). With x rounded down to a power of two written [x]:
//
// One MMA adds eight products of bf16 and TF32 to an accumulator c (num/tensor_core.cpp). E is the largest exponent among them, a
// product's being the sum of its factors' exponents: 2^E <= max([c], max u(a) u(b)), u(v) the power of two of v's exponent. Each
// addend loses less than 2^(E-25), toward zero. A product has 7 + 10 fraction bits: it loses nothing unless |p| < 2^(E-6). With
// `small` such products
//     step loss  <= (small + 1) 2^(E-25) + [c'] 2^-23 ,
// c' being the new accumulator, which is cut to FP32. Truncations of one sign add up: no square roots here.
//
// Sums of warps and pieces: one addition each, [sum] 2^-24. A square: one FMA, [sum] 2^-24.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.hpp"
#include "check/hc_prenorm.hpp"

namespace deepwell::check {
namespace {

constexpr double kTiny = 0x1p-149;      // FP32's smallest step
constexpr double kSmallest = 0x1p-126;  // the power of two of its smallest exponent
constexpr int kSteps = kHcBlockK / 8;

double floor_power(double x) {
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) & 0x7ff0000000000000u);
}

/// A sum and how far the device's may be from it.
struct Sum {
  double value = 0, loss = 0;
  void truncate() { loss += floor_power(std::fabs(value) + loss) * 0x1p-23 + kTiny; }
  void round() { loss += floor_power(std::fabs(value) + loss) * 0x1p-24 + kTiny; }
  /// One FP32 addition.
  void add(Sum const& other) {
    value += other.value;
    loss += other.loss;
    round();
  }
};

/// A row as numbers, each with the power of two of its exponent.
struct Row {
  std::vector<double> values, powers;
  void push(double value) {
    values.push_back(value);
    powers.push_back(std::max(floor_power(std::fabs(value)), kSmallest));
  }
};

Row row_of_a(HcPrenormData const& data, std::int64_t row) {
  Row out;
  for (std::int64_t k = 0; k < data.what.k; ++k)
    out.push(load_element(Dtype::kBf16, data.a.data() + 2 * (row * data.a_pitch + k)));
  return out;
}

Row row_of_b(HcPrenormData const& data, std::int64_t row) {
  Row out;
  for (std::int64_t k = 0; k < data.what.k; ++k) {
    float value;
    std::memcpy(&value, data.b.data() + 4 * (row * data.b_pitch + k), sizeof value);
    out.push(ref::cut_to_tf32(value));
  }
  return out;
}

/// Calls f(k) for the elements that step `step` of a block multiplies.
template <class F>
void for_each_element(std::int64_t block, int step, std::int64_t k, F&& f) {
  for (int t = 0; t < 4; ++t) {
    for (int e = 0; e < 2; ++e) {
      std::int64_t const at = block * kHcBlockK + hc_element_of(step, t, e);
      if (at < k) f(at);
    }
  }
}

void add_step(Sum& sum, Row const& a, Row const& b, std::int64_t block, int step, std::int64_t k) {
  double largest = floor_power(std::fabs(sum.value) + sum.loss);
  double total = 0;
  for_each_element(block, step, k, [&](std::int64_t at) {
    largest = std::max(largest, a.powers[at] * b.powers[at]);
    total += a.values[at] * b.values[at];
  });
  int small = 0;
  for_each_element(block, step, k, [&](std::int64_t at) {
    double const product = std::fabs(a.values[at] * b.values[at]);
    small += product != 0 && product < largest * 0x1p-6;
  });
  sum.loss += (small + 1) * largest * 0x1p-25;
  sum.value += total;
  sum.truncate();
}

/// What one warp adds up of a range of blocks.
Sum product_of_warp(Row const& a, Row const& b, HcBlocks blocks, int turn, int turns, std::int64_t k) {
  Sum sum;
  for (int i = turn; i < blocks.count; i += turns) {
    for (int step = 0; step < kSteps; ++step) add_step(sum, a, b, blocks.first + i, step, k);
  }
  return sum;
}

Sum squares_of_warp(Row const& a, HcBlocks blocks, int turn, int turns, std::int64_t k) {
  Sum lanes[4];
  for (int i = turn; i < blocks.count; i += turns) {
    for (int step = 0; step < kSteps; ++step) {
      for (int t = 0; t < 4; ++t) {
        for (int e = 0; e < 2; ++e) {
          std::int64_t const at = (blocks.first + i) * std::int64_t{kHcBlockK} + hc_element_of(step, t, e);
          if (at >= k) continue;
          lanes[t].value += a.values[at] * a.values[at];
          lanes[t].round();
        }
      }
    }
  }
  for (int t = 1; t < 4; ++t) lanes[0].add(lanes[t]);
  return lanes[0];
}

/// The sum over warps, then pieces, of what of_warp(blocks, turn) gives.
template <class OfWarp>
Sum whole(HcBlocks of_split, HcPrenormCandidate const& how, OfWarp&& of_warp) {
  Sum total;
  for (int piece = 0; piece < how.pieces; ++piece) {
    HcBlocks const blocks = part_of(of_split, piece, how.pieces);
    Sum of_piece = of_warp(blocks, 0);
    for (int turn = 1; turn < how.plan.warps_k; ++turn) of_piece.add(of_warp(blocks, turn));
    if (piece == 0) {
      total = of_piece;
    } else {
      total.add(of_piece);
    }
  }
  return total;
}

/// The bound, the reference's own roundings included; the sum itself has to be the reference's.
double checked(Sum const& sum, double exact, double magnitude) {
  double const slack = magnitude * 0x1p-36;
  DW_CHECK(!(std::fabs(sum.value - exact) > slack), kInternal,
           "the bound's own sum {} is not the reference's {}", sum.value, exact);
  return sum.loss + slack;
}

}  // namespace

ref::HcPrenormResult hc_prenorm_bounds(HcPrenormData const& data, HcPrenormCandidate const& how,
                                       ThreadPool& pool) {
  HcPrenormCase const& what = data.what;
  ref::HcPrenormResult out;
  out.d.resize(data.exact.d.size());
  out.sqr_sum.resize(data.exact.sqr_sum.size());
  std::vector<Row> columns;
  for (std::int64_t j = 0; j < what.n; ++j) columns.push_back(row_of_b(data, j));
  int const splits = static_cast<int>(what.parts());
  pool.parallel_for(static_cast<std::size_t>(what.m), [&](std::size_t index) {
    auto const i = static_cast<std::int64_t>(index);
    Row const a = row_of_a(data, i);
    double largest_a = 0;
    for (double value : a.values) largest_a = std::max(largest_a, std::fabs(value));
    for (int split = 0; split < splits; ++split) {
      HcBlocks const blocks = part_of({0, hc_blocks(what.k)}, split, splits);
      auto const at_row = static_cast<std::size_t>(split * what.m + i);
      for (std::int64_t j = 0; j < what.n; ++j) {
        Row const& b = columns[static_cast<std::size_t>(j)];
        Sum const sum = whole(blocks, how, [&](HcBlocks of_piece, int turn) {
          return product_of_warp(a, b, of_piece, turn, how.plan.warps_k, what.k);
        });
        double magnitude = 0;
        for (std::int64_t k = 0; k < what.k; ++k) magnitude += std::fabs(a.values[k] * b.values[k]);
        std::size_t const at = at_row * static_cast<std::size_t>(what.n) + static_cast<std::size_t>(j);
        out.d[at] = checked(sum, data.exact.d[at], magnitude);
      }
      Sum const squares = whole(blocks, how, [&](HcBlocks of_piece, int turn) {
        return squares_of_warp(a, of_piece, turn, how.plan.warps_k, what.k);
      });
      out.sqr_sum[at_row] = checked(squares, data.exact.sqr_sum[at_row], squares.value);
    }
  });
  return out;
}

}  // namespace deepwell::check
