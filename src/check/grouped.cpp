// Data, definition and verdict of grouped products.
#include "check/grouped.hpp"

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "check/device.hpp"
#include "checkpoint/quantise.hpp"
#include "ops/gemm/grouped.hpp"

namespace deepwell::check {
namespace {

using ref::ScaleFormat;

/// Everything on the host.
struct Data {
  OperandData a, b;
  std::int64_t batch = 1, rows = 0;  // of a
  Buffer layout, d;
  std::int64_t d_pitch = 0;
  std::vector<std::int64_t> owners;   // [batch * rows]
  std::vector<double> exact, bounds;  // [batch * rows, n]; of rows that have an owner
};

bool is_masked(GroupedCase const& what) { return what.grouping == Grouping::kMasked; }

Case operand_case(GroupedCase const& what, std::int64_t batch, std::int64_t m, std::int64_t n) {
  Case c;
  c.data = what.data;
  c.batch = batch, c.m = m, c.n = n, c.k = what.k;
  c.a = what.a, c.b = what.b;
  return c;
}

/// Rows first .. first + count - 1 of one matrix of an operand, whose scales are per row where it is not all of them.
ref::Operand part(OperandData const& operand, std::int64_t batch, std::int64_t first, std::int64_t count) {
  ref::Operand out = operand.view();
  int const scale_bytes = operand.how.scale == ScaleFormat::kUe8m0 ? 1 : 4;
  out.data += batch * out.batch_stride + first * out.pitch;
  out.scales.data += (batch * out.scales.batch_stride + first * out.scales.row_stride) * scale_bytes;
  out.rows = count;
  return out;
}

std::optional<GemmCandidate> chosen_for(GroupedCase const& what, Arch const& arch) {
  GemmShape const shape{.m = what.m,
                        .n = what.n,
                        .k = what.k,
                        .batch = is_masked(what) ? what.groups : 1,
                        .a = what.a.dtype,
                        .b = what.b.dtype,
                        .a_scale = what.a.scale == ScaleFormat::kF32 ? ScaleKind::kF32 : ScaleKind::kUe8m0,
                        .b_scale = what.b.scale == ScaleFormat::kF32 ? ScaleKind::kF32 : ScaleKind::kUe8m0,
                        .a_gran_k = what.a.gran_k,
                        .b_gran_k = what.b.gran_k,
                        .grouping = what.grouping,
                        .groups = what.groups,
                        .group_rows = what.alignment > 0 ? what.alignment : what.m};
  GemmDecision decision = choose_gemm(shape, arch);
  if (decision.ranked.empty()) return std::nullopt;
  return std::move(decision.ranked.front());
}

Arithmetic arithmetic_on(Arch const& arch, GroupedCase const& what) {
  std::optional<GemmCandidate> const chosen = chosen_for(what, arch);
  return arithmetic_of(arch, what.a.dtype, what.a.scale, what.b.dtype, what.b.scale, 0,
                       chosen ? chosen->plan.warps_k : 1);
}

/// Products and bounds, run by run of rows with one owner.
void add_answers(Data& data, GroupedCase const& what, Arch const& arch) {
  ThreadPool pool(1);
  std::size_t const n = static_cast<std::size_t>(what.n);
  data.exact.resize(data.owners.size() * n);
  data.bounds.resize(data.exact.size());
  for (std::int64_t z = 0; z < data.batch; ++z) {
    for (std::int64_t first = 0; first < data.rows;) {
      std::size_t const at = static_cast<std::size_t>(z * data.rows + first);
      std::int64_t end = first + 1;
      while (end < data.rows && data.owners[static_cast<std::size_t>(z * data.rows + end)] == data.owners[at])
        ++end;
      if (data.owners[at] >= 0) {
        ref::Operand const a = part(data.a, z, first, end - first),
                           b = part(data.b, data.owners[at], 0, what.n);
        std::vector<double> const exact = ref::gemm(a, b, 1, nullptr, pool).d;
        std::vector<double> const limits =
            bounds(a, b, 1, nullptr, exact, Dtype::kBf16, arithmetic_on(arch, what), pool);
        std::copy(exact.begin(), exact.end(), data.exact.begin() + static_cast<std::ptrdiff_t>(at * n));
        std::copy(limits.begin(), limits.end(), data.bounds.begin() + static_cast<std::ptrdiff_t>(at * n));
      }
      first = end;
    }
  }
}

Buffer filled(std::int64_t bytes, std::uint16_t pattern) {
  Buffer out;
  out.start = kGuardBytes;
  out.bytes.resize(static_cast<std::size_t>(bytes + 2 * kGuardBytes));
  for (std::size_t i = 0; i + 1 < out.bytes.size(); i += 2) std::memcpy(out.bytes.data() + i, &pattern, 2);
  return out;
}

Data make(GroupedCase const& what, std::uint64_t seed, Arch const& arch) {
  ThreadPool pool(1);
  Data data;
  data.batch = is_masked(what) ? what.groups : 1;
  data.rows = what.m;
  data.a = make_data(operand_case(what, data.batch, what.m, 1), seed, pool).a;
  data.b = make_data(operand_case(what, what.groups, 1, what.n), seed, pool).b;
  std::vector<std::int32_t> const layout = layout_of(what, seed);
  data.owners = owners_of(what, layout);
  data.layout = filled(static_cast<std::int64_t>(layout.size() * 4), 0x7fff);
  std::memcpy(data.layout.data(), layout.data(), layout.size() * 4);
  data.d_pitch =
      what.d_pitch == Pitch::kContiguous ? what.n : what.n + (what.d_pitch == Pitch::kPadded ? 24 : 1);
  data.d = filled(data.batch * data.rows * data.d_pitch * 2,
                  static_cast<std::uint16_t>(poison_bits(Dtype::kBf16)));
  add_answers(data, what, arch);
  return data;
}

TensorView operand_view(OperandData const& o, DeviceAddress at, bool batched, std::int64_t batch) {
  Dtype const dtype = stored_dtype(o.how.dtype);
  if (!batched) return strided_view(at, dtype, {o.rows, row_bytes(o)}, {o.pitch, 1});
  return strided_view(at, dtype, {batch, o.rows, row_bytes(o)}, {o.batch_stride, o.pitch, 1});
}

TensorView scale_view(OperandData const& o, DeviceAddress at, bool batched, std::int64_t batch) {
  Dtype const dtype = scale_dtype(o.how.scale);
  if (!batched)
    return strided_view(at, dtype, {o.scale_rows, o.scale_cols}, {o.scale_row_stride, o.scale_k_stride});
  return strided_view(at, dtype, {batch, o.scale_rows, o.scale_cols},
                      {o.scale_batch_stride, o.scale_row_stride, o.scale_k_stride});
}

/// d's memory after one call.
RunResult call_once(Context& context, GroupedCase const& what, Data const& data) {
  Backend& backend = context.backend();
  DeviceBuffer const a(backend, data.a.data), scale_a(backend, data.a.scale), b(backend, data.b.data),
      scale_b(backend, data.b.scale), layout(backend, data.layout), d(backend, data.d);
  bool const masked = is_masked(what);
  GroupedGemmCall call;
  call.grouping = what.grouping;
  call.a = operand_view(data.a, a.tensor(), masked, data.batch);
  call.scale_a = scale_view(data.a, scale_a.tensor(), masked, data.batch);
  call.b = operand_view(data.b, b.tensor(), true, what.groups);
  call.scale_b = scale_view(data.b, scale_b.tensor(), true, what.groups);
  call.layout = contiguous_view(layout.tensor(), Dtype::kI32, {masked ? what.groups : what.m});
  call.d = masked ? strided_view(d.tensor(), Dtype::kBf16, {what.groups, what.m, what.n},
                                 {what.m * data.d_pitch, data.d_pitch, 1})
                  : strided_view(d.tensor(), Dtype::kBf16, {what.m, what.n}, {data.d_pitch, 1});
  call.recipe.recipe_a = {what.a.gran_mn, what.a.gran_k};
  call.recipe.recipe_b = {what.b.gran_mn, what.b.gran_k};
  call.alignment = call.expected_rows = what.alignment;
  auto const start = std::chrono::steady_clock::now();
  grouped_fp8_fp4_gemm_nt(context, call);
  backend.synchronize(nullptr);
  RunResult out;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.after = d.read();
  check_unchanged(a, data.a.data, "a");
  check_unchanged(b, data.b.data, "b");
  check_unchanged(layout, data.layout, "layout");
  return out;
}

std::byte* element(Data const& data, std::vector<std::byte>& after, std::size_t row, std::int64_t column) {
  return after.data() + data.d.start + (static_cast<std::int64_t>(row) * data.d_pitch + column) * 2;
}

/// Rows with an owner hold its product, all other bytes are as before.
Verdict judge_grouped(GroupedCase const& what, Data const& data, std::vector<std::byte> after) {
  Verdict out{.pass = true, .error = 0, .bound = 0, .reason = {}};
  bool const bitwise = what.data == DataKind::kExact;
  double worst = -1;
  for (std::size_t row = 0; row < data.owners.size(); ++row) {
    if (data.owners[row] < 0) continue;
    for (std::int64_t j = 0; j < what.n; ++j) {
      std::size_t const at = row * static_cast<std::size_t>(what.n) + static_cast<std::size_t>(j);
      std::byte* const place = element(data, after, row, j);
      std::byte wanted[2];
      store_element(Dtype::kBf16, wanted, data.exact[at]);
      double const expected = bitwise ? load_element(Dtype::kBf16, wanted) : data.exact[at];
      double const limit = bitwise ? 0 : data.bounds[at];
      double const error = std::fabs(load_element(Dtype::kBf16, place) - expected);
      if (!(error <= limit) && out.pass) {
        out.pass = false;
        out.reason = fmt::format("row {} (group {}), column {}: got {:.9g}, exact {:.9g}", row,
                                 data.owners[row], j, load_element(Dtype::kBf16, place), data.exact[at]);
      }
      double const ratio = limit > 0 ? error / limit : 0;
      if (ratio > worst) worst = ratio, out.error = error, out.bound = limit;
      std::memcpy(place, data.d.bytes.data() + (place - after.data()), 2);  // for the comparison below
    }
  }
  for (std::size_t i = 0; i < after.size() && out.pass; ++i) {
    if (after[i] == data.d.bytes[i]) continue;
    std::int64_t const at = (static_cast<std::int64_t>(i) - data.d.start) / 2;
    out.pass = false;
    out.reason = fmt::format("element {} of row {}, which is to be left alone, was written",
                             at % data.d_pitch, at / data.d_pitch);
  }
  return out;
}

std::string short_name(GroupedCase const& what, Arch const& arch) {
  std::optional<GemmCandidate> const chosen = chosen_for(what, arch);
  if (!chosen) return "none";
  GemmPlan const& p = chosen->plan;
  return fmt::format("{} {}x{}{} s{}", chosen->kernel, p.tile_rows, p.tile_cols, p.swap ? " swap" : "",
                     p.stages);
}

/// What broken kernels would leave, made on the host or by the device from other inputs.
std::vector<MutationOutcome> mutate(Context& context, GroupedCase const& what, std::uint64_t seed) {
  Data const data = make(what, seed, context.arch());
  std::vector<MutationOutcome> out;
  auto const add = [&](std::string mutation, std::vector<std::byte> after) {
    Verdict const verdict = judge_grouped(what, data, std::move(after));
    out.push_back({what.name(), "grouped", std::move(mutation), !verdict.pass, verdict.reason});
  };
  std::vector<std::byte> const right = call_once(context, what, data).after;
  add("none", right);
  std::size_t const rows = data.owners.size();
  auto const edited = [&](auto&& edit) {
    std::vector<std::byte> after = right;
    for (std::size_t row = 0; row < rows; ++row) {
      if (data.owners[row] >= 0) edit(after, row);
    }
    return after;
  };
  std::size_t const row_size = static_cast<std::size_t>(what.n) * 2;
  add("zero",
      edited([&](auto& after, std::size_t row) { std::memset(element(data, after, row, 0), 0, row_size); }));
  add("not written", data.d.bytes);
  add("half written", edited([&](auto& after, std::size_t row) {
        if (row >= rows / 2)
          std::memcpy(element(data, after, row, 0),
                      data.d.bytes.data() + (element(data, after, row, 0) - after.data()), row_size);
      }));
  add("rows reversed", edited([&](auto& after, std::size_t row) {
        std::vector<std::byte> from = right;
        std::memcpy(element(data, after, row, 0), element(data, from, rows - 1 - row, 0), row_size);
      }));
  Data other = data;
  other.b =
      make_data(operand_case(what, what.groups, 1, what.n), seed + 1, *std::make_unique<ThreadPool>(1)).b;
  add("other matrices", call_once(context, what, other).after);
  other = data;
  for (std::int64_t z = 0; z < what.groups; ++z) {  // each matrix in the next one's place
    std::memcpy(other.b.data.data() + z * other.b.batch_stride,
                data.b.data.data() + (z + 1) % what.groups * data.b.batch_stride,
                static_cast<std::size_t>(data.b.batch_stride));
  }
  add("the next group's matrix", call_once(context, what, other).after);
  for (std::size_t row = 0; row < rows; ++row) {
    if (data.owners[row] >= 0) continue;
    std::vector<std::byte> after = right;
    std::memset(element(data, after, row, what.n - 1), 0, 2);
    add("a row of nobody written", std::move(after));
    break;
  }
  return out;
}

OperandCase operand(Dtype dtype, ScaleFormat scale, int gran_k, int gran_mn = 1) {
  OperandCase out{.dtype = dtype, .scale = scale, .gran_mn = gran_mn, .gran_k = gran_k};
  out.layout = scale == ScaleFormat::kPacked ? ScaleLayout::kColumns : ScaleLayout::kRows;
  return out;
}

std::string operand_name(OperandCase const& o) {
  return fmt::format("{}:{}{}.{}x{}{}", deepwell::name_of(o.dtype), ref::name_of(o.scale),
                     o.powers ? "2" : "", o.gran_mn, o.gran_k,
                     o.pitch == Pitch::kContiguous ? ""
                     : o.pitch == Pitch::kPadded   ? " padded"
                                                   : " odd");
}

std::int32_t bad_id(Random& random, std::int64_t groups) {
  constexpr std::int32_t kBad[] = {std::numeric_limits<std::int32_t>::min(), -2,
                                   std::numeric_limits<std::int32_t>::max()};
  std::uint64_t const choice = random.below(4);
  return choice < 3 ? kBad[choice] : static_cast<std::int32_t>(groups);
}

}  // namespace

char const* name_of(Routing routing) {
  switch (routing) {
    case Routing::kSorted: return "sorted";
    case Routing::kShuffled: return "shuffled";
    case Routing::kAnyRow: return "any row";
    case Routing::kHostile: return "hostile";
  }
  return "?";
}

std::string GroupedCase::name() const {
  return fmt::format("grouped {} {} groups {} m {} n {} k {} per {} {} x {} {}{}",
                     deepwell::name_of(grouping), check::name_of(routing), groups, m, n, k, alignment,
                     operand_name(a), operand_name(b), check::name_of(data),
                     d_pitch == Pitch::kContiguous ? "" : " d padded");
}

std::vector<std::int32_t> layout_of(GroupedCase const& what, std::uint64_t seed) {
  Random random(seed_of(what.name(), seed));
  auto const group = [&] {
    return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(what.groups)));
  };
  std::vector<std::int32_t> out;
  if (is_masked(what)) {
    for (std::int64_t z = 0; z < what.groups; ++z) {
      std::int32_t rows = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(what.m + 1)));
      if (z == 1) rows = 0;
      if (z == 2) rows = static_cast<std::int32_t>(what.m);
      if (what.routing == Routing::kHostile && z % 2 == 0)
        rows = z % 4 == 0 ? -3 : static_cast<std::int32_t>(what.m + 5);
      out.push_back(rows);
    }
    return out;
  }
  out.assign(static_cast<std::size_t>(what.m), -1);
  if (what.routing == Routing::kSorted) {
    std::int64_t row = 0;
    for (std::int64_t z = 0; z < what.groups && row < what.m; ++z) {
      if (random.below(4) == 0) continue;  // an empty group
      std::int64_t const count = 1 + static_cast<std::int64_t>(random.below(
                                         static_cast<std::uint64_t>(what.alignment + what.alignment / 2)));
      for (std::int64_t i = row; i < std::min(row + count, what.m); ++i)
        out[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(z);
      row = align_up(row + count, what.alignment);
    }
    return out;
  }
  for (std::int64_t i = 0; i < what.m; ++i) {
    std::int32_t& id = out[static_cast<std::size_t>(i)];
    if (what.routing == Routing::kShuffled) {
      id = i % what.alignment == 0 ? group() : out[static_cast<std::size_t>(i - 1)];
    } else if (i % 40 < 30) {  // and stretches of padding
      std::uint64_t const kind = random.below(6);
      id = kind == 0 ? -1 : kind == 1 && i > 0 ? out[static_cast<std::size_t>(i - 1)] : group();
      if (kind == 2 && what.routing == Routing::kHostile) id = bad_id(random, what.groups);
    }
  }
  return out;
}

