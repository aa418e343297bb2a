// What `deepwell check` runs besides products of matrices: cases of an operation that bring their own data, judge and floor.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "check/mutate.hpp"
#include "check/run.hpp"

namespace deepwell::check {

struct OpCase {
  std::string op;        // as --op names it
  std::string name;      // one line, unique; the seed is made from it
  std::string tensors;   // for tables
  std::string data;      // kind of data
  bool bitwise = false;  // compared bit for bit
  // Makes the data, calls the operation under each schedule, and judges. Errors become outcomes.
  std::function<Outcome(Context&, std::uint64_t seed, Schedules const&)> run;
  // Wrong outputs, which the judge must reject, after the right one ("none"), which it must accept; empty: none.
  std::function<std::vector<MutationOutcome>(Context&, std::uint64_t seed)> mutate;
  // The least that one launch can do, 0 where nothing is said: sectors of 32 bytes, and MMAs.
  std::uint64_t floor_sectors = 0, useful_mma = 0;
};

/// The cases of all such operations.
std::vector<OpCase> op_cases(bool quick);
/// Every value of OpCase::op.
std::vector<std::string> op_case_names();

}  // namespace deepwell::check
