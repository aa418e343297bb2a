// What a caller gives -> a GEMM problem, or an Error that names the argument, its value and what was expected.
#include "ops/gemm/checks.hpp"
#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

using checks::Range;
using checks::ScaleForm;

struct Recipe {
  Granularity a, b;
};

void check_granularity(std::string_view name, int gran_mn, int gran_k) {
  if ((gran_mn != 1 && gran_mn != 128) || (gran_k != 32 && gran_k != 128)) {
    throw bad_argument(std::string(name), fmt::format("({}, {})", gran_mn, gran_k),
                       "1 or 128 rows and 32 or 128 elements of k per scale");
  }
}

Recipe recipe_of(GemmCall const& call) {
  if (call.recipe && (call.recipe_a || call.recipe_b)) {
    throw bad_argument("recipe", "given together with recipe_a or recipe_b",
                       "either recipe, or recipe_a and recipe_b");
  }
  if (call.recipe_a.has_value() != call.recipe_b.has_value()) {
    throw bad_argument(call.recipe_a ? "recipe_b" : "recipe_a", "absent",
                       fmt::format("present beside {}", call.recipe_a ? "recipe_a" : "recipe_b"));
  }
  if (call.recipe_a) {
    check_granularity("recipe_a", (*call.recipe_a)[0], (*call.recipe_a)[1]);
    check_granularity("recipe_b", (*call.recipe_b)[0], (*call.recipe_b)[1]);
    return {.a = {.mn = (*call.recipe_a)[0], .k = (*call.recipe_a)[1]},
            .b = {.mn = (*call.recipe_b)[0], .k = (*call.recipe_b)[1]}};
  }
  if (call.recipe) {
    auto const [gran_m, gran_n, gran_k] = *call.recipe;
    check_granularity("recipe", gran_m, gran_k);
    check_granularity("recipe", gran_n, gran_k);
    return {.a = {.mn = gran_m, .k = gran_k}, .b = {.mn = gran_n, .k = gran_k}};
  }
  bool const packed = checks::scale_form("scale_b", call.scale_b) == ScaleForm::kPacked;
  return {.a = {.mn = 1, .k = 128}, .b = {.mn = packed ? 1 : 128, .k = 128}};
}

/// Last stride 1, any pitch.
MatrixOperand matrix_operand(std::string_view name, TensorView const& view) {
  MatrixOperand operand;
  operand.dtype = checks::operand_dtype(name, view);
  operand.data = view.data;
  if (view.elements() == 0) return operand;
  if (view.shape[1] > 1 && view.strides[1] != 1) {
    throw bad_argument(fmt::format("{}.strides", name), describe(view), "a last stride of 1 (k-major)");
  }
  operand.pitch = view.shape[0] > 1 ? view.strides[0] : view.shape[1];
  return operand;
}

ScaleOperand scale_operand(std::string_view name, TensorView const& view, Granularity gran, std::int64_t rows,
                           std::int64_t k) {
  ScaleForm const form = checks::scale_form(name, view);
  bool const packed = form == ScaleForm::kPacked;
  if (packed && gran.mn != 1) {
    throw bad_argument(fmt::format("{}.dtype", name), fmt::format("i32 with {} rows per scale", gran.mn),
                       "f32 or ue8m0 for blocks of rows; packed scales are per row");
  }
  std::int64_t const expected_rows = ceil_div(rows, gran.mn);
  std::int64_t const expected_columns = ceil_div(k, packed ? 4 * gran.k : gran.k);
  if (view.shape[0] != expected_rows || view.shape[1] != expected_columns) {
    throw bad_argument(
        fmt::format("{}.shape", name), describe(view),
        fmt::format("{} for {} rows, k = {}, and one {} per {} rows and {} elements of k",
                    checks::shape_text({expected_rows, expected_columns}), rows, k,
                    packed ? "word of four scales" : "scale", gran.mn, packed ? 4 * gran.k : gran.k));
  }
  int const bytes = bits_of(view.dtype) / 8;
  ScaleOperand operand{.kind = form == ScaleForm::kF32 ? ScaleKind::kF32 : ScaleKind::kUe8m0,
                       .packed = packed,
                       .gran = gran,
                       .data = view.data};
  if (view.elements() == 0) return operand;
  if (packed) {
    bool const row_stride_ok = view.shape[0] == 1 || view.strides[0] == 1;
    bool const k_stride_ok = view.shape[1] == 1 || view.strides[1] >= view.shape[0];
    if (!row_stride_ok || !k_stride_ok) {
      throw bad_argument(
          fmt::format("{}.strides", name), describe(view),
          fmt::format("(1, at least {}): packed scales are stored column by column", view.shape[0]));
    }
    operand.row_stride = bytes;
  } else {
    operand.row_stride = view.strides[0] * bytes;
  }
  operand.k_stride = view.strides[1] * bytes;
  return operand;
}

}  // namespace

GemmProblem check_gemm(GemmCall const& call) {
  checks::operand_dtype("a", call.a);
  checks::operand_dtype("b", call.b);
  checks::scale_form("scale_a", call.scale_a);
  checks::scale_form("scale_b", call.scale_b);
  Range const a = checks::check_view("a", call.a, 2);
  Range const b = checks::check_view("b", call.b, 2);
  Range const scale_a = checks::check_view("scale_a", call.scale_a, 2);
  Range const scale_b = checks::check_view("scale_b", call.scale_b, 2);
  Range const d = checks::check_view("d", call.d, 2);
  checks::check_output("d", call.d);

  GemmProblem problem;
  problem.m = call.a.shape[0];
  problem.n = call.b.shape[0];
  problem.k = checks::logical_k(call.a);
  checks::check_size("m", problem.m);
  checks::check_size("n", problem.n);
  checks::check_size("k", problem.k);
  if (checks::logical_k(call.b) != problem.k) {
    throw bad_argument("b.shape", fmt::format("{} with k = {}", describe(call.b), checks::logical_k(call.b)),
                       fmt::format("k = {} as in a, {}", problem.k, describe(call.a)));
  }
  checks::check_k(problem.k);
  if (call.d.shape[0] != problem.m || call.d.shape[1] != problem.n) {
    throw bad_argument("d.shape", describe(call.d), checks::shape_text({problem.m, problem.n}));
  }

  Recipe const recipe = recipe_of(call);
  problem.a = matrix_operand("a", call.a);
  problem.b = matrix_operand("b", call.b);
  problem.a.scale = scale_operand("scale_a", call.scale_a, recipe.a, problem.m, problem.k);
  problem.b.scale = scale_operand("scale_b", call.scale_b, recipe.b, problem.n, problem.k);
  problem.d_type = call.d.dtype;
  problem.d = call.d.data;
  problem.d_pitch = problem.m > 1 ? call.d.strides[0] : problem.n;

  if (call.c.present()) {
    Range const c = checks::check_view("c", call.c, 2);
    checks::check_addend(call.c, c, call.d, d);
    problem.c = call.c.data;
    problem.c_pitch = problem.m > 1 ? call.c.strides[0] : problem.n;
  }
  for (Range const& read : {a, b, scale_a, scale_b}) checks::check_apart(d, read);
  return problem;
}

}  // namespace deepwell