std::vector<std::int64_t> owners_of(GroupedCase const& what, std::vector<std::int32_t> const& layout) {
  std::vector<std::int64_t> out;
  if (is_masked(what)) {
    for (std::int64_t z = 0; z < what.groups; ++z) {
      for (std::int64_t i = 0; i < what.m; ++i)
        out.push_back(i < layout[static_cast<std::size_t>(z)] ? z : -1);
    }
    return out;
  }
  auto const valid = [&](std::int64_t row) {
    std::int64_t const id = layout[static_cast<std::size_t>(row)];
    return id >= 0 && id < what.groups;
  };
  for (std::int64_t row = 0; row < what.m; ++row) {
    std::int64_t const first = row / what.alignment * what.alignment,
                       end = std::min(first + what.alignment, what.m);
    std::int64_t at = row;
    while (at >= first && !valid(at)) --at;
    if (at < first) {
      for (at = row; at < end && !valid(at);) ++at;
    }
    out.push_back(at < end ? layout[static_cast<std::size_t>(at)] : -1);
  }
  return out;
}

std::vector<GroupedCase> grouped_cases(bool quick) {
  OperandCase const fp8 = operand(Dtype::kE4m3, ScaleFormat::kPacked, 128),
                    fp8_floats = operand(Dtype::kE4m3, ScaleFormat::kF32, 128),
                    fp4 = operand(Dtype::kE2m1, ScaleFormat::kPacked, 32),
                    fp8_blocks = operand(Dtype::kE4m3, ScaleFormat::kF32, 128, 128);
  OperandCase fp8_powers = fp8_floats, odd = fp4, bytes = operand(Dtype::kE4m3, ScaleFormat::kUe8m0, 32);
  fp8_powers.powers = true;
  odd.pitch = Pitch::kOdd;
  struct Pair {
    OperandCase a, b;
  };
  std::vector<Pair> const pairs{{fp8_powers, fp4},        {fp8, fp4}, {fp8, fp8},
                                {fp8_floats, fp8_blocks}, {fp4, fp4}, {bytes, odd}};
  std::vector<GroupedCase> out;
  int count = 0;
  auto const add = [&](GroupedCase c) {
    ++count;
    if (quick && count % 5 != 0) return;
    c.a = pairs[static_cast<std::size_t>(count) % pairs.size()].a,
    c.b = pairs[static_cast<std::size_t>(count) % pairs.size()].b;
    c.data = count % 2 == 0 ? DataKind::kExact : DataKind::kRandom;
    c.d_pitch = count % 3 == 0 ? Pitch::kPadded : count % 7 == 0 ? Pitch::kOdd : Pitch::kContiguous;
    out.push_back(c);
  };
  for (std::int64_t alignment : {8, 12, 16, 24, 32, 64, 128, 240}) {
    for (Routing routing : {Routing::kSorted, Routing::kShuffled, Routing::kAnyRow, Routing::kHostile}) {
      bool const large = alignment >= 64;
      GroupedCase c;
      c.routing = routing;
      c.alignment = alignment;
      c.groups = large ? 3 : 7;
      c.m = large ? 390 : 150;
      c.n = alignment % 32 == 0 ? 136 : 72;
      c.k = alignment == 16 ? 640 : 288;
      add(c);
    }
  }
  for (std::int64_t expected : {1, 9, 20, 40, 0, 200}) {
    for (Routing routing : {Routing::kSorted, Routing::kHostile}) {
      GroupedCase c;
      c.grouping = Grouping::kMasked;
      c.routing = routing;
      c.alignment = expected;
      c.groups = 5;
      c.m = expected == 0 ? 135 : 37;
      c.n = 88, c.k = 352;
      add(c);
    }
  }
  // Each pair of formats with few rows and with many.
  for (std::size_t i = 0; i < 2 * pairs.size(); ++i) {
    GroupedCase c;
    c.alignment = i % 2 == 0 ? 16 : 128;
    c.m = i % 2 == 0 ? 96 : 384;
    c.n = 128, c.k = 512;
    c.a = pairs[i / 2].a, c.b = pairs[i / 2].b;
    out.push_back(c);
  }
  // A decode step of 6 experts of 256 rows, and vLLM's warm-up.
  GroupedCase decode;
  decode.groups = 32, decode.m = 96, decode.n = 256, decode.k = 1024;
  decode.a = fp8_powers, decode.b = fp4;
  out.push_back(decode);
  decode.routing = Routing::kShuffled, decode.a = fp8;
  out.push_back(decode);
  // k so long that slots of scales are used again, and products that begin anew in between.
  OperandCase columns = fp8_floats, fine = operand(Dtype::kE4m3, ScaleFormat::kF32, 32);
  columns.layout = ScaleLayout::kColumns;
  for (Grouping grouping : {Grouping::kContiguous, Grouping::kMasked}) {
    for (OperandCase const& a : {fp8_floats, columns, fp8, fine}) {
      bool const few = (a.scale == ScaleFormat::kF32 && a.layout == ScaleLayout::kColumns) ||
                       grouping == Grouping::kMasked;
      GroupedCase deep;
      deep.grouping = grouping;
      deep.routing = grouping == Grouping::kMasked ? Routing::kHostile : Routing::kAnyRow;
      deep.data = DataKind::kExact;
      deep.groups = 3, deep.m = few ? 12 : 140, deep.n = 40;
      deep.alignment = few ? 8 : 128;
      deep.k = a.gran_k == 32 ? 1184 : few ? 3200 : 2208;
      deep.a = a, deep.b = a.scale == ScaleFormat::kPacked ? fp8 : fp4;
      out.push_back(deep);
    }
  }
  // So many experts that tiles are large, with a last one that is not full.
  for (Pair const& pair : {pairs[0], pairs[2]}) {
    for (DataKind data : {DataKind::kExact, DataKind::kRandom}) {
      if (quick) continue;
      GroupedCase many;
      many.routing = data == DataKind::kExact ? Routing::kSorted : Routing::kAnyRow;
      many.data = data;
      many.groups = 80, many.m = 640, many.n = 648, many.k = 160;
      many.alignment = 8;
      many.a = pair.a, many.b = pair.b;
      out.push_back(many);
    }
  }
  return out;
}

