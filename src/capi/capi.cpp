// The C interface: DLPack tensors become views, errors become codes. Exceptions end here.
#include <algorithm>
#include <cstddef>
#include <exception>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/emu/emulator.hpp"
#include "base/options.hpp"
#include "capi/staging.hpp"
#include "deepwell/deepwell.h"
#include "deepwell/notes.h"
#include "ops/einsum/einsum.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/gemm/grouped.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"
#include "ops/layout/layout.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"
#include "ops/startup/kernel_set.hpp"

struct dw_context {
  explicit dw_context(std::string_view device) : context(device) {}
  deepwell::Context context;
};

namespace deepwell {
namespace {

struct LastError {
  std::string message, argument, got, expected;
};
thread_local LastError last_error;

dw_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBadArgument: return DW_BAD_ARGUMENT;
    case ErrorCode::kUnsupported: return DW_UNSUPPORTED;
    case ErrorCode::kToolchain: return DW_TOOLCHAIN;
    case ErrorCode::kDevice: return DW_DEVICE;
    case ErrorCode::kInternal: break;
  }
  return DW_INTERNAL;
}

/// Runs `body`; what it throws becomes the thread's last error and a code.
template <class Body>
dw_status guarded(Body&& body) noexcept {
  try {
    body();
    return DW_OK;
  } catch (Error const& error) {
    try {
      last_error = {.message = error.what(),
                    .argument = error.argument(),
                    .got = error.got(),
                    .expected = error.expected()};
    } catch (...) {
      last_error = {};
    }
    return status_of(error.code());
  } catch (std::exception const& error) {
    try {
      last_error = {.message = error.what(), .argument = {}, .got = {}, .expected = {}};
    } catch (...) {
      last_error = {};
    }
    return DW_INTERNAL;
  } catch (...) {
    last_error = {};
    return DW_INTERNAL;
  }
}

template <class T>
T& present(T* pointer, char const* name) {
  if (pointer == nullptr) throw bad_argument(name, "null", "an address");
  return *pointer;
}

Context& context_of(dw_context* context) { return present(context, "context").context; }

/// A caller's structure: its size says which version it was compiled against. Fields have not been added since the first.
template <class T>
T const& sized(T const* structure, char const* name) {
  T const& given = present(structure, name);
  if (given.size != sizeof(T)) {
    throw bad_argument(fmt::format("{}.size", name), fmt::format("{}", given.size),
                       fmt::format("{}", sizeof(T)));
  }
  return given;
}

