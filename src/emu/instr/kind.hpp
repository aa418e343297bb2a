// What an instruction counts as in statistics, from its place in the instruction table.
#pragma once

#include <cstdint>

#include "emu/instr/instr.hpp"
#include "emu/statistics.hpp"

namespace deepwell::emu {

InstructionKind kind_of(Instr const& instr);

/// The column of SpaceCounts under which an access stands.
enum class AccessKind : std::uint8_t { kLoad, kStore, kAtomic };

/// Which unit does an asynchronous copy; kNone for all else.
enum class CopyKind : std::uint8_t { kNone, kPlain, kBulk, kTensor };
CopyKind copy_kind_of(Instr const& instr);

}  // namespace deepwell::emu
