// Infinity and NaN in the tiles of tensor_core_fused.cpp.
#pragma once

#include <cstdint>

#include "num/tensor_core.hpp"

namespace deepwell::num {

/// What is NaN or infinite: bit m for the rows of A, bit n for the columns of B, their scale factors included.
struct SpecialParts {
  std::uint32_t nan_a = 0, nan_b = 0, infinite_a = 0, infinite_b = 0;
  bool nan(int m, int n) const { return ((nan_a >> m | nan_b >> n) & 1) != 0; }
  bool infinite(int m, int n) const { return ((infinite_a >> m | infinite_b >> n) & 1) != 0; }
};

template <class Code>
SpecialParts find_specials(MmaTile<Code> const& tile);

/// Output (m, n) where its row, its column or its C is special.
template <class Code>
std::uint32_t special_output(MmaTile<Code> const& tile, SpecialParts const& specials, bool through_f16, int m,
                             int n);

}  // namespace deepwell::num
