// Checks of scale layouts.
#include "check/layout.hpp"

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "check/work.hpp"
#include "checkpoint/quantise.hpp"
#include "num/formats.hpp"
#include "ops/layout/layout.hpp"

namespace deepwell::check {
namespace {

constexpr std::byte kPattern{0x5a};

/// Input scales in the order [group, row, column], as exponent bytes; FP32 zeros are marked by `zero`.
struct Scales {
  std::int64_t groups, rows, columns;
  std::vector<std::uint8_t> bytes;
  std::vector<bool> zero;
  std::size_t at(std::int64_t g, std::int64_t row, std::int64_t column) const {
    return static_cast<std::size_t>((g * rows + row) * columns + column);
  }
  std::uint32_t f32_bits(std::size_t i) const {
    return zero[i] ? 0u : std::bit_cast<std::uint32_t>(num::ue8m0_to_float(bytes[i]));
  }
};

Scales make_scales(LayoutCase const& what, std::uint64_t seed) {
  Scales out{std::max<std::int64_t>(what.groups, 1),
             ceil_div(what.mn, what.gran_mn),
             ceil_div(what.k, what.gran_k),
             {},
             {}};
  Random random(seed_of(what.name(), seed));
  for (std::int64_t i = 0; i < out.groups * out.rows * out.columns; ++i) {
    out.bytes.push_back(static_cast<std::uint8_t>(1 + random.below(254)));
    out.zero.push_back(what.from == Dtype::kF32 && random.below(16) == 0);
  }
  return out;
}

/// The word (or FP32 bits) of one row and output column.
std::uint32_t expected_word(LayoutCase const& what, Scales const& scales, bool packed, std::int64_t g,
                            std::int64_t row, std::int64_t column) {
  std::int64_t const from = row / what.gran_mn;
  if (!packed) return scales.f32_bits(scales.at(g, from, column));
  std::uint32_t word = 0;
  for (std::int64_t j = 0; j < 4 && 4 * column + j < scales.columns; ++j) {
    std::size_t const i = scales.at(g, from, 4 * column + j);
    if (!scales.zero[i]) word |= std::uint32_t{scales.bytes[i]} << (8 * j);
  }
  return word;
}

TensorView input_view(LayoutCase const& what, Scales const& scales, DeviceAddress address) {
  bool const has_groups = what.groups > 0;
  TensorView view = has_groups
                        ? contiguous_view(address, what.from, {scales.groups, scales.rows, scales.columns})
                        : contiguous_view(address, what.from, {scales.rows, scales.columns});
  if (what.rows_fastest) {
    view.strides[view.rank - 2] = 1;
    view.strides[view.rank - 1] = scales.rows;
  }
  return view;
}

std::vector<std::byte> input_bytes(LayoutCase const& what, Scales const& scales) {
  std::size_t const size = what.from == Dtype::kF32 ? 4 : 1;
  std::vector<std::byte> out(scales.bytes.size() * size);
  for (std::int64_t g = 0; g < scales.groups; ++g) {
    for (std::int64_t row = 0; row < scales.rows; ++row) {
      for (std::int64_t column = 0; column < scales.columns; ++column) {
        std::size_t const i = scales.at(g, row, column);
        std::size_t const to =
            what.rows_fastest ? scales.at(g, 0, 0) + static_cast<std::size_t>(column * scales.rows + row) : i;
        std::uint32_t const value = size == 4 ? scales.f32_bits(i) : scales.bytes[i];
        std::memcpy(out.data() + to * size, &value, size);
      }
    }
  }
  return out;
}

/// Empty when all is right.
std::string compare(LayoutCase const& what, Scales const& scales, ScaleLayoutResult const& layout,
                    std::vector<std::byte> const& after) {
  bool const packed = layout.view.dtype == Dtype::kI32;
  int const rank = layout.view.rank;
  for (std::size_t i = 0; i < static_cast<std::size_t>(kGuardBytes); ++i) {
    if (after[i] != kPattern || after[after.size() - 1 - i] != kPattern) return "a guard band was written";
  }
  for (std::int64_t g = 0; g < scales.groups; ++g) {
    for (std::int64_t row = 0; row < layout.view.shape[rank - 2]; ++row) {
      for (std::int64_t column = 0; column < layout.view.shape[rank - 1]; ++column) {
        std::int64_t const element = (rank == 3 ? g * layout.view.strides[0] : 0) +
                                     row * layout.view.strides[rank - 2] +
                                     column * layout.view.strides[rank - 1];
        std::uint32_t got;
        std::memcpy(&got, after.data() + kGuardBytes + 4 * element, 4);
        std::uint32_t const expected = expected_word(what, scales, packed, g, row, column);
        if (got != expected)
          return fmt::format("at [{}, {}, {}] got {:#010x}, expected {:#010x}", g, row, column, got,
                             expected);
      }
    }
  }
  return {};
}

Outcome run_once(Context& context, LayoutCase const& what, std::uint64_t seed) {
  Outcome out;
  Backend& backend = context.backend();
  DeviceAddress from = 0, to = 0;
  try {
    Scales const scales = make_scales(what, seed);
    ScaleLayoutCall call;
    call.mn = what.mn, call.k = what.k;
    call.gran_mn = what.gran_mn, call.gran_k = what.gran_k;
    if (what.groups > 0) call.num_groups = what.groups;
    std::vector<std::byte> const bytes = input_bytes(what, scales);
    from = backend.allocate(bytes.size());
    backend.copy_to_device(from, bytes, nullptr);
    call.scale = input_view(what, scales, from);
    ScaleLayoutResult layout = required_scale_layout(call, context.arch());
    if (layout.unchanged) {
      // Only FP32 scales of blocks stay where they are, on targets whose MMA takes no scales.
      bool const wanted = what.from == Dtype::kF32 && what.gran_mn > 1 && !context.arch().block_scaled_mma;
      out.kernel = "none: used as they are";
      out.status = wanted ? Status::kPass : Status::kFail;
      if (!wanted) out.reason = "these scales have to be transformed, but were said to be usable as they are";
    } else {
      std::vector<std::byte> after(layout.bytes + 2 * kGuardBytes, kPattern);
      to = backend.allocate(after.size());
      backend.copy_to_device(to, after, nullptr);
      layout.view.data = to + kGuardBytes;
      transform_scale(context, call, layout.view, nullptr);
      backend.copy_to_host(after, to, nullptr);
      out.bits = hash_hex(after);
      auto const start = std::chrono::steady_clock::now();
      transform_scale(context, call, layout.view, nullptr);  // now that its kernel is built
      backend.synchronize(nullptr);
      out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      out.kernel = "scale_layout";
      out.reason = compare(what, scales, layout, after);
      out.status = out.reason.empty() ? Status::kPass : Status::kFail;
    }
  } catch (std::exception const& error) {
    out.status = Status::kError;
    out.reason = error.what();
  }
  if (from != 0) backend.release(from);
  if (to != 0) backend.release(to);
  return out;
}

}  // namespace

std::string LayoutCase::name() const {
  return fmt::format("layout {} mn {} k {} per {}x{} groups {}{}", name_of(from), mn, k, gran_mn, gran_k,
                     groups, rows_fastest ? " rows fastest" : "");
}

std::vector<LayoutCase> layout_cases() {
  std::vector<LayoutCase> out;
  for (Dtype from : {Dtype::kF32, Dtype::kUe8m0}) {
    for (std::int64_t groups : {0, 1, 3}) {
      for (int gran_k : {128, 32}) {
        for (bool rows_fastest : {false, true}) {
          out.push_back({from, 131, 416, 1, gran_k, groups, rows_fastest});
          out.push_back({from, 260, 544, 128, gran_k, groups, rows_fastest});
        }
      }
    }
    out.push_back({from, 1, 4096, 1, 128, 0, false});
    out.push_back({from, 4097, 1024, 1, 128, 0, false});
  }
  return out;
}

Outcome run_layout_case(Context& context, LayoutCase const& what, std::uint64_t seed,
                        Schedules const& schedules) {
  try {
    return under_schedules(context, schedules, [&] { return run_once(context, what, seed); });
  } catch (Error const& error) {
    Outcome out;
    out.reason = error.what();
    return out;
  }
}

std::vector<OpCase> layout_op_cases(bool quick) {
  std::vector<OpCase> out;
  for (LayoutCase const& what : layout_cases()) {
    if (quick && out.size() == 4) break;
    OpCase c;
    c.op = "layout";
    c.name = what.name();
    c.tensors = c.name.substr(7);
    c.data = "powers";
    c.bitwise = true;
    c.run = [what](Context& context, std::uint64_t seed, Schedules const& schedules) {
      return run_layout_case(context, what, seed, schedules);
    };
    c.floor_sectors = least_sectors(what);
    out.push_back(std::move(c));
  }
  return out;
}

}  // namespace deepwell::check
