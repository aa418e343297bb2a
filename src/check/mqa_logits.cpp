// Data, runs and verdicts of the indexer's logits.
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
#include "check/device.hpp"
#include "checkpoint/quantise.hpp"
#include "num/formats.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"
#include "ref/mqa_logits.hpp"

namespace deepwell::check {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Bytes that belong to no element: NaN in every format, and no page, no length.
Buffer filled_buffer(std::int64_t bytes, std::int64_t shift = 0) {
  Buffer out;
  out.start = kGuardBytes + shift;
  out.bytes.assign(static_cast<std::size_t>(bytes + shift + 2 * kGuardBytes), std::byte{0x7f});
  return out;
}

template <class T>
void put(Buffer& buffer, std::int64_t byte, T value) {
  std::memcpy(buffer.data() + byte, &value, sizeof value);
}
template <class T>
T get(Buffer const& buffer, std::int64_t byte) {
  T value;
  std::memcpy(&value, buffer.data() + byte, sizeof value);
  return value;
}

/// What a row sees after clipping, and whether there was something to clip.
struct Seen {
  std::int64_t lo = 0, hi = 0;
  bool clipped = false;
};

struct MqaData {
  MqaCase what;
  std::int64_t lines = 0;    // rows of all requests
  std::int64_t columns = 0;  // of the result
  std::int64_t pitch = 0;    // of the result, elements
  std::int64_t head_stride = 0, row_stride = 0, weights_pitch = 0;
  std::int64_t keys_stride = 0;  // bytes between keys, or pages
  std::int64_t pages = 0, table_columns = 0;
  Buffer q, keys, scales, weights, starts, ends, table, logits;
  std::vector<Seen> seen;  // of each line
  // [lines, columns]: what must be there. kUntouched marks elements that keep their bits.
  std::vector<double> exact, bound;
  std::vector<char> untouched;
  std::array<std::uint32_t, static_cast<std::size_t>(Note::kCount)> notes{};
};

std::uint8_t draw(Random& random, DataKind data) {
  if (data == DataKind::kExact) {
    constexpr float kFew[] = {0, 0, 1, -1, 2, -2};
    return num::float_to_e4m3(kFew[random.below(6)]);
  }
  return num::float_to_e4m3(random.heavy() * 4);
}

float draw_scale(Random& random, DataKind data) {
  if (data == DataKind::kExact) return std::ldexp(1.0f, static_cast<int>(random.below(9)) - 4);
  return 0.01f + random.uniform();
}

void make_queries(MqaData& data, Random& random) {
  MqaCase const& what = data.what;
  data.head_stride = what.dim + (what.odd_queries ? 1 : 0);
  data.row_stride = what.heads * data.head_stride + (what.odd_queries ? 3 : 16);
  data.weights_pitch = what.odd_queries ? what.heads + 5 : align_up(what.heads, 4) + 4;
  data.q = filled_buffer(data.lines * data.row_stride, what.odd_queries ? 1 : 0);
  data.weights = filled_buffer(data.lines * data.weights_pitch * 4);
  for (std::int64_t line = 0; line < data.lines; ++line) {
    for (std::int64_t head = 0; head < what.heads; ++head) {
      float weight =
          what.data == DataKind::kExact ? static_cast<float>(random.below(7)) - 3.0f : random.normal();
      if (what.data == DataKind::kHostile && line == 1 && head == what.heads / 2) weight = kInfinity;
      put(data.weights, 4 * (line * data.weights_pitch + head), weight);
      for (std::int64_t d = 0; d < what.dim; ++d)
        put(data.q, line * data.row_stride + head * data.head_stride + d, draw(random, what.data));
      // NaN that only one head has.
      if (what.data == DataKind::kHostile && line == 3 && head == 0)
        put(data.q, line * data.row_stride + what.dim - 1, std::byte{0x7f});
    }
  }
}

/// A range of keys of one row as a caller may give it.
std::pair<std::int32_t, std::int32_t> draw_range(MqaCase const& what, std::int64_t line, Random& random) {
  auto const keys = static_cast<std::int32_t>(what.keys);
  auto const below = [&](std::int64_t bound) {
    return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(bound)));
  };
  if (what.data == DataKind::kHostile) {
    switch (line % 8) {
      case 0: return {keys, 3};
      case 2: return {-5, keys / 2};
      case 3: return {keys / 3, keys + 1000};
      case 4: return {std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()};
      case 5: return {std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()};
      case 6: return {keys + 7, keys + 9};
      default: break;
    }
  }
  if (line % 7 == 2) return {keys / 2, keys / 2};  // empty
  if (line % 7 == 3) return {0, keys};
  std::int32_t const first = below(keys);
  return {first, first + below(keys - first) + 1};
}

