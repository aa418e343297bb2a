// Wrong outputs of the hyper-connections' product.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "check/hc_prenorm.hpp"

namespace deepwell::check {
namespace {

/// The elements of an output of [splits, m, columns] one after the other, read from its memory or written there.
struct Elements {
  std::int64_t start, splits, rows, columns, split_stride, row_stride;

  template <class F>
  void each(F&& f) const {
    std::int64_t index = 0;
    for (std::int64_t s = 0; s < splits; ++s) {
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j)
          f(index++, start + 4 * (s * split_stride + i * row_stride + j));
      }
    }
  }
  std::vector<float> read(std::vector<std::byte> const& memory) const {
    std::vector<float> out(static_cast<std::size_t>(splits * rows * columns));
    each([&](std::int64_t i, std::int64_t at) {
      std::memcpy(&out[static_cast<std::size_t>(i)], &memory[at], 4);
    });
    return out;
  }
  void write(std::vector<std::byte>& memory, std::vector<float> const& values, std::int64_t first = 0) const {
    each([&](std::int64_t i, std::int64_t at) {
      if (i >= first) std::memcpy(&memory[at], &values[static_cast<std::size_t>(i)], 4);
    });
  }
};

Elements elements_of_d(HcPrenormData const& data) {
  return {data.d.start, data.what.parts(), data.what.m, data.what.n, data.d_split_stride, data.d_pitch};
}
Elements elements_of_squares(HcPrenormData const& data) {
  return {data.sqr_sum.start,        data.what.parts(),  data.what.m, 1,
          data.sqr_sum_split_stride, data.sqr_sum_stride};
}

/// Sets a's elements [first, first + count) of every row to zero.
void clear_a(HcPrenormData& data, std::int64_t first, std::int64_t count) {
  for (std::int64_t i = 0; i < data.what.m; ++i)
    std::fill_n(data.a.data() + 2 * (i * data.a_pitch + first), 2 * count, std::byte{0});
}

/// b rounded to the nearest TF32 number before the call.
void round_b(HcPrenormData& data) {
  for (std::int64_t j = 0; j < data.what.n; ++j) {
    for (std::int64_t k = 0; k < data.what.k; ++k) {
      std::uint32_t bits;
      std::byte* const at = data.b.data() + 4 * (j * data.b_pitch + k);
      std::memcpy(&bits, at, 4);
      bits = (bits + 0x1000u) & 0xffffe000u;
      std::memcpy(at, &bits, 4);
    }
  }
}

}  // namespace

std::vector<MutationOutcome> mutate_hc_prenorm(HcPrenormCase const& what, HcPrenormCandidate const& how,
                                               std::uint64_t seed, HcPrenormProducer const& produce,
                                               ThreadPool& pool) {
  HcPrenormData const data = make_hc_prenorm(what, seed, pool);
  ref::HcPrenormResult const bounds = hc_prenorm_bounds(data, how, pool);
  HcPrenormOutput const right = produce(data);
  HcPrenormOutput const stale = produce(make_hc_prenorm(what, seed + 1, pool));
  Elements const d = elements_of_d(data), squares = elements_of_squares(data);
  std::vector<MutationOutcome> out;
  auto const add = [&](std::string mutation, HcPrenormOutput const& after) {
    Verdict const verdict = judge_hc_prenorm(data, bounds, after);
    out.push_back({what.name(), "hc_prenorm", std::move(mutation), !verdict.pass, verdict.reason});
  };
  auto const changed = [&](std::string mutation, auto&& change) {
    HcPrenormOutput after = right;
    change(after);
    add(std::move(mutation), after);
  };
  auto const of_mutated = [&](std::string mutation, auto&& change) {
    HcPrenormData copy = data;
    change(copy);
    add(std::move(mutation), produce(copy));
  };
  std::vector<float> const values = d.read(right.d), sums = squares.read(right.sqr_sum);
  auto const half = [](std::vector<float> const& all) { return static_cast<std::int64_t>(all.size()) / 2; };

  add("none", right);
  changed("zero d", [&](HcPrenormOutput& o) { d.write(o.d, std::vector<float>(values.size())); });
  changed("zero sqr_sum",
          [&](HcPrenormOutput& o) { squares.write(o.sqr_sum, std::vector<float>(sums.size())); });
  changed("stale d", [&](HcPrenormOutput& o) { o.d = stale.d; });
  changed("stale sqr_sum", [&](HcPrenormOutput& o) { o.sqr_sum = stale.sqr_sum; });
  changed("half-written d", [&](HcPrenormOutput& o) { d.write(o.d, d.read(stale.d), half(values)); });
  changed("half-written sqr_sum",
          [&](HcPrenormOutput& o) { squares.write(o.sqr_sum, squares.read(stale.sqr_sum), half(sums)); });
  changed("unwritten last row of d", [&](HcPrenormOutput& o) {
    std::vector<float> const before = d.read(data.d.bytes);
    d.write(o.d, before, static_cast<std::int64_t>(values.size()) - what.n);
  });
  changed(what.n > 1 ? "columns of d reordered" : "rows of d reordered", [&](HcPrenormOutput& o) {
    std::vector<float> rotated = values;
    if (what.n == 1) std::rotate(rotated.begin(), rotated.begin() + 1, rotated.end());
    for (std::size_t i = 0; i + static_cast<std::size_t>(what.n) <= rotated.size();
         i += static_cast<std::size_t>(what.n))
      std::rotate(rotated.begin() + i, rotated.begin() + i + 1, rotated.begin() + i + what.n);
    d.write(o.d, rotated);
  });
  if (what.parts() > 1) {
    changed("splits of d exchanged", [&](HcPrenormOutput& o) {
      std::vector<float> other = values;
      std::swap_ranges(other.begin(), other.begin() + what.m * what.n, other.begin() + what.m * what.n);
      d.write(o.d, other);
    });
  }
  if (data.d_pitch != what.n) {
    changed("d's pitch ignored", [&](HcPrenormOutput& o) {
      o.d = data.d.bytes;
      Elements dense = d;
      dense.row_stride = what.n;
      dense.write(o.d, values);
    });
  }
  of_mutated("last block of k dropped", [&](HcPrenormData& copy) {
    std::int64_t const count = what.k % kHcBlockK == 0 ? kHcBlockK : what.k % kHcBlockK;
    clear_a(copy, what.k - count, count);
  });
  if (what.data == DataKind::kExact) {
    of_mutated("b rounded instead of cut", round_b);
    of_mutated("one element of a dropped", [&](HcPrenormData& copy) {
      for (std::int64_t k = 0; k < what.k; ++k) {
        std::byte* const at = copy.a.data() + 2 * k;
        if (load_element(Dtype::kBf16, at) == 0) continue;
        store_element(Dtype::kBf16, at, 0);
        break;
      }
    });
  }
  return out;
}

}  // namespace deepwell::check
