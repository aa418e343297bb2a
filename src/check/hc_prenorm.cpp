// Cases of the hyper-connections' product: data, call, verdict.
#include "check/hc_prenorm.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/log.hpp"
#include "checkpoint/quantise.hpp"
#include "num/formats.hpp"

namespace deepwell::check {
namespace {

std::string text(Pitch pitch) {
  return pitch == Pitch::kContiguous ? "" : pitch == Pitch::kPadded ? "+" : "~";
}

/// Elements between rows of `row` elements, of which `unit` make 16 bytes.
std::int64_t pitch_of(Pitch pitch, std::int64_t row, std::int64_t unit) {
  switch (pitch) {
    case Pitch::kContiguous: return row;
    case Pitch::kPadded: return align_up(row, unit) + 2 * unit;
    case Pitch::kOdd: return row % 2 == 0 ? row + 1 : row + 2;
  }
  return row;
}

/// Memory of `elements` elements of `size` bytes; not at a multiple of 16 bytes where the pitch is odd.
Buffer buffer(std::int64_t elements, std::int64_t size, Pitch pitch, std::byte pattern) {
  Buffer out;
  out.start = kGuardBytes + (pitch == Pitch::kOdd ? size : 0);
  out.bytes.assign(static_cast<std::size_t>(elements * size + 2 * kGuardBytes), pattern);
  return out;
}

float value_of_a(DataKind kind, Random& random) {
  switch (kind) {
    case DataKind::kExact: return random.below(2) == 0 ? 0.0f : static_cast<float>(random.below(17)) - 8.0f;
    case DataKind::kRandom: return random.normal() * (random.below(64) == 0 ? 8.0f : 1.0f);
    case DataKind::kHostile: break;
  }
  return std::ldexp(random.normal(), random.below(16) == 0 ? -130 : static_cast<int>(random.below(81)) - 40);
}

/// kExact: small multiples of 1/8 with bits that TF32 does not have.
float value_of_b(DataKind kind, Random& random) {
  switch (kind) {
    case DataKind::kExact: {
      float const value = (static_cast<float>(random.below(17)) - 8.0f) * 0.125f;
      return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) |
                                  static_cast<std::uint32_t>(random.below(1u << 13)));
    }
    case DataKind::kRandom: return random.normal() * 0.02f;
    case DataKind::kHostile: break;
  }
  return std::ldexp(random.normal(), random.below(16) == 0 ? -140 : static_cast<int>(random.below(81)) - 40);
}

void fill(HcPrenormData& data, std::uint64_t seed) {
  HcPrenormCase const& what = data.what;
  Random random(seed_of(what.name(), seed));
  for (std::int64_t i = 0; i < what.m; ++i) {
    bool const zero = what.data == DataKind::kHostile && i % 5 == 3;
    for (std::int64_t k = 0; k < what.k; ++k) {
      float const value = zero ? 0.0f : value_of_a(what.data, random);
      store_element(Dtype::kBf16, data.a.data() + 2 * (i * data.a_pitch + k), value);
    }
  }
  for (std::int64_t j = 0; j < what.n; ++j) {
    for (std::int64_t k = 0; k < what.k; ++k) {
      float const value = value_of_b(what.data, random);
      std::memcpy(data.b.data() + 4 * (j * data.b_pitch + k), &value, sizeof value);
    }
  }
}

/// Calls f(index, byte) for every element of an output of [splits, rows, columns]; `byte` counts from the tensor's start.
template <class F>
void for_each(std::int64_t splits, std::int64_t rows, std::int64_t columns, std::int64_t split_stride,
              std::int64_t row_stride, F&& f) {
  std::int64_t index = 0;
  for (std::int64_t s = 0; s < splits; ++s) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j, ++index)
        f(index, 4 * (s * split_stride + i * row_stride + j));
    }
  }
}

/// One of the two outputs before and after a call.
struct Judged {
  char const* name;
  Buffer const& before;
  std::vector<std::byte> const& after;
  std::vector<double> const& exact;
  std::vector<double> const& bounds;
};