void make_ragged(MqaData& data, Random& random) {
  MqaCase const& what = data.what;
  data.keys_stride = what.dim + (what.odd_keys ? 1 : 0);
  data.keys = filled_buffer(what.keys * data.keys_stride, what.odd_keys ? 1 : 0);
  data.scales = filled_buffer(what.keys * 4, what.odd_keys ? 4 : 0);
  data.starts = filled_buffer(data.lines * 4);
  data.ends = filled_buffer(data.lines * 4);
  std::vector<std::pair<std::int32_t, std::int32_t>> ranges;
  std::int64_t longest = 1;
  for (std::int64_t line = 0; line < data.lines; ++line) {
    auto const range = ranges.emplace_back(draw_range(what, line, random));
    put(data.starts, 4 * line, range.first);
    put(data.ends, 4 * line, range.second);
    longest = std::max<std::int64_t>(longest, std::int64_t{range.second} - range.first);
  }
  // Hostile: rows of the result are shorter than some ranges.
  data.columns = !what.compressed                  ? what.keys
                 : what.data == DataKind::kHostile ? what.keys / 2 + 5
                                                   : std::min(longest, what.keys);
  for (auto const& [first, last] : ranges) {
    Seen seen{.lo = std::clamp<std::int64_t>(first, 0, what.keys),
              .hi = std::clamp<std::int64_t>(last, 0, what.keys)};
    if (first == last || seen.hi <= seen.lo) {
      seen = {0, 0, first != last};
    } else {
      seen.hi = std::min(seen.hi, seen.lo + data.columns);
      seen.clipped = seen.lo != first || seen.hi != last;
    }
    data.seen.push_back(seen);
  }
  // Keys that no row sees stay NaN.
  for (std::int64_t key = 0; key < what.keys; ++key) {
    bool const is_seen =
        std::ranges::any_of(data.seen, [&](Seen const& s) { return s.lo <= key && key < s.hi; });
    for (std::int64_t d = 0; is_seen && d < what.dim; ++d)
      put(data.keys, key * data.keys_stride + d, draw(random, what.data));
    if (is_seen) put(data.scales, 4 * key, draw_scale(random, what.data));
    if (what.data == DataKind::kHostile && key % 29 == 3)
      put(data.scales, 4 * key, key % 2 == 0 ? kNan : kInfinity);
  }
}

