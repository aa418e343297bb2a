// Rows without a program: why.
#include "silicon/program.hpp"

namespace deepwell::silicon {

std::string reason_without(emu::Row const& row) {
  struct Exclusion {
    std::string_view begins;  // of the row's pattern
    std::string_view reason;
  };
  static constexpr Exclusion kExclusions[] = {
      {"trap", "ends the kernel with an error"},
      {"brkpt", "stops for a debugger"},
      {"pmevent", "has no effect that a program sees"},
      {"nanosleep", "has no effect that a program sees"},
      {"isspacep", "addresses are the machine's own"},
      {"cvta", "addresses are the machine's own"},
      {"call", "calls are in the programs that a compiler makes"},
  };
  for (Exclusion const& one : kExclusions) {
    if (row.pattern.starts_with(one.begins)) return std::string(one.reason);
  }
  if (row.note == "refused by name") return "refused by name";
  return {};
}

}  // namespace deepwell::silicon
