// Proof that verdicts have teeth: wrong outputs, and right outputs of wrong inputs, that must be rejected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "check/run.hpp"

namespace deepwell::check {

enum class Mutation {
  kZero,         // d is all zeros
  kStale,        // d is the product of other operands, as if nothing had been written
  kReordered,    // d transposed where m == n, else its rows (or columns, for one row) in another order
  kHalfWritten,  // the second half of d is stale
  kScaleA,       // one scale of a is twice what it should be
  kScaleB,
  kNibblesA,  // the two elements of each byte of a packed operand are swapped
  kNibblesB,
  kLastGroup,  // the last 32 elements of k are missing
  kDropC,      // c is not added
};
char const* name_of(Mutation mutation);

/// Those that change the answer of a case.
std::vector<Mutation> mutations_of(Case const& what);

/// Makes d's memory from the data of a case: on a device, or by the reference.
using Producer = std::function<std::vector<std::byte>(CaseData const&)>;

/// What a broken kernel would leave behind. `data` is the case's; `seed` must differ from the one it was made with.
std::vector<std::byte> mutated_output(CaseData const& data, Mutation mutation, std::uint64_t other_seed,
                                      Producer const& produce, ThreadPool& pool);

struct MutationOutcome {
  std::string case_name;
  std::string op;
  std::string mutation;
  bool rejected = false;
  std::string reason;  // the verdict's
};

/// Runs every mutation of a case; the unmutated output comes first, as mutation "none", and must be accepted.
std::vector<MutationOutcome> mutate_case(Case const& what, Arithmetic const& arithmetic, std::uint64_t seed,
                                         Producer const& produce, ThreadPool& pool);

/// A few cases of every operation on which each mutation means something.
std::vector<Case> mutation_cases();

}  // namespace deepwell::check
