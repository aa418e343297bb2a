// The call stack of a warp. Every lane has frames of its own, so lanes may call, recurse and return apart. A function's
// registers have one place in the warp's register file; a lane that calls a function which it is already in saves them first.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "emu/run/program.hpp"

namespace deepwell::emu {

/// Calls inside each other, and bytes of local memory with registers that recursion saves, of one thread.
inline constexpr std::size_t kMaxCallDepth = 8192;
inline constexpr std::size_t kMaxLocalBytes = 512 * 1024;

struct CallFrame {
  std::uint32_t call = 0;    // the instruction that called
  std::uint32_t callee = 0;  // Function::callees
  std::uint32_t caller_base = 0, caller_top = 0;
  bool saved = false;  // the registers of an earlier activation lie on the lane's stack
};

struct CallStack {
  std::array<std::vector<CallFrame>, kLanes> frames;
  std::array<std::vector<std::byte>, kLanes> saved;
  std::array<std::uint32_t, kLanes> base{}, top{};        // of the current frame in local memory
  std::vector<std::array<std::uint16_t, kLanes>> active;  // [callee][lane]: activations
  std::vector<std::byte> passed;                          // of one call or return, reused
  std::vector<std::uint8_t> passed_shadow;
};

/// The lanes of `mask` go to the first instruction of a callee. Other lanes of the fragment stay where they are.
void enter(Warp& warp, Instr const& instr, Mask mask, std::uint32_t callee);
/// The lanes of `mask` go back behind the calls that they came from.
void leave(Warp& warp, Mask mask);
/// Makes the current frame of a lane larger; returns the address of the new part. Reports an overflow.
std::uint32_t extend_frame(Warp& warp, Instr const& instr, int lane, std::uint64_t bytes,
                           std::uint32_t alignment);
/// The call stack, made when it is first wanted.
CallStack& calls_of(Warp& warp);

/// One argument or result of at most 8 bytes.
struct PassedBits {
  std::uint64_t bits = 0;
  bool defined = true;
};
PassedBits read_passed(Warp& warp, Passed const& from, int lane);
void write_passed(Warp& warp, Passed const& to, int lane, PassedBits what);

}  // namespace deepwell::emu
