// The indexer's logits: mistakes by name before anything is launched, plans, how tensors are brought in.
#include "ops/mqa_logits/mqa_logits.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "recording_backend.hpp"

namespace deepwell {
namespace {

constexpr DeviceAddress kStep = 0x10000000;

MqaLogitsCall ragged(std::int64_t rows = 5, std::int64_t heads = 64, std::int64_t dim = 128,
                     std::int64_t keys = 300) {
  MqaLogitsCall call;
  call.q = contiguous_view(1 * kStep, Dtype::kE4m3, {rows, heads, dim});
  call.keys = contiguous_view(2 * kStep, Dtype::kE4m3, {keys, dim});
  call.scales = contiguous_view(3 * kStep, Dtype::kF32, {keys});
  call.weights = contiguous_view(4 * kStep, Dtype::kF32, {rows, heads});
  call.start = contiguous_view(5 * kStep, Dtype::kI32, {rows});
  call.end = contiguous_view(6 * kStep, Dtype::kI32, {rows});
  call.logits = contiguous_view(7 * kStep, Dtype::kF32, {rows, 256});
  return call;
}

PagedMqaLogitsCall paged(std::int64_t requests = 3, std::int64_t rows = 2, std::int64_t page = 64) {
  PagedMqaLogitsCall call;
  call.q = contiguous_view(1 * kStep, Dtype::kE4m3, {requests, rows, 64, 128});
  call.cache = contiguous_view(2 * kStep, Dtype::kU8, {9, page, 1, 132});
  call.weights = contiguous_view(4 * kStep, Dtype::kF32, {requests * rows, 64});
  call.lengths = contiguous_view(5 * kStep, Dtype::kI32, {requests, rows});
  call.block_table = contiguous_view(6 * kStep, Dtype::kI32, {requests, 4});
  call.logits = contiguous_view(7 * kStep, Dtype::kF32, {requests * rows, 256});
  return call;
}

struct Device {
  RecordingBackend* backend;
  Context context;
  explicit Device(std::string_view name = "null:sm_120a")
      : Device(std::make_unique<RecordingBackend>(name)) {}
  MqaArgs last() const { return args_of<MqaArgs>(backend->recorded().back()); }