DeviceAddress address_of(void const* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

Dtype dtype_of(dw_tensor const& tensor, char const* name) {
  auto const [code, bits, lanes] = tensor.dtype;
  struct Row {
    int code, bits, lanes;
    Dtype dtype;
  };
  constexpr Row kRows[] = {{DW_CODE_FLOAT8_E4M3FN, 8, 1, Dtype::kE4m3},
                           {DW_CODE_FLOAT4_E2M1FN, 4, 2, Dtype::kE2m1},
                           {DW_CODE_FLOAT8_E8M0FNU, 8, 1, Dtype::kUe8m0},
                           {DW_CODE_BFLOAT, 16, 1, Dtype::kBf16},
                           {DW_CODE_FLOAT, 32, 1, Dtype::kF32},
                           {DW_CODE_FLOAT, 16, 1, Dtype::kF16},
                           {DW_CODE_INT, 32, 1, Dtype::kI32},
                           {DW_CODE_INT, 64, 1, Dtype::kI64},
                           {DW_CODE_INT, 8, 1, Dtype::kI8},
                           {DW_CODE_UINT, 8, 1, Dtype::kU8}};
  for (Row const& row : kRows) {
    if (row.code == code && row.bits == bits && row.lanes == lanes) return row.dtype;
  }
  throw bad_argument(
      fmt::format("{}.dtype", name), fmt::format("DLPack code {}, {} bits, {} lanes", code, bits, lanes),
      "e4m3fn, e2m1fn (4 bits, 2 lanes), e8m0fnu, bfloat16, float32, float16, int8, int32, int64 or uint8");
}

bool is_host(dw_tensor const& tensor) { return tensor.device.device_type == DW_DEVICE_CPU; }

/// Tensors live on the context's device: CUDA memory of its number, or extension memory for an emulated one, which takes host
/// memory too; so does a device that runs nothing.
void check_device(Context& context, dw_tensor const& tensor, char const* name) {
  std::string const& id = context.device().id;
  int const ordinal = context.device().cuda_ordinal;
  bool const cuda = ordinal >= 0;
  if (is_host(tensor) && !cuda) return;
  int const type = cuda ? DW_DEVICE_CUDA : DW_DEVICE_EXTENSION;
  int const number = cuda ? ordinal : 0;
  if (tensor.device.device_type != type || (cuda && tensor.device.device_id != number)) {
    std::string expected = fmt::format("({}, {}) for {}", type, number, id);
    if (is_host(tensor))
      expected += fmt::format("; host memory is taken by a context on \"emu:{}\", which emulates the device",
                              context.arch().target);
    throw bad_argument(fmt::format("{}.device", name),
                       fmt::format("DLPack device ({}, {}){}", tensor.device.device_type,
                                   tensor.device.device_id, is_host(tensor) ? ", host memory" : ""),
                       std::move(expected));
  }
}

TensorView view_of(Context& context, dw_tensor const* given, char const* name) {
  dw_tensor const& tensor = present(given, name);
  check_device(context, tensor, name);
  if (tensor.ndim < 1 || tensor.ndim > kMaxRank) {
    throw bad_argument(fmt::format("{}.rank", name), fmt::format("{}", tensor.ndim),
                       fmt::format("1 to {}", kMaxRank));
  }
  if (tensor.shape == nullptr) throw bad_argument(fmt::format("{}.shape", name), "null", "an address");
  TensorView view{.data = tensor.data == nullptr ? 0 : address_of(tensor.data) + tensor.byte_offset,
                  .dtype = dtype_of(tensor, name),
                  .rank = tensor.ndim,
                  .shape = {},
                  .strides = {}};
  std::int64_t stride = 1;
  for (int i = tensor.ndim - 1; i >= 0; --i) {
    view.shape[i] = tensor.shape[i];
    view.strides[i] = tensor.strides != nullptr ? tensor.strides[i] : stride;
    bool const overflows =
        view.shape[i] > 1 && stride > std::numeric_limits<std::int64_t>::max() / view.shape[i];
    if (tensor.strides == nullptr && overflows) {
      throw bad_argument(fmt::format("{}.shape", name), fmt::format("{} at axis {}", view.shape[i], i),
                         "a tensor that fits into 64-bit addresses");
    }
    if (!overflows) stride *= std::max<std::int64_t>(view.shape[i], 1);
  }
  return view;
}

TensorView optional_view(Context& context, dw_tensor const* given, char const* name) {
  return given == nullptr ? TensorView{} : view_of(context, given, name);
}

class CallersAllocator : public Allocator {
 public:
  explicit CallersAllocator(dw_allocator const& allocator) : allocator_(allocator) {}
  DeviceAddress allocate(std::size_t bytes, Stream stream) override {
    void* const address = allocator_.allocate(allocator_.user, bytes, stream);
    if (address == nullptr) {
      throw Error(ErrorCode::kDevice,
                  fmt::format("the caller's allocator has no {} bytes of workspace", bytes), "workspace",
                  fmt::format("{} bytes", bytes), "an address");
    }
    return address_of(address);
  }
  void release(DeviceAddress address, Stream stream) override {
    allocator_.release(allocator_.user, reinterpret_cast<void*>(static_cast<std::uintptr_t>(address)),
                       stream);
  }

 private:
  dw_allocator const& allocator_;
};

/// The allocator of a call, alive for its duration; null when the context's own is meant.
std::unique_ptr<CallersAllocator> allocator_of(dw_allocator const* given) {
  if (given == nullptr) return nullptr;
  dw_allocator const& allocator = sized(given, "workspace");
  if (allocator.allocate == nullptr || allocator.release == nullptr)
    throw bad_argument("workspace", "null functions", "allocate and release");
  return std::make_unique<CallersAllocator>(allocator);
}

template <class Call>
GivenRecipe recipe_of_call(Call const& call) {
  GivenRecipe out;
  if (call.recipe != nullptr) out.recipe = {call.recipe[0], call.recipe[1], call.recipe[2]};
  if (call.recipe_a != nullptr) out.recipe_a = {call.recipe_a[0], call.recipe_a[1]};
  if (call.recipe_b != nullptr) out.recipe_b = {call.recipe_b[0], call.recipe_b[1]};
  return out;
}

ScaleLayoutCall layout_call(Context& context, dw_scale_layout_call const& call) {
  ScaleLayoutCall out{.scale = view_of(context, call.scale, "scale"),
                      .mn = call.mn,
                      .k = call.k,
                      .gran_mn = call.gran_mn,
                      .gran_k = call.gran_k};
  if (call.num_groups >= 0) out.num_groups = call.num_groups;
  out.disable_ue8m0_cast = call.disable_ue8m0_cast != 0;
  return out;
}

/// A tensor of a call and the view that was made from it.
struct Operand {
  char const* name;
  dw_tensor const* tensor;
  TensorView* view;
  bool written = false;
};

/// Runs an operation on views of `operands`, which are on the device during `run`; those in host memory are staged.
template <class Run>
void run_staged(Context& context, void* stream, std::initializer_list<Operand> operands, Run&& run) {
  std::vector<HostTensor> host;
  for (Operand const& operand : operands) {
    if (operand.tensor != nullptr && is_host(*operand.tensor))
      host.push_back({.name = operand.name, .view = operand.view, .written = operand.written});
  }
  if (host.empty() || !context.backend().needs_code()) return run();
  Staging staging(context, stream);
  staging.copy_in(host);
  try {
    run();
    staging.copy_back();
  } catch (Error const& error) {
    if (error.code() != ErrorCode::kDevice) throw;
    throw with_context(error, fmt::format("with host tensors staged, {}", staging.describe()));
  }
}

void describe_layout(ScaleLayoutResult const& result, dw_scale_layout& out) {
  out = {};
  out.unchanged = result.unchanged;
  out.is_int32 = result.view.dtype == Dtype::kI32;
  out.ndim = result.view.rank;
  std::copy_n(result.view.shape.begin(), result.view.rank, out.shape);
  std::copy_n(result.view.strides.begin(), result.view.rank, out.strides);
  out.bytes = result.bytes;
}

/// A structure that is filled for the caller, who has set its size.
template <class T>
T& sized_out(T* structure, char const* name) {
  sized(static_cast<T const*>(structure), name);
  return *structure;
}

void write_sizes(ModelSizes const& sizes, dw_model_sizes& out) {
#define DW_COPY(name, value) out.name = sizes.name;
  DW_MODEL_SIZES(DW_COPY)
#undef DW_COPY
  out.fp4_experts = sizes.fp4_experts;
}

ModelSizes read_sizes(dw_model_sizes const* given) {
  ModelSizes sizes;
  if (given == nullptr) return sizes;
  dw_model_sizes const& from = sized(given, "sizes");
#define DW_COPY(name, value) sizes.name = from.name;
  DW_MODEL_SIZES(DW_COPY)
#undef DW_COPY
  sizes.fp4_experts = from.fp4_experts != 0;
  check_model_sizes(sizes, "sizes.");
  return sizes;
}

int source_code(KernelSource source) {
  switch (source) {
    case KernelSource::kMemory: return DW_KERNEL_IN_MEMORY;
    case KernelSource::kArchive: return DW_KERNEL_FROM_ARCHIVE;
    case KernelSource::kDisk: return DW_KERNEL_FROM_CACHE;
    case KernelSource::kCompiler: break;
  }
  return DW_KERNEL_COMPILED;
}

}  // namespace
}  // namespace deepwell

