// Operands of the indexer's logits in host memory, with guard bands and poison, and what a call must leave behind.
#pragma once

#include <array>
#include <cstring>
#include <vector>

#include "base/arch.hpp"
#include "check/data.hpp"
#include "check/mqa_logits.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"

namespace deepwell::check {

/// What a row sees after clipping, and whether there was something to clip.
struct MqaSeen {
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
  std::vector<MqaSeen> seen;  // of each line
  // [lines, columns]: what must be there, and which elements keep their bits.
  std::vector<double> exact, bound;
  std::vector<char> untouched;
  std::array<std::uint32_t, static_cast<std::size_t>(Note::kCount)> notes{};
};

/// The part of a case that chooses a kernel.
MqaShape shape_of(MqaCase const& what);

/// The same for the same case and seed.
MqaData make_mqa_data(MqaCase const& what, std::uint64_t seed, Arch const& arch);

/// Fills in what the call must leave behind, from the operands as they are now.
void expect_mqa(MqaData& data, Arch const& arch);

/// A value at a byte of a buffer's tensor.
template <class T>
void put_value(Buffer& buffer, std::int64_t byte, T value) {
  std::memcpy(buffer.data() + byte, &value, sizeof value);
}
template <class T>
T get_value(Buffer const& buffer, std::int64_t byte) {
  T value;
  std::memcpy(&value, buffer.data() + byte, sizeof value);
  return value;
}

}  // namespace deepwell::check