template <class ForEach>
Verdict judge_output(Judged const& what, bool bitwise, ForEach&& for_each_element) {
  DW_CHECK(what.after.size() == what.before.bytes.size() && what.bounds.size() == what.exact.size(),
           kInternal, "{} of {} bytes and {} bounds", what.name, what.after.size(), what.bounds.size());
  std::vector<bool> inside(what.after.size(), false);
  std::int64_t wrong = 0, unwritten = 0, worst_index = 0;
  double worst = -1;
  float worst_got = 0;
  Verdict out{.pass = true, .error = 0, .bound = 0, .reason = {}};
  for_each_element([&](std::int64_t index, std::int64_t byte) {
    std::int64_t const at = what.before.start + byte;
    std::fill_n(inside.begin() + at, 4, true);
    float got;
    std::memcpy(&got, what.after.data() + at, sizeof got);
    double const exact = what.exact[static_cast<std::size_t>(index)];
    double const wanted = bitwise ? static_cast<double>(static_cast<float>(exact)) : exact;
    double const bound = bitwise ? 0.0 : what.bounds[static_cast<std::size_t>(index)];
    double const error = std::fabs(static_cast<double>(got) - wanted);
    bool const bad = !(error <= bound);
    wrong += bad;
    unwritten += std::bit_cast<std::uint32_t>(got) == poison_bits(Dtype::kF32);
    double ratio = std::isnan(error) ? HUGE_VAL : bound > 0 ? error / bound : error > 0 ? HUGE_VAL : 0.0;
    if (bad) ratio += 1e9;
    if (ratio > worst)
      worst = ratio, worst_index = index, worst_got = got, out.error = error, out.bound = bound;
  });
  if (unwritten > 0) {
    out.reason =
        fmt::format("{} of {} elements of {} were not written", unwritten, what.exact.size(), what.name);
  } else if (wrong > 0) {
    out.reason =
        fmt::format("{} of {} elements of {} are wrong; element {} is {:.9g}, exact {:.9g}{}", wrong,
                    what.exact.size(), what.name, worst_index, worst_got,
                    what.exact[static_cast<std::size_t>(worst_index)], bitwise ? " (bits must agree)" : "");
  }
  for (std::size_t i = 0; i < what.after.size() && out.reason.empty(); ++i) {
    if (!inside[i] && what.after[i] != what.before.bytes[i]) {
      out.reason = fmt::format("byte {} from the start of {}, which is no element, was written",
                               static_cast<std::int64_t>(i) - what.before.start, what.name);
    }
  }
  out.pass = out.reason.empty();
  return out;
}

/// Device memory until the end of a scope.
class DeviceCopy {
 public:
  DeviceCopy(Backend& backend, Buffer const& from)
      : backend_(backend), from_(from), address_(backend.allocate(from.bytes.size())) {
    backend.copy_to_device(address_, from.bytes, nullptr);
  }
  ~DeviceCopy() {
    try {
      backend_.release(address_);
    } catch (std::exception const& error) {  // launches that waited may report here
      log_error("release of a case's memory: {}", error.what());
    }
  }
  DeviceCopy(DeviceCopy const&) = delete;
  DeviceCopy& operator=(DeviceCopy const&) = delete;

  TensorView view(Dtype dtype, std::vector<std::int64_t> const& shape,
                  std::vector<std::int64_t> const& strides) const {
    TensorView out{.data = address_ + static_cast<DeviceAddress>(from_.start),
                   .dtype = dtype,
                   .rank = static_cast<int>(shape.size()),
                   .shape = {},
                   .strides = {}};
    std::copy(shape.begin(), shape.end(), out.shape.begin());
    std::copy(strides.begin(), strides.end(), out.strides.begin());
    return out;
  }
  std::vector<std::byte> read() const {
    std::vector<std::byte> out(from_.bytes.size());
    backend_.copy_to_host(out, address_, nullptr);
    return out;
  }

 private:
  Backend& backend_;
  Buffer const& from_;
  DeviceAddress address_;
};

}  // namespace