using namespace deepwell;  // the functions below are this file's whole purpose

char const* dw_error_message(void) { return last_error.message.c_str(); }
char const* dw_error_argument(void) { return last_error.argument.c_str(); }
char const* dw_error_got(void) { return last_error.got.c_str(); }
char const* dw_error_expected(void) { return last_error.expected.c_str(); }
char const* dw_version(void) { return "0.1.0"; }

dw_status dw_run_launches(char const* launches, char const* folder, dw_host_array const* arrays,
                          size_t num_arrays, char const** report) {
  return guarded([&] {
    static thread_local std::string last_report;
    present(launches, "launches");
    present(report, "report");
    if (num_arrays > 0) present(arrays, "arrays");
    std::vector<LaunchArray> given;
    for (std::size_t i = 0; i < num_arrays; ++i) {
      dw_host_array const& array = sized(arrays + i, "arrays[i]");
      present(array.name, "arrays[i].name");
      if (array.bytes > 0) present(static_cast<std::byte*>(array.data), "arrays[i].data");
      given.push_back({.name = array.name,
                       .bytes = {static_cast<std::byte*>(array.data), array.bytes},
                       .written = array.written});
    }
    last_report = run_launches(launches, folder == nullptr ? "" : folder, given);
    *report = last_report.c_str();
  });
}

