// The fused operation of k32 and narrower MMAs for a whole tile at once; the same bits as tensor_core_definition.hpp.
#pragma once

#include <cstdint>

#include "num/tensor_core_definition.hpp"

namespace deepwell::num {

/// tile.d = tile.a tile.b + tile.c, in one step. The tile is valid, as tensor_core.cpp checks; `through_f16` as in fused_dot,
/// with e4m3 and e5m2 only. Runs what suits the processor best.
template <class Code>
void fused_step(MmaTile<Code> const& tile, bool through_f16 = false);

/// The same, compiled for the oldest processor of the target.
void fused_step_baseline(MmaTile<std::uint8_t> const& tile, bool through_f16 = false);
void fused_step_baseline(MmaTile<std::uint16_t> const& tile, bool through_f16 = false);
void fused_step_baseline(MmaTile<std::uint32_t> const& tile, bool through_f16 = false);

}  // namespace deepwell::num