std::string HcPrenormCase::name() const {
  return fmt::format("hc_prenorm m {} n {} k {} splits {} {}{}", m, n, k,
                     splits == 0 ? std::string("none") : fmt::format("{}", splits), name_of(data),
                     a == Pitch::kContiguous && b == a && d == a && sqr_sum == a
                         ? ""
                         : fmt::format(" a{} b{} d{} sqr_sum{}", text(a), text(b), text(d), text(sqr_sum)));
}

std::string HcPrenormCase::tensors() const {
  return fmt::format("a bf16 [{}, {}]{} x b f32 [{}, {}]{} -> {}[{}, {}]{}", m, k, text(a), n, k, text(b),
                     splits == 0 ? "" : fmt::format("{} x ", splits), m, n, text(d));
}

ref::HcPrenormOperands HcPrenormData::operands() const {
  return {.a = a.data(),
          .b = b.data(),
          .m = what.m,
          .n = what.n,
          .k = what.k,
          .a_pitch = 2 * a_pitch,
          .b_pitch = 4 * b_pitch};
}

HcPrenormData make_hc_prenorm(HcPrenormCase const& what, std::uint64_t seed, ThreadPool& pool) {
  HcPrenormData data;
  data.what = what;
  data.a_pitch = pitch_of(what.a, what.k, 8);
  data.b_pitch = pitch_of(what.b, what.k, 4);
  data.d_pitch = pitch_of(what.d, what.n, 4);
  data.d_split_stride = what.m * data.d_pitch + (what.d == Pitch::kContiguous ? 0 : 3);
  data.sqr_sum_stride = what.sqr_sum == Pitch::kOdd ? 3 : 1;
  data.sqr_sum_split_stride = what.m * data.sqr_sum_stride + (what.sqr_sum == Pitch::kContiguous ? 0 : 5);
  data.a = buffer(what.m * data.a_pitch, 2, what.a, std::byte{0x7f});
  data.b = buffer(what.n * data.b_pitch, 4, what.b, std::byte{0x7f});
  data.d = buffer(what.parts() * data.d_split_stride, 4, what.d, std::byte{0x5a});
  data.sqr_sum = buffer(what.parts() * data.sqr_sum_split_stride, 4, what.sqr_sum, std::byte{0x5a});
  std::uint32_t const poison = poison_bits(Dtype::kF32);
  for_each(what.parts(), what.m, what.n, data.d_split_stride, data.d_pitch,
           [&](std::int64_t, std::int64_t byte) { std::memcpy(data.d.data() + byte, &poison, 4); });
  for_each(what.parts(), what.m, 1, data.sqr_sum_split_stride, data.sqr_sum_stride,
           [&](std::int64_t, std::int64_t byte) { std::memcpy(data.sqr_sum.data() + byte, &poison, 4); });
  fill(data, seed);
  data.exact = ref::hc_prenorm(data.operands(), what.parts(), pool);
  return data;
}

std::string short_name(HcPrenormCandidate const& how) {
  return fmt::format("hc_prenorm {}x{} s{}{}", how.plan.tile_rows, how.plan.tile_cols, how.plan.stages,
                     how.pieces > 1 ? fmt::format(" split {}", how.pieces) : "");
}

