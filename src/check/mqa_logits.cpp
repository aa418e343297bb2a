// Runs and verdicts of the indexer's logits.
#include "check/mqa_logits.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "check/device.hpp"
#include "check/mqa_data.hpp"

namespace deepwell::check {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// The buffers of a case on a device.
class OnDevice {
 public:
  OnDevice(Context& context, MqaData const& data) {
    for (Buffer const* buffer : {&data.q, &data.keys, &data.scales, &data.weights, &data.starts, &data.ends,
                                 &data.table, &data.logits}) {
      host_.push_back(buffer);
      device_.push_back(std::make_unique<DeviceBuffer>(context.backend(), *buffer));
    }
  }

  DeviceAddress operator[](std::size_t i) const { return device_[i]->tensor(); }
  std::vector<std::byte> logits() const { return device_.back()->read(); }
  void check_inputs() const {
    for (std::size_t i = 0; i + 1 < device_.size(); ++i)
      check_unchanged(*device_[i], *host_[i], fmt::format("input {}", i).c_str());
  }

 private:
  std::vector<Buffer const*> host_;
  std::vector<std::unique_ptr<DeviceBuffer>> device_;
};

enum Index : std::size_t { kQ, kKeys, kScales, kWeights, kStarts, kEnds, kTable, kLogits };

void call(Context& context, MqaData const& data, OnDevice const& at) {
  MqaCase const& what = data.what;
  std::int64_t const lines = data.lines, heads = what.heads, dim = what.dim;
  TensorView const weights = strided_view(at[kWeights], Dtype::kF32, {lines, heads}, {data.weights_pitch, 1});
  TensorView const logits = strided_view(at[kLogits], Dtype::kF32, {lines, data.columns}, {data.pitch, 1});
  if (!what.paged) {
    MqaLogitsCall call;
    call.q = strided_view(at[kQ], Dtype::kE4m3, {lines, heads, dim}, {data.row_stride, data.head_stride, 1});
    call.keys = strided_view(at[kKeys], Dtype::kE4m3, {what.keys, dim}, {data.keys_stride, 1});
    call.scales = contiguous_view(at[kScales], Dtype::kF32, {what.keys});
    call.weights = weights;
    call.start = contiguous_view(at[kStarts], Dtype::kI32, {lines});
    call.end = contiguous_view(at[kEnds], Dtype::kI32, {lines});
    call.logits = logits;
    call.compressed = what.compressed;
    call.clean = what.clean;
    return fp8_mqa_logits(context, call);
  }
  PagedMqaLogitsCall call;
  call.q = strided_view(at[kQ], Dtype::kE4m3, {what.requests, what.rows, heads, dim},
                        {what.rows * data.row_stride, data.row_stride, data.head_stride, 1});
  call.cache = strided_view(at[kKeys], Dtype::kU8, {data.pages, what.page, 1, dim + 4},
                            {data.keys_stride, dim + 4, dim + 4, 1});
  call.weights = weights;
  call.lengths = contiguous_view(at[kEnds], Dtype::kI32, {what.requests, what.rows});
  call.block_table = contiguous_view(at[kTable], Dtype::kI32, {what.requests, data.table_columns});
  call.logits = logits;
  fp8_paged_mqa_logits(context, call);
}

struct MqaResult {
  std::vector<std::byte> after;
  double seconds = 0;
};

MqaResult run_once(Context& context, MqaData const& data) {
  Backend& backend = context.backend();
  OnDevice const at(context, data);
  backend.synchronize(nullptr);
  std::array<std::uint32_t, static_cast<std::size_t>(Note::kCount)> before{};
  for (std::size_t i = 0; i < before.size(); ++i) before[i] = backend.read_note(static_cast<int>(i));
  call(context, data, at);
  backend.synchronize(nullptr);
  MqaResult out{.after = at.logits()};
  for (std::size_t i = 0; i < before.size(); ++i) {
    std::uint32_t const noted = backend.read_note(static_cast<int>(i)) - before[i];
    DW_CHECK(noted == data.notes[i], kDevice, "{} was noted {} times, expected {}",
             name_of(static_cast<Note>(i)), noted, data.notes[i]);
  }
  auto const start = std::chrono::steady_clock::now();
  call(context, data, at);  // now that its kernel is built
  backend.synchronize(nullptr);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  at.check_inputs();
  return out;
}

Verdict judge_mqa(MqaData const& data, std::vector<std::byte> const& after) {
  Verdict out{.pass = true, .reason = {}};
  std::int64_t wrong = 0;
  double worst = -1;
  std::vector<std::byte> rest = data.logits.bytes;  // what else there is must be as it was
  for (std::int64_t line = 0; line < data.lines; ++line) {
    for (std::int64_t column = 0; column < data.columns; ++column) {
      auto const at = static_cast<std::size_t>(line * data.columns + column);
      if (data.untouched[at] != 0) continue;
      auto const byte = static_cast<std::size_t>(data.logits.start + 4 * (line * data.pitch + column));
      std::memcpy(rest.data() + byte, after.data() + byte, 4);
      float got;
      std::memcpy(&got, after.data() + byte, 4);
      double const exact = data.exact[at], bound = data.bound[at];
      bool const same =
          bound == 0 && static_cast<double>(got) == static_cast<double>(static_cast<float>(exact));
      double const error = same ? 0.0 : std::fabs(got - exact);
      bool const bad = !same && !(error <= bound && bound > 0);
      if (bad && wrong++ == 0)
        out.reason = fmt::format("at [{}, {}] got {:.9g}, exact {:.9g}, bound {:.3g}", line, column, got,
                                 exact, bound);
      double const ratio = bound > 0 ? error / bound : 0;
      if (ratio > worst) worst = ratio, out.error = error, out.bound = bound;
    }
  }
  if (wrong > 0) out.reason = fmt::format("{} elements are wrong; {}", wrong, out.reason);
  auto const [left, right] = std::ranges::mismatch(rest, after);
  if (left != rest.end()) {
    out.reason += fmt::format("{}byte {} from the start, which is not to be written, was",
                              out.reason.empty() ? "" : "; ", left - rest.begin() - data.logits.start);
  }
  out.pass = out.reason.empty();
  return out;
}

// ---- mutations ----

struct MqaMutation {
  char const* name;
  void (*apply)(MqaData const& data, std::vector<std::byte>& after, std::vector<std::byte> const& stale);
};

void each_row(MqaData const& data, std::vector<std::byte>& after, auto&& f) {
  for (std::int64_t line = 0; line < data.lines; ++line)
    f(line, after.data() + data.logits.start + 4 * line * data.pitch);
}

/// Other outputs of the right one; `stale` is that of other data.
constexpr MqaMutation kMutations[] = {
    {"none", [](MqaData const&, std::vector<std::byte>&, std::vector<std::byte> const&) {}},
    {"zero logits",
     [](MqaData const& data, std::vector<std::byte>& after, std::vector<std::byte> const&) {
       each_row(data, after, [&](std::int64_t, std::byte* row) {
         std::memset(row, 0, static_cast<std::size_t>(4 * data.columns));
       });
     }},
    {"nothing written", [](MqaData const& data, std::vector<std::byte>& after,
                           std::vector<std::byte> const&) { after = data.logits.bytes; }},
    {"logits of other data", [](MqaData const&, std::vector<std::byte>& after,
                                std::vector<std::byte> const& stale) { after = stale; }},
    {"second half not written",
     [](MqaData const& data, std::vector<std::byte>& after, std::vector<std::byte> const&) {
       auto const half = static_cast<std::ptrdiff_t>(data.logits.start +
                                                     4 * (data.lines - (data.lines + 1) / 2) * data.pitch +
                                                     (data.lines == 1 ? 2 * (data.columns - 1) : 0));
       std::copy(data.logits.bytes.begin() + half, data.logits.bytes.end(), after.begin() + half);
     }},
    {"rows one column too far",
     [](MqaData const& data, std::vector<std::byte>& after, std::vector<std::byte> const&) {
       each_row(data, after, [&](std::int64_t, std::byte* row) {
         std::memmove(row + 4, row, static_cast<std::size_t>(4 * data.columns - 4));
       });
     }},
    {"a logit past the keys of each row",
     [](MqaData const& data, std::vector<std::byte>& after, std::vector<std::byte> const&) {
       each_row(data, after, [&](std::int64_t line, std::byte* row) {
         for (std::int64_t c = 0; c < data.columns; ++c) {
           if (data.untouched[static_cast<std::size_t>(line * data.columns + c)] == 0) continue;
           std::memset(row + 4 * c, 0, 4);
           break;
         }
       });
     }},
    {"NaN where it became -inf",
     [](MqaData const& data, std::vector<std::byte>& after, std::vector<std::byte> const&) {
       each_row(data, after, [&](std::int64_t line, std::byte* row) {
         for (std::int64_t c = 0; c < data.columns; ++c) {
           auto const at = static_cast<std::size_t>(line * data.columns + c);
           if (data.untouched[at] == 0 && std::isinf(data.exact[at])) std::memcpy(row + 4 * c, &kNan, 4);
         }
       });
     }},
};

bool means_something(MqaMutation const& mutation, MqaData const& data) {
  std::string_view const name = mutation.name;
  if (name.starts_with("a logit past"))
    return std::ranges::any_of(data.untouched, [](char c) { return c != 0; });
  if (name.starts_with("NaN where")) {
    for (std::size_t i = 0; i < data.exact.size(); ++i) {
      if (data.untouched[i] == 0 && std::isinf(data.exact[i])) return true;
    }
    return false;
  }
  return true;
}

/// The right output for one thing changed in the data: a head without weight, the last elements of q, one scale.
std::vector<std::pair<char const*, MqaData>> wrong_data(MqaData const& data) {
  std::vector<std::pair<char const*, MqaData>> out;
  MqaCase const& what = data.what;
  out.reserve(2);
  auto& no_head = out.emplace_back("last head dropped", data).second;
  auto& no_tail = out.emplace_back("last 32 elements dropped", data).second;
  for (std::int64_t line = 0; line < data.lines; ++line) {
    put_value(no_head.weights, 4 * (line * data.weights_pitch + what.heads - 1), 0.0f);
    for (std::int64_t head = 0; head < what.heads; ++head) {
      for (std::int64_t d = what.dim - 32; d < what.dim; ++d)
        put_value(no_tail.q, line * data.row_stride + head * data.head_stride + d, std::byte{0});
    }
  }
  return out;
}

std::string case_tensors(MqaCase const& what) {
  return what.paged ? fmt::format("q [{}, {}, {}, {}], {} keys in pages of {}", what.requests, what.rows,
                                  what.heads, what.dim, what.keys, what.page)
                    : fmt::format("q [{}, {}, {}], {} keys", what.rows, what.heads, what.dim, what.keys);
}

/// Inputs that rows need and logits, each once, in sectors; MMAs of 16 keys and 8 heads.
void add_floor(MqaCase const& what, OpCase& out) {
  Arch const& arch = arch_by_target("sm_120a");
  MqaData const data = make_mqa_data(what, 0, arch);
  std::int64_t pairs = 0, mmas = 0, keys = 0, longest = 0;
  for (std::size_t line = 0; line < data.seen.size(); ++line) {
    std::int64_t const count = data.seen[line].hi - data.seen[line].lo;
    pairs += count;
    mmas += ceil_div(count, 16) * ceil_div(what.heads, 8) * (what.dim / 32);
    longest = std::max(longest, data.seen[line].hi);
    if ((line + 1) % static_cast<std::size_t>(what.rows) == 0) keys += std::exchange(longest, 0);
  }
  std::int64_t const bytes = data.lines * what.heads * (what.dim + 4) + keys * (what.dim + 4) + pairs * 4;
  out.floor_sectors = static_cast<std::uint64_t>(ceil_div(bytes, 32));
  out.useful_mma = static_cast<std::uint64_t>(mmas);
}

}  // namespace

