// Runs prepared launches: one without checks on all cores, or a list with checks on one host thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "emu/run/machine.hpp"

namespace deepwell::emu {

/// Checked. `wanted` describes streams and dependencies, one entry per launch, or is empty for a single launch.
std::vector<Statistics> run_list(std::span<std::unique_ptr<Launch> const> launches,
                                 std::span<GridLaunch const> wanted, Options const& options);

/// Clusters that the board holds at once: what limits how many may wait for each other.
std::uint64_t resident_clusters(Launch const& launch);
/// Reports where that many clusters at once need more host memory than Options::memory_bytes.
void require_host_memory(Launch const& launch, std::uint64_t clusters);
/// More instructions than Options::max_total_steps.
[[noreturn]] void report_total_steps(Launch const& launch);
/// The cluster that starts as the `number`th of `total`.
std::uint64_t permuted(Launch const& launch, std::uint64_t number, std::uint64_t total,
                       std::uint64_t resident_limit);
/// `counts`: executions per instruction of the launch's function; `counters`: null without Options::statistics.
Statistics statistics_of(Launch const& launch, std::vector<std::uint64_t> const& counts,
                         Counters const* counters);

}  // namespace deepwell::emu
