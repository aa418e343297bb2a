// Scales as callers have them -> scales in the layout that GEMMs read fastest. What deep_gemm calls
// transform_sf_into_required_layout and its siblings; the caller allocates what required_scale_layout() describes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "deepwell/scale_layout.h"
#include "ops/context.hpp"
#include "tensor/tensor.hpp"

namespace deepwell {

/// `scale` is [(groups,) ceil(mn / gran_mn), columns]: f32 or ue8m0 (also u8) with ceil(k / gran_k) columns, or i32 (packed) with
/// ceil(k / (4 gran_k)). gran_mn is 1 or a block of rows, gran_k 32 or 128.
struct ScaleLayoutCall {
  TensorView scale;
  std::int64_t mn = 0, k = 0;
  int gran_mn = 1, gran_k = 128;
  std::optional<std::int64_t> num_groups = std::nullopt;  // present: scale has an axis of groups
  bool disable_ue8m0_cast = false;                        // FP32 stays FP32
};

/// What a transformation gives. `view` has no address.
struct ScaleLayoutResult {
  bool unchanged = false;  // the scales are already so: use them as they are
  TensorView view;         // element type, shape, strides
  std::size_t bytes = 0;   // to allocate, 16-byte aligned
};

/// Pure. By element type, granularity and architecture:
///   f32 where it stays f32 (no block-scaled MMA, or disable_ue8m0_cast): per row -> f32 column by column; blocks -> unchanged
///   f32 elsewhere, ue8m0 and u8: packed words column by column, one row each (blocks of rows repeated)
///   i32: unchanged, if its strides are (1, a multiple of 4 that holds mn)
/// Column by column: strides ((columns * pitch,) 1, pitch) with pitch = mn rounded up to 4.
/// Throws Error kBadArgument naming argument, value and expectation.
ScaleLayoutResult required_scale_layout(ScaleLayoutCall const& call, Arch const& arch);

/// Writes the transformation of `call` to `out`, which has the type and shape of required_scale_layout() and any strides with
/// neighbouring rows. Must not be called where that says unchanged (Error kBadArgument).
void transform_scale(Context& context, ScaleLayoutCall const& call, TensorView const& out, Stream stream);

/// f32 [(groups,) mn, columns] -> f32 column by column (unchanged if it is already).
ScaleLayoutResult mn_major_scale_layout(TensorView const& scale);
/// f32, ue8m0 or u8 [(groups,) mn, columns] -> packed words column by column.
ScaleLayoutResult packed_scale_layout(TensorView const& scale);
/// `from` in any strides -> `to` as one of the two functions above describes it.
void write_scale_layout(Context& context, TensorView const& from, TensorView const& to, Stream stream);

/// The granularity that a recipe means: {gran_m, gran_n, gran_k} with is_a given, or {gran_mn, gran_k} without it.
struct ScaleGranularity {
  int mn, k;
};
ScaleGranularity scale_granularity(std::span<int const> recipe, std::optional<bool> is_a);

/// `size` rounded up so that rows of elements of `element_bytes` start at multiples of 16 bytes.
std::int64_t tma_aligned_size(std::int64_t size, int element_bytes);

std::string plan_name(ScaleLayoutPlan const& plan);
std::uint64_t plan_key(ScaleLayoutPlan const& plan);
std::string scale_layout_source(ScaleLayoutPlan const& plan, Arch const& arch);
std::span<ScaleLayoutPlan const> all_scale_layout_plans();
/// The plan's kernel for a KernelStore.
KernelStore::Item kernel_item(ScaleLayoutPlan const& plan, Arch const& arch);

}  // namespace deepwell
