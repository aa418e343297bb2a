// The block-scaled GEMM as an operation: what a caller gives, what it becomes after checking, and the decision about a kernel.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "deepwell/gemm.h"
#include "ops/context.hpp"
#include "tensor/tensor.hpp"

namespace deepwell {

/// Rows and k elements that share one scale: gran_mn 1 or 128, gran_k 32 or 128.
struct Granularity {
  int mn = 1;
  int k = 128;
  bool operator==(Granularity const&) const = default;
};

/// d = a b^T (+ c), as a caller gives it.
///   a [m, k] e4m3, or [m, k / 2] packed e2m1 (i8, u8 or e2m1 views); last stride 1, any row pitch; b [n, k] likewise.
///   scale_a [ceil(m / gran_mn), ceil(k / gran_k)] f32 or ue8m0 (also u8), any strides; or i32 [m, ceil(k / (4 gran_k))] packed
///   ue8m0 with stride(0) = 1; scale_b likewise for n.
///   d [m, n] bf16 or f32, last stride 1; c absent, the same memory as d, or another tensor of d's type.
/// Recipes: `recipe` {gran_m, gran_n, gran_k}, or both recipe_a and recipe_b {gran_mn, gran_k}, or none (default by the type of
/// scale_b: f32 and bytes (1, 128, 128), i32 (1, 1, 128); bytes whose shape says otherwise are an error).
struct GemmCall {
  TensorView a, scale_a, b, scale_b, c, d;
  std::optional<std::array<int, 3>> recipe;
  std::optional<std::array<int, 2>> recipe_a, recipe_b;
  bool disable_ue8m0_cast = false;  // accepted; FP32 scales are never rounded either way
  Stream stream = nullptr;
};

/// FP32 scales act as they are, never rounded; docs/kernels/gemm_mx.md has the order of arithmetic and its range. A partial sum
/// that is finite once scaled never overflows on the way, but for two FP32 scales on SM 9.0: there partial * scale_a is FP32.
/// Throws Error kBadArgument naming argument, value and expectation; then nothing was launched and d is untouched.
/// m == 0 or n == 0: nothing happens. k == 0: d = c, or zeros.
void fp8_fp4_gemm_nt(Context& context, GemmCall const& call);

// ---- after checking ----

/// Scales of one operand in memory. Strides are in bytes; k stride is per scale (f32, bytes) or per word (packed).
struct ScaleOperand {
  ScaleKind kind = ScaleKind::kUe8m0;
  bool packed = false;  // int32 words; else bytes (kUe8m0) or floats (kF32)
  Granularity gran;
  DeviceAddress data = 0;
  std::int64_t row_stride = 0, k_stride = 0, batch_stride = 0;
};

struct MatrixOperand {
  Dtype dtype = Dtype::kE4m3;
  DeviceAddress data = 0;
  std::int64_t pitch = 0, batch_stride = 0;  // bytes
  ScaleOperand scale;
};

/// d/c strides are in elements. batch > 1 comes from the einsum, and from masked groups.
struct GemmProblem {
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  MatrixOperand a, b;
  Dtype d_type = Dtype::kBf16;
  DeviceAddress d = 0, c = 0;  // c == 0: none
  std::int64_t d_pitch = 0, d_batch_stride = 0, c_pitch = 0, c_batch_stride = 0;
  Grouping grouping = Grouping::kNone;
  DeviceAddress layout = 0;  // kContiguous: i32 [m] groups of rows; kMasked: i32 [batch] numbers of rows
  std::int64_t groups = 1;   // matrices of b: batch, or those that kContiguous chooses from
  std::int64_t group_rows =
      0;  // kContiguous: rows of a block; kMasked: how many rows a group is expected to have
};

/// What chooses a kernel: dtypes, formats and sizes only. Addresses, strides and alignment never take part, so that a warmed
/// shape stays warm and the bits stay the same.
struct GemmShape {
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  Dtype a = Dtype::kE4m3, b = Dtype::kE4m3, d = Dtype::kBf16;
  ScaleKind a_scale = ScaleKind::kUe8m0, b_scale = ScaleKind::kUe8m0;
  int a_gran_k = 128, b_gran_k = 128;
  Grouping grouping = Grouping::kNone;
  std::int64_t groups = 1, group_rows = 0;
  bool operator==(GemmShape const&) const = default;
};
GemmShape shape_of(GemmProblem const& problem);

/// Checks `call` and turns it into a problem. Pure: touches no device.
GemmProblem check_gemm(GemmCall const& call);

/// One candidate: a plan, how k is split, and the terms of its cost.
struct GemmCandidate {
  std::string kernel;  // row of the table: "gemm_mx"
  GemmPlan plan{};
  std::int64_t tiles = 0;  // of d, over all batches; CTAs = tiles * splits
  int splits = 1;
  int k_tiles_per_split = 0;
  double cost_us = 0;
  std::vector<std::pair<std::string, double>> cost_terms;  // name, microseconds
};
struct GemmRejection {
  std::string kernel;
  std::string reason;
};
struct GemmDecision {
  std::vector<GemmCandidate> ranked;  // best first; empty: no kernel accepts
  std::vector<GemmRejection> rejected;
};
/// Pure. The choice and the number of splits depend on the shape and the architecture, never on the number of SMs.
GemmDecision choose_gemm(GemmShape const& shape, Arch const& arch);

/// The board whose figures the costs of `arch`'s family are made with.
std::string_view planning_board(Arch const& arch);
/// What no kernel can beat on that board: every byte moved once, every product made once.
struct GemmFloor {
  double bytes = 0, memory_us = 0, math_us = 0;
};
GemmFloor gemm_floor(GemmShape const& shape, Arch const& arch);

/// Every plan that choose_gemm can return for (n, k, dtypes) over all m, for warm-up and the compile matrix.
std::vector<GemmPlan> plans_for(GemmShape shape_without_m, Arch const& arch);
/// Every plan that choose_gemm can return for any shape.
std::vector<GemmPlan> all_gemm_plans(Arch const& arch);
/// A part of all_gemm_plans that has every tile form with every operand pair and every scale handling at least once.
std::vector<GemmPlan> representative_gemm_plans(Arch const& arch);

/// "gemm_mx_xe4m3_ye2m1_dbf16_...": unique per plan, made from DW_GEMM_PLAN_FIELDS; a C identifier.
std::string plan_name(GemmPlan const& plan);
/// "e4m3 x e2m1 -> bf16, 128x128, ...": one line for people.
std::string plan_text(GemmPlan const& plan);
std::uint64_t plan_key(GemmPlan const& plan);
/// The generated source text of a plan for a target; entry point plan_name(plan).
std::string gemm_source(GemmPlan const& plan, Arch const& arch);
/// The plan's kernel for a KernelStore.
KernelStore::Item kernel_item(GemmPlan const& plan, Arch const& arch);

/// The launch of `problem` with `candidate`. Pure but for encoding tensor maps.
struct GemmLaunch {
  GemmArgs args{};
  LaunchSpec spec;
};
GemmLaunch prepare_gemm(Backend& backend, GemmProblem const& problem, GemmCandidate const& candidate);

/// Launches `problem` with `candidate`.
void launch_gemm(Context& context, GemmProblem const& problem, GemmCandidate const& candidate, Stream stream);
/// Builds every kernel that (n, k, dtypes) can need, in the background.
void warm_gemm(Context& context, GemmShape const& shape);
/// Whether this context builds kernels for race checkers (option DEEPWELL_EVERY_READER_ARRIVES).
bool every_reader_arrives(Context& context);
/// choose (memoised in the context) + launch_gemm, after the early outs for empty sizes.
void run_gemm(Context& context, GemmProblem const& problem, Stream stream);

}  // namespace deepwell
