"""The translation units that are compiled: FlashInfer's CUDA files for SM 12.x, as its wheel has them."""

from dataclasses import dataclass

FLASHINFER = "flashinfer-python==0.7.2.post1"
TVM_FFI = "apache-tvm-ffi"

SPARSE = "csrc/sparse_mla_sm120"
CAKE = "csrc/cake_dsv4/sm_120a"
MIXED = f"{CAKE}/cake_sparse_mla_dsv41_mixed"


@dataclass(frozen=True)
class Unit:
    """A file of the wheel (below flashinfer/data), or with `text` one of ours that includes it to instantiate templates."""

    name: str
    source: str
    defines: tuple = ()
    text: str = ""
    host: bool = False  # its host code is needed as well, to make launch arguments


FILES = (
    ("hash_topk", "csrc/fused_moe/hash_topk.cu"),
    ("layout_probe", f"{SPARSE}/nvfp4_mma_layout_probe.cu"),
    ("fp4_kv_quantization", "csrc/fp4_kv_quantization.cu"),
    ("fp4_kv_dequantization", "csrc/fp4_kv_dequantization.cu"),
    ("mla_kv_pack_fp8", "csrc/mla_kv_pack_fp8.cu"),
    ("concat_mla", "csrc/concat_mla.cu"),
    ("dsv41_fp4_cache_ops", f"{SPARSE}/dsv41_fp4_cache_ops.cu"),
    ("dsv41_fp8_cache_ops", f"{SPARSE}/cake_dsv41_fp8_cache_ops.cu"),
    ("dsv4_nvfp4_cache_ops", f"{SPARSE}/dsv4_nvfp4_cache_ops.cu"),
    ("nvfp4_attn_quantize", "csrc/nvfp4_attention_sm120/nvfp4_attention_sm120_quantize.cu"),
    ("mhc_post", "csrc/mhc/mhc_post.cu"),
    ("mhc_pre_big_fuse", "csrc/mhc/mhc_pre_big_fuse.cu"),
    ("router", "csrc/dsv3_router_gemm.cu"),
    ("page", "csrc/page.cu"),
    ("rope_insert", f"{CAKE}/cake_dsv4_nvfp4_rope_insert_kernel.cu"),
    ("dsv4_nvfp4_dispatch", f"{SPARSE}/dsv4_nvfp4_dispatch.cu"),
    ("decode_dispatch", f"{SPARSE}/decode_dispatch.cu"),
    ("prefill_dispatch", f"{SPARSE}/prefill_dispatch.cu"),
    ("topk", "csrc/topk.cu"),
    ("fast_topk", "csrc/flashinfer_fast_topk_clusters_binding.cu"),
    ("rope", "csrc/rope.cu"),
    ("dsv32_decode", f"{SPARSE}/dsv32_decode_dispatch.cu"),
    ("mixed_h8_single", f"{MIXED}_h8_single_default.cu"),
    ("mixed_h16_dual", f"{MIXED}_h16_dual_default.cu"),
    ("mixed_h64_dual", f"{MIXED}_h64_dual_tl_ip.cu"),
    ("mixed_merge", f"{MIXED}_merge_default_heads_h8_16_32_48_64_80_96_112_128_fold.cu"),
    ("mixed_merge_mo2", f"{MIXED}_merge_mo2_heads_h8_16_32_64_128_fold.cu"),
    ("cake_nvfp4_h8", f"{CAKE}/cake_sparse_mla_dsv4_nvfp4_h8.cu"),
    ("cake_nvfp4_prefill_h16", f"{CAKE}/cake_sparse_mla_dsv4_nvfp4_prefill_h16.cu"),
    ("tinygemm2", "csrc/tinygemm2.cu"),
    ("h3_dense_attn", "csrc/cake_minimax_h3_dense_attention_sm120a.cu"),
    ("h3_fc1", "csrc/cake_minimax_h3_sm120_quant_fc1_swiglu_sm120a.cu"),
    ("h3_out_proj", "csrc/cake_minimax_h3_sm120_quant_out_proj_sm120a.cu"),
    ("h3_pre_attention", "csrc/cake_minimax_h3_sm120_quant_pre_attention_sm120a.cu"),
    ("h3_quant_attn", "csrc/cake_minimax_h3_sm120_quant_varlen_attention_sm120a.cu"),
    ("h3_nvfp4_attn", "csrc/cake_minimax_h3_sm120_nvfp4_varlen_attention_sm120a.cu"),
)
UNITS = tuple(Unit(name, source) for name, source in FILES)
