// The C interface of Deepwell: contexts, operations on DLPack tensors, errors. Every function may be called from any thread.
//
// Functions that can fail return a dw_status; when it is not DW_OK, the dw_error_* functions describe the failure of the
// calling thread's last such call, and nothing was launched. Structures that a caller fills start with their own size, so that
// later versions may add fields: zero the structure, then set `size` to sizeof.
#ifndef DEEPWELL_DEEPWELL_H_
#define DEEPWELL_DEEPWELL_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define DW_API
#else
#define DW_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- DLPack's tensor, field by field: a DLTensor* may be passed as a dw_tensor*. ---- */

/* Operations of an emulated device ("emu:...") take DW_DEVICE_CPU too, beside its own memory or alone: the bytes from a tensor's
 * first to its last element are copied to the device first, the elements of a written one come back before the call returns,
 * and nothing between them. A call that fails leaves host memory as it was. */
enum {
  DW_DEVICE_CPU = 1, /* host memory */
  DW_DEVICE_CUDA = 2,
  DW_DEVICE_EXTENSION = 12 /* memory of an emulated device */
};

/* Type codes. e2m1 is 4 bits in 2 lanes: shape and strides count bytes that hold two values. */
enum {
  DW_CODE_INT = 0,
  DW_CODE_UINT = 1,
  DW_CODE_FLOAT = 2,
  DW_CODE_BFLOAT = 4,
  DW_CODE_FLOAT8_E4M3FN = 10,
  DW_CODE_FLOAT8_E8M0FNU = 14,
  DW_CODE_FLOAT4_E2M1FN = 17
};

typedef struct dw_tensor {
  void* data; /* an address on the device, or on the host for DW_DEVICE_CPU */
  struct {
    int32_t device_type;
    int32_t device_id;
  } device;
  int32_t ndim;
  struct {
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
  } dtype;
  int64_t* shape;
  int64_t* strides; /* elements; NULL: row-major */
  uint64_t byte_offset;
} dw_tensor;

/* ---- Errors ---- */

typedef enum dw_status {
  DW_OK = 0,
  DW_BAD_ARGUMENT = 1, /* the caller's mistake */
  DW_UNSUPPORTED = 2,  /* a correct request that no kernel or device serves */
  DW_TOOLCHAIN = 3,    /* a compiler is missing, too old, or failed */
  DW_DEVICE = 4,       /* a driver call or a device failed */
  DW_INTERNAL = 5      /* a mistake of the library */
} dw_status;

/* About the calling thread's last failure; each may be "". Valid until the thread's next call that fails. */
DW_API char const* dw_error_message(void);
DW_API char const* dw_error_argument(void);
DW_API char const* dw_error_got(void);
DW_API char const* dw_error_expected(void);

DW_API char const* dw_version(void);

/* ---- Options ---- */

/* Sets an option of docs/options.md ("DEEPWELL_CACHE_DIR") for this process, before its environment; NULL: as if never set here.
 * What has been read already stays as it is. */
DW_API dw_status dw_set_option(char const* name, char const* value);

/* ---- Contexts ---- */

typedef struct dw_context dw_context;

/* `device`: "cuda", "cuda:1", "emu:sm_120a", "null:sm_120a" or "best". Where the emulator is a library of its own and is not
 * installed, "emu:..." is DW_UNSUPPORTED with the argument "DEEPWELL_EMULATOR". */
DW_API dw_status dw_context_create(char const* device, dw_context** out);
DW_API void dw_context_destroy(dw_context* context); /* NULL is fine */
/* "cuda:0", "emu:sm_120a", ...; valid as long as the context. */
DW_API char const* dw_context_device(dw_context* context);
/* "sm_120a", ... */
DW_API char const* dw_context_target(dw_context* context);
/* Streaming multiprocessors of the device; 0 for NULL. */
DW_API int dw_context_sm_count(dw_context* context);
/* Programmatic dependent launch for all later launches. */
DW_API dw_status dw_context_set_pdl(dw_context* context, int on);
/* How often kernels noted `note` ("lossy_scale", "clipped_keys", ...) on this device; no synchronisation. */
DW_API dw_status dw_context_notes(dw_context* context, char const* note, uint32_t* out);
/* DW_BAD_ARGUMENT, naming note and count, when kernels have noted something since the last call; else DW_OK. No synchronisation. */
DW_API dw_status dw_context_raise_notes(dw_context* context);

