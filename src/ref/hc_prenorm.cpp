// The hyper-connections' product, term by term.
#include "ref/hc_prenorm.hpp"

#include <bit>
#include <cstring>

namespace deepwell::ref {
namespace {

constexpr std::int64_t kBlock = 64;

float bf16_at(std::byte const* from) {
  std::uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

float f32_at(std::byte const* from) {
  float value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

double cut_to_tf32(float value) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & ~std::uint32_t{0x1fff});
}

HcPrenormResult hc_prenorm(HcPrenormOperands const& o, std::int64_t splits, ThreadPool& pool) {
  HcPrenormResult out;
  out.d.resize(static_cast<std::size_t>(splits * o.m * o.n));
  out.sqr_sum.resize(static_cast<std::size_t>(splits * o.m));
  std::int64_t const blocks = (o.k + kBlock - 1) / kBlock;
  pool.parallel_for(static_cast<std::size_t>(o.m), [&](std::size_t index) {
    auto const row = static_cast<std::int64_t>(index);
    std::int64_t k = 0;
    for (std::int64_t split = 0; split < splits; ++split) {
      std::int64_t const its = blocks / splits + (split < blocks % splits ? 1 : 0);
      std::int64_t const end = k + its * kBlock < o.k ? k + its * kBlock : o.k;
      for (std::int64_t column = 0; column < o.n; ++column) {
        double sum = 0;
        for (std::int64_t i = k; i < end; ++i) {
          double const a = bf16_at(o.a + row * o.a_pitch + 2 * i);
          sum += a * cut_to_tf32(f32_at(o.b + column * o.b_pitch + 4 * i));
        }
        out.d[static_cast<std::size_t>((split * o.m + row) * o.n + column)] = sum;
      }
      double squares = 0;
      for (std::int64_t i = k; i < end; ++i) {
        double const a = bf16_at(o.a + row * o.a_pitch + 2 * i);
        squares += a * a;
      }
      out.sqr_sum[static_cast<std::size_t>(split * o.m + row)] = squares;
      k = end;
    }
  });
  return out;
}

}  // namespace deepwell::ref