HcPrenormOutput run_hc_prenorm(Context& context, HcPrenormData const& data, HcPrenormCandidate const* how) {
  Backend& backend = context.backend();
  HcPrenormCase const& what = data.what;
  DeviceCopy const a(backend, data.a), b(backend, data.b), d(backend, data.d), sqr_sum(backend, data.sqr_sum);
  HcPrenormCall call;
  call.a = a.view(Dtype::kBf16, {what.m, what.k}, {data.a_pitch, 1});
  call.b = b.view(Dtype::kF32, {what.n, what.k}, {data.b_pitch, 1});
  if (what.splits == 0) {
    call.d = d.view(Dtype::kF32, {what.m, what.n}, {data.d_pitch, 1});
    call.sqr_sum = sqr_sum.view(Dtype::kF32, {what.m}, {data.sqr_sum_stride});
  } else {
    call.num_splits = what.splits;
    call.d = d.view(Dtype::kF32, {what.splits, what.m, what.n}, {data.d_split_stride, data.d_pitch, 1});
    call.sqr_sum =
        sqr_sum.view(Dtype::kF32, {what.splits, what.m}, {data.sqr_sum_split_stride, data.sqr_sum_stride});
  }
  HcPrenormOutput out;
  auto const start = std::chrono::steady_clock::now();
  if (how == nullptr) {
    tf32_hc_prenorm_gemm(context, call);
  } else {
    launch_hc_prenorm(context, check_hc_prenorm(call), *how, nullptr, nullptr);
  }
  backend.synchronize(nullptr);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  out.d = d.read();
  out.sqr_sum = sqr_sum.read();
  DW_CHECK(a.read() == data.a.bytes, kDevice, "a or the memory around it was written");
  DW_CHECK(b.read() == data.b.bytes, kDevice, "b or the memory around it was written");
  return out;
}

Verdict judge_hc_prenorm(HcPrenormData const& data, ref::HcPrenormResult const& bounds,
                         HcPrenormOutput const& after) {
  HcPrenormCase const& what = data.what;
  bool const bitwise = what.data == DataKind::kExact;
  Verdict const d = judge_output({"d", data.d, after.d, data.exact.d, bounds.d}, bitwise, [&](auto&& f) {
    for_each(what.parts(), what.m, what.n, data.d_split_stride, data.d_pitch, f);
  });
  Verdict const squares = judge_output(
      {"sqr_sum", data.sqr_sum, after.sqr_sum, data.exact.sqr_sum, bounds.sqr_sum}, bitwise, [&](auto&& f) {
        for_each(what.parts(), what.m, 1, data.sqr_sum_split_stride, data.sqr_sum_stride, f);
      });
  if (!d.pass) return d;
  if (!squares.pass) return squares;
  auto const ratio = [](Verdict const& v) { return v.bound > 0 ? v.error / v.bound : 0.0; };
  return ratio(d) >= ratio(squares) ? d : squares;
}

Outcome run_hc_prenorm_case(Context& context, HcPrenormCase const& what, std::uint64_t seed, ThreadPool& pool,
                            Schedules const& schedules, HcPrenormCandidate const* given) {
  Outcome out;
  try {
    std::vector<HcPrenormCandidate> const ranked =
        choose_hc_prenorm({.m = what.m, .n = what.n, .k = what.k, .splits = what.parts()}, context.arch());
    if (ranked.empty() && given == nullptr) {
      out.status = Status::kUnsupported;
      out.reason = fmt::format("no kernel on {}", context.arch().target);
      return out;
    }
    HcPrenormCandidate const& how = given != nullptr ? *given : ranked.front();
    HcPrenormData const data = make_hc_prenorm(what, seed, pool);
    ref::HcPrenormResult const bounds = hc_prenorm_bounds(data, how, pool);
    return under_schedules(context, schedules, [&] {
      Outcome one;
      one.kernel = short_name(how);
      try {
        HcPrenormOutput const after = run_hc_prenorm(context, data, given);
        one.bits = hash_hex(after.d) + hash_hex(after.sqr_sum);
        Verdict const verdict = judge_hc_prenorm(data, bounds, after);
        one.status = verdict.pass ? Status::kPass : Status::kFail;
        one.error = verdict.error, one.bound = verdict.bound;
        one.seconds = after.seconds;
        one.reason = verdict.reason;
      } catch (std::exception const& error) {
        one.reason = error.what();
      }
      return one;
    });
  } catch (std::exception const& error) {
    out.status = Status::kError;
    out.reason = error.what();
  }
  return out;
}