std::string MqaCase::name() const {
  return fmt::format("{}_logits {} requests {} rows {} heads {} dim {} keys {}{}{}{}{}{}",
                     paged ? "paged_mqa" : "mqa", name_of(data), requests, rows, heads, dim, keys,
                     paged ? fmt::format(" page {}", page) : "", !paged && !compressed ? " uncompressed" : "",
                     clean ? " clean" : "", odd_queries ? " odd queries" : "", odd_keys ? " odd keys" : "");
}

// clang-format off
std::vector<MqaCase> mqa_cases(bool quick) {
  using enum DataKind;
  std::vector<MqaCase> const few{
      {.data = kExact, .rows = 11, .heads = 64, .dim = 128, .keys = 300},
      {.data = kRandom, .rows = 3, .heads = 64, .dim = 128, .keys = 700},
      {.data = kExact, .paged = true, .requests = 5, .rows = 1, .heads = 64, .dim = 128, .page = 64, .keys = 700},
      {.data = kRandom, .paged = true, .requests = 4, .rows = 2, .heads = 64, .dim = 128, .page = 64, .keys = 300},
      {.data = kHostile, .rows = 17, .heads = 32, .dim = 64, .keys = 333},
      {.data = kHostile, .paged = true, .requests = 5, .rows = 2, .heads = 16, .dim = 128, .page = 32, .keys = 400},
  };
  if (quick) return few;
  std::vector<MqaCase> out{
      {.data = kRandom, .rows = 1, .heads = 1, .dim = 32, .keys = 129},
      {.data = kExact, .rows = 9, .heads = 24, .dim = 64, .keys = 130, .compressed = false, .clean = true},
      {.data = kRandom, .rows = 5, .heads = 33, .dim = 32, .keys = 257, .compressed = false},
      {.data = kExact, .rows = 2, .heads = 8, .dim = 128, .keys = 1, .compressed = false, .clean = true},
      {.data = kHostile, .rows = 1700, .heads = 8, .dim = 32, .keys = 140},
      {.data = kHostile, .rows = 9, .heads = 64, .dim = 128, .keys = 190, .compressed = false, .clean = true},
      {.data = kExact, .rows = 6, .heads = 40, .dim = 128, .keys = 200, .odd_queries = true, .odd_keys = true},
      {.data = kExact, .rows = 20, .heads = 9, .dim = 64, .keys = 260, .odd_queries = true},
      {.data = kRandom, .rows = 4, .heads = 64, .dim = 128, .keys = 260, .odd_keys = true},
      {.data = kRandom, .paged = true, .requests = 3, .rows = 3, .heads = 64, .dim = 128, .page = 128, .keys = 500},
      {.data = kExact, .paged = true, .requests = 2, .rows = 11, .heads = 32, .dim = 64, .page = 64, .keys = 250},
      {.data = kRandom, .paged = true, .requests = 70, .rows = 1, .heads = 8, .dim = 32, .page = 32, .keys = 140},
      {.data = kExact, .paged = true, .requests = 3, .rows = 5, .heads = 7, .dim = 32, .page = 128, .keys = 260},
      {.data = kRandom, .paged = true, .requests = 3, .rows = 1, .heads = 64, .dim = 64, .page = 32, .keys = 300, .odd_queries = true, .odd_keys = true},
      {.data = kExact, .paged = true, .requests = 3, .rows = 2, .heads = 64, .dim = 128, .page = 64, .keys = 200, .odd_queries = true},
      {.data = kExact, .paged = true, .requests = 4, .rows = 1, .heads = 16, .dim = 128, .page = 64, .keys = 200, .odd_keys = true},
      {.data = kHostile, .paged = true, .requests = 6, .rows = 1, .heads = 64, .dim = 128, .page = 64, .keys = 1300},
      {.data = kHostile, .paged = true, .requests = 4, .rows = 9, .heads = 12, .dim = 32, .page = 128, .keys = 300, .odd_queries = true, .odd_keys = true},
  };
  out.insert(out.begin(), few.begin(), few.end());
  return out;
}
// clang-format on

