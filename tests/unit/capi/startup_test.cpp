// The warm-up through the C interface: sizes, progress, counts, and mistakes by name.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "deepwell/deepwell.h"

namespace {

class WarmUp : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(dw_context_create("null:sm_120a", &context), DW_OK) << dw_error_message();
    sizes.size = sizeof sizes;
    result.size = sizeof result;
    counts.size = sizeof counts;
  }
  void TearDown() override { dw_context_destroy(context); }

  dw_context* context = nullptr;
  dw_model_sizes sizes{};
  dw_warmup_result result{};
  dw_kernel_counts counts{};
};

struct Seen {
  std::vector<std::string> names;
  std::size_t stop_at = 0;
};

int note(void* user, dw_warmup_progress const* at) {
  Seen& seen = *static_cast<Seen*>(user);
  seen.names.emplace_back(at->kernel);
  EXPECT_EQ(at->size, sizeof(dw_warmup_progress));
  EXPECT_EQ(at->done, seen.names.size());
  EXPECT_GE(at->total, at->done);
  EXPECT_EQ(at->source, DW_KERNEL_IN_MEMORY);  // this device needs no code
  return seen.names.size() == seen.stop_at;
}

TEST_F(WarmUp, LoadsAllAndReportsEach) {
  Seen seen;
  ASSERT_EQ(dw_warmup(context, nullptr, 1, note, &seen, &result), DW_OK) << dw_error_message();
  EXPECT_GT(result.kernels, 20u);
  EXPECT_EQ(seen.names.size(), result.kernels);
  EXPECT_EQ(result.in_memory + result.from_archives + result.from_cache + result.compiled, result.kernels);
  ASSERT_EQ(dw_context_kernel_counts(context, &counts), DW_OK);
  EXPECT_EQ(counts.loaded, result.kernels);
  EXPECT_EQ(counts.late, 0u);
  EXPECT_EQ(dw_warmup(context, nullptr, 8, nullptr, nullptr, nullptr), DW_OK);
}

TEST_F(WarmUp, ProgressEndsIt) {
  Seen seen;
  seen.stop_at = 2;
  EXPECT_EQ(dw_warmup(context, nullptr, 1, note, &seen, &result), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "progress");
  EXPECT_EQ(seen.names.size(), 2u);
}

TEST_F(WarmUp, SizesComeFromAConfig) {
  ASSERT_EQ(dw_model_sizes_from_config(nullptr, &sizes), DW_OK);
  EXPECT_EQ(sizes.size, sizeof sizes);
  EXPECT_EQ(sizes.hidden_size, 4096);
  EXPECT_EQ(sizes.moe_intermediate_size, 2048);
  EXPECT_EQ(sizes.hc_mult, 4);
  EXPECT_EQ(sizes.fp4_experts, 1);
  EXPECT_EQ(dw_warmup(context, &sizes, 2, nullptr, nullptr, &result), DW_OK) << dw_error_message();
  EXPECT_EQ(dw_model_sizes_from_config("{\"hidden_size\": \"x\"}", &sizes), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "model_config.hidden_size");
  EXPECT_STREQ(dw_error_got(), "\"x\"");
  EXPECT_EQ(dw_model_sizes_from_config("{", &sizes), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "model_config");
  EXPECT_EQ(dw_model_sizes_from_file("/there/is/none", &sizes), DW_BAD_ARGUMENT);
  EXPECT_NE(std::strstr(dw_error_argument(), "/there/is/none"), nullptr);
}

TEST_F(WarmUp, MistakesAreNamed) {
  EXPECT_EQ(dw_warmup(nullptr, nullptr, 1, nullptr, nullptr, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "context");
  EXPECT_EQ(dw_warmup(context, nullptr, 3, nullptr, nullptr, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "tp");
  result.size = 8;
  EXPECT_EQ(dw_warmup(context, nullptr, 1, nullptr, nullptr, &result), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "out.size");
  ASSERT_EQ(dw_model_sizes_from_config(nullptr, &sizes), DW_OK);
  sizes.o_groups = 7;
  EXPECT_EQ(dw_warmup(context, &sizes, 1, nullptr, nullptr, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "sizes.o_groups");
  sizes.o_groups = 8;
  sizes.q_lora_rank = 1000;
  EXPECT_EQ(dw_warmup(context, &sizes, 1, nullptr, nullptr, nullptr), DW_UNSUPPORTED);
  EXPECT_STREQ(dw_error_argument(), "attn.wq_b");
  EXPECT_EQ(dw_model_sizes_from_config(nullptr, nullptr), DW_BAD_ARGUMENT);
  EXPECT_EQ(dw_context_kernel_counts(context, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "out");
  EXPECT_EQ(dw_set_option("DEEPWELL_AFTER_WARMUP", "sometimes"), DW_OK);
  EXPECT_EQ(dw_warmup(context, nullptr, 1, nullptr, nullptr, nullptr), DW_BAD_ARGUMENT);
  EXPECT_STREQ(dw_error_argument(), "DEEPWELL_AFTER_WARMUP");
  EXPECT_EQ(dw_set_option("DEEPWELL_AFTER_WARMUP", nullptr), DW_OK);
}

}  // namespace
