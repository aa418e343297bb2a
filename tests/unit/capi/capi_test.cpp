// The C interface: codes and fields of errors, DLPack tensors, device checks, workspace, structure sizes.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "deepwell/deepwell.h"
#include "unit/capi/tensors.hpp"

namespace {

using deepwell::testing::Tensor;

class CApi : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(dw_context_create("null:sm_120a", &context), DW_OK) << dw_error_message();
  }
  void TearDown() override { dw_context_destroy(context); }

  dw_gemm_call call() {
    dw_gemm_call out{};
    out.size = sizeof out;
    out.a = &a.tensor;
    out.b = &b.tensor;
    out.scale_a = &scale_a.tensor;
    out.scale_b = &scale_b.tensor;
    out.d = &d.tensor;
    return out;
  }

  dw_context* context = nullptr;
  Tensor a{0x10000000, DW_CODE_FLOAT8_E4M3FN, 8, {4, 4096}};
  Tensor b{0x20000000, DW_CODE_FLOAT4_E2M1FN, 4, {1024, 2048}};
  Tensor scale_a{0x30000000, DW_CODE_FLOAT, 32, {4, 32}};
  Tensor scale_b{0x40000000, DW_CODE_INT, 32, {1024, 32}, {1, 1024}};
  Tensor d{0x50000000, DW_CODE_BFLOAT, 16, {4, 1024}};
  int recipe_a[2] = {1, 128};
  int recipe_b[2] = {1, 32};
};

TEST_F(CApi, Gemm) {
  dw_gemm_call gemm = call();
  gemm.recipe_a = recipe_a;
  gemm.recipe_b = recipe_b;
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_OK) << dw_error_message();
  EXPECT_STREQ(dw_context_device(context), "null:sm_120a");
  EXPECT_STREQ(dw_context_target(context), "sm_120a");
  EXPECT_EQ(dw_context_sm_count(context), 188);
  EXPECT_EQ(dw_context_set_pdl(context, 1), DW_OK);
}

TEST_F(CApi, ErrorsCarryTheirFields) {
  dw_gemm_call gemm = call();
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);  // packed per 32, the default says 128
  EXPECT_STREQ(dw_error_argument(), "scale_b.shape");
  EXPECT_NE(std::strstr(dw_error_got(), "[1024, 32]"), nullptr);
  EXPECT_NE(std::strstr(dw_error_expected(), "[1024, 8]"), nullptr);
  EXPECT_NE(std::strstr(dw_error_message(), "scale_b.shape"), nullptr);
}

TEST_F(CApi, MissingPiecesAreNamed) {
  dw_gemm_call gemm = call();
  gemm.b = nullptr;
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "b");
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "call");
  gemm = call();
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(nullptr, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "context");
  gemm.size = 8;
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "call.size");
  gemm = call();
  a.tensor.shape = nullptr;
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "a.shape");
}

TEST_F(CApi, TypesAndDevices) {
  dw_gemm_call gemm = call();
  a.tensor.dtype.code = 12;  // e5m2
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "a.dtype");
  a.tensor.dtype.code = DW_CODE_FLOAT8_E4M3FN;
  b.tensor.dtype.lanes = 1;  // one value an element is another layout
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "b.dtype");
  b.tensor.dtype.lanes = 2;
  d.tensor.device.device_type = DW_DEVICE_CUDA;
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "d.device");
}

TEST_F(CApi, ByteOffsetsCount) {
  dw_gemm_call gemm = call();
  gemm.recipe_a = recipe_a;
  gemm.recipe_b = recipe_b;
  d.tensor.byte_offset = 1;
  EXPECT_EQ(dw_fp8_fp4_gemm_nt(context, &gemm), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "d.data");
}

struct Counting {
  int live = 0, calls = 0;
  bool fail = false;
};

