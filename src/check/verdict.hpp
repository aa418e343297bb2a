// Is d right? Element by element against the bound, bit for bit where sums are exact, and nothing around it touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "check/data.hpp"

namespace deepwell::check {

struct Verdict {
  bool pass = false;
  // |d - exact| and its bound at the element that comes closest to its bound (or passes it). For kExact: the distance to the
  // exact value rounded once, and 0.
  double error = 0, bound = 0;
  std::string reason;  // empty when it passes
};

/// Judges d's memory as it is after the call (`after` is as large as `data.d.bytes`) against `data.exact`. `bounds` is
/// [batch, m, n]; for kExact the bits must be those of the exact value rounded once (either zero for 0), whatever the bound.
Verdict judge(CaseData const& data, std::span<double const> bounds, std::span<std::byte const> after);

/// A correct d made by the reference instead of a device: exact values rounded once, everything else as before the call.
std::vector<std::byte> reference_output(CaseData const& data);

}  // namespace deepwell::check
