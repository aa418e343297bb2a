// Grouped products: checks, and the same way to a kernel as the dense ones.
#include "ops/gemm/grouped.hpp"

#include "ops/gemm/checks.hpp"

namespace deepwell {
namespace {

using checks::Range;

struct Sizes {
  std::int64_t groups, m, n, k;
};

Sizes sizes_of(GroupedGemmCall const& call) {
  bool const masked = call.grouping == Grouping::kMasked;
  Sizes const sizes{.groups = call.b.shape[0],
                    .m = call.a.shape[masked ? 1 : 0],
                    .n = call.b.shape[1],
                    .k = checks::logical_k(call.a)};
  checks::check_size("groups", sizes.groups);
  checks::check_size("m", sizes.m);
  checks::check_size("n", sizes.n);
  checks::check_size("k", sizes.k);
  if (sizes.groups < 1)
    throw bad_argument("b.shape", describe(call.b), "[groups, n, k] with at least one group");
  if (masked && call.a.shape[0] != sizes.groups) {
    throw bad_argument("a.shape", describe(call.a),
                       fmt::format("[{}, m, k], the groups of b, {}", sizes.groups, describe(call.b)));
  }
  if (checks::logical_k(call.b) != sizes.k) {
    throw bad_argument("b.shape", fmt::format("{} with k = {}", describe(call.b), checks::logical_k(call.b)),
                       fmt::format("k = {} as in a, {}", sizes.k, describe(call.a)));
  }
  checks::check_k(sizes.k);
  return sizes;
}

/// What deep_gemm's callers call the layout.
std::string_view layout_name(GroupedGemmCall const& call) {
  return call.grouping == Grouping::kMasked ? "masked_m" : "grouped_layout";
}

void check_layout(GroupedGemmCall const& call, Sizes const& sizes) {
  std::string_view const name = layout_name(call);
  std::int64_t const expected = call.grouping == Grouping::kMasked ? sizes.groups : sizes.m;
  if (call.layout.dtype != Dtype::kI32)
    throw bad_argument(fmt::format("{}.dtype", name), name_of(call.layout.dtype), "i32");
  if (call.layout.shape[0] != expected)
    throw bad_argument(fmt::format("{}.shape", name), describe(call.layout), checks::shape_text({expected}));
  if (expected > 1 && call.layout.strides[0] != 1)
    throw bad_argument(fmt::format("{}.strides", name), describe(call.layout), "a stride of 1");
}

}  // namespace

GemmProblem check_grouped_gemm(GroupedGemmCall const& call) {
  bool const masked = call.grouping == Grouping::kMasked;
  int const rank = masked ? 3 : 2;
  checks::operand_dtype("a", call.a);
  checks::operand_dtype("b", call.b);
  checks::scale_form("scale_a", call.scale_a);
  checks::scale_form("scale_b", call.scale_b);
  Range const a = checks::check_view("a", call.a, rank);
  Range const b = checks::check_view("b", call.b, 3);
  Range const scale_a = checks::check_view("scale_a", call.scale_a, rank);
  Range const scale_b = checks::check_view("scale_b", call.scale_b, 3);
  Range const layout = checks::check_view(layout_name(call), call.layout, 1);
  Range const d = checks::check_view("d", call.d, rank);
  checks::check_output("d", call.d);
  Sizes const sizes = sizes_of(call);
  check_layout(call, sizes);
  if (masked ? call.d.shape[0] != sizes.groups || call.d.shape[1] != sizes.m || call.d.shape[2] != sizes.n
             : call.d.shape[0] != sizes.m || call.d.shape[1] != sizes.n) {
    throw bad_argument("d.shape", describe(call.d),
                       masked ? checks::shape_text({sizes.groups, sizes.m, sizes.n})
                              : checks::shape_text({sizes.m, sizes.n}));
  }
  if (!masked && call.alignment < 1)
    throw bad_argument("alignment", fmt::format("{}", call.alignment), "at least 1");
  if (masked && call.expected_rows < 0)
    throw bad_argument("expected_m", fmt::format("{}", call.expected_rows), "a number that is not negative");

  Recipe const recipe = recipe_of(call.recipe, call.scale_b);
  GemmProblem problem;
  problem.grouping = call.grouping;
  problem.m = sizes.m, problem.n = sizes.n, problem.k = sizes.k;
  problem.groups = sizes.groups;
  problem.batch = masked ? sizes.groups : 1;
  // Rows that are expected where nobody says how many: all.
  problem.group_rows = !masked ? call.alignment : call.expected_rows > 0 ? call.expected_rows : sizes.m;
  problem.layout = call.layout.data;
  problem.a = matrix_operand("a", call.a);
  problem.b = matrix_operand("b", call.b);
  std::optional<std::int64_t> const a_batch = masked ? std::optional(sizes.groups) : std::nullopt;
  problem.a.scale = scale_operand("scale_a", call.scale_a, recipe.a, a_batch, sizes.m, sizes.k);
  problem.b.scale = scale_operand("scale_b", call.scale_b, recipe.b, sizes.groups, sizes.n, sizes.k);
  problem.d_type = call.d.dtype;
  problem.d = call.d.data;
  problem.d_pitch = sizes.m > 1 ? call.d.strides[masked ? 1 : 0] : sizes.n;
  if (masked) problem.d_batch_stride = call.d.strides[0];
  for (Range const& read : {a, b, scale_a, scale_b, layout}) checks::check_apart(d, read);
  return problem;
}

void grouped_fp8_fp4_gemm_nt(Context& context, GroupedGemmCall const& call) {
  run_gemm(context, check_grouped_gemm(call), call.stream);
}

int best_alignment(std::int64_t rows, std::int64_t groups) {
  // Twice the rows that a group has on average: with routing as it is, few groups then take a second tile.
  std::int64_t const average = ceil_div(std::max<std::int64_t>(rows, 1), std::max<std::int64_t>(groups, 1));
  for (int alignment : {8, 16, 32, 64}) {
    if (2 * average <= alignment) return alignment;
  }
  return 128;
}

}  // namespace deepwell
