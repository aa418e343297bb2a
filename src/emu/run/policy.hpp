// What a seed decides beyond chance: how an adversary would schedule warps and complete copies.
#pragma once

#include <cstdint>

namespace deepwell::emu {

enum class CopyTiming : std::uint8_t {
  kMixed,  // mostly soon, sometimes much later
  kEarly,  // before the next instruction
  kLate,   // long after, or when nothing else can move
};

struct Policy {
  CopyTiming copies = CopyTiming::kMixed;
  std::uint32_t turn = 160;        // most warp-instructions before another warp has its turn
  bool starves_one_warp = false;   // one warp of a cluster gets few turns
  bool early_timeouts = false;     // waits that may time out sometimes do so at once
  std::uint32_t resident = 1;      // clusters of a launch that take turns, if there are as many
  std::uint64_t quantum = 20'000;  // most warp-instructions before another cluster has its turn
};

/// Seed 0 is fair. Of four seeds in a row one is early and one late; turns and starving follow other periods, so that
/// 60 seeds in a row bring every combination.
inline Policy policy_of(std::uint64_t seed) {
  if (seed == 0) return {};
  Policy out;
  out.copies = seed % 4 == 1 ? CopyTiming::kEarly : seed % 4 == 2 ? CopyTiming::kLate : CopyTiming::kMixed;
  out.turn = seed % 3 == 0 ? 160 : seed % 3 == 1 ? 7 : 3000;
  out.starves_one_warp = seed % 5 == 0;
  out.early_timeouts = seed % 2 == 1;
  out.resident = 1 + static_cast<std::uint32_t>(seed % 4);
  out.quantum = seed % 3 == 1 ? 100 : 5'000;
  return out;
}

}  // namespace deepwell::emu