Outcome run_mqa_case(Context& context, MqaCase const& what, std::uint64_t seed, Schedules const& schedules) {
  Outcome out;
  try {
    out.kernel = plan_name(mqa_plan(shape_of(what), context.arch()));
    MqaData const data = make_mqa_data(what, seed, context.arch());
    return under_schedules(context, schedules, [&] {
      Outcome one;
      one.kernel = out.kernel;
      try {
        MqaResult const result = run_once(context, data);
        one.bits = hash_hex(result.after);
        Verdict const verdict = judge_mqa(data, result.after);
        one.status = verdict.pass ? Status::kPass : Status::kFail;
        one.error = verdict.error, one.bound = verdict.bound;
        one.seconds = result.seconds;
        one.reason = verdict.reason;
      } catch (std::exception const& error) {
        one.reason = error.what();
      }
      return one;
    });
  } catch (std::exception const& error) {
    out.reason = error.what();
    return out;
  }
}

std::vector<MutationOutcome> mutate_mqa_case(Context& context, MqaCase const& what, std::uint64_t seed) {
  MqaData const data = make_mqa_data(what, seed, context.arch());
  std::vector<std::byte> const right = run_once(context, data).after;
  MqaData other = make_mqa_data(what, seed + 1, context.arch());
  std::vector<std::byte> stale = other.logits.bytes.size() == data.logits.bytes.size()
                                     ? run_once(context, other).after
                                     : data.logits.bytes;
  std::vector<MutationOutcome> out;
  auto const judge = [&](char const* name, std::vector<std::byte> const& after) {
    Verdict const verdict = judge_mqa(data, after);
    out.push_back({.case_name = what.name(),
                   .op = what.paged ? "paged_mqa_logits" : "mqa_logits",
                   .mutation = name,
                   .rejected = !verdict.pass,
                   .reason = verdict.reason});
  };
  for (MqaMutation const& mutation : kMutations) {
    if (!means_something(mutation, data)) continue;
    std::vector<std::byte> after = right;
    mutation.apply(data, after, stale);
    judge(mutation.name, after);
  }
  for (auto& [name, wrong] : wrong_data(data)) {
    expect_mqa(wrong, context.arch());
    judge(name, run_once(context, wrong).after);
  }
  return out;
}

