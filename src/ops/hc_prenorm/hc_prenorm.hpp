// The product in front of hyper-connections as an operation: d = a b^T in TF32 beside the sums of squares of a's rows, in parts of
// k that the caller adds up, or whole. What deep_gemm calls tf32_hc_prenorm_gemm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "deepwell/hc_prenorm.h"
#include "ops/context.hpp"
#include "tensor/tensor.hpp"

namespace deepwell {

/// a [m, k] bf16 and b [n, k] f32 (1 <= n <= 128, k >= 1): last stride 1, any row pitch. Without num_splits d [m, n] and sqr_sum [m];
/// with it d [num_splits, m, n] and sqr_sum [num_splits, m]. Both f32; d's last stride is 1, all others are any at which no two
/// elements share a place.
struct HcPrenormCall {
  TensorView a, b, d, sqr_sum;
  std::optional<std::int64_t> num_splits;  // 1 to kHcMaxSplits
  Stream stream = nullptr;
  Allocator* workspace = nullptr;  // null: the context's own
};

/// d = a b^T with b cut to TF32 (its lower 13 bits are not looked at), sqr_sum = the sum of a's squares in FP32. Split s owns a range
/// of whole blocks of 64 elements of k, as even as can be, the first splits one block longer; where k is no multiple of 64 the
/// last block is shorter, and splits beyond the blocks are zeros. The same bits in every launch and on every board.
/// m == 0: nothing happens. Throws Error kBadArgument naming argument, value and expectation; then nothing was launched.
void tf32_hc_prenorm_gemm(Context& context, HcPrenormCall const& call);

// ---- after checking ----

struct HcPrenormProblem {
  std::int64_t m = 0, n = 0, k = 0, splits = 1;
  DeviceAddress a = 0, b = 0, d = 0, sqr_sum = 0;
  std::int64_t a_pitch = 0, b_pitch = 0;                                                       // bytes
  std::int64_t d_split_stride = 0, d_pitch = 0, sqr_sum_split_stride = 0, sqr_sum_stride = 0;  // elements
};
/// Pure: touches no device.
HcPrenormProblem check_hc_prenorm(HcPrenormCall const& call);

/// What chooses a kernel.
struct HcPrenormShape {
  std::int64_t m = 0, n = 0, k = 0, splits = 1;
};
HcPrenormShape shape_of(HcPrenormProblem const& problem);

struct HcPrenormCandidate {
  HcPrenormPlan plan{};
  int pieces = 1;  // CTAs that share a split of a tile of rows
  double cost_us = 0;
};
/// Best first; empty where the architecture has no kernel for the shape. Pure: the same for all boards.
std::vector<HcPrenormCandidate> choose_hc_prenorm(HcPrenormShape const& shape, Arch const& arch);

/// The plans that choose_hc_prenorm can return for n columns, or for any.
std::vector<HcPrenormPlan> hc_prenorm_plans(std::int64_t n, Arch const& arch);
std::vector<HcPrenormPlan> all_hc_prenorm_plans(Arch const& arch);

std::string plan_name(HcPrenormPlan const& plan);
std::uint64_t plan_key(HcPrenormPlan const& plan);
/// The generated source text of a plan for a target; entry point plan_name(plan).
std::string hc_prenorm_source(HcPrenormPlan const& plan, Arch const& arch);

/// The plan's kernel for a KernelStore.
KernelStore::Item kernel_item(HcPrenormPlan const& plan, Arch const& arch);

/// The launch, complete but for the two workspace addresses of several pieces. Pure but for encoding tensor maps.
struct HcPrenormLaunch {
  HcPrenormArgs args{};
  LaunchSpec spec;
  std::size_t partial_bytes = 0;
  std::size_t counters = 0;
};
HcPrenormLaunch prepare_hc_prenorm(Backend& backend, HcPrenormProblem const& problem,
                                   HcPrenormCandidate const& candidate);

/// Launches `problem`, whose m is not 0, with `candidate` (workspace of several pieces from `workspace`).
void launch_hc_prenorm(Context& context, HcPrenormProblem const& problem, HcPrenormCandidate const& candidate,
                       Stream stream, Allocator* workspace);

}  // namespace deepwell