dw_status dw_set_option(char const* name, char const* value) {
  return guarded([&] {
    std::string_view const wanted = &present(name, "name");
    for (OptionRow const& row : option_table()) {
      if (row.name != wanted) continue;
      set_option(row.id, value == nullptr ? std::nullopt : std::optional<std::string>(value));
      return;
    }
    throw bad_argument("name", std::string(wanted),
                       "an option of docs/options.md, such as DEEPWELL_CACHE_DIR");
  });
}

dw_status dw_context_create(char const* device, dw_context** out) {
  return guarded([&] {
    dw_context*& made = present(out, "out");
    made = std::make_unique<dw_context>(&present(device, "device")).release();
  });
}

void dw_context_destroy(dw_context* context) { delete context; }

char const* dw_context_device(dw_context* context) {
  return context == nullptr ? "" : context->context.device().id.c_str();
}

char const* dw_context_target(dw_context* context) {
  return context == nullptr ? "" : context->context.arch().target.data();
}

int dw_context_sm_count(dw_context* context) {
  return context == nullptr ? 0 : context->context.device().sm_count;
}

dw_status dw_context_set_pdl(dw_context* context, int on) {
  return guarded([&] { context_of(context).set_pdl(on != 0); });
}

dw_status dw_context_notes(dw_context* context, char const* note, std::uint32_t* out) {
  return guarded([&] {
    std::string_view const wanted = &present(note, "note");
    std::string known;
    for (int i = 0; i < static_cast<int>(Note::kCount); ++i) {
      char const* const name = name_of(static_cast<Note>(i));
      if (wanted == name) {
        present(out, "out") = context_of(context).backend().read_note(i);
        return;
      }
      known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
    }
    throw bad_argument("note", std::string(wanted), known);
  });
}

dw_status dw_context_raise_notes(dw_context* context) {
  return guarded([&] { context_of(context).raise_notes(); });
}

dw_status dw_model_sizes_from_config(char const* model_config, dw_model_sizes* out) {
  return guarded([&] {
    dw_model_sizes& sizes = sized_out(out, "out");
    write_sizes(model_config == nullptr ? ModelSizes{} : parse_model_sizes(model_config, "model_config."),
                sizes);
  });
}

dw_status dw_model_sizes_from_file(char const* path, dw_model_sizes* out) {
  return guarded([&] {
    dw_model_sizes& sizes = sized_out(out, "out");
    write_sizes(read_model_sizes(&present(path, "path")), sizes);
  });
}

dw_status dw_warmup(dw_context* context, dw_model_sizes const* given, int tp,
                    int (*progress)(void*, dw_warmup_progress const*), void* user, dw_warmup_result* out) {
  return guarded([&] {
    Context& device = context_of(context);
    if (out != nullptr) sized_out(out, "out");
    KernelStore::ProgressFunction tell;
    if (progress != nullptr) {
      tell = [&](KernelStore::BuildProgress const& at) {
        dw_warmup_progress const told{.size = sizeof(dw_warmup_progress),
                                      .done = at.done,
                                      .total = at.total,
                                      .kernel = at.name.c_str(),
                                      .source = source_code(at.source),
                                      .seconds = at.seconds};
        return progress(user, &told) == 0;
      };
    }
    KernelStore::BuildSummary const summary = warm_up(device, read_sizes(given), tp, tell);
    if (out == nullptr) return;
    *out = {.size = sizeof(dw_warmup_result),
            .kernels = summary.kernels,
            .in_memory = summary.in_memory,
            .from_archives = summary.from_archives,
            .from_cache = summary.from_disk,
            .compiled = summary.compiled,
            .seconds = summary.seconds};
  });
}