void make_paged(MqaData& data, Random& random) {
  MqaCase const& what = data.what;
  bool const hostile = what.data == DataKind::kHostile;
  data.columns = what.keys;
  data.ends = filled_buffer(data.lines * 4);
  for (std::int64_t request = 0; request < what.requests; ++request) {
    std::int64_t base = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(what.keys))) + 1;
    if (request % 4 == 1) base = what.keys - what.rows + 1;
    if (request % 4 == 2) base = 0;
    if (request % 4 == 3) base = what.page * (1 + base / (2 * what.page));
    for (std::int64_t t = 0; t < what.rows; ++t) {
      std::int64_t length = base == 0 && t == 0 ? 0 : std::min(base + t, what.keys);
      if (hostile && request % 4 == 0) length = t % 2 == 0 ? what.keys + 1000 : -7;
      if (hostile && request % 4 == 2) length = std::numeric_limits<std::int32_t>::max();
      put(data.ends, 4 * (request * what.rows + t), static_cast<std::int32_t>(length));
      std::int64_t const clipped = std::clamp<std::int64_t>(length, 0, what.keys);
      data.seen.push_back({0, clipped, clipped != length});
    }
  }
  // Hostile: the table is too narrow for the longest rows.
  data.table_columns = ceil_div(what.keys, what.page) - (hostile ? 1 : 0);
  std::int64_t const wanted = what.requests * data.table_columns;
  data.pages = wanted + 3;
  std::int64_t const page_bytes = what.page * (what.dim + 4);
  data.keys_stride = page_bytes + (what.odd_keys ? 4 : 48 + 16 * static_cast<std::int64_t>(random.below(3)));
  data.keys = filled_buffer(data.pages * data.keys_stride, what.odd_keys ? 4 : 0);
  data.table = filled_buffer(wanted * 4);
  std::vector<std::int32_t> order;
  for (std::int64_t page = 0; page < data.pages; ++page) order.push_back(static_cast<std::int32_t>(page));
  for (std::size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  for (std::int64_t request = 0; request < what.requests; ++request) {
    std::int64_t longest = 0;
    for (std::int64_t t = 0; t < what.rows; ++t)
      longest = std::max(longest, data.seen[static_cast<std::size_t>(request * what.rows + t)].hi);
    for (std::int64_t column = 0; column * what.page < longest && column < data.table_columns; ++column) {
      std::int64_t const at = request * data.table_columns + column;
      std::int32_t const page = order[static_cast<std::size_t>(at)];
      bool const bad = hostile && at % 3 == 1;
      put(data.table, 4 * at, !bad ? page : at % 2 == 0 ? -1 : static_cast<std::int32_t>(data.pages));
      for (std::int64_t key = 0; key < what.page && column * what.page + key < longest; ++key) {
        std::int64_t const from = page * data.keys_stride;
        for (std::int64_t d = 0; d < what.dim; ++d)
          put(data.keys, from + key * what.dim + d, draw(random, what.data));
        put(data.keys, from + what.page * what.dim + 4 * key,
            hostile && key % 29 == 3 ? kNan : draw_scale(random, what.data));
        if (hostile && key % 31 == 5) put(data.keys, from + key * what.dim, std::byte{0xff});
      }
    }
  }
}

/// Where a key and its scale are; null if its page is not there.
std::pair<std::byte const*, float> key_of(MqaData const& data, std::int64_t request, std::int64_t key) {
  MqaCase const& what = data.what;
  if (!what.paged) return {data.keys.data() + key * data.keys_stride, get<float>(data.scales, 4 * key)};
  std::int64_t const column = key / what.page, place = key % what.page;
  if (column >= data.table_columns) return {nullptr, 0};
  std::int32_t const page = get<std::int32_t>(data.table, 4 * (request * data.table_columns + column));
  if (page < 0 || page >= data.pages) return {nullptr, 0};
  std::int64_t const from = page * data.keys_stride;
  return {data.keys.data() + from + place * what.dim,
          get<float>(data.keys, from + what.page * what.dim + 4 * place)};
}

/// The largest |logit - exact|. An MMA of n products cuts its n + 1 addends at 2^-25 of the largest one, and the sum at 2^-23 of itself;
/// what they can be, summed over steps of 16, is `largest`. (What was lost before is too small to matter in it: the last factor.) Then
/// one rounding for each fma and addition of the head sum, and one for the scale.
double bound_of(ref::MqaLogit const& logit, MqaCase const& what, Arch const& arch) {
  double const per_mma = arch.block_scaled_mma ? 32 : 16;
  double const loss = ((per_mma + 1) * 0x1p-25 + 0x1p-23) * logit.largest * (1 + 0x1p-10);
  double const roundings = 2.0 * static_cast<double>(ceil_div(what.heads, 8)) + 3;
  return loss + roundings * 0x1p-24 * (logit.weighted + loss) + 0x1p-148;
}