/* ---- Any PTX on the CPU: launch files, as `deepwell emulate --launch` takes them (docs/emulate.md). ---- */

/* Host memory behind a buffer of the launch file that has no "file", "fill", "values" or "struct": its contents before the
 * launches, and after the call what they left there. */
typedef struct dw_host_array {
  size_t size;
  char const* name;
  void* data;
  size_t bytes;
  uint8_t*
      written; /* by byte: 0 where it was never written, before and after; NULL: all of it is, and nobody asks */
} dw_host_array;

/* `folder`: what the file's own files are named against; NULL: files are refused. The report is a JSON object and lives until the
 * thread's next call. What the emulator's checkers find, and what differs from what is expected, is in the report ("ok" is false) and no
 * failure of the call; a launch file that cannot be run is DW_BAD_ARGUMENT or DW_UNSUPPORTED, and arrays are as before. */
DW_API dw_status dw_run_launches(char const* launches, char const* folder, dw_host_array const* arrays,
                                 size_t num_arrays, char const** report);

/* ---- Warm-up: afterwards nothing is compiled or loaded while a model serves. ---- */

/* Sizes of a DeepSeek-V4 model, under the names of its config.json. */
typedef struct dw_model_sizes {
  size_t size;
  int64_t hidden_size, num_attention_heads, head_dim, q_lora_rank, o_groups, o_lora_rank;
  int64_t index_n_heads, index_head_dim, index_topk;
  int64_t n_routed_experts, n_shared_experts, num_experts_per_tok, moe_intermediate_size;
  int64_t hc_mult;
  int fp4_experts; /* 0: FP8 experts */
} dw_model_sizes;

/* From the text of a config.json; NULL: V4-Flash. out->size is set by the caller. A field that is missing or odd is
 * DW_BAD_ARGUMENT with the argument "model_config.FIELD". */
DW_API dw_status dw_model_sizes_from_config(char const* model_config, dw_model_sizes* out);
/* From a config.json, or a folder that holds one. */
DW_API dw_status dw_model_sizes_from_file(char const* path, dw_model_sizes* out);

/* Where a kernel came from. */
enum {
  DW_KERNEL_IN_MEMORY = 0,
  DW_KERNEL_FROM_ARCHIVE = 1,
  DW_KERNEL_FROM_CACHE = 2,
  DW_KERNEL_COMPILED = 3
};

typedef struct dw_warmup_progress {
  size_t size;
  size_t done, total;
  char const* kernel; /* until the callback returns */
  int source;         /* DW_KERNEL_... */
  double seconds;     /* to compile or to read it */
} dw_warmup_progress;

typedef struct dw_warmup_result {
  size_t size;
  size_t kernels; /* the sum of the next four */
  size_t in_memory, from_archives, from_cache, compiled;
  double seconds; /* from begin to end */
} dw_warmup_result;

/* Compiles and loads every kernel of the model for one of `tp` ranks, in parallel, and returns when all are loaded. `sizes` NULL:
 * V4-Flash. `progress` may be NULL; it is called on the calling thread after each kernel, and ends the warm-up when it returns
 * other than 0: DW_BAD_ARGUMENT, "progress". Processes with one cache folder that warm up at the same time share the work. Kernels
 * come from the archives of option DEEPWELL_KERNELS first, then from the cache, then from a compiler. What later calls do that
 * still need a kernel is option DEEPWELL_AFTER_WARMUP. `out` may be NULL; out->size is set by the caller. */
DW_API dw_status dw_warmup(dw_context* context, dw_model_sizes const* sizes, int tp,
                           int (*progress)(void* user, dw_warmup_progress const* progress), void* user,
                           dw_warmup_result* out);

/* Kernels of the context so far. */
typedef struct dw_kernel_counts {
  size_t size;
  size_t loaded;
  size_t compiled, from_archives, from_cache;
  size_t late; /* built after a warm-up was over */
} dw_kernel_counts;
DW_API dw_status dw_context_kernel_counts(dw_context* context, dw_kernel_counts* out);

/* Device memory for tools and tests; operations take workspace from dw_allocator. */
DW_API dw_status dw_memory_allocate(dw_context* context, size_t bytes, void** out);
DW_API dw_status dw_memory_release(dw_context* context, void* address);
DW_API dw_status dw_memory_to_device(dw_context* context, void* to, void const* from, size_t bytes,
                                     void* stream);
