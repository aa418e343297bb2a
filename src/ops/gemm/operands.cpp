// Granularities, matrices and scales of dense and grouped products.
#include "ops/gemm/operands.hpp"

#include "ops/gemm/checks.hpp"

namespace deepwell {
namespace {

using checks::ScaleForm;

void check_granularity(std::string_view name, int gran_mn, int gran_k) {
  if ((gran_mn != 1 && gran_mn != 128) || (gran_k != 32 && gran_k != 128)) {
    throw bad_argument(std::string(name), fmt::format("({}, {})", gran_mn, gran_k),
                       "1 or 128 rows and 32 or 128 elements of k per scale");
  }
}

std::size_t axis(TensorView const& view, int from_last) {
  return static_cast<std::size_t>(view.rank - 1 - from_last);
}

/// Of rows and columns, and of matrices where there are several.
std::string shape_text(std::optional<std::int64_t> batch, std::int64_t rows, std::int64_t columns) {
  return batch ? checks::shape_text({*batch, rows, columns}) : checks::shape_text({rows, columns});
}

void check_packed_strides(std::string_view name, TensorView const& view) {
  std::int64_t const rows = view.shape[axis(view, 1)], columns = view.shape[axis(view, 0)];
  bool const rows_ok = rows == 1 || view.strides[axis(view, 1)] == 1;
  bool const columns_ok = columns == 1 || view.strides[axis(view, 0)] >= rows;
  if (!rows_ok || !columns_ok) {
    throw bad_argument(fmt::format("{}.strides", name), describe(view),
                       fmt::format("{}1, at least {}): packed scales are stored column by column",
                                   view.rank == 3 ? "(any, " : "(", rows));
  }
}

}  // namespace

Recipe recipe_of(GivenRecipe const& given, TensorView const& scale_b) {
  if (given.recipe && (given.recipe_a || given.recipe_b)) {
    throw bad_argument("recipe", "given together with recipe_a or recipe_b",
                       "either recipe, or recipe_a and recipe_b");
  }
  if (given.recipe_a.has_value() != given.recipe_b.has_value()) {
    throw bad_argument(given.recipe_a ? "recipe_b" : "recipe_a", "absent",
                       fmt::format("present beside {}", given.recipe_a ? "recipe_a" : "recipe_b"));
  }
  if (given.recipe_a) {
    check_granularity("recipe_a", (*given.recipe_a)[0], (*given.recipe_a)[1]);
    check_granularity("recipe_b", (*given.recipe_b)[0], (*given.recipe_b)[1]);
    return {.a = {.mn = (*given.recipe_a)[0], .k = (*given.recipe_a)[1]},
            .b = {.mn = (*given.recipe_b)[0], .k = (*given.recipe_b)[1]}};
  }
  if (given.recipe) {
    auto const [gran_m, gran_n, gran_k] = *given.recipe;
    check_granularity("recipe", gran_m, gran_k);
    check_granularity("recipe", gran_n, gran_k);
    return {.a = {.mn = gran_m, .k = gran_k}, .b = {.mn = gran_n, .k = gran_k}};
  }
  bool const packed = checks::scale_form("scale_b", scale_b) == ScaleForm::kPacked;
  return {.a = {.mn = 1, .k = 128}, .b = {.mn = packed ? 1 : 128, .k = 128}};
}

MatrixOperand matrix_operand(std::string_view name, TensorView const& view) {
  MatrixOperand operand;
  operand.dtype = checks::operand_dtype(name, view);
  operand.data = view.data;
  if (view.elements() == 0) return operand;
  std::size_t const k = axis(view, 0), row = axis(view, 1);
  if (view.shape[k] > 1 && view.strides[k] != 1) {
    throw bad_argument(fmt::format("{}.strides", name), describe(view), "a last stride of 1 (k-major)");
  }
  operand.pitch = view.shape[row] > 1 ? view.strides[row] : view.shape[k];
  if (view.rank == 3) operand.batch_stride = view.strides[0];
  return operand;
}

ScaleOperand scale_operand(std::string_view name, TensorView const& view, Granularity gran,
                           std::optional<std::int64_t> batch, std::int64_t rows, std::int64_t k) {
  ScaleForm const form = checks::scale_form(name, view);
  bool const packed = form == ScaleForm::kPacked;
  if (packed && gran.mn != 1) {
    throw bad_argument(fmt::format("{}.dtype", name), fmt::format("i32 with {} rows per scale", gran.mn),
                       "f32 or ue8m0 for blocks of rows; packed scales are per row");
  }
  std::int64_t const expected_rows = ceil_div(rows, gran.mn);
  std::int64_t const expected_columns = ceil_div(k, packed ? 4 * gran.k : gran.k);
  if (view.shape[axis(view, 1)] != expected_rows || view.shape[axis(view, 0)] != expected_columns ||
      (batch && view.shape[0] != *batch)) {
    throw bad_argument(
        fmt::format("{}.shape", name), describe(view),
        fmt::format("{} for {} rows, k = {}, and one {} per {} rows and {} elements of k",
                    shape_text(batch, expected_rows, expected_columns), rows, k,
                    packed ? "word of four scales" : "scale", gran.mn, packed ? 4 * gran.k : gran.k));
  }
  int const bytes = bits_of(view.dtype) / 8;
  ScaleOperand operand{.kind = form == ScaleForm::kF32 ? ScaleKind::kF32 : ScaleKind::kUe8m0,
                       .packed = packed,
                       .gran = gran,
                       .data = view.data};
  if (view.elements() == 0) return operand;
  if (packed) check_packed_strides(name, view);
  operand.row_stride = packed ? bytes : view.strides[axis(view, 1)] * bytes;
  operand.k_stride = view.strides[axis(view, 0)] * bytes;
  if (batch) operand.batch_stride = view.strides[0] * bytes;
  return operand;
}

}  // namespace deepwell
