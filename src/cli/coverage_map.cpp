// The coverage map as data. A row is "works" only when its `served` function finds kernels for the architecture; an operation
// that is added sets it for its rows.
#include "cli/coverage_map.hpp"

#include <filesystem>

#include "base/error.hpp"
#include "jit/jit.hpp"
#include "ops/einsum/einsum.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/gemm/grouped.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"
#include "ops/layout/layout.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"
#include "ops/startup/kernel_set.hpp"

namespace deepwell {
namespace {

/// Whether a kernel takes this pair for one token and for many.
bool gemm_takes(Arch const& arch, Dtype a, ScaleKind a_scale, Dtype b, ScaleKind b_scale, int b_gran_k) {
  GemmShape shape{.m = 1,
                  .n = 4096,
                  .k = 4096,
                  .a = a,
                  .b = b,
                  .a_scale = a_scale,
                  .b_scale = b_scale,
                  .a_gran_k = 128,
                  .b_gran_k = b_gran_k};
  bool taken = !choose_gemm(shape, arch).ranked.empty();
  shape.m = 4096;
  return taken && !choose_gemm(shape, arch).ranked.empty();
}

bool serves_all_pairs(Arch const& arch) {
  for (Dtype const a : {Dtype::kE4m3, Dtype::kE2m1}) {
    for (Dtype const b : {Dtype::kE4m3, Dtype::kE2m1}) {
      for (int const gran_k : {32, 128}) {
        if (!gemm_takes(arch, a, ScaleKind::kUe8m0, b, ScaleKind::kUe8m0, gran_k)) return false;
        if (!gemm_takes(arch, a, ScaleKind::kF32, b, ScaleKind::kF32, gran_k)) return false;
      }
    }
  }
  return true;
}

bool serves_fp4_pair(Arch const& arch) {
  return arch.block_scaled_mma &&
         gemm_takes(arch, Dtype::kE2m1, ScaleKind::kUe8m0, Dtype::kE2m1, ScaleKind::kUe8m0, 32);
}

/// FP4 and FP8 experts with FP32 and packed scales of the tokens, at decode and prefill, by ids and masked.
bool serves_experts(Arch const& arch) {
  for (Grouping const grouping : {Grouping::kContiguous, Grouping::kMasked}) {
    for (Dtype const weight : {Dtype::kE4m3, Dtype::kE2m1}) {
      for (ScaleKind const scale : {ScaleKind::kF32, ScaleKind::kUe8m0}) {
        for (std::int64_t const rows : {8, 128}) {
          GemmShape const shape{.m = 256 * rows,
                                .n = 4096,
                                .k = 4096,
                                .b = weight,
                                .a_scale = scale,
                                .b_gran_k = weight == Dtype::kE2m1 ? 32 : 128,
                                .grouping = grouping,
                                .groups = 256,
                                .group_rows = rows};
          if (choose_gemm(shape, arch).ranked.empty()) return false;
        }
      }
    }
  }
  return true;
}

/// V4-Flash's set of kernels exists.
bool serves_warm_up(Arch const& arch) {
  try {
    return !model_kernels(ModelSizes{}, 1, arch).empty();
  } catch (Error const&) {
    return false;
  }
}

bool serves_mixed_scales(Arch const& arch) {
  return gemm_takes(arch, Dtype::kE4m3, ScaleKind::kF32, Dtype::kE2m1, ScaleKind::kUe8m0, 32) &&
         gemm_takes(arch, Dtype::kE4m3, ScaleKind::kUe8m0, Dtype::kE4m3, ScaleKind::kF32, 128);
}

/// A shape that no kernel takes is refused with reasons.
bool refuses_with_reasons(Arch const& arch) {
  GemmShape const shape{.m = 1, .n = 1, .k = 33};
  GemmDecision const decision = choose_gemm(shape, arch);
  return decision.ranked.empty() && !decision.rejected.empty() && !decision.rejected.front().reason.empty();
}

constexpr DeviceAddress kSomewhere = 0x10000;  // checks look at alignment, nothing is read

/// One token of o_proj with weights [8, 1024, 4096], or the same as [8 * 1024, 4096], and their FP32 or byte scales.
bool einsum_takes(Arch const& arch, bool flat_weights, Dtype weight_scale) {
  EinsumCall call;
  call.a = contiguous_view(kSomewhere, Dtype::kE4m3, {1, 8, 4096});
  call.scale_a = contiguous_view(kSomewhere, Dtype::kF32, {1, 8, 32});
  call.b = flat_weights ? contiguous_view(kSomewhere, Dtype::kE4m3, {8 * 1024, 4096})
                        : contiguous_view(kSomewhere, Dtype::kE4m3, {8, 1024, 4096});
  call.scale_b = flat_weights ? contiguous_view(kSomewhere, weight_scale, {8 * 8, 32})
                              : contiguous_view(kSomewhere, weight_scale, {8, 8, 32});
  call.d = contiguous_view(2 * kSomewhere * kSomewhere, Dtype::kBf16, {1, 8, 1024});
  try {
    return !choose_gemm(shape_of(check_einsum("bhr,hdr->bhd", call)), arch).ranked.empty();
  } catch (Error const&) {
    return false;
  }
}

bool serves_einsum(Arch const& arch) {
  for (Dtype const weight_scale : {Dtype::kF32, Dtype::kUe8m0}) {
    if (!einsum_takes(arch, false, weight_scale) || !einsum_takes(arch, true, weight_scale)) return false;
  }
  return true;
}

bool serves_scale_layouts(Arch const& arch) {
  for (int const gran_k : {32, 128}) {
    for (Dtype const dtype : {Dtype::kF32, Dtype::kUe8m0, Dtype::kU8}) {
      ScaleLayoutCall call;
      call.scale = contiguous_view(kSomewhere, dtype, {256, 4096 / gran_k});
      call.mn = 256;
      call.k = 4096;
      call.gran_k = gran_k;
      try {
        if (required_scale_layout(call, arch).bytes == 0) return false;
      } catch (Error const&) {
        return false;
      }
    }
  }
  return true;
}

/// Logits of 64 heads of 128, of one row and of many, whose ring of keys fits the target.
bool serves_mqa(Arch const& arch, bool paged, int page) {
  for (std::int64_t const rows : {1, 2, 4096}) {
    MqaShape const shape{.paged = paged, .rows = rows, .heads = 64, .dim = 128, .page = page};
    if (!accepts_mqa(shape, arch).accepted() || smem_map(mqa_plan(shape, arch)).total > arch.smem_per_cta)
      return false;
  }
  return true;
}

bool serves_mqa_logits(Arch const& arch) { return serves_mqa(arch, false, 0); }

bool serves_paged_mqa_logits(Arch const& arch) {
  for (int const page : {32, 64, 128}) {
    if (!serves_mqa(arch, true, page)) return false;
  }
  return true;
}

/// One token and many, whole and in any number of splits that serving code asks for.
bool serves_hc_prenorm(Arch const& arch) {
  for (std::int64_t const m : {1, 33, 4096}) {
    for (std::int64_t const splits : {1, 16, 64}) {
      if (choose_hc_prenorm({.m = m, .n = 24, .k = 16384, .splits = splits}, arch).empty()) return false;
    }
  }
  return true;
}

bool has_compiler(Arch const& arch) {
  for (char const* kind : {"nvrtc", "nvcc"}) {
    for (jit::Candidate const& candidate : jit::find_compilers(kind, arch.target)) {
      if (candidate.rejected.empty()) return true;
    }
  }
  return false;
}

/// Whether the Python package with the drop-in is installed around this program (<package>/bin/deepwell).
bool has_drop_in(Arch const&) {
  std::error_code failed;
  std::filesystem::path const program = std::filesystem::read_symlink("/proc/self/exe", failed);
  std::filesystem::path const package = program.parent_path().parent_path();
  return !failed && std::filesystem::exists(package / "_drop_in" / "deep_gemm" / "__init__.py", failed);
}

/// The alignment that is told has a kernel whose tiles are as high.
bool serves_alignment(Arch const& arch) {
  return best_alignment(6, 256) < 128 && serves_experts(arch) && has_drop_in(arch);
}

bool serves_registered_einsum(Arch const& arch) { return has_drop_in(arch) && serves_einsum(arch); }

// clang-format off
constexpr CoverageRow kRows[] = {
    // ---- dispatch and build ----
    {.group = "dispatch", .site = "get_default_recipe", .operation = "default scale recipe of a GEMM", .formats = "FP32, packed UE8M0",
     .served = serves_all_pairs,
     .without = "\"Unknown recipe\" where the library has none for arch 12",
     .answer = "(1, 128, 128) for FP32 scales of B, (1, 1, 128) for packed ones, as on SM 10.x"},
    {.group = "dispatch", .site = "transform_sf_into_required_layout", .operation = "scale factors into the layout of the kernels",
     .formats = "FP32, UE8M0 bytes, packed; 32 and 128 along k", .served = serves_scale_layouts,
     .without = "\"Unknown SF transformation\", or FP4 scales refused",
     .answer = "every scale format, granularity 32 and 128, for FP8 and FP4"},
    {.group = "dispatch", .site = "run-time compiler", .operation = "compiling a kernel on the user's machine", .formats = "",
     .served = has_compiler,
     .without = "CUTLASS headers not found, or nvcc 13 demanded at run time",
     .answer = "kernels compile with NVRTC alone and an empty include path; NVCC compiles them too"},
    {.group = "dispatch", .site = "an operation without a kernel", .operation = "every unserved call", .formats = "", .served = refuses_with_reasons,
     .without = "an assertion, an assembler error, a crash in warm-up or graph capture",
     .answer = "an error that names each kernel's reason; nothing was launched"},
    {.group = "dispatch", .site = "import deep_gemm", .operation = "which module is live", .formats = "", .served = has_drop_in,
     .without = "an external module wins, and a name it lacks is an error at its first call",
     .answer = "a drop-in module that says which one is live and hands on what it does not serve"},

    // ---- kernels ----
    {.group = "kernels", .site = "fp8_fp4_gemm_nt", .operation = "dense projections, shared and routed experts one by one",
     .formats = "FP8xFP8, FP8xFP4, FP4xFP8, FP4xFP4", .served = serves_all_pairs,
     .without = "\"Unsupported architecture\", or a Hopper kernel that does not assemble",
     .answer = "block-scaled GEMM, any m and n, every mix of scale formats, large m and decode"},
    {.group = "kernels", .site = "m_grouped_fp8_fp4_gemm_nt_contiguous, ..._masked", .operation = "expert layers w1, w3, w2 (256 experts, top 6)",
     .formats = "FP8xFP4, FP8xFP8", .served = serves_experts,
     .without = "\"Unsupported architecture\", or 128 rows for every expert that has one",
     .answer = "grouped GEMM, contiguous and masked, any alignment and order of ids"},
    {.group = "kernels", .site = "m_grouped_*, other forms", .operation = "expert layers in BF16, and with the psum layout",
     .formats = "BF16, NVFP4", .served = nullptr, .without = "the psum layout exists on SM 10.x only", .answer = "later"},
    {.group = "kernels", .site = "k_grouped_fp8_gemm_tn_contiguous, ..._nt_contiguous", .operation = "products grouped along k, and their packed scales (training)",
     .formats = "FP8", .served = nullptr,
     .without = "\"Unsupported architecture\", or wrong sums where a group ends inside a scale",
     .answer = "a GEMM over groups of k, and the k-grouped packed scale layout"},
    {.group = "kernels", .site = "fp8_gemm_nt_skip_head_mid", .operation = "projection that leaves the middle of each head alone", .formats = "FP8",
     .served = nullptr, .without = "the name is gone from newer versions", .answer = "a GEMM with that store pattern"},
    {.group = "kernels", .site = "fp8_mqa_logits", .operation = "ragged logits of the lightning indexer (64 heads, dimension 128)",
     .formats = "FP8", .served = serves_mqa_logits, .without = "\"Unsupported architecture\", or logits that differ between launches",
     .answer = "logits with the same bits in every launch and schedule, and none that is NaN"},
    {.group = "kernels", .site = "fp8_paged_mqa_logits", .operation = "paged logits and their schedule", .formats = "FP8",
     .served = serves_paged_mqa_logits, .without = "page sizes other than 32 and 64 are refused", .answer = "pages of 32, 64 and 128 states, any number of next tokens, any schedule"},
    {.group = "kernels", .site = "fp8_fp4_mqa_logits, fp8_fp4_paged_mqa_logits", .operation = "the indexer's logits of FP4 queries and keys",
     .formats = "FP4", .served = nullptr, .without = "refused outside SM 10.x", .answer = "the same kernels with FP4 operands"},
    {.group = "kernels", .site = "fp8_einsum", .operation = "o_proj, bhr,hdr->bhd (8 groups, 4096 to 1024)", .formats = "FP8, FP4",
     .served = serves_einsum, .without = "an assertion on the rank of a tensor in the first forward pass",
     .answer = "2-D and 3-D weights, all scale formats, on the kernels of the GEMM"},
    {.group = "kernels", .site = "tf32_hc_prenorm_gemm", .operation = "hyper-connection GEMM (n = 24, k = 16384)", .formats = "TF32",
     .served = serves_hc_prenorm, .without = "\"Unsupported architecture\" at start-up", .answer = "a tf32 GEMM for any number of splits"},
    {.group = "kernels", .site = "mxf4nvf4 tensor-core instruction", .operation = "FP4 x FP4 at full rate", .formats = "MXFP4, NVFP4",
     .served = serves_fp4_pair, .without = "a wrapper that is missing for SM 12.x", .answer = "one instruction wrapper, emulated bit for bit"},
    {.group = "kernels", .site = "sparse MQA logits, mega MoE, bf16_mega_gate", .operation = "V4.1 and expert parallelism",
     .formats = "FP8, FP4, BF16", .served = nullptr, .without = "kernels for SM 10.x only", .answer = "later"},

    // ---- serving ----
    {.group = "serving", .site = "support_deep_gemm()", .operation = "whether the platform may call deep_gemm", .formats = "", .served = nullptr,
     .without = "SM 12.x shut out, or let in while the kernels are not there", .answer = "a plugin that opens it where kernels exist"},
    {.group = "serving", .site = "fp8_einsum, registered operation", .operation = "o_proj through the serving code", .formats = "FP8",
     .served = serves_registered_einsum, .without = "2-D weights that another linear kernel prepared end in a rank assertion",
     .answer = "deepseek_v4_fp8_einsum: 2-D and 3-D weights; FP32, e8m0 or packed scales"},
    {.group = "serving", .site = "alignment of expert rows", .operation = "padding of routed rows", .formats = "", .served = serves_alignment,
     .without = "the question fails without a word and every expert is padded to 128 rows",
     .answer = "both signatures answered, 8 or 16 where experts get few rows"},
    {.group = "serving", .site = "FP32 weight scales beside packed activations", .operation = "mixed scale formats in one call", .formats = "FP32, packed",
     .served = serves_mixed_scales, .without = "an assertion", .answer = "every mix accepted"},
    {.group = "serving", .site = "warm-up before capture", .operation = "experts, einsum, logits, hyper-connection GEMM", .formats = "", .served = serves_warm_up,
     .without = "kernels compile in the middle of a request", .answer = "a warm-up of its own; nothing compiles during capture"},
    {.group = "serving", .site = "FP4 indexer cache", .operation = "indexer keys in FP4", .formats = "FP4", .served = nullptr,
     .without = "refused outside SM 10.x", .answer = "FP4 logits for a plugin"},
    {.group = "serving", .site = "Marlin MoE kernels", .operation = "an expert path of the serving code", .formats = "", .served = nullptr,
     .without = "not built for SM 12.x in some packages: wrong numbers without an error",
     .answer = "cannot be mended from outside: documented"},
    {.group = "serving", .site = "sparse MLA, compressor, router, quantisation, combine", .operation = "the rest of a decoder step", .formats = "FP8, BF16",
     .served = nullptr, .without = "other libraries' kernels, where they exist for the head count and top-k", .answer = "later"},
};
// clang-format on

}  // namespace

char const* name_of(Coverage coverage) {
  switch (coverage) {
    case Coverage::kWorks: return "works";
    case Coverage::kMissing: return "missing";
  }
  return "?";
}

std::span<CoverageRow const> coverage_map() { return kRows; }

Coverage coverage_on(CoverageRow const& row, Arch const& arch) {
  return row.served != nullptr && row.served(arch) ? Coverage::kWorks : Coverage::kMissing;
}

}  // namespace deepwell
