// Texts of errors.
#include "base/error.hpp"

namespace deepwell {

char const* name_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBadArgument: return "bad argument";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kToolchain: return "toolchain";
    case ErrorCode::kDevice: return "device";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

Error bad_argument(std::string argument, std::string got, std::string expected) {
  std::string message = fmt::format("{}: got {}, expected {}", argument, got, expected);
  return Error(ErrorCode::kBadArgument, std::move(message), std::move(argument), std::move(got),
               std::move(expected));
}

Error with_context(Error const& error, std::string_view context) {
  return Error(error.code(), fmt::format("{}: {}", context, error.what()), error.argument(), error.got(),
               error.expected());
}

}  // namespace deepwell
