// Runs a case on a device and judges what comes back.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "check/bound.hpp"
#include "check/data.hpp"
#include "check/verdict.hpp"
#include "ops/context.hpp"

namespace deepwell::check {

enum class Status {
  kPass,
  kFail,         // a wrong answer, or memory touched that is not d's
  kError,        // the call or the device failed
  kUnsupported,  // the kernel table accepts no kernel: not a failure of this run
};
char const* name_of(Status status);

struct Outcome {
  Status status = Status::kError;
  std::string kernel;  // short: "gemm_mx 128x8 s8 x4"; empty when none was chosen
  double error = 0, bound = 0;
  double seconds = 0;          // of the call, without compiling
  std::string reason;          // empty when it passes
  std::uint64_t schedule = 0;  // the first one that failed
  std::string bits;            // a hash of what the operation left in its outputs' memory
  bool other_bits = false;     // it failed because an earlier run had left others
  bool failed() const { return status == Status::kFail || status == Status::kError; }
};

/// The arithmetic of the kernel that the library would choose on this device; `kernel` gets its short name, `refused` the
/// table's reasons when it accepts none.
struct Choice {
  Arithmetic arithmetic;
  std::string kernel;
  std::string refused;
  bool swap = false;  // b stands on the MMA's side of 16
};
Choice choose(Case const& what, Arch const& arch);

/// Starts building the kernels of all these cases on background threads: cases that come to one still being built wait.
void build_kernels(Context& context, std::vector<Case> const& cases);

/// Uploads the operands, calls the operation once, and returns d's memory as it is afterwards, guard bands included. Throws
/// what the operation throws, and Error (kDevice) if an input or c changed.
struct RunResult {
  std::vector<std::byte> after;
  double seconds = 0;
};
RunResult run_on_device(Context& context, CaseData const& data);

/// Seeds of an emulated device under which a case runs, one after the other: first, first + 1, ... A device that is not
/// emulated takes only the default.
struct Schedules {
  std::uint64_t first = 0, count = 1;
  std::uint64_t repeats = 1;  // of every schedule
};

/// Calls `once`, which does not throw, under each schedule until one does not pass or leaves other bits than the first: `schedule` and
/// `reason` of the result name it then. Throws Error kBadArgument (argument "schedules") when the device has none.
Outcome under_schedules(Context& context, Schedules const& schedules, std::function<Outcome()> const& once);

/// make_data (or `given`), then run_on_device and judge under each schedule. Errors become outcomes.
Outcome run_case(Context& context, Case const& what, std::uint64_t seed, ThreadPool& pool,
                 GivenWeights const* weights = nullptr, Schedules const& schedules = {});

}  // namespace deepwell::check
