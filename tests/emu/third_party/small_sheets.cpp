// Launch sheets: the NVFP4 MMA probe, hash top-k routing, the split merge.
#include "launch_sheets.hpp"

namespace deepwell::third_party {
namespace {

/// Random scales: e4m3 without sign, or 1.0 where every sum of the product is exact.
std::vector<std::uint8_t> scales(std::mt19937& random, std::size_t count, bool unit) {
  std::vector<std::uint8_t> out(count, 0x38);
  if (!unit) {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(random() % 0x7f);
  }
  return out;
}

std::vector<std::uint8_t> random_bytes(std::mt19937& random, std::size_t count) {
  std::vector<std::uint8_t> out(count);
  for (auto& byte : out) byte = static_cast<std::uint8_t>(random());
  return out;
}

/// a [16, 64] e2m1 and b: 32 columns of 64 along K (`candidate_major`: 64 rows of 8). Scales per 16 of K.
Finding run_probe(Kernel& kernel, std::mt19937& random, bool candidate_major) {
  Finding finding;
  int const columns = candidate_major ? 8 : 32;
  for (int round = 0; round < 6; ++round) {
    bool const unit = round < 2;
    int const iterations = round % 2 == 0 ? 1 : 3;
    auto const a = random_bytes(random, 16 * 32),
               b = random_bytes(random, static_cast<std::size_t>(columns) * 32);
    auto const sfa = scales(random, 16 * 4, unit),
               sfb = scales(random, static_cast<std::size_t>(columns) * 4, unit);
    emu::Memory memory;
    Buffer<std::uint8_t> da(memory, a, "a"), db(memory, b, "b"), dsfa(memory, sfa, "sfa"),
        dsfb(memory, sfb, "sfb");
    Buffer<float> out(memory, static_cast<std::size_t>(16 * columns), "out");
    Params params;
    params.add(da.address())
        .add(db.address())
        .add(dsfa.address())
        .add(dsfb.address())
        .add(out.address())
        .add(iterations);
    kernel.launch(memory, {.grid = {1, 1, 1}, .block = {32, 1, 1}}, params);
    auto const got = out.read();
    auto nibble = [](std::vector<std::uint8_t> const& from, int index) {
      return e2m1_value(from[static_cast<std::size_t>(index / 2)] >> (index % 2 * 4) & 15u);
    };
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < columns; ++column) {
        double sum = 0, size = 0;
        for (int k = 0; k < 64; ++k) {
          double const x = nibble(a, row * 64 + k);
          double const y = candidate_major ? nibble(b, k * 8 + column) : nibble(b, column * 64 + k);
          double const scale = e4m3_magnitude(sfa[static_cast<std::size_t>(row * 4 + k / 16)]) *
                               e4m3_magnitude(sfb[static_cast<std::size_t>(column * 4 + k / 16)]);
          sum += x * y * scale;
          size += std::abs(x * y * scale);
        }
        // Each of the chained instructions truncates to 24 bits once; unit scales are exact.
        double const bound = unit ? 1e-300 : iterations * size * iterations * std::ldexp(1.0, -23) + 1e-300;
        finding.check(got[static_cast<std::size_t>(row * columns + column)], iterations * sum, bound,
                      fmt::format("out[{}, {}], {} iterations", row, column, iterations));
      }
    }
  }
  return finding;
}

Finding run_hash_topk(Kernel& kernel, std::mt19937& random) {
  Finding finding;
  for (unsigned shared = 0; shared < 2; ++shared) {
    unsigned const tokens = 37, top = 6, experts = 256, vocabulary = 100, fused = top + shared;
    float const scale = 1.5f;
    std::normal_distribution<float> normal(0, 3);
    std::vector<float> logits(tokens * experts);
    for (float& x : logits) x = normal(random);
    std::vector<std::int64_t> ids(tokens);
    for (auto& id : ids) id = static_cast<std::int64_t>(random() % vocabulary);
    std::vector<std::int32_t> table(vocabulary * top);
    for (auto& expert : table) expert = static_cast<std::int32_t>(random() % experts);
    emu::Memory memory;
    Buffer<float> dlogits(memory, logits, "logits"), weights(memory, tokens * fused, "weights");
    Buffer<std::int64_t> dids(memory, ids, "ids");
    Buffer<std::int32_t> dtable(memory, table, "table"), out_ids(memory, tokens * fused, "out_ids");
    Params params;
    params.add(dlogits.address())
        .add(dids.address())
        .add(dtable.address())
        .add(out_ids.address())
        .add(weights.address());
    params.add(tokens).add(top).add(experts).add(shared).add(scale).pad_to(64);
    kernel.launch(memory, {.grid = {(tokens + 3) / 4, 1, 1}, .block = {128, 1, 1}}, params);
    auto const got_weights = weights.read();
    auto const got_ids = out_ids.read();
    for (unsigned t = 0; t < tokens; ++t) {
      std::vector<double> w(top);
      double sum = 0;
      for (unsigned k = 0; k < top; ++k) {
        auto const expert = static_cast<unsigned>(table[static_cast<std::size_t>(ids[t]) * top + k]);
        w[k] = std::sqrt(std::log1p(std::exp(static_cast<double>(logits[t * experts + expert]))));
        sum += w[k];
        finding.check_same(static_cast<std::uint32_t>(got_ids[t * fused + k]), expert,
                           fmt::format("id[{}, {}]", t, k));
      }
      for (unsigned k = 0; k < top; ++k) {
        double const want = w[k] / sum;
        // Compiled with fast mathematics: approximate exponential, division and square root.
        finding.check(got_weights[t * fused + k], want, want * 1e-5, fmt::format("weight[{}, {}]", t, k));
      }
      if (shared != 0) {
        finding.check_same(static_cast<std::uint32_t>(got_ids[t * fused + top]), experts,
                           fmt::format("shared id[{}]", t));
        finding.check(got_weights[t * fused + top], 1 / 1.5, 1e-6, fmt::format("shared weight[{}]", t));
      }
    }
  }
  return finding;
}

