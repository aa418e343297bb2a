// Launch sheets: sparse latent-attention decode over paged FP8 and FP4 caches. The kernels leave partial results per split;
// they are merged here and compared with plain attention in double precision.
#include <algorithm>

#include "launch_sheets.hpp"

namespace deepwell::third_party {
namespace {

constexpr int kDims = 512, kHeads = 8, kTokens = 3;

/// A paged cache of 512-value rows: FP8 with a UE8M0 scale per 32, or FP4 with an E4M3 scale per 16, scales at the page's end.
struct PagedCache {
  int pages, page_size;
  std::vector<std::uint8_t> bytes;
  std::size_t stride;
  std::vector<std::vector<double>> rows;  // decoded
};

PagedCache make_cache(std::mt19937& random, int pages, int page_size, bool fp4) {
  std::size_t const data = fp4 ? 256 : 512, scales = fp4 ? 32 : 16;
  std::normal_distribution<float> normal;
  PagedCache cache{pages, page_size, {}, static_cast<std::size_t>(page_size) * (data + scales), {}};
  cache.bytes.resize(cache.stride * static_cast<std::size_t>(pages));
  for (int row = 0; row < pages * page_size; ++row) {
    std::size_t const page = cache.stride * static_cast<std::size_t>(row / page_size);
    std::size_t const entry = static_cast<std::size_t>(row % page_size);
    std::uint8_t* const at = &cache.bytes[page + entry * data];
    std::uint8_t* const scale_at =
        &cache.bytes[page + static_cast<std::size_t>(page_size) * data + entry * scales];
    std::vector<double> values(kDims);
    int const group = fp4 ? 16 : 32;
    for (int g = 0; g < kDims / group; ++g) {
      double scale = 0;
      if (fp4) {
        scale_at[g] = static_cast<std::uint8_t>(0x30 + random() % 16);
        scale = e4m3_magnitude(scale_at[g]);
      } else {
        scale_at[g] = static_cast<std::uint8_t>(125 + random() % 4);
        scale = std::ldexp(1.0, scale_at[g] - 127);
      }
      for (int i = 0; i < group; ++i) {
        auto const d = static_cast<std::size_t>(g * group + i);
        if (fp4) {
          unsigned const code = to_e2m1(normal(random));
          at[d / 2] = static_cast<std::uint8_t>(d % 2 == 0 ? code : at[d / 2] | code << 4);
          values[d] = e2m1_value(code) * scale;
        } else {
          std::uint8_t const code = to_e4m3(normal(random));
          at[d] = code;
          values[d] = (code & 0x80 ? -1 : 1) * e4m3_magnitude(code) * scale;
        }
      }
    }
    cache.rows.push_back(std::move(values));
  }
  return cache;
}

struct DecodeShape {
  std::uint32_t threads;
  std::size_t smem;
  bool extra;            // a second cache, in FP4
  double weight_error;   // how far an attention weight may be off, relative
  double query_spacing;  // relative spacing that queries are rounded to, 0 when they are used as they are
};

Finding run_decode(Kernel& kernel, std::mt19937& random, DecodeShape shape) {
  Finding finding;
  int const topk = 128, extra_topk = shape.extra ? 64 : 0, splits = 3, chunks_per_block = 1;
  PagedCache const main = make_cache(random, 4, 64, false);
  PagedCache const extra = make_cache(random, 5, 16, true);
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> q(kTokens * kHeads * kDims);
  for (auto& x : q) x = float_to_bf16(normal(random));
  std::vector<std::int32_t> indices(kTokens * topk), extra_indices(static_cast<std::size_t>(kTokens) * 64),
      lengths{128, 77, 1}, extra_lengths{64, 20, 0};
  for (auto& i : indices) i = random() % 8 == 0 ? -1 : static_cast<std::int32_t>(random() % main.rows.size());
  for (auto& i : extra_indices)
    i = random() % 8 == 0 ? -1 : static_cast<std::int32_t>(random() % extra.rows.size());
  indices[2 * topk] = 5;  // the token with one candidate has one

  emu::Memory memory;
  Buffer<std::uint16_t> dq(memory, q, "q"),
      mid(memory, static_cast<std::size_t>(kTokens * kHeads * splits * kDims), "mid_out");
  Buffer<std::uint8_t> dmain(memory, main.bytes, "kv"), dextra(memory, extra.bytes, "extra_kv");
  Buffer<std::int32_t> dindices(memory, indices, "indices"),
      dextra_indices(memory, extra_indices, "extra_indices");
  Buffer<std::int32_t> dlengths(memory, lengths, "lengths"),
      dextra_lengths(memory, extra_lengths, "extra_lengths");
  Buffer<float> lse(memory, static_cast<std::size_t>(kTokens * kHeads * splits), "mid_lse");
  float const sm_scale = 1 / std::sqrt(512.0f);
  auto if_extra = [&](std::uint64_t address) { return shape.extra ? address : std::uint64_t{0}; };
  Params params;
  params.add(dq.address()).add(dmain.address()).add(dindices.address()).add(mid.address()).add(lse.address());
  params.add(dlengths.address()).add(if_extra(dextra.address())).add(if_extra(dextra_indices.address()));
  params.add(if_extra(dextra_lengths.address()))
      .add(extra_topk)
      .add(extra.page_size)
      .add(static_cast<std::uint64_t>(extra.stride));
  params.add(kTokens).add(kHeads).add(topk).add(splits).add(chunks_per_block).add(sm_scale);
  params.add(static_cast<std::uint64_t>(main.stride))
      .add(std::uint64_t{128})
      .add(std::uint64_t{64})
      .add(main.page_size);
  kernel.launch(memory,
                {.grid = {kTokens, 1, static_cast<std::uint32_t>(splits)},
                 .block = {shape.threads, 1, 1},
                 .dynamic_smem_bytes = shape.smem},
                params);
  auto const got_mid = mid.read();
  auto const got_lse = lse.read();
  for (int t = 0; t < kTokens; ++t) {
    std::vector<std::vector<double> const*> rows;
    for (int i = 0; i < lengths[static_cast<std::size_t>(t)]; ++i) {
      int const index = indices[static_cast<std::size_t>(t * topk + i)];
      if (index >= 0) rows.push_back(&main.rows[static_cast<std::size_t>(index)]);
    }
    for (int i = 0; shape.extra && i < extra_lengths[static_cast<std::size_t>(t)]; ++i) {
      int const index = extra_indices[static_cast<std::size_t>(t * 64 + i)];
      if (index >= 0) rows.push_back(&extra.rows[static_cast<std::size_t>(index)]);
    }
    for (int h = 0; h < kHeads; ++h) {
      auto const th = static_cast<std::size_t>(t * kHeads + h);
      std::vector<double> want(kDims), size(kDims), got(kDims);
      double sum = 0, score_error = 0;
      for (auto const* row : rows) {
        double dot = 0, squares = 0;
        for (std::size_t d = 0; d < kDims; ++d) {
          double const product = bf16_to_float(q[th * kDims + d]) * (*row)[d];
          dot += product;
          squares += product * product;
        }
        // Rounding the query spreads the score like a random walk; five standard deviations are allowed.
        score_error =
            std::max(score_error, 5 * shape.query_spacing / std::sqrt(12.0) * std::sqrt(squares) * sm_scale);
        double const weight = std::exp(dot * sm_scale);
        sum += weight;
        for (std::size_t d = 0; d < kDims; ++d) {
          want[d] += weight * (*row)[d];
          size[d] += weight * std::abs((*row)[d]);
        }
      }
      double got_sum = 0;
      for (int s = 0; s < splits; ++s) {
        auto const ths = th * static_cast<std::size_t>(splits) + static_cast<std::size_t>(s);
        if (got_lse[ths] <= -1e29) continue;
        double const weight = std::exp2(static_cast<double>(got_lse[ths]));
        got_sum += weight;
        for (std::size_t d = 0; d < kDims; ++d) got[d] += weight * bf16_to_float(got_mid[ths * kDims + d]);
      }
      finding.check(std::log(got_sum), std::log(sum), shape.weight_error + score_error,
                    fmt::format("logarithm of the sum [{}, {}]", t, h));
      for (std::size_t d = 0; d < kDims; ++d) {
        finding.check(got[d] / got_sum, want[d] / sum,
                      (shape.weight_error + 2 * score_error) * size[d] / sum + 1e-6,
                      fmt::format("out[{}, {}, {}]", t, h, d));
      }
    }
  }
  return finding;
}

}  // namespace

std::vector<Sheet> attention_sheets() {
  // bf16 probabilities and outputs: 2^-8 each. FP8 queries and probabilities: spacing 2^-3 each.
  DecodeShape const bf16{256, 86784, false, 0.01, 0}, bf16_extra{256, 86784, true, 0.01, 0},
      fp8{288, 86304, false, 0.0625, 0.125};
  return {
      {"decode_bf16",
       {"dsv41_bf16_kernel"},
       "sparse decode, FP8 cache, bf16 MMA",
       [=](Kernel& k, std::mt19937& r) { return run_decode(k, r, bf16); }},
      {"decode_bf16_fp4",
       {"dsv41_bf16_kernel"},
       "sparse decode, FP8 and FP4 caches, bf16 MMA",
       [=](Kernel& k, std::mt19937& r) { return run_decode(k, r, bf16_extra); }},
      {"decode_fp8",
       {"decode_dsv4_kernel"},
       "sparse decode, FP8 cache, block-scaled MMA",
       [=](Kernel& k, std::mt19937& r) { return run_decode(k, r, fp8); },
       // It initialises mbarriers that bulk copies signal on without a fence that the copy unit would see.
       "against an earlier initialisation of an mbarrier"},
  };
}

}  // namespace deepwell::third_party