/// Fills in what the call must leave behind.
void expect(MqaData& data, Arch const& arch) {
  MqaCase const& what = data.what;
  auto const elements = static_cast<std::size_t>(data.lines * data.columns);
  data.exact.assign(elements, -kInfinity);
  data.bound.assign(elements, 0);
  data.untouched.assign(elements, what.clean ? 0 : 1);
  auto const note = [&](Note which) -> std::uint32_t& { return data.notes[static_cast<std::size_t>(which)]; };
  for (std::int64_t line = 0; line < data.lines; ++line) {
    Seen const& seen = data.seen[static_cast<std::size_t>(line)];
    note(Note::kClippedKeys) += seen.clipped;
    std::vector<float> weights;
    for (std::int64_t head = 0; head < what.heads; ++head)
      weights.push_back(get<float>(data.weights, 4 * (line * data.weights_pitch + head)));
    ref::MqaQuery const query{.data = data.q.data() + line * data.row_stride,
                              .head_stride = data.head_stride,
                              .heads = static_cast<int>(what.heads),
                              .dim = static_cast<int>(what.dim),
                              .weights = weights.data()};
    for (std::int64_t key = seen.lo; key < seen.hi; ++key) {
      std::int64_t const column = !what.paged && what.compressed ? key - seen.lo : key;
      auto const at = static_cast<std::size_t>(line * data.columns + column);
      data.untouched[at] = 0;
      auto const [bytes, scale] = key_of(data, line / what.rows, key);
      if (bytes == nullptr) continue;
      ref::MqaLogit const logit = ref::mqa_logit(query, bytes, scale);
      note(Note::kNanLogit) += std::isnan(logit.value);
      if (std::isnan(logit.value)) continue;
      data.exact[at] = logit.value;
      if (what.data != DataKind::kExact && !std::isinf(logit.value))
        data.bound[at] = bound_of(logit, what, arch);
    }
  }
}

/// Entries that name no page are noted once for each unit that needs them.
void expect_bad_pages(MqaData& data, int unit_rows) {
  MqaCase const& what = data.what;
  for (std::int64_t request = 0; what.paged && request < what.requests; ++request) {
    for (std::int64_t first = 0; first < what.rows; first += unit_rows) {
      std::int64_t longest = 0;
      for (std::int64_t t = first; t < std::min(what.rows, first + unit_rows); ++t)
        longest = std::max(longest, data.seen[static_cast<std::size_t>(request * what.rows + t)].hi);
      for (std::int64_t key = 0; key < longest; key += what.page)
        data.notes[static_cast<std::size_t>(Note::kBadPage)] += key_of(data, request, key).first == nullptr;
    }
  }
}

MqaShape shape_of(MqaCase const& what) {
  return {.paged = what.paged, .rows = what.rows, .heads = what.heads, .dim = what.dim, .page = what.page};
}

MqaData make_mqa_data(MqaCase const& what, std::uint64_t seed, Arch const& arch) {
  MqaData data;
  data.what = what;
  data.lines = what.requests * what.rows;
  Random random(seed_of(what.name(), seed));
  make_queries(data, random);
  what.paged ? make_paged(data, random) : make_ragged(data, random);
  data.pitch = mqa_logits_pitch(data.columns);
  data.logits = filled_buffer(data.lines * data.pitch * 4);
  std::uint32_t const poison = poison_bits(Dtype::kF32);
  for (std::size_t i = 0; i + 4 <= data.logits.bytes.size(); i += 4)
    std::memcpy(data.logits.bytes.data() + i, &poison, 4);
  expect(data, arch);
  expect_bad_pages(data, mqa_plan(shape_of(what), arch).query_warps);
  return data;
}

// ---- runs ----

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
    put(no_head.weights, 4 * (line * data.weights_pitch + what.heads - 1), 0.0f);
    for (std::int64_t head = 0; head < what.heads; ++head) {
      for (std::int64_t d = what.dim - 32; d < what.dim; ++d)
        put(no_tail.q, line * data.row_stride + head * data.head_stride + d, std::byte{0});
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
    wrong.notes = {};
    expect(wrong, context.arch());
    expect_bad_pages(wrong, mqa_plan(shape_of(what), context.arch()).query_warps);
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
