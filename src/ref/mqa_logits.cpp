// One logit from its definition.
#include "ref/mqa_logits.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "num/formats.hpp"

namespace deepwell::ref {
namespace {

std::array<double, 256> const& values() {
  static std::array<double, 256> const table = [] {
    std::array<double, 256> out{};
    for (int code = 0; code < 256; ++code) out[code] = num::e4m3_to_float(static_cast<std::uint8_t>(code));
    return out;
  }();
  return table;
}

double at_least_normal(double value) { return value == 0 ? 0.0 : std::max(std::fabs(value), 0x1p-6); }

}  // namespace

MqaLogit mqa_logit(MqaQuery const& query, std::byte const* key, float scale) {
  MqaLogit out;
  for (int head = 0; head < query.heads; ++head) {
    std::byte const* const q = query.data + head * query.head_stride;
    double dot = 0, largest = 0;
    for (int first = 0; first < query.dim; first += 16) {
      double most = std::fabs(dot);
      for (int d = first; d < first + 16; ++d) {
        double const a = values()[std::to_integer<std::size_t>(q[d])];
        double const b = values()[std::to_integer<std::size_t>(key[d])];
        dot += a * b;
        most = std::max(most, at_least_normal(a) * at_least_normal(b));
      }
      largest += std::max(most, std::fabs(dot));
    }
    double const relu = dot < 0 ? 0.0 : dot;
    double const weight = query.weights[head];
    out.value += relu * weight;
    out.weighted += relu * std::fabs(weight);
    out.largest += largest * std::fabs(weight);
  }
  double const factor = scale;
  out.value *= factor;
  out.weighted *= std::fabs(factor);
  out.largest *= std::fabs(factor);
  return out;
}

}  // namespace deepwell::ref
