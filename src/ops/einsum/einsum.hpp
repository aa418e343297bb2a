// Products of many heads at once, as serving code asks for them: fp8_einsum("bhr,hdr->bhd"), a batched GEMM over the heads.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "ops/gemm/gemm.hpp"

namespace deepwell {

/// d[b, h, :] = b_h a[b, h, :] (+ c[b, h, :]).
///   a [b, h, r] e4m3 (or [b, h, r / 2] packed e2m1): last stride 1, other strides any.
///   b [h, d, r] or [h * d, r] e4m3, or packed e2m1 with r / 2.
///   scale_a [b, h, ceil(r / gran_k)] f32 or ue8m0 (also u8), or i32 [b, h, ceil(r / (4 gran_k))] packed; any strides.
///   scale_b [h, ceil(d / gran_n), ceil(r / gran_k)] or [h * ceil(d / gran_n), ...] f32 or ue8m0 (also u8), or packed i32
///   [h, d, ceil(r / (4 gran_k))] or [h * d, ...]; any strides.
///   d [b, h, d] bf16 or f32, last stride 1; c absent, d itself, or another tensor of d's shape and type.
/// `recipe` {gran_m, gran_n, gran_k} says what a scale covers where a scale's shape agrees with it; where the shape contradicts
/// it, the shape decides if it fits one granularity only. Packed scales are per row whatever gran_n says: where gran_n is 128
/// beside packed scales, their shape decides about gran_k too.
struct EinsumCall {
  TensorView a, scale_a, b, scale_b, c, d;
  std::array<int, 3> recipe{1, 128, 128};
  Stream stream = nullptr;
};

/// Throws Error kBadArgument naming argument, value and expectation, kUnsupported for another expression; then nothing was
/// launched and d is untouched.
void fp8_einsum(Context& context, std::string_view expression, EinsumCall const& call);

/// Checks `call` and turns it into a batched GEMM: m = b, n = d, k = r, batch = h. Pure.
GemmProblem check_einsum(std::string_view expression, EinsumCall const& call);

}  // namespace deepwell