dw_status dw_context_kernel_counts(dw_context* context, dw_kernel_counts* out) {
  return guarded([&] {
    KernelStore::Counts const counts = context_of(context).kernels().counts();
    sized_out(out, "out") = {.size = sizeof(dw_kernel_counts),
                             .loaded = counts.loaded,
                             .compiled = counts.compiled,
                             .from_archives = counts.from_archives,
                             .from_cache = counts.from_disk,
                             .late = counts.late};
  });
}

dw_status dw_memory_allocate(dw_context* context, std::size_t bytes, void** out) {
  return guarded([&] {
    void*& address = present(out, "out");
    address =
        reinterpret_cast<void*>(static_cast<std::uintptr_t>(context_of(context).backend().allocate(bytes)));
  });
}

dw_status dw_memory_release(dw_context* context, void* address) {
  return guarded([&] { context_of(context).backend().release(address_of(address)); });
}

dw_status dw_memory_to_device(dw_context* context, void* to, void const* from, std::size_t bytes,
                              void* stream) {
  return guarded([&] {
    context_of(context).backend().copy_to_device(
        address_of(to),
        {static_cast<std::byte const*>(&present(static_cast<std::byte const*>(from), "from")), bytes},
        stream);
  });
}

dw_status dw_memory_to_host(dw_context* context, void* to, void const* from, std::size_t bytes,
                            void* stream) {
  return guarded([&] {
    context_of(context).backend().copy_to_host({&present(static_cast<std::byte*>(to), "to"), bytes},
                                               address_of(from), stream);
  });
}

dw_status dw_synchronize(dw_context* context, void* stream) {
  return guarded([&] { context_of(context).backend().synchronize(stream); });
}

dw_status dw_fp8_fp4_gemm_nt(dw_context* context, dw_gemm_call const* given) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_gemm_call const& call = sized(given, "call");
    GemmCall gemm;
    gemm.a = view_of(device, call.a, "a");
    gemm.scale_a = view_of(device, call.scale_a, "scale_a");
    gemm.b = view_of(device, call.b, "b");
    gemm.scale_b = view_of(device, call.scale_b, "scale_b");
    gemm.c = optional_view(device, call.c, "c");
    gemm.d = view_of(device, call.d, "d");
    GivenRecipe const recipe = recipe_of_call(call);
    gemm.recipe = recipe.recipe, gemm.recipe_a = recipe.recipe_a, gemm.recipe_b = recipe.recipe_b;
    gemm.disable_ue8m0_cast = call.disable_ue8m0_cast != 0;
    gemm.stream = call.stream;
    run_staged(device, call.stream,
               {{"a", call.a, &gemm.a},
                {"scale_a", call.scale_a, &gemm.scale_a},
                {"b", call.b, &gemm.b},
                {"scale_b", call.scale_b, &gemm.scale_b},
                {"c", call.c, &gemm.c},
                {"d", call.d, &gemm.d, true}},
               [&] { fp8_fp4_gemm_nt(device, gemm); });
  });
}

