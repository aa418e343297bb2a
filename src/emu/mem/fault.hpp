// A mistake of the running program found where no warp is known: the instruction that meets it makes a Report of it.
#pragma once

#include <string>

#include "emu/emu.hpp"

namespace deepwell::emu {

class Fault : public Error {
 public:
  Fault(Finding finding, std::string message)
      : Error(ErrorCode::kDevice, std::move(message)), finding_(finding) {}
  Finding finding() const { return finding_; }

 private:
  Finding finding_;
};

inline Fault with_context(Fault const& fault, std::string_view context) {
  return {fault.finding(), fmt::format("{}: {}", context, fault.what())};
}

}  // namespace deepwell::emu

// DW_REQUIRE(condition, finding, format, ...): throws a Fault when the program breaks a rule.
#define DW_REQUIRE(condition, finding, ...)                                                        \
  do {                                                                                             \
    if (!(condition))                                                                              \
      throw ::deepwell::emu::Fault(::deepwell::emu::Finding::finding, ::fmt::format(__VA_ARGS__)); \
  } while (0)
