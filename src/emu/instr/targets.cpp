// Which compile targets exist and which instruction features each has.
#include "emu/instr/targets.hpp"

#include "base/error.hpp"

namespace deepwell::emu {

Target parse_target(std::string_view name) {
  static constexpr struct {
    std::string_view name;
    Target target;
  } kKnown[] = {
      {"sm_90", {9, 0, 0}},      {"sm_90a", {9, 0, 'a'}},   {"sm_120", {12, 0, 0}},
      {"sm_120a", {12, 0, 'a'}}, {"sm_120f", {12, 0, 'f'}}, {"sm_121", {12, 1, 0}},
      {"sm_121a", {12, 1, 'a'}}, {"sm_121f", {12, 1, 'f'}},
  };
  for (auto const& known : kKnown) {
    if (known.name == name) return known.target;
  }
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format(
          "target: got {}, expected sm_90, sm_90a, sm_120, sm_120a, sm_120f, sm_121, sm_121a or sm_121f",
          name),
      "target", std::string(name), "sm_90[a], sm_120[a|f] or sm_121[a|f]");
}

std::string to_string(Target const& target) {
  std::string text = fmt::format("sm_{}", target.number());
  if (target.suffix != 0) text += target.suffix;
  return text;
}

bool has(Target const& target, Needs needs) {
  int const number = target.number();
  switch (needs) {
    case Needs::kAny: return true;
    case Needs::kSm80: return number >= 80;
    case Needs::kSm89: return number >= 89;
    case Needs::kSm90: return number >= 90;
    case Needs::kSm90a: return number == 90 && target.suffix == 'a';
    case Needs::kSm90aPlus: return number >= 90 && target.suffix != 0;
    case Needs::kSm100: return number >= 100;
    case Needs::kSm100aPlus: return number >= 100 && target.suffix != 0;
    case Needs::kSm100Only: return target.major >= 10 && target.major <= 11 && target.suffix != 0;
    case Needs::kSm120aPlus: return target.major == 12 && target.suffix != 0;
    case Needs::kSm12xa: return target.major == 12 && target.suffix == 'a';
    case Needs::kNone: return false;
  }
  return false;
}

std::string_view describe(Needs needs) {
  switch (needs) {
    case Needs::kAny: return "any target";
    case Needs::kSm80: return "sm_80 or later";
    case Needs::kSm89: return "sm_89 or later";
    case Needs::kSm90: return "sm_90 or later";
    case Needs::kSm90a: return "sm_90a";
    case Needs::kSm90aPlus: return "an arch-specific or family target from sm_90a on";
    case Needs::kSm100: return "sm_100 or later";
    case Needs::kSm100aPlus: return "an arch-specific or family target from sm_100a on";
    case Needs::kSm100Only: return "sm_100a, sm_103a, sm_110a or their family targets";
    case Needs::kSm120aPlus: return "sm_120a, sm_121a or their family targets";
    case Needs::kSm12xa: return "sm_120a or sm_121a";
    case Needs::kNone: return "no target of this machine";
  }
  return "?";
}

}  // namespace deepwell::emu