dw_status dw_grouped_fp8_fp4_gemm_nt(dw_context* context, dw_grouped_gemm_call const* given) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_grouped_gemm_call const& call = sized(given, "call");
    char const* const layout = call.masked != 0 ? "masked_m" : "grouped_layout";
    GroupedGemmCall grouped;
    grouped.grouping = call.masked != 0 ? Grouping::kMasked : Grouping::kContiguous;
    grouped.a = view_of(device, call.a, "a");
    grouped.scale_a = view_of(device, call.scale_a, "scale_a");
    grouped.b = view_of(device, call.b, "b");
    grouped.scale_b = view_of(device, call.scale_b, "scale_b");
    grouped.layout = view_of(device, call.layout, layout);
    grouped.d = view_of(device, call.d, "d");
    grouped.recipe = recipe_of_call(call);
    (call.masked != 0 ? grouped.expected_rows : grouped.alignment) = call.rows;
    grouped.stream = call.stream;
    run_staged(device, call.stream,
               {{"a", call.a, &grouped.a},
                {"scale_a", call.scale_a, &grouped.scale_a},
                {"b", call.b, &grouped.b},
                {"scale_b", call.scale_b, &grouped.scale_b},
                {layout, call.layout, &grouped.layout},
                {"d", call.d, &grouped.d, true}},
               [&] { grouped_fp8_fp4_gemm_nt(device, grouped); });
  });
}

int dw_grouped_gemm_alignment(std::int64_t rows, std::int64_t groups) { return best_alignment(rows, groups); }

dw_status dw_fp8_einsum(dw_context* context, dw_einsum_call const* given) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_einsum_call const& call = sized(given, "call");
    EinsumCall einsum;
    einsum.a = view_of(device, call.a, "a");
    einsum.scale_a = view_of(device, call.scale_a, "scale_a");
    einsum.b = view_of(device, call.b, "b");
    einsum.scale_b = view_of(device, call.scale_b, "scale_b");
    einsum.c = optional_view(device, call.c, "c");
    einsum.d = view_of(device, call.d, "d");
    if (call.recipe != nullptr) einsum.recipe = {call.recipe[0], call.recipe[1], call.recipe[2]};
    einsum.stream = call.stream;
    char const* const expression = &present(call.expression, "expression");
    run_staged(device, call.stream,
               {{"a", call.a, &einsum.a},
                {"scale_a", call.scale_a, &einsum.scale_a},
                {"b", call.b, &einsum.b},
                {"scale_b", call.scale_b, &einsum.scale_b},
                {"c", call.c, &einsum.c},
                {"d", call.d, &einsum.d, true}},
               [&] { fp8_einsum(device, expression, einsum); });
  });
}

dw_status dw_tf32_hc_prenorm_gemm(dw_context* context, dw_hc_prenorm_call const* given) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_hc_prenorm_call const& call = sized(given, "call");
    auto const workspace = allocator_of(call.workspace);
    HcPrenormCall product;
    product.a = view_of(device, call.a, "a");
    product.b = view_of(device, call.b, "b");
    product.d = view_of(device, call.d, "d");
    product.sqr_sum = view_of(device, call.sqr_sum, "sqr_sum");
    if (call.num_splits != nullptr) product.num_splits = *call.num_splits;
    product.stream = call.stream;
    product.workspace = workspace.get();
    run_staged(device, call.stream,
               {{"a", call.a, &product.a},
                {"b", call.b, &product.b},
                {"d", call.d, &product.d, true},
                {"sqr_sum", call.sqr_sum, &product.sqr_sum, true}},
               [&] { tf32_hc_prenorm_gemm(device, product); });
  });
}

dw_status dw_required_scale_layout(dw_context* context, dw_scale_layout_call const* given,
                                   dw_scale_layout* out) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_scale_layout& layout = present(out, "out");
    describe_layout(required_scale_layout(layout_call(device, sized(given, "call")), device.arch()), layout);
  });
}

dw_status dw_transform_scale(dw_context* context, dw_scale_layout_call const* given, dw_tensor const* out,
                             void* stream) {
  return guarded([&] {
    Context& device = context_of(context);
    ScaleLayoutCall call = layout_call(device, sized(given, "call"));
    TensorView to = view_of(device, out, "out");
    run_staged(device, stream, {{"scale", given->scale, &call.scale}, {"out", out, &to, true}},
               [&] { transform_scale(device, call, to, stream); });
  });
}

dw_status dw_mn_major_scale_layout(dw_context* context, dw_tensor const* scale, dw_scale_layout* out) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_scale_layout& layout = present(out, "out");
    describe_layout(mn_major_scale_layout(view_of(device, scale, "scale")), layout);
  });
}

