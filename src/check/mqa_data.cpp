// Data of the indexer's logits.
#include "check/mqa_data.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "checkpoint/quantise.hpp"
#include "num/formats.hpp"
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
      put_value(data.weights, 4 * (line * data.weights_pitch + head), weight);
      for (std::int64_t d = 0; d < what.dim; ++d)
        put_value(data.q, line * data.row_stride + head * data.head_stride + d, draw(random, what.data));
      // NaN that only one head has.
      if (what.data == DataKind::kHostile && line == 3 && head == 0)
        put_value(data.q, line * data.row_stride + what.dim - 1, std::byte{0x7f});
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
    put_value(data.starts, 4 * line, range.first);
    put_value(data.ends, 4 * line, range.second);
    longest = std::max<std::int64_t>(longest, std::int64_t{range.second} - range.first);
  }
  // Hostile: rows of the result are shorter than some ranges.
  data.columns = !what.compressed                  ? what.keys
                 : what.data == DataKind::kHostile ? what.keys / 2 + 5
                                                   : std::min(longest, what.keys);
  for (auto const& [first, last] : ranges) {
    MqaSeen seen{.lo = std::clamp<std::int64_t>(first, 0, what.keys),
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
        std::ranges::any_of(data.seen, [&](MqaSeen const& s) { return s.lo <= key && key < s.hi; });
    for (std::int64_t d = 0; is_seen && d < what.dim; ++d)
      put_value(data.keys, key * data.keys_stride + d, draw(random, what.data));
    if (is_seen) put_value(data.scales, 4 * key, draw_scale(random, what.data));
    if (what.data == DataKind::kHostile && key % 29 == 3)
      put_value(data.scales, 4 * key, key % 2 == 0 ? kNan : kInfinity);
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
      put_value(data.ends, 4 * (request * what.rows + t), static_cast<std::int32_t>(length));
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
      put_value(data.table, 4 * at, !bad ? page : at % 2 == 0 ? -1 : static_cast<std::int32_t>(data.pages));
      for (std::int64_t key = 0; key < what.page && column * what.page + key < longest; ++key) {
        std::int64_t const from = page * data.keys_stride;
        for (std::int64_t d = 0; d < what.dim; ++d)
          put_value(data.keys, from + key * what.dim + d, draw(random, what.data));
        put_value(data.keys, from + what.page * what.dim + 4 * key,
                  hostile && key % 29 == 3 ? kNan : draw_scale(random, what.data));
        if (hostile && key % 31 == 5) put_value(data.keys, from + key * what.dim, std::byte{0xff});
      }
    }
  }
}

/// Where a key and its scale are; null if its page is not there.
std::pair<std::byte const*, float> key_of(MqaData const& data, std::int64_t request, std::int64_t key) {
  MqaCase const& what = data.what;
  if (!what.paged) return {data.keys.data() + key * data.keys_stride, get_value<float>(data.scales, 4 * key)};
  std::int64_t const column = key / what.page, place = key % what.page;
  if (column >= data.table_columns) return {nullptr, 0};
  std::int32_t const page = get_value<std::int32_t>(data.table, 4 * (request * data.table_columns + column));
  if (page < 0 || page >= data.pages) return {nullptr, 0};
  std::int64_t const from = page * data.keys_stride;
  return {data.keys.data() + from + place * what.dim,
          get_value<float>(data.keys, from + what.page * what.dim + 4 * place)};
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

/// Exact logits, bounds, and the notes about rows and logits.
void expect_logits(MqaData& data, Arch const& arch) {
  MqaCase const& what = data.what;
  auto const elements = static_cast<std::size_t>(data.lines * data.columns);
  data.exact.assign(elements, -kInfinity);
  data.bound.assign(elements, 0);
  data.untouched.assign(elements, what.clean ? 0 : 1);
  auto const note = [&](Note which) -> std::uint32_t& { return data.notes[static_cast<std::size_t>(which)]; };
  for (std::int64_t line = 0; line < data.lines; ++line) {
    MqaSeen const& seen = data.seen[static_cast<std::size_t>(line)];
    note(Note::kClippedKeys) += seen.clipped;
    std::vector<float> weights;
    for (std::int64_t head = 0; head < what.heads; ++head)
      weights.push_back(get_value<float>(data.weights, 4 * (line * data.weights_pitch + head)));
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

}  // namespace

void expect_mqa(MqaData& data, Arch const& arch) {
  data.notes = {};
  expect_logits(data, arch);
  expect_bad_pages(data, mqa_plan(shape_of(data.what), arch).query_warps);
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
  expect_mqa(data, arch);
  return data;
}

}  // namespace deepwell::check
