// m16n8k64 on packed e2m1 for a whole tile at once; the same bits as fp4_dot in tensor_core_definition.hpp.
#pragma once

#include "num/tensor_core_definition.hpp"

namespace deepwell::num {

/// The tile is valid, as tensor_core.cpp checks. Runs what suits the processor best.
void fp4_tile(MmaFp4Tile const& tile);

/// The same, compiled for the oldest processor of the target.
void fp4_tile_baseline(MmaFp4Tile const& tile);

}  // namespace deepwell::num
