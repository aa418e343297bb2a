// Which compile targets exist and which instruction features each has. Rows of the instruction table say what they need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace deepwell::emu {

/// "sm_120a" -> {12, 0, 'a'}. `suffix` is 0, 'a' or 'f'.
struct Target {
  int major = 0, minor = 0;
  char suffix = 0;
  int number() const { return major * 10 + minor; }
  bool is_sm12x() const { return major == 12; }
  bool is_hopper() const { return major == 9; }
};

/// Throws Error kUnsupported for a target that is not modelled.
Target parse_target(std::string_view name);
std::string to_string(Target const& target);

/// What a row of the instruction table needs from the target.
enum class Needs : std::uint8_t {
  kAny,         // every target that is modelled
  kSm80,        // sm_80 and later
  kSm89,        // sm_89 and later
  kSm90,        // sm_90 and later
  kSm90a,       // sm_90a alone (wgmma-era features)
  kSm90aPlus,   // arch-specific or family targets from sm_90a on (setmaxnreg, tensormap.replace)
  kSm100,       // sm_100 and later
  kSm100aPlus,  // arch-specific or family targets from sm_100a on: sm_100a/f, sm_120a/f, sm_121a/f
  kSm100Only,   // sm_100a/f, sm_103a/f, sm_110a/f: datacenter Blackwell, never sm_12x
  kSm120aPlus,  // sm_120a, sm_121a and the family targets sm_120f, sm_121f (block-scaled mma)
  kSm12xa,      // sm_120a, sm_121a, not their family targets (sparse mma of packed FP4)
  kNone,        // known spelling that no modelled target has
};
bool has(Target const& target, Needs needs);
/// "sm_120a, sm_121a or their family targets".
std::string_view describe(Needs needs);

}  // namespace deepwell::emu
