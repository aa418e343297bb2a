// Runs clusters: picks warps and fragments, executes instructions, completes asynchronous work, finds deadlocks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "emu/run/machine.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {

enum class ClusterStatus { kDone, kPaused, kSpinning };

/// Coordinates of the first CTA of a cluster.
std::array<std::uint32_t, 3> first_cta_of(Launch const& launch, std::uint64_t number);

/// A cluster ready to start. `number` counts clusters in launch order.
std::unique_ptr<Cluster> make_cluster(Launch const& launch, std::uint64_t number);

/// Runs up to about `quantum` warp-instructions. kSpinning: it polled, and nothing was changed that another CTA could
/// see, so others should run first. `counts` has one entry per instruction of the function. Throws reports.
ClusterStatus run_cluster(Cluster& cluster, std::uint64_t quantum, std::vector<std::uint64_t>& counts);

/// Lines "CTA (0,0,0) warp 3 lanes 0xffffffff at line 12: ..." of everything that has not exited.
std::string describe_waits(Cluster& cluster);

}  // namespace deepwell::emu
