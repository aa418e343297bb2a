// The indexer's logits on a device, ragged and paged, against the reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "check/op_case.hpp"

namespace deepwell::check {

/// kHostile: NaN keys, queries and scales, infinite weights, ranges that are reversed or too long, entries of the block table that are no pages.
struct MqaCase {
  DataKind data = DataKind::kRandom;
  bool paged = false;
  std::int64_t requests = 1;  // paged
  std::int64_t rows = 1;      // of a request
  std::int64_t heads = 64, dim = 128;
  std::int64_t page = 64;   // paged
  std::int64_t keys = 256;  // ragged: how many there are; paged: the longest length
  bool compressed = true;   // ragged
  bool clean = false;       // ragged, not compressed
  // Strides and addresses that neither tensor maps nor words take.
  bool odd_queries = false, odd_keys = false;
  std::string name() const;
};

std::vector<MqaCase> mqa_cases(bool quick);

/// Makes the case's data, calls the operation under each schedule, judges every element of the result, its padding and guard bands, the
/// inputs, and what was noted. Errors become outcomes.
Outcome run_mqa_case(Context& context, MqaCase const& what, std::uint64_t seed,
                     Schedules const& schedules = {});
std::vector<MutationOutcome> mutate_mqa_case(Context& context, MqaCase const& what, std::uint64_t seed);

/// The same once, for one schedule. Throws what the calls throw, and Error kDevice if an input changed or something else than
/// expected was noted.
Verdict judge_mqa_run(Context& context, MqaCase const& what, std::uint64_t seed);

/// The result's memory after a call, for comparing launches bit for bit.
std::vector<std::byte> mqa_bits(Context& context, MqaCase const& what, std::uint64_t seed);

std::vector<OpCase> mqa_op_cases(bool quick);

}  // namespace deepwell::check
