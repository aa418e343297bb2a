// What a caller gives -> a GEMM problem, or an Error that names the argument, its value and what was expected.
#include "ops/gemm/checks.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/gemm/operands.hpp"

namespace deepwell {

using checks::Range;

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

  Recipe const recipe = recipe_of({call.recipe, call.recipe_a, call.recipe_b}, call.scale_b);
  problem.a = matrix_operand("a", call.a);
  problem.b = matrix_operand("b", call.b);
  problem.a.scale = scale_operand("scale_a", call.scale_a, recipe.a, std::nullopt, problem.m, problem.k);
  problem.b.scale = scale_operand("scale_b", call.scale_b, recipe.b, std::nullopt, problem.n, problem.k);
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