Verdict judge_mqa_run(Context& context, MqaCase const& what, std::uint64_t seed) {
  MqaData const data = make_mqa_data(what, seed, context.arch());
  return judge_mqa(data, run_once(context, data).after);
}

std::vector<std::byte> mqa_bits(Context& context, MqaCase const& what, std::uint64_t seed) {
  return run_once(context, make_mqa_data(what, seed, context.arch())).after;
}

std::vector<OpCase> mqa_op_cases(bool quick) {
  std::vector<OpCase> out;
  for (MqaCase const& what : mqa_cases(quick)) {
    OpCase c;
    c.op = what.paged ? "paged_mqa_logits" : "mqa_logits";
    c.name = what.name();
    c.tensors = case_tensors(what);
    c.data = name_of(what.data);
    c.bitwise = what.data == DataKind::kExact;
    c.run = [what](Context& context, std::uint64_t seed, Schedules const& schedules) {
      return run_mqa_case(context, what, seed, schedules);
    };
    if (what.data != DataKind::kHostile && !what.odd_queries && !what.odd_keys && what.keys > 8)
      c.mutate = [what](Context& context, std::uint64_t seed) {
        return mutate_mqa_case(context, what, seed);
      };
    add_floor(what, c);
    out.push_back(std::move(c));
  }
  return out;
}

}  // namespace deepwell::check