TEST_F(CApi, WorkspaceOfTheCaller) {
  Counting counting;
  dw_allocator allocator{sizeof(dw_allocator), &counting,
                         [](void* user, std::size_t, void*) -> void* {
                           auto& c = *static_cast<Counting*>(user);
                           if (c.fail) return nullptr;
                           ++c.calls;
                           ++c.live;
                           return reinterpret_cast<void*>(0x70000000);
                         },
                         [](void* user, void*, void*) { --static_cast<Counting*>(user)->live; }};
  Tensor a{0x10000000, DW_CODE_BFLOAT, 16, {4, 16384}};
  Tensor b{0x20000000, DW_CODE_FLOAT, 32, {24, 16384}};
  Tensor d{0x30000000, DW_CODE_FLOAT, 32, {4, 24}};
  Tensor sqr_sum{0x40000000, DW_CODE_FLOAT, 32, {4}};
  dw_hc_prenorm_call call{sizeof(dw_hc_prenorm_call),
                          &a.tensor,
                          &b.tensor,
                          &d.tensor,
                          &sqr_sum.tensor,
                          nullptr,
                          nullptr,
                          &allocator};
  EXPECT_EQ(dw_tf32_hc_prenorm_gemm(context, &call), DW_OK) << dw_error_message();
  EXPECT_EQ(counting.calls, 1);  // no splits: k is in pieces whose sums meet in the workspace
  EXPECT_EQ(counting.live, 0);
  counting.fail = true;
  EXPECT_EQ(dw_tf32_hc_prenorm_gemm(context, &call), DW_DEVICE);
  EXPECT_STREQ(dw_error_argument(), "workspace");
}

TEST_F(CApi, Einsum) {
  Tensor x{0x10000000, DW_CODE_FLOAT8_E4M3FN, 8, {3, 8, 4096}};
  Tensor w{0x20000000, DW_CODE_FLOAT8_E4M3FN, 8, {8192, 4096}};
  Tensor scale_x{0x30000000, DW_CODE_FLOAT, 32, {3, 8, 32}};
  Tensor scale_w{0x40000000, DW_CODE_FLOAT8_E8M0FNU, 8, {64, 32}};
  Tensor z{0x50000000, DW_CODE_BFLOAT, 16, {3, 8, 1024}};
  dw_einsum_call einsum{};
  einsum.size = sizeof einsum;
  einsum.expression = "bhr,hdr->bhd";
  einsum.a = &x.tensor;
  einsum.b = &w.tensor;
  einsum.scale_a = &scale_x.tensor;
  einsum.scale_b = &scale_w.tensor;
  einsum.d = &z.tensor;
  EXPECT_EQ(dw_fp8_einsum(context, &einsum), DW_OK) << dw_error_message();
  einsum.expression = "bhd,hdr->bhr";
  EXPECT_EQ(dw_fp8_einsum(context, &einsum), DW_UNSUPPORTED);
  EXPECT_STREQ(dw_error_argument(), "expression");
}

TEST_F(CApi, ScaleLayouts) {
  Tensor scale{0x30000000, DW_CODE_FLOAT, 32, {2, 8, 32}};
  dw_scale_layout_call layout{};
  layout.size = sizeof layout;
  layout.scale = &scale.tensor;
  layout.mn = 1024;
  layout.k = 4096;
  layout.num_groups = 2;
  layout.gran_mn = layout.gran_k = 128;
  dw_scale_layout result{};
  ASSERT_EQ(dw_required_scale_layout(context, &layout, &result), DW_OK) << dw_error_message();
  EXPECT_FALSE(result.unchanged);
  EXPECT_TRUE(result.is_int32);
  EXPECT_EQ(result.ndim, 3);
  EXPECT_EQ(result.strides[0], 8192);
  EXPECT_EQ(result.strides[2], 1024);
  EXPECT_EQ(result.bytes, 2u * 8192 * 4);
  Tensor out{0x50000000, DW_CODE_INT, 32, {2, 1024, 8}, {8192, 1, 1024}};
  EXPECT_EQ(dw_transform_scale(context, &layout, &out.tensor, nullptr), DW_OK) << dw_error_message();
  std::uint32_t notes = 7;
  EXPECT_EQ(dw_context_notes(context, "lossy_scale", &notes), DW_OK);
  EXPECT_EQ(notes, 0u);
  EXPECT_EQ(dw_context_notes(context, "other", &notes), DW_BAD_ARGUMENT);
  EXPECT_EQ(dw_context_raise_notes(context), DW_OK);
  EXPECT_EQ(dw_context_raise_notes(nullptr), DW_BAD_ARGUMENT);
}