DW_API dw_status dw_memory_to_host(dw_context* context, void* to, void const* from, size_t bytes,
                                   void* stream);
DW_API dw_status dw_synchronize(dw_context* context, void* stream);

/* Workspace in stream order. `allocate` returns an address that is a multiple of 256, or NULL when there is no memory. */
typedef struct dw_allocator {
  size_t size;
  void* user;
  void* (*allocate)(void* user, size_t bytes, void* stream);
  void (*release)(void* user, void* address, void* stream);
} dw_allocator;

/* ---- Operations ---- */

/* d[m, n] = a[m, k] b[n, k]^T (+ c). a, b: e4m3, or packed e2m1 as int8, uint8 or e2m1. Scales: float32, e8m0 or uint8, or packed
 * int32. c may be NULL. recipe (3 ints), or recipe_a and recipe_b (2 ints each), or none of them. */
typedef struct dw_gemm_call {
  size_t size;
  dw_tensor const *a, *scale_a, *b, *scale_b, *c;
  dw_tensor const* d;
  int const* recipe;
  int const *recipe_a, *recipe_b;
  int disable_ue8m0_cast;
  void* stream;
  dw_allocator const* workspace; /* not used: these products need none */
} dw_gemm_call;
DW_API dw_status dw_fp8_fp4_gemm_nt(dw_context* context, dw_gemm_call const* call);

/* d = a b[group]^T for rows of many groups (experts); b: [groups, n, k]. Operands, scales and recipes as above.
 * Contiguous (masked 0): a [m, k], d [m, n]; layout int32 [m] is each row's group, -1 for padding. Blocks of `rows` rows (the
 * alignment of groups' first rows, at least 1) follow each other from row 0: where a row of a block has a group, all rows of the
 * block are written, padding with the product of the nearest group in the block; other rows of d are left alone. Ids in any order
 * are right; those that name no group count as -1 and as the note "bad_group_id".
 * Masked: a [groups, m, k], d [groups, m, n]; layout int32 [groups] is how many rows count, the first ones; only they are
 * written. `rows` is how many are expected, a hint, 0 for none. Counts outside 0 to m are clipped, note "bad_group_size". */
typedef struct dw_grouped_gemm_call {
  size_t size;
  dw_tensor const *a, *scale_a, *b, *scale_b, *layout;
  dw_tensor const* d;
  int const* recipe;
  int const *recipe_a, *recipe_b;
  int masked;
  int64_t rows;
  void* stream;
} dw_grouped_gemm_call;
DW_API dw_status dw_grouped_fp8_fp4_gemm_nt(dw_context* context, dw_grouped_gemm_call const* call);
/* The alignment with which contiguous calls are fastest for `rows` rows in all over `groups` groups: 8, 16, 32, 64 or 128. */
DW_API int dw_grouped_gemm_alignment(int64_t rows, int64_t groups);

/* "bhr,hdr->bhd". recipe NULL: (1, 128, 128). */
typedef struct dw_einsum_call {
  size_t size;
  char const* expression;
  dw_tensor const *a, *scale_a, *b, *scale_b, *c;
  dw_tensor const* d;
  int const* recipe;
  void* stream;
  dw_allocator const* workspace; /* not used */
} dw_einsum_call;
DW_API dw_status dw_fp8_einsum(dw_context* context, dw_einsum_call const* call);

/* d = a b^T in TF32 (of b only the bits that TF32 has count), sqr_sum = the sums of squares of a's rows. a [m, k] bfloat16, b [n, k]
 * float32, n at most 128; d [m, n] and sqr_sum [m] float32, or, with num_splits, [num_splits, m, n] and [num_splits, m]: parts over
 * ranges of k, which the caller adds up. */
typedef struct dw_hc_prenorm_call {
  size_t size;
  dw_tensor const *a, *b;
  dw_tensor const *d, *sqr_sum;
  int64_t const* num_splits; /* NULL: none */
  void* stream;
  dw_allocator const* workspace; /* NULL: the context's own */
} dw_hc_prenorm_call;
DW_API dw_status dw_tf32_hc_prenorm_gemm(dw_context* context, dw_hc_prenorm_call const* call);

