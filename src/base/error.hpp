// The one error type of the project, and the macro that raises it for a user's mistake.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace deepwell {

enum class ErrorCode {
  kBadArgument,  // the caller's mistake: wrong shape, dtype, pointer, option, file
  kUnsupported,  // a correct request that no kernel, target or version serves
  kToolchain,    // a compiler is missing, too old, or failed
  kDevice,       // a driver call or a device failed
  kInternal,     // a mistake of ours
};

char const* name_of(ErrorCode code);

/// Every failure that leaves the library. `argument` names what was wrong ("a.scale", "k", a path), `got` its value and
/// `expected` what would have been right; each may be empty when it has no meaning.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string message, std::string argument = {}, std::string got = {},
        std::string expected = {})
      : std::runtime_error(std::move(message)),
        code_(code),
        argument_(std::move(argument)),
        got_(std::move(got)),
        expected_(std::move(expected)) {}

  ErrorCode code() const { return code_; }
  std::string const& argument() const { return argument_; }
  std::string const& got() const { return got_; }
  std::string const& expected() const { return expected_; }

 private:
  ErrorCode code_;
  std::string argument_, got_, expected_;
};

/// An error about one argument: the message is made from the three fields.
Error bad_argument(std::string argument, std::string got, std::string expected);

/// The same error with `context` in front of its message ("while compiling gemm_mx_...: ...").
Error with_context(Error const& error, std::string_view context);

}  // namespace deepwell

// DW_CHECK(condition, code, format, ...): throws deepwell::Error when the condition does not hold.
#define DW_CHECK(condition, code, ...)                                                                  \
  do {                                                                                                  \
    if (!(condition)) throw ::deepwell::Error(::deepwell::ErrorCode::code, ::fmt::format(__VA_ARGS__)); \
  } while (0)
