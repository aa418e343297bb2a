// Checks of arguments that GEMM and einsum share: views become operands, or an Error that names what is wrong.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ops/gemm/gemm.hpp"

namespace deepwell::checks {

/// The bytes from `begin` on that a view touches. Nothing when it is empty.
struct Range {
  std::string_view name;
  DeviceAddress begin = 0;
  std::int64_t bytes = 0;
  std::int64_t pitch = 0;  // bytes between rows, when rows are all that separates its pieces (2-D); else 0
  std::int64_t row_bytes = 0;  // of one piece
};

/// Rank, sizes and strides that are not negative, no 64-bit overflow, not null unless empty, aligned to its element.
Range check_view(std::string_view name, TensorView const& view, int rank);

/// Throws unless `written` shares no byte with `other`.
void check_apart(Range const& written, Range const& other);

/// "[4, 4096]".
std::string shape_text(std::initializer_list<std::int64_t> sizes);

bool is_e2m1_bytes(Dtype dtype);  // i8, u8 or e2m1: packed pairs

/// e4m3 stays; i8, u8 and e2m1 are packed e2m1. Throws for others.
Dtype operand_dtype(std::string_view name, TensorView const& view);

/// Elements along the last axis of an operand: twice its size for packed e2m1.
std::int64_t logical_k(TensorView const& view);

/// d (and c): bf16 or f32, last stride 1, no two elements at one place.
void check_output(std::string_view name, TensorView const& view);

/// c beside d: same type and shape, and either d itself or apart from it.
void check_addend(TensorView const& c, Range const& c_range, TensorView const& d, Range const& d_range);

/// f32, ue8m0 and u8, or i32. Throws for others.
enum class ScaleForm { kF32, kBytes, kPacked };
ScaleForm scale_form(std::string_view name, TensorView const& view);

/// The largest m, n or k that kernels index.
inline constexpr std::int64_t kMaxSize = 2147483647 - 2 * kTileK;
void check_size(std::string_view name, std::int64_t size);

/// The multiple of 32 that k has to be.
void check_k(std::int64_t k);

}  // namespace deepwell::checks