/* Scales into the layout that GEMMs read fastest. num_groups < 0: scale has no axis of groups. */
typedef struct dw_scale_layout_call {
  size_t size;
  dw_tensor const* scale;
  int64_t mn, k, num_groups;
  int gran_mn, gran_k;
  int disable_ue8m0_cast;
} dw_scale_layout_call;
typedef struct dw_scale_layout {
  int unchanged; /* use the scales as they are */
  int is_int32;  /* packed words; else float32 */
  int ndim;
  int64_t shape[3], strides[3]; /* elements */
  size_t bytes;
} dw_scale_layout;
DW_API dw_status dw_required_scale_layout(dw_context* context, dw_scale_layout_call const* call,
                                          dw_scale_layout* out);
/* `out` has the type and shape that dw_required_scale_layout gives. */
DW_API dw_status dw_transform_scale(dw_context* context, dw_scale_layout_call const* call,
                                    dw_tensor const* out, void* stream);

/* Layouts of scales that do not depend on the device. scale: [(groups,) mn, columns]. */
/* float32 -> float32 column by column; unchanged if it is already. */
DW_API dw_status dw_mn_major_scale_layout(dw_context* context, dw_tensor const* scale, dw_scale_layout* out);
/* float32, e8m0 or uint8 -> packed words column by column. */
DW_API dw_status dw_packed_scale_layout(dw_context* context, dw_tensor const* scale, dw_scale_layout* out);
/* `out` has the type and shape that one of the two gives; scale may have any strides. */
DW_API dw_status dw_write_scale_layout(dw_context* context, dw_tensor const* scale, dw_tensor const* out,
                                       void* stream);

/* logits[i, j] = scale[j] * sum over heads of max(0, <q[i, h], key[j]>) * weights[i, h], float32, for the lightning indexer. Never NaN:
 * -inf then. Lengths, ranges and block tables are bounded on the device; what was bounded is noted ("clipped_keys", "bad_page",
 * "nan_logit"). */

/* Row i sees keys start[i] <= j < end[i]. compressed: logits [rows, any], element [i, j - start[i]]; else [rows, keys], element [i, j].
 * Elements outside of a row's keys are not written, or are -inf with `clean` (not compressed only). */
typedef struct dw_mqa_logits_call {
  size_t size;
  dw_tensor const* q;             /* e4m3 [rows, heads, dim] */
  dw_tensor const *kv, *kv_scale; /* e4m3 [keys, dim], float32 [keys] */
  dw_tensor const* weights;       /* float32 [rows, heads] */
  dw_tensor const *start, *end;   /* int32 [rows] */
  dw_tensor const* logits;        /* float32, last stride 1 */
  int compressed, clean;
  void* stream;
} dw_mqa_logits_call;
DW_API dw_status dw_fp8_mqa_logits(dw_context* context, dw_mqa_logits_call const* call);

/* Row request * next_n + t sees keys 0 <= j < context_lens[request, t] of its request. kv_cache: uint8 [pages, page, 1, dim + 4], pages
 * anything apart; in a page all values [page, dim] come first, then all scales float32 [page]. */
typedef struct dw_paged_mqa_logits_call {
  size_t size;
  dw_tensor const* q; /* e4m3 [requests, next_n, heads, dim] */
  dw_tensor const* kv_cache;
  dw_tensor const* weights;      /* float32 [requests * next_n, heads] */
  dw_tensor const* context_lens; /* int32 [requests, next_n] */
  dw_tensor const* block_table;  /* int32 [requests, any] */
  dw_tensor const* schedule;     /* of dw_paged_mqa_logits_metadata, or NULL: advice that changes no logit */
  dw_tensor const* indices;      /* int32 [requests] with next_n 1, or NULL: not needed */
  dw_tensor const* logits;       /* float32 [requests * next_n, longest], last stride 1 */
  void* stream;
} dw_paged_mqa_logits_call;
DW_API dw_status dw_fp8_paged_mqa_logits(dw_context* context, dw_paged_mqa_logits_call const* call);

/* schedule: int32 [n + 1, 2], contiguous. page: keys of a page. indices may be NULL. */
DW_API dw_status dw_paged_mqa_logits_metadata(dw_context* context, dw_tensor const* context_lens, int page,
                                              dw_tensor const* indices, dw_tensor const* schedule,
                                              void* stream);

#ifdef __cplusplus
}
#endif

#endif /* DEEPWELL_DEEPWELL_H_ */