dw_status dw_packed_scale_layout(dw_context* context, dw_tensor const* scale, dw_scale_layout* out) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_scale_layout& layout = present(out, "out");
    describe_layout(packed_scale_layout(view_of(device, scale, "scale")), layout);
  });
}

dw_status dw_write_scale_layout(dw_context* context, dw_tensor const* scale, dw_tensor const* out,
                                void* stream) {
  return guarded([&] {
    Context& device = context_of(context);
    TensorView from = view_of(device, scale, "scale");
    TensorView to = view_of(device, out, "out");
    run_staged(device, stream, {{"scale", scale, &from}, {"out", out, &to, true}},
               [&] { write_scale_layout(device, from, to, stream); });
  });
}

dw_status dw_fp8_mqa_logits(dw_context* context, dw_mqa_logits_call const* given) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_mqa_logits_call const& call = sized(given, "call");
    MqaLogitsCall mqa;
    mqa.q = view_of(device, call.q, "q");
    mqa.keys = view_of(device, call.kv, "kv");
    mqa.scales = view_of(device, call.kv_scale, "kv_scale");
    mqa.weights = view_of(device, call.weights, "weights");
    mqa.start = view_of(device, call.start, "cu_seq_len_k_start");
    mqa.end = view_of(device, call.end, "cu_seq_len_k_end");
    mqa.logits = view_of(device, call.logits, "logits");
    mqa.compressed = call.compressed != 0;
    mqa.clean = call.clean != 0;
    mqa.stream = call.stream;
    run_staged(device, call.stream,
               {{"q", call.q, &mqa.q},
                {"kv", call.kv, &mqa.keys},
                {"kv_scale", call.kv_scale, &mqa.scales},
                {"weights", call.weights, &mqa.weights},
                {"cu_seq_len_k_start", call.start, &mqa.start},
                {"cu_seq_len_k_end", call.end, &mqa.end},
                {"logits", call.logits, &mqa.logits, true}},
               [&] { fp8_mqa_logits(device, mqa); });
  });
}

dw_status dw_fp8_paged_mqa_logits(dw_context* context, dw_paged_mqa_logits_call const* given) {
  return guarded([&] {
    Context& device = context_of(context);
    dw_paged_mqa_logits_call const& call = sized(given, "call");
    PagedMqaLogitsCall mqa;
    mqa.q = view_of(device, call.q, "q");
    mqa.cache = view_of(device, call.kv_cache, "kv_cache");
    mqa.weights = view_of(device, call.weights, "weights");
    mqa.lengths = view_of(device, call.context_lens, "context_lens");
    mqa.block_table = view_of(device, call.block_table, "block_table");
    mqa.schedule = optional_view(device, call.schedule, "schedule_meta");
    mqa.indices = optional_view(device, call.indices, "indices");
    mqa.logits = view_of(device, call.logits, "logits");
    mqa.stream = call.stream;
    run_staged(device, call.stream,
               {{"q", call.q, &mqa.q},
                {"kv_cache", call.kv_cache, &mqa.cache},
                {"weights", call.weights, &mqa.weights},
                {"context_lens", call.context_lens, &mqa.lengths},
                {"block_table", call.block_table, &mqa.block_table},
                {"logits", call.logits, &mqa.logits, true}},
               [&] { fp8_paged_mqa_logits(device, mqa); });
  });
}

dw_status dw_paged_mqa_logits_metadata(dw_context* context, dw_tensor const* context_lens, int page,
                                       dw_tensor const* indices, dw_tensor const* schedule, void* stream) {
  return guarded([&] {
    Context& device = context_of(context);
    MqaScheduleCall call;
    call.lengths = view_of(device, context_lens, "context_lens");
    call.indices = optional_view(device, indices, "indices");
    call.page = page;
    call.schedule = view_of(device, schedule, "schedule");
    call.stream = stream;
    run_staged(device, stream,
               {{"context_lens", context_lens, &call.lengths}, {"schedule", schedule, &call.schedule, true}},
               [&] { paged_mqa_logits_schedule(device, call); });
  });
}
