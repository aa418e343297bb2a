// Products of many groups (experts) in one call: each row of tokens is multiplied with the matrix of its group.
#pragma once

#include <cstdint>

#include "ops/gemm/gemm.hpp"
#include "ops/gemm/operands.hpp"

namespace deepwell {

/// d = a b[group]^T, as a caller gives it. Operands, scales and recipes are those of GemmCall; b is [groups, n, k], scale_b has
/// the axis of groups too; d is bf16 or f32 with last stride 1; k a multiple of 32. `layout` is i32, its elements neighbours.
///
/// Contiguous: a [m, k], d [m, n], layout [m] has each row's group. Rows of -1 are padding. Blocks of `alignment` rows follow
/// each other from row 0; in a block where a row has a group every row is written, the padding with the product of the nearest
/// group before it (or else after it) in the block; other rows of d are left alone. Groups may come in any order and change at any
/// row. An id that names no group counts as -1 and as the note bad_group_id.
///
/// Masked: a [groups, m, k], d [groups, m, n], layout [groups] has the number of rows that count in each group, the first ones;
/// only they are written. Numbers below 0 or above m are clipped and count as the note bad_group_size.
struct GroupedGemmCall {
  Grouping grouping = Grouping::kContiguous;
  TensorView a, scale_a, b, scale_b, layout, d;
  GivenRecipe recipe;
  std::int64_t alignment = 128;  // contiguous: at least 1; fastest where groups start at multiples of it
  std::int64_t expected_rows =
      0;  // masked: how many rows a group is expected to have; 0: not known. Any answer is right.
  Stream stream = nullptr;
};

/// Throws Error kBadArgument as fp8_fp4_gemm_nt does. No workspace is needed.
void grouped_fp8_fp4_gemm_nt(Context& context, GroupedGemmCall const& call);

/// Checks `call` and turns it into a problem. Pure.
GemmProblem check_grouped_gemm(GroupedGemmCall const& call);

/// The alignment of groups' first rows with which contiguous calls are fastest, for `rows` rows in all spread over `groups`:
/// 8, 16, 32, 64 or 128.
int best_alignment(std::int64_t rows, std::int64_t groups);

}  // namespace deepwell