 private:
  explicit Device(std::unique_ptr<RecordingBackend> made) : backend(made.get()), context(std::move(made)) {}
};

template <class Call>
struct Mistake {
  std::string argument;
  std::function<void(Call&)> make;
  ErrorCode code = ErrorCode::kBadArgument;
};

template <class Call, class Run>
void expect_refused(Call const& good, std::vector<Mistake<Call>> const& mistakes, Run&& run) {
  Device device;
  for (auto const& [argument, make, code] : mistakes) {
    Call call = good;
    make(call);
    try {
      run(device.context, call);
      ADD_FAILURE() << argument << " was accepted";
    } catch (Error const& error) {
      EXPECT_EQ(error.argument(), argument) << error.what();
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_FALSE(error.expected().empty()) << error.what();
    }
  }
  EXPECT_TRUE(device.backend->recorded().empty());
}

TEST(MqaLogitsCalls, RaggedMistakesAreNamed) {
  using C = MqaLogitsCall;
  expect_refused<C>(ragged(),
                    {{"q.rank", [](C& c) { c.q.rank = 2; }},
                     {"q.dtype", [](C& c) { c.q.dtype = Dtype::kBf16; }},
                     {"q.dtype", [](C& c) { c.q.dtype = Dtype::kI8; }, ErrorCode::kUnsupported},
                     {"q.strides", [](C& c) { c.q.strides[2] = 2; }},
                     {"q", [](C& c) { c.q.shape[1] = c.weights.shape[1] = 65; }, ErrorCode::kUnsupported},
                     {"q", [](C& c) { c.q.shape[2] = c.keys.shape[1] = 96; }, ErrorCode::kUnsupported},
                     {"kv.shape", [](C& c) { c.keys.shape[1] = 64; }},
                     {"kv.dtype", [](C& c) { c.keys.dtype = Dtype::kU8; }},
                     {"kv.strides", [](C& c) { c.keys.strides[1] = 3; }},
                     {"kv_scale.shape", [](C& c) { c.scales.shape[0] = 299; }},
                     {"kv_scale.dtype", [](C& c) { c.scales.dtype = Dtype::kI32; }},
                     {"kv_scale.strides", [](C& c) { c.scales.strides[0] = 2; }},
                     {"weights.shape", [](C& c) { c.weights.shape[0] = 4; }},
                     {"weights.dtype", [](C& c) { c.weights.dtype = Dtype::kBf16; }},
                     {"weights.strides",
                      [](C& c) {
                        c.weights.strides = {1, 5};
                      }},
                     {"cu_seq_len_k_start.shape", [](C& c) { c.start.shape[0] = 6; }},
                     {"cu_seq_len_k_start.dtype", [](C& c) { c.start.dtype = Dtype::kI64; }},
                     {"cu_seq_len_k_end.strides", [](C& c) { c.end.strides[0] = 2; }},
                     {"cu_seq_len_k_end.data", [](C& c) { c.end.data = 0; }},
                     {"logits.shape", [](C& c) { c.logits.shape[0] = 4; }},
                     {"logits.shape", [](C& c) { c.compressed = false; }},
                     {"logits.dtype", [](C& c) { c.logits.dtype = Dtype::kBf16; }},
                     {"logits.strides", [](C& c) { c.logits.strides[0] = 255; }},
                     {"logits", [](C& c) { c.logits.data = c.scales.data - 4; }},
                     {"clean_logits", [](C& c) { c.clean = true; }}},
                    [](Context& context, C const& call) { fp8_mqa_logits(context, call); });
}

TEST(MqaLogitsCalls, PagedMistakesAreNamed) {
  using C = PagedMqaLogitsCall;
  expect_refused<C>(
      paged(),
      {{"q.rank", [](C& c) { c.q.rank = 3; }},
       {"q.dtype", [](C& c) { c.q.dtype = Dtype::kU8; }, ErrorCode::kUnsupported},
       {"kv_cache.shape", [](C& c) { c.cache.shape[3] = 128; }},
       {"kv_cache.shape", [](C& c) { c.cache.shape[2] = 2; }},
       {"kv_cache.dtype", [](C& c) { c.cache.dtype = Dtype::kE4m3; }},
       {"kv_cache.strides", [](C& c) { c.cache.strides[1] = 136; }},
       {"q", [](C& c) { c.cache.shape[1] = 16; }, ErrorCode::kUnsupported},
       {"context_lens.shape",
        [](C& c) {
          c.lengths = contiguous_view(5 * kStep, Dtype::kI32, {3, 1});
        }},
       {"context_lens.rank", [](C& c) { c.lengths.rank = 1; }},
       {"context_lens.dtype", [](C& c) { c.lengths.dtype = Dtype::kI64; }},
       {"context_lens.strides", [](C& c) { c.lengths.strides[0] = 3; }},
       {"block_table.shape", [](C& c) { c.block_table.shape[0] = 2; }},
       {"block_table.strides",
        [](C& c) {
          c.block_table.strides = {1, 3};
        }},
       {"schedule_meta.shape",
        [](C& c) {
          c.schedule = contiguous_view(9 * kStep, Dtype::kI32, {189, 3});
        }},
       {"schedule_meta.dtype",
        [](C& c) {
          c.schedule = contiguous_view(9 * kStep, Dtype::kF32, {189, 2});
        }},
       {"indices", [](C& c) { c.indices = contiguous_view(9 * kStep, Dtype::kI32, {3}); }},
       {"indices.shape", [](C& c) { c.indices = contiguous_view(9 * kStep, Dtype::kI32, {4}); }},
       {"weights.shape", [](C& c) { c.weights.shape[0] = 3; }},
       {"logits.shape", [](C& c) { c.logits.shape[0] = 3; }},
       {"logits", [](C& c) { c.logits.data = c.lengths.data; }}},
      [](Context& context, C const& call) { fp8_paged_mqa_logits(context, call); });
}

TEST(MqaLogitsCalls, ScheduleMistakesAreNamed) {
  using C = MqaScheduleCall;
  C good;
  good.lengths = contiguous_view(kStep, Dtype::kI32, {3, 1});
  good.schedule = contiguous_view(2 * kStep, Dtype::kI32, {5, 2});
  expect_refused<C>(
      good,
      {{"context_lens.rank", [](C& c) { c.lengths.rank = 1; }},
       {"block_kv", [](C& c) { c.page = 48; }, ErrorCode::kUnsupported},
       {"schedule.shape", [](C& c) { c.schedule.shape[1] = 3; }},
       {"num_sms", [](C& c) { c.schedule.shape[0] = 1; }},
       {"indices.shape", [](C& c) { c.indices = contiguous_view(9 * kStep, Dtype::kI32, {4}); }},
       {"schedule", [](C& c) { c.schedule.data = c.lengths.data; }}},
      [](Context& context, C const& call) { paged_mqa_logits_schedule(context, call); });
}

TEST(MqaLogitsCalls, EmptyOnesLaunchNothing) {
  Device device;
  fp8_mqa_logits(device.context, ragged(0));
  MqaLogitsCall no_keys = ragged(5, 64, 128, 0);
  fp8_mqa_logits(device.context, no_keys);
  MqaLogitsCall no_columns = ragged();
  no_columns.logits.shape[1] = 0;
  fp8_mqa_logits(device.context, no_columns);
  fp8_paged_mqa_logits(device.context, paged(0));
  EXPECT_TRUE(device.backend->recorded().empty());
}

/// No pages at all: every key that a row should see gets -inf, so the kernel runs.
TEST(MqaLogitsCalls, ACacheWithoutPagesIsLaunched) {
  Device device;
  PagedMqaLogitsCall call = paged();
  call.cache.shape[0] = 0;
  fp8_paged_mqa_logits(device.context, call);
  ASSERT_EQ(device.backend->recorded().size(), 1u);
  EXPECT_EQ(device.last().key_copies, 0);
}

/// Tensor maps where addresses and strides allow them; the kernel is the same.
TEST(MqaLogitsCalls, StridesChooseHowTensorsComeNotTheKernel) {
  Device device;
  auto const kernels = [&] { return device.context.kernels().counts().loaded; };
  fp8_mqa_logits(device.context, ragged());
  EXPECT_TRUE(device.last().key_copies && device.last().query_copies);
  EXPECT_EQ(device.backend->maps.size(), 4u);
  MqaLogitsCall call = ragged();
  call.q.strides[0] += 1;
  fp8_mqa_logits(device.context, call);
  EXPECT_TRUE(device.last().key_copies && !device.last().query_copies);
  call = ragged();
  call.keys.data += 1;
  call.weights.strides[0] += 4;
  fp8_mqa_logits(device.context, call);
  EXPECT_TRUE(!device.last().key_copies && device.last().query_copies);
  EXPECT_EQ(kernels(), 1u);
  PagedMqaLogitsCall with_gaps = paged();
  with_gaps.cache.strides[0] = 3 * 64 * 132;
  fp8_paged_mqa_logits(device.context, with_gaps);
  EXPECT_TRUE(device.last().key_copies && device.last().query_copies);
  with_gaps.cache.strides[0] += 4;
  fp8_paged_mqa_logits(device.context, with_gaps);
  EXPECT_FALSE(device.last().key_copies);
  PagedMqaLogitsCall apart = paged();
  apart.q.strides[0] += 16;  // requests not as far apart as their rows say
  fp8_paged_mqa_logits(device.context, apart);
  EXPECT_FALSE(device.last().query_copies);
  EXPECT_EQ(kernels(), 2u);
}

TEST(MqaLogitsCalls, ThereAreNoMoreCtasThanTilesOrSms) {
  Device device;
  fp8_paged_mqa_logits(device.context, paged(3, 2));
  EXPECT_EQ(device.backend->recorded().back().spec.grid[0], 6u);  // three units of up to two tiles
  fp8_mqa_logits(device.context, ragged(5000));
  EXPECT_EQ(device.backend->recorded().back().spec.grid[0], 188u);
}

TEST(MqaPlans, HaveNamesAndKeysOfTheirOwnAndFit) {
  for (Arch const& arch : all_archs()) {
    std::set<std::string> names;
    std::set<std::uint64_t> keys;
    std::vector<MqaPlan> const plans = all_mqa_plans(arch);
    for (MqaPlan plan : plans) {
      for (bool every : {false, true}) {
        plan.every_reader_arrives = every;
        EXPECT_TRUE(names.insert(plan_name(plan)).second) << plan_name(plan);
        EXPECT_TRUE(keys.insert(plan_key(plan)).second) << plan_name(plan);
      }
      EXPECT_LE(smem_map(plan).total, arch.smem_per_cta) << plan_name(plan);
      EXPECT_GE(plan.stages, 4) << plan_name(plan);
    }
    for (MqaPlan const& plan : representative_mqa_plans(arch))
      EXPECT_NE(std::find(plans.begin(), plans.end(), plan), plans.end()) << plan_name(plan);
  }
}

TEST(MqaPlans, HoldTheSizes) {
  Arch const& arch = arch_by_target("sm_120a");
  for (std::int64_t rows : {1, 2, 3, 4, 5, 8, 9, 4000}) {
    for (std::int64_t heads = 1; heads <= 64; ++heads) {
      MqaPlan const plan = mqa_plan({.rows = rows, .heads = heads, .dim = 64}, arch);
      EXPECT_GE(plan.heads, heads);
      EXPECT_LE(plan.heads, std::max<std::int64_t>(8, 2 * heads - 1));
      EXPECT_GE(plan.query_warps, std::min<std::int64_t>(rows, 8));
    }
  }
}

/// Wide tiles where enough of them fit beside each other: then a warp has 32 keys of a tile, however few rows there are.
TEST(MqaPlans, TilesAreAsWideAsSharedMemoryAllows) {
  for (Arch const& arch : all_archs()) {
    for (std::int64_t rows : {1, 2, 8}) {
      for (bool paged : {false, true}) {
        MqaPlan const plan =
            mqa_plan({.paged = paged, .rows = rows, .heads = 64, .dim = 128, .page = 64}, arch);
        EXPECT_EQ(plan.tile, arch.smem_per_cta > 200'000 ? 256 : 128) << plan_name(plan);
        EXPECT_EQ(plan.page, paged ? 64 : plan.tile) << plan_name(plan);
        EXPECT_GE(smem_map(plan).total + plan.tile * 132, arch.smem_per_cta * 9 / 10) << plan_name(plan);
      }
    }
  }
}

TEST(MqaLogitsPitch, IsDeepGemms) {
  EXPECT_EQ(mqa_logits_pitch(1), 256);
  EXPECT_EQ(mqa_logits_pitch(256), 256);
  EXPECT_EQ(mqa_logits_pitch(257), 512);
}

}  // namespace
}  // namespace deepwell