/// out = sum over splits of 2^(lse - max) mid / (sum of 2^(lse - max) + 2^(sink log2(e) - max)), per token and head.
Finding run_merge(Kernel& kernel, std::mt19937& random) {
  Finding finding;
  for (int round = 0; round < 4; ++round) {
    int const tokens = 5, heads = 8, splits = round < 2 ? 7 : 40, dims = 512;
    bool const with_sink = round % 2 == 1;
    std::normal_distribution<float> normal;
    std::vector<std::uint16_t> mid(static_cast<std::size_t>(tokens * heads * splits * dims));
    for (auto& x : mid) x = float_to_bf16(normal(random));
    std::vector<float> lse(static_cast<std::size_t>(tokens * heads * splits)), sink(heads);
    for (float& x : lse) x = random() % 4 == 0 ? -1e30f : 4 * normal(random);
    for (int s = 0; s < splits; ++s)
      lse[static_cast<std::size_t>(splits + s)] = -1e30f;  // token 0, head 1: nothing valid
    for (float& x : sink) x = normal(random);
    emu::Memory memory;
    Buffer<std::uint16_t> dmid(memory, mid, "mid_out"),
        out(memory, static_cast<std::size_t>(tokens * heads * dims), "out");
    Buffer<float> dlse(memory, lse, "mid_lse"), dsink(memory, sink, "sink"),
        out_lse(memory, static_cast<std::size_t>(tokens * heads), "out_lse");
    float const lse_scale = 0.5f;
    Params params;
    params.add(dmid.address()).add(dlse.address()).add(out.address()).add(out_lse.address());
    params.add(with_sink ? dsink.address() : std::uint64_t{0}).add(tokens).add(splits).add(heads).add(heads);
    params.add(static_cast<std::uint64_t>(heads)).add(lse_scale);
    kernel.launch(memory,
                  {.grid = {static_cast<std::uint32_t>(tokens), static_cast<std::uint32_t>(heads), 1},
                   .block = {64, 1, 1},
                   .dynamic_smem_bytes = static_cast<std::size_t>(splits) * 4},
                  params);
    auto const got = out.read();
    auto const got_lse = out_lse.read();
    for (int th = 0; th < tokens * heads; ++th) {
      double sum = 0, size = 0;
      std::vector<double> acc(dims), absolute(dims);
      for (int s = 0; s < splits; ++s) {
        double const l = lse[static_cast<std::size_t>(th * splits + s)];
        if (l <= -1e29) continue;
        double const weight = std::exp2(l);
        sum += weight;
        for (int d = 0; d < dims; ++d) {
          double const x = bf16_to_float(mid[static_cast<std::size_t>((th * splits + s) * dims + d)]);
          acc[static_cast<std::size_t>(d)] += weight * x;
          absolute[static_cast<std::size_t>(d)] += std::abs(weight * x);
        }
      }
      if (with_sink) sum += std::exp(static_cast<double>(sink[static_cast<std::size_t>(th % heads)]));
      size = std::log2(sum);
      for (int d = 0; d < dims; ++d) {
        double const want = sum > 0 ? acc[static_cast<std::size_t>(d)] / sum : 0;
        double const bound =
            sum > 0 ? std::abs(want) / 256 + absolute[static_cast<std::size_t>(d)] / sum * 1e-5 : 1e-300;
        finding.check(bf16_to_float(got[static_cast<std::size_t>(th * dims + d)]), want, bound + 1e-300,
                      fmt::format("out[{}, {}]", th, d));
      }
      finding.check(got_lse[static_cast<std::size_t>(th)], sum > 0 ? lse_scale * size : -INFINITY,
                    1e-5 * (1 + std::abs(size)), fmt::format("lse[{}]", th));
    }
  }
  return finding;
}

}  // namespace

std::vector<Sheet> small_sheets() {
  return {
      {"nvfp4_mma_layout_probe",
       {"NVFP4M16N32K64Kernel"},
       "NVFP4 mma m16n8k64, ue4m3 scales",
       [](Kernel& k, std::mt19937& r) { return run_probe(k, r, false); }},
      {"nvfp4_mma_layout_probe",
       {"CandidateMajorKernel"},
       "the same, B gathered by shuffles",
       [](Kernel& k, std::mt19937& r) { return run_probe(k, r, true); }},
      {"hash_topk", {"moe_hash_topk_fused", "Lb0"}, "hash top-k routing", run_hash_topk},
      {"hash_topk", {"moe_hash_topk_fused", "Lb1"}, "hash top-k routing, dependent launch", run_hash_topk},
      {"merge", {"decode_dsv4_merge_kernel"}, "merge of attention splits, 8 heads", run_merge},
  };
}

}  // namespace deepwell::third_party
