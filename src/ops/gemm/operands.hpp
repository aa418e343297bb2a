// Operands of a product as a caller gives them -> as kernels see them: granularities, matrices, scales. Errors name the argument.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ops/gemm/gemm.hpp"

namespace deepwell {

/// What a caller says about granularities; see GemmCall.
struct GivenRecipe {
  std::optional<std::array<int, 3>> recipe;
  std::optional<std::array<int, 2>> recipe_a, recipe_b;
};
struct Recipe {
  Granularity a, b;
};
/// The default goes by the type of scale_b.
Recipe recipe_of(GivenRecipe const& given, TensorView const& scale_b);

/// [rows, k] or [batch, rows, k]: last stride 1, any pitch, any distance between matrices.
MatrixOperand matrix_operand(std::string_view name, TensorView const& view);

/// The scales of `rows` rows and `k` elements: of rank 2, or of rank 3 with `batch` matrices.
ScaleOperand scale_operand(std::string_view name, TensorView const& view, Granularity gran,
                           std::optional<std::int64_t> batch, std::int64_t rows, std::int64_t k);

}  // namespace deepwell
