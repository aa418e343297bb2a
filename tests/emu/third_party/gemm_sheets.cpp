// Launch sheets: small GEMMs that load through tensor maps.
#include "launch_sheets.hpp"

namespace deepwell::third_party {
namespace {

/// A bf16 matrix [rows, columns], columns contiguous, loaded in boxes of `box_rows` by 64 with the 128-byte swizzle.
std::array<std::byte, 128> bf16_map(std::uint64_t base, int rows, int columns, int box_rows) {
  emu::TensorMapSpec spec;
  spec.data_type = 9;  // bf16
  spec.rank = 2;
  spec.base = base;
  spec.dims = {static_cast<std::uint64_t>(columns), static_cast<std::uint64_t>(rows)};
  spec.strides_bytes = {static_cast<std::uint64_t>(columns) * 2};
  spec.box = {64, static_cast<std::uint32_t>(box_rows)};
  spec.swizzle = 3;  // 128 bytes
  return emu::encode_tensor_map(spec);
}

/// out[n, m] = sum over k of activations[n, k] weights[m, k] + bias[m]. K and N are not multiples of their tiles.
Finding run_tinygemm(Kernel& kernel, std::mt19937& random, bool with_bias) {
  Finding finding;
  for (int round = 0; round < 3; ++round) {
    int const m = 48, n = round == 2 ? 1 : 13, k = round == 0 ? 1024 : 1640;
    std::normal_distribution<float> normal;
    auto matrix = [&](int count) {
      std::vector<std::uint16_t> out(static_cast<std::size_t>(count));
      for (auto& x : out) x = float_to_bf16(normal(random));
      return out;
    };
    auto const weights = matrix(m * k), activations = matrix(n * k), bias = matrix(m);
    emu::Memory memory;
    Buffer<std::uint16_t> dweights(memory, weights, "weights"),
        dactivations(memory, activations, "activations");
    Buffer<std::uint16_t> dbias(memory, bias, "bias"), out(memory, static_cast<std::size_t>(m * n), "out");
    Params params;
    params.add(out.address()).add(dactivations.address()).add(dweights.address());
    params.add(with_bias ? dbias.address() : std::uint64_t{0}).add(m).add(n).add(k);
    params.add(bf16_map(dweights.address(), m, k, 16), 128)
        .add(bf16_map(dactivations.address(), n, k, 8), 128);
    kernel.launch(memory,
                  {.grid = {3, static_cast<std::uint32_t>(n + 7) / 8, 1},
                   .block = {384, 1, 1},
                   .dynamic_smem_bytes = 4 * 4 * (16 + 8) * 64 * 2},
                  params);
    auto const got = out.read();
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < m; ++j) {
        double sum = with_bias ? bf16_to_float(bias[static_cast<std::size_t>(j)]) : 0, size = std::abs(sum);
        for (int l = 0; l < k; ++l) {
          double const product =
              static_cast<double>(bf16_to_float(activations[static_cast<std::size_t>(i * k + l)])) *
              bf16_to_float(weights[static_cast<std::size_t>(j * k + l)]);
          sum += product;
          size += std::abs(product);
        }
        // Half a unit of bf16, and truncation in each of the chained MMAs.
        double const bound = std::abs(sum) / 255 + size * std::ldexp(1.0, -22);
        finding.check(bf16_to_float(got[static_cast<std::size_t>(i * m + j)]), sum, bound,
                      fmt::format("out[{}, {}]", i, j));
      }
    }
  }
  return finding;
}

}  // namespace

std::vector<Sheet> gemm_sheets() {
  return {
      {"tinygemm2",
       {"ELi64ELi4ELi4ELb0ELb1E"},
       "bf16 GEMM through TMA, bias",
       [](Kernel& k, std::mt19937& r) { return run_tinygemm(k, r, true); }},
      {"tinygemm2",
       {"ELi64ELi4ELi4ELb1ELb0E"},
       "the same, no bias, dependent launch",
       [](Kernel& k, std::mt19937& r) { return run_tinygemm(k, r, false); }},
  };
}

}  // namespace deepwell::third_party