std::vector<HcPrenormCase> hc_prenorm_cases(bool quick) {
  constexpr DataKind kExact = DataKind::kExact, kRandom = DataKind::kRandom, kHostile = DataKind::kHostile;
  std::vector<HcPrenormCase> out{
      {.data = kRandom, .m = 1, .n = 24, .k = 16384, .splits = 16},
      {.data = kExact, .m = 8, .n = 24, .k = 16384, .splits = 16},
      {.data = kRandom, .m = 4, .n = 24, .k = 16384},
      {.data = kExact, .m = 33, .n = 24, .k = 4096, .splits = 64},
      {.data = kHostile, .m = 21, .n = 24, .k = 4096, .splits = 3},
      {.data = kExact,
       .m = 5,
       .n = 7,
       .k = 1000,
       .splits = 2,
       .a = Pitch::kOdd,
       .b = Pitch::kOdd,
       .d = Pitch::kOdd,
       .sqr_sum = Pitch::kOdd},
  };
  if (quick) return out;
  for (DataKind kind : {kExact, kRandom}) {
    out.push_back({.data = kind, .m = 128, .n = 24, .k = 16384, .splits = 16});
    out.push_back({.data = kind, .m = 100, .n = 24, .k = 16384, .splits = 37});
    out.push_back({.data = kind, .m = 300, .n = 24, .k = 4096, .splits = 16});
    out.push_back({.data = kind, .m = 700, .n = 24, .k = 4096});
    out.push_back({.data = kind, .m = 13, .n = 24, .k = 28672});
    out.push_back({.data = kind, .m = 2, .n = 24, .k = 192, .splits = 5});
    for (std::int64_t n : {1, 8, 16, 31, 64, 100, 128})
      out.push_back({.data = kind, .m = 17, .n = n, .k = 1024 + 8 * n, .splits = n % 3});
    for (Pitch pitch : {Pitch::kPadded, Pitch::kOdd}) {
      out.push_back({.data = kind, .m = 70, .n = 24, .k = 712, .a = pitch});
      out.push_back({.data = kind, .m = 70, .n = 24, .k = 712, .splits = 4, .b = pitch});
      out.push_back({.data = kind, .m = 70, .n = 24, .k = 712, .splits = 4, .d = pitch});
      out.push_back({.data = kind, .m = 70, .n = 24, .k = 712, .splits = 4, .sqr_sum = pitch});
    }
  }
  return out;
}

std::vector<OpCase> hc_prenorm_op_cases(bool quick) { return hc_prenorm_op_cases(hc_prenorm_cases(quick)); }

std::vector<OpCase> hc_prenorm_op_cases(std::vector<HcPrenormCase> const& cases) {
  std::vector<OpCase> out;
  for (HcPrenormCase const& what : cases) {
    OpCase c;
    c.op = "hc_prenorm";
    c.name = what.name();
    c.tensors = what.tensors();
    c.data = name_of(what.data);
    c.bitwise = what.data == DataKind::kExact;
    c.run = [what](Context& context, std::uint64_t seed, Schedules const& schedules) {
      ThreadPool pool;
      return run_hc_prenorm_case(context, what, seed, pool, schedules);
    };
    bool const small = what.m * what.k <= 1 << 17;
    if (small && what.data != DataKind::kHostile) {
      c.mutate = [what](Context& context, std::uint64_t seed) {
        ThreadPool pool;
        HcPrenormCandidate const how =
            choose_hc_prenorm({.m = what.m, .n = what.n, .k = what.k, .splits = what.parts()}, context.arch())
                .at(0);
        return mutate_hc_prenorm(
            what, how, seed, [&](HcPrenormData const& data) { return run_hc_prenorm(context, data); }, pool);
      };
    }
    auto const sectors = [](std::int64_t bytes) { return static_cast<std::uint64_t>(ceil_div(bytes, 32)); };
    c.floor_sectors = sectors(2 * what.m * what.k) + sectors(4 * what.n * what.k) +
                      sectors(4 * what.parts() * what.m * (what.n + 1));
    c.useful_mma =
        static_cast<std::uint64_t>(ceil_div(what.m, 16) * ceil_div(what.n, 8) * ceil_div(what.k, 8));
    out.push_back(std::move(c));
  }
  return out;
}

}  // namespace deepwell::check
