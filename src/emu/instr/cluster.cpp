// Instruction family: mapa, getctarank, barrier.cluster.
#include "emu/instr/instr.hpp"

namespace deepwell::emu {

std::span<Row const> cluster_rows() { return {}; }

}  // namespace deepwell::emu