TEST_F(CApi, MqaLogits) {
  Tensor q{0x10000000, DW_CODE_FLOAT8_E4M3FN, 8, {5, 64, 128}},
      keys{0x20000000, DW_CODE_FLOAT8_E4M3FN, 8, {300, 128}};
  Tensor scale{0x30000000, DW_CODE_FLOAT, 32, {300}}, weights{0x40000000, DW_CODE_FLOAT, 32, {5, 64}};
  Tensor start{0x50000000, DW_CODE_INT, 32, {5}}, end{0x60000000, DW_CODE_INT, 32, {5}};
  Tensor logits{0x70000000, DW_CODE_FLOAT, 32, {5, 300}, {512, 1}};
  dw_mqa_logits_call ragged{};
  EXPECT_EQ(dw_fp8_mqa_logits(context, &ragged), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "call.size");
  ragged.size = sizeof ragged;
  ragged.q = &q.tensor, ragged.kv = &keys.tensor, ragged.kv_scale = &scale.tensor,
  ragged.weights = &weights.tensor;
  ragged.start = &start.tensor, ragged.end = &end.tensor, ragged.logits = &logits.tensor;
  ragged.clean = 1;
  EXPECT_EQ(dw_fp8_mqa_logits(context, &ragged), DW_OK) << dw_error_message();
  ragged.compressed = 1;
  EXPECT_EQ(dw_fp8_mqa_logits(context, &ragged), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "clean_logits");
  ragged.end = nullptr;
  EXPECT_EQ(dw_fp8_mqa_logits(context, &ragged), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "cu_seq_len_k_end");
}

TEST_F(CApi, PagedMqaLogits) {
  Tensor q{0x10000000, DW_CODE_FLOAT8_E4M3FN, 8, {3, 1, 64, 128}},
      cache{0x20000000, DW_CODE_UINT, 8, {9, 64, 1, 132}};
  Tensor weights{0x40000000, DW_CODE_FLOAT, 32, {3, 64}}, lengths{0x50000000, DW_CODE_INT, 32, {3, 1}};
  Tensor table{0x60000000, DW_CODE_INT, 32, {3, 3}},
      logits{0x70000000, DW_CODE_FLOAT, 32, {3, 192}, {256, 1}};
  Tensor schedule{0x80000000, DW_CODE_INT, 32, {189, 2}}, indices{0x90000000, DW_CODE_INT, 32, {3}};
  dw_paged_mqa_logits_call paged{};
  paged.size = sizeof paged;
  paged.q = &q.tensor, paged.kv_cache = &cache.tensor, paged.weights = &weights.tensor;
  paged.context_lens = &lengths.tensor, paged.block_table = &table.tensor, paged.logits = &logits.tensor;
  EXPECT_EQ(dw_fp8_paged_mqa_logits(context, &paged), DW_OK) << dw_error_message();
  paged.schedule = &schedule.tensor, paged.indices = &indices.tensor;
  EXPECT_EQ(dw_fp8_paged_mqa_logits(context, &paged), DW_OK) << dw_error_message();
  paged.schedule = &lengths.tensor;
  EXPECT_EQ(dw_fp8_paged_mqa_logits(context, &paged), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "schedule_meta.shape");
  for (Tensor* const given : {static_cast<Tensor*>(nullptr), &indices}) {
    dw_tensor const* const ids = given == nullptr ? nullptr : &given->tensor;
    EXPECT_EQ(dw_paged_mqa_logits_metadata(context, &lengths.tensor, 64, ids, &schedule.tensor, nullptr),
              DW_OK)
        << dw_error_message();
  }
  EXPECT_EQ(dw_paged_mqa_logits_metadata(context, &lengths.tensor, 63, nullptr, &schedule.tensor, nullptr),
            DW_UNSUPPORTED);
  EXPECT_STREQ(dw_error_argument(), "block_kv");
}