Outcome run_grouped_case(Context& context, GroupedCase const& what, std::uint64_t seed,
                         Schedules const& schedules) {
  Outcome out;
  try {
    Data const data = make(what, seed, context.arch());
    out.kernel = short_name(what, context.arch());
    return under_schedules(context, schedules, [&] {
      Outcome one;
      one.kernel = out.kernel;
      try {
        RunResult result = call_once(context, what, data);
        one.bits = hash_hex(result.after);
        Verdict const verdict = judge_grouped(what, data, std::move(result.after));
        one.status = verdict.pass ? Status::kPass : Status::kFail;
        one.error = verdict.error, one.bound = verdict.bound, one.reason = verdict.reason;
        one.seconds = result.seconds;
      } catch (std::exception const& error) {
        one.reason = error.what();
      }
      return one;
    });
  } catch (std::exception const& error) {
    out.reason = error.what();
  }
  return out;
}

std::vector<OpCase> grouped_op_cases(bool quick) {
  std::vector<OpCase> out;
  int count = 0;
  for (GroupedCase const& what : grouped_cases(quick)) {
    OpCase c;
    c.op = "grouped";
    c.name = what.name();
    c.tensors = c.name.substr(8);
    c.data = check::name_of(what.data);
    c.bitwise = what.data == DataKind::kExact;
    c.run = [what](Context& context, std::uint64_t seed, Schedules const& schedules) {
      return run_grouped_case(context, what, seed, schedules);
    };
    if (++count % 4 == 0) {
      c.mutate = [what](Context& context, std::uint64_t seed) { return mutate(context, what, seed); };
    }
    out.push_back(std::move(c));
  }
  return out;
}

}  // namespace deepwell::check
