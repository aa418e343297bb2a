// fp8_einsum: shapes and scale formats of the call -> a batched GEMM.
#include "ops/einsum/einsum.hpp"

#include <vector>

#include "ops/gemm/checks.hpp"

namespace deepwell {
namespace {

using checks::Range;
using checks::ScaleForm;

constexpr std::string_view kExpression = "bhr,hdr->bhd";

/// Sizes that a call speaks of.
struct Sizes {
  std::int64_t b = 0, h = 0, d = 0, r = 0;
};

/// A scale tensor seen as [batch, rows, columns of k]; strides in elements. `rows` is 0 where the tensor is [h * rows, columns].
struct ScaleView {
  std::string_view name;
  TensorView const& view;
  int batch_axis, row_axis, k_axis;  // batch_axis -1: heads lie one after the other along row_axis
};

struct Axis {
  std::int64_t size, stride;
};

Axis axis(TensorView const& view, int index) {
  auto const i = static_cast<std::size_t>(index);
  return {view.shape[i], view.strides[i]};
}

std::int64_t expected_columns(ScaleForm form, std::int64_t r, int gran_k) {
  return ceil_div(r, form == ScaleForm::kPacked ? 4 * gran_k : gran_k);
}

std::string expected_shape(ScaleView const& scale, ScaleForm form, Sizes const& sizes, std::int64_t rows,
                           Granularity gran) {
  std::int64_t const blocks = ceil_div(rows, gran.mn);
  std::int64_t const columns = expected_columns(form, sizes.r, gran.k);
  if (scale.batch_axis < 0) return checks::shape_text({sizes.h * blocks, columns});
  return scale.batch_axis == 0 ? checks::shape_text({sizes.h, blocks, columns})
                               : checks::shape_text({blocks, sizes.h, columns});
}

bool fits(ScaleView const& scale, ScaleForm form, Sizes const& sizes, std::int64_t rows, Granularity gran) {
  std::int64_t const blocks = ceil_div(rows, gran.mn);
  std::int64_t const row_size = axis(scale.view, scale.row_axis).size;
  bool const rows_fit = scale.batch_axis < 0
                            ? row_size == sizes.h * blocks
                            : row_size == blocks && axis(scale.view, scale.batch_axis).size == sizes.h;
  return rows_fit && axis(scale.view, scale.k_axis).size == expected_columns(form, sizes.r, gran.k);
}

/// Which granularity the scales have: the recipe's if the shape allows it, else the only one that the shape allows.
Granularity granularity_of(ScaleView const& scale, ScaleForm form, Sizes const& sizes, std::int64_t rows,
                           Granularity recipe) {
  bool const packed = form == ScaleForm::kPacked;
  if ((!packed || recipe.mn == 1) && fits(scale, form, sizes, rows, recipe)) return recipe;
  std::vector<Granularity> fitting;
  std::string shapes;
  for (int mn : {1, 128}) {
    if (packed && mn != 1) continue;
    for (int k : {32, 128}) {
      Granularity const gran{.mn = mn, .k = k};
      shapes += fmt::format("{}{} for ({}, {})", shapes.empty() ? "" : ", ",
                            expected_shape(scale, form, sizes, rows, gran), mn, k);
      if (!fits(scale, form, sizes, rows, gran)) continue;
      // With one row, or no more than 32 elements of k, two granularities can mean the same.
      bool const same_rows = fitting.empty() || fitting.back().mn == mn || rows <= 1;
      bool const same_k = fitting.empty() || fitting.back().k == k || sizes.r <= 32;
      if (fitting.empty() || !same_rows || !same_k) fitting.push_back(gran);
    }
  }
  if (fitting.size() == 1) return fitting.front();
  std::string const per = fmt::format("{} of ({} rows, {} elements of k) per scale",
                                      fitting.empty() ? "one" : "only one", "1 or 128", "32 or 128");
  if (fitting.empty()) {
    throw bad_argument(fmt::format("{}.shape", scale.name), describe(scale.view),
                       fmt::format("{}: {} with b = {}, h = {}, d = {}, r = {}", per, shapes, sizes.b,
                                   sizes.h, sizes.d, sizes.r));
  }
  throw bad_argument(
      fmt::format("{}.shape", scale.name),
      fmt::format("{}, which fits more than one granularity and none of them is the recipe's ({}, {})",
                  describe(scale.view), recipe.mn, recipe.k),
      fmt::format("{}, or a recipe that the scales agree with: {}", per, shapes));
}

ScaleOperand scale_operand(ScaleView const& scale, Sizes const& sizes, std::int64_t rows,
                           Granularity recipe) {
  ScaleForm const form = checks::scale_form(scale.name, scale.view);
  ScaleOperand operand{.kind = form == ScaleForm::kF32 ? ScaleKind::kF32 : ScaleKind::kUe8m0,
                       .packed = form == ScaleForm::kPacked,
                       .gran = granularity_of(scale, form, sizes, rows, recipe),
                       .data = scale.view.data};
  int const bytes = bits_of(scale.view.dtype) / 8;
  operand.row_stride = axis(scale.view, scale.row_axis).stride * bytes;
  operand.k_stride = axis(scale.view, scale.k_axis).stride * bytes;
  operand.batch_stride = scale.batch_axis < 0 ? operand.row_stride * ceil_div(rows, operand.gran.mn)
                                              : axis(scale.view, scale.batch_axis).stride * bytes;
  return operand;
}

void check_last_stride(std::string_view name, TensorView const& view) {
  Axis const last = axis(view, view.rank - 1);
  if (view.elements() != 0 && last.size > 1 && last.stride != 1) {
    throw bad_argument(fmt::format("{}.strides", name), describe(view), "a last stride of 1");
  }
}

/// 2 or 3; other ranks are an error that shows both forms.
int two_or_three(std::string_view name, TensorView const& view, char const* forms) {
  if (view.rank != 2 && view.rank != 3)
    throw bad_argument(fmt::format("{}.rank", name), fmt::format("{}", view.rank), forms);
  return view.rank;
}

Sizes sizes_of(EinsumCall const& call) {
  Sizes sizes{.b = call.a.shape[0], .h = call.a.shape[1], .r = checks::logical_k(call.a)};
  if (call.b.rank == 3) {
    sizes.d = call.b.shape[1];
    if (call.b.shape[0] != sizes.h) {
      throw bad_argument(
          "b.shape", describe(call.b),
          fmt::format("[{}, d, r] or [{} d, r], the heads of a: {}", sizes.h, sizes.h, describe(call.a)));
    }
  } else {
    if (sizes.h == 0 ? call.b.shape[0] != 0 : call.b.shape[0] % sizes.h != 0) {
      throw bad_argument(
          "b.shape", describe(call.b),
          fmt::format("[{}, d, r] or [{} d, r], the heads of a: {}", sizes.h, sizes.h, describe(call.a)));
    }
    sizes.d = sizes.h == 0 ? call.d.shape[2] : call.b.shape[0] / sizes.h;
  }
  checks::check_size("b", sizes.b);
  checks::check_size("d", sizes.d);
  checks::check_size("r", sizes.r);
  if (checks::logical_k(call.b) != sizes.r) {
    throw bad_argument("b.shape", fmt::format("{} with r = {}", describe(call.b), checks::logical_k(call.b)),
                       fmt::format("r = {} as in a, {}", sizes.r, describe(call.a)));
  }
  checks::check_k(sizes.r);
  if (call.d.shape[0] != sizes.b || call.d.shape[1] != sizes.h || call.d.shape[2] != sizes.d) {
    throw bad_argument("d.shape", describe(call.d), checks::shape_text({sizes.b, sizes.h, sizes.d}));
  }
  return sizes;
}

void check_recipe(std::array<int, 3> const& recipe) {
  auto const [gran_m, gran_n, gran_k] = recipe;
  if ((gran_m != 1 && gran_m != 128) || (gran_n != 1 && gran_n != 128) || (gran_k != 32 && gran_k != 128)) {
    throw bad_argument("recipe", fmt::format("({}, {}, {})", gran_m, gran_n, gran_k),
                       "1 or 128, 1 or 128, 32 or 128");
  }
}

}  // namespace

GemmProblem check_einsum(std::string_view expression, EinsumCall const& call) {
  if (expression != kExpression) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("expression: got {}, expected {}", expression, kExpression), "expression",
                std::string(expression), std::string(kExpression));
  }
  check_recipe(call.recipe);
  GemmProblem problem;
  problem.a.dtype = checks::operand_dtype("a", call.a);
  problem.b.dtype = checks::operand_dtype("b", call.b);
  checks::scale_form("scale_a", call.scale_a);
  checks::scale_form("scale_b", call.scale_b);
  Range const a = checks::check_view("a", call.a, 3);
  Range const b = checks::check_view("b", call.b, two_or_three("b", call.b, "3, [h, d, r], or 2, [h d, r]"));
  Range const scale_a = checks::check_view("scale_a", call.scale_a, 3);
  Range const scale_b = checks::check_view(
      "scale_b", call.scale_b,
      two_or_three("scale_b", call.scale_b, "3, [h, rows, columns], or 2, [h rows, columns]"));
  Range const d = checks::check_view("d", call.d, 3);
  checks::check_output("d", call.d);
  check_last_stride("a", call.a);
  check_last_stride("b", call.b);
  Sizes const sizes = sizes_of(call);

  problem.m = sizes.b;
  problem.n = sizes.d;
  problem.k = sizes.r;
  problem.batch = sizes.h;
  problem.a.data = call.a.data;
  problem.a.pitch = call.a.strides[0];
  problem.a.batch_stride = call.a.strides[1];
  problem.b.data = call.b.data;
  problem.b.pitch = axis(call.b, call.b.rank - 2).stride;
  problem.b.batch_stride = call.b.rank == 3 ? call.b.strides[0] : problem.b.pitch * sizes.d;

  auto const [gran_m, gran_n, gran_k] = call.recipe;
  problem.a.scale =
      scale_operand({"scale_a", call.scale_a, 1, 0, 2}, sizes, sizes.b, {.mn = gran_m, .k = gran_k});
  bool const joined = call.scale_b.rank == 2;
  problem.b.scale = scale_operand({"scale_b", call.scale_b, joined ? -1 : 0, joined ? 0 : 1, joined ? 1 : 2},
                                  sizes, sizes.d, {.mn = gran_n, .k = gran_k});
  if (joined && call.b.rank == 2 && problem.b.scale.gran.mn == 128 && sizes.h > 1 && sizes.d % 128 != 0) {
    throw bad_argument("scale_b.shape",
                       fmt::format("{} with d = {}: blocks of 128 rows would straddle heads",
                                   describe(call.scale_b), sizes.d),
                       "d a multiple of 128, or scales with an axis of heads");
  }

  problem.d_type = call.d.dtype;
  problem.d = call.d.data;
  problem.d_pitch = call.d.strides[0];
  problem.d_batch_stride = call.d.strides[1];
  if (call.c.present()) {
    Range const c = checks::check_view("c", call.c, 3);
    checks::check_addend(call.c, c, call.d, d);
    problem.c = call.c.data;
    problem.c_pitch = call.c.strides[0];
    problem.c_batch_stride = call.c.strides[1];
  }
  for (Range const& read : {a, b, scale_a, scale_b}) checks::check_apart(d, read);
  return problem;
}

void fp8_einsum(Context& context, std::string_view expression, EinsumCall const& call) {
  run_gemm(context, check_einsum(expression, call), call.stream);
}

}  // namespace deepwell