TEST_F(CApi, ScaleLayoutsOfNoDevice) {
  Tensor scale{0x30000000, DW_CODE_FLOAT, 32, {2, 9, 6}};
  dw_scale_layout result{};
  ASSERT_EQ(dw_mn_major_scale_layout(context, &scale.tensor, &result), DW_OK) << dw_error_message();
  EXPECT_FALSE(result.unchanged);
  EXPECT_FALSE(result.is_int32);
  EXPECT_EQ(result.ndim, 3);
  EXPECT_EQ(result.strides[0], 72);
  EXPECT_EQ(result.strides[1], 1);
  EXPECT_EQ(result.strides[2], 12);
  EXPECT_EQ(result.bytes, 2u * 72 * 4);
  Tensor out{0x50000000, DW_CODE_FLOAT, 32, {2, 9, 6}, {72, 1, 12}};
  EXPECT_EQ(dw_write_scale_layout(context, &scale.tensor, &out.tensor, nullptr), DW_OK) << dw_error_message();
  ASSERT_EQ(dw_mn_major_scale_layout(context, &out.tensor, &result), DW_OK) << dw_error_message();
  EXPECT_TRUE(result.unchanged);

  ASSERT_EQ(dw_packed_scale_layout(context, &scale.tensor, &result), DW_OK) << dw_error_message();
  EXPECT_TRUE(result.is_int32);
  EXPECT_EQ(result.shape[2], 2);
  EXPECT_EQ(result.strides[2], 12);
  Tensor packed{0x50000000, DW_CODE_INT, 32, {2, 9, 2}, {24, 1, 12}};
  EXPECT_EQ(dw_write_scale_layout(context, &scale.tensor, &packed.tensor, nullptr), DW_OK)
      << dw_error_message();
  EXPECT_EQ(dw_packed_scale_layout(context, &packed.tensor, &result), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "scale.dtype");
  EXPECT_EQ(dw_mn_major_scale_layout(context, nullptr, &result), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "scale");
  EXPECT_EQ(dw_write_scale_layout(context, &scale.tensor, nullptr, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "out");
}

TEST_F(CApi, Memory) {
  void* memory = nullptr;
  ASSERT_EQ(dw_memory_allocate(context, 64, &memory), DW_OK);
  char const text[] = "sixteen letters";
  char back[sizeof text] = {};
  EXPECT_EQ(dw_memory_to_device(context, memory, text, sizeof text, nullptr), DW_OK);
  EXPECT_EQ(dw_memory_to_host(context, back, memory, sizeof text, nullptr), DW_OK);
  EXPECT_STREQ(back, text);
  EXPECT_EQ(dw_synchronize(context, nullptr), DW_OK);
  EXPECT_EQ(dw_memory_release(context, memory), DW_OK);
  EXPECT_EQ(dw_memory_allocate(context, 0, &memory), DW_BAD_ARGUMENT);
  EXPECT_EQ(dw_memory_allocate(context, 64, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "out");
}

TEST(CApiContext, BadDevices) {
  dw_context* context = nullptr;
  EXPECT_EQ(dw_context_create("emu:sm_42", &context), DW_UNSUPPORTED);
  EXPECT_EQ(dw_context_create(nullptr, &context), DW_BAD_ARGUMENT);
  EXPECT_EQ(dw_context_create("null:sm_120a", nullptr), DW_BAD_ARGUMENT);
  EXPECT_EQ(context, nullptr);
  dw_context_destroy(nullptr);
  EXPECT_EQ(dw_context_sm_count(nullptr), 0);
  EXPECT_STREQ(dw_version(), "0.1.0");
}

TEST(CApiOptions, SetByName) {
  EXPECT_EQ(dw_set_option("DEEPWELL_NO_SUCH", "1"), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "name");
  EXPECT_STREQ(dw_error_got(), "DEEPWELL_NO_SUCH");
  EXPECT_EQ(dw_set_option(nullptr, "1"), DW_BAD_ARGUMENT);
  // An emulated device reads this one when it is made.
  ASSERT_EQ(dw_set_option("DEEPWELL_THREADS", "-3"), DW_OK);
  dw_context* context = nullptr;
  EXPECT_EQ(dw_context_create("emu:sm_120a", &context), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "DEEPWELL_THREADS");
  ASSERT_EQ(dw_set_option("DEEPWELL_THREADS", nullptr), DW_OK);
  ASSERT_EQ(dw_context_create("emu:sm_120a", &context), DW_OK) << dw_error_message();
  dw_context_destroy(context);
}

}  // namespace
