// Which kernel makes the indexer's logits, and its text.
#include <algorithm>
#include <cstdint>

#include "base/error.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"

namespace deepwell {
namespace {

constexpr int kMostStages = 8;
constexpr int kWideTileSmem = 200 * 1024;  // of a CTA: for enough stages of kMqaMostTile keys

std::string literal(int value) { return fmt::format("{}", value); }
std::string literal(bool value) { return value ? "true" : "false"; }

/// The smallest power of two, from `least` to `most`, that holds `size`.
int fitting(std::int64_t size, int least, int most) {
  int out = least;
  while (out < most && out < size) out *= 2;
  return out;
}

}  // namespace

Verdict accepts_mqa(MqaShape const& shape, Arch const&) {
  if (shape.heads < 1 || shape.heads > 64)
    return Verdict::no(fmt::format("{} heads, not 1 to 64", shape.heads));
  if (shape.dim != 32 && shape.dim != 64 && shape.dim != 128)
    return Verdict::no(fmt::format("a head dimension of {}, not 32, 64 or 128", shape.dim));
  if (shape.paged && shape.page != 32 && shape.page != 64 && shape.page != 128)
    return Verdict::no(fmt::format("pages of {} keys, not 32, 64 or 128", shape.page));
  return Verdict::yes();
}

MqaPlan mqa_plan(MqaShape const& shape, Arch const& arch) {
  // Where shared memory allows it, a tile has 32 keys or more for each warp, also if there is one row.
  int const tile = arch.smem_per_cta >= kWideTileSmem ? kMqaMostTile : 128;
  MqaPlan plan{.paged = shape.paged,
               .heads = fitting(shape.heads, 8, 64),
               .head_dim = static_cast<int>(shape.dim),
               .page = shape.paged ? static_cast<int>(shape.page) : tile,
               .tile = tile,
               .query_warps = fitting(shape.rows, 1, kMqaMathWarps),
               .stages = kMostStages,
               .every_reader_arrives = false};
  while (plan.stages > 2 && smem_map(plan).total > arch.smem_per_cta) --plan.stages;
  return plan;
}

std::string plan_name(MqaPlan const& plan) {
  return fmt::format("mqa_logits_{}_h{}_d{}_t{}_q{}_s{}{}",
                     plan.paged ? fmt::format("page{}", plan.page) : "ragged", plan.heads, plan.head_dim,
                     plan.tile, plan.query_warps, plan.stages, plan.every_reader_arrives ? "_era" : "");
}

std::uint64_t plan_key(MqaPlan const& plan) {
  std::uint64_t key = 0x6d7161;  // "mqa", then eight bits a field; flags are small
  for (int const field : {plan.heads, plan.head_dim, plan.page / 32 * 8 + plan.tile / 128, plan.query_warps,
                          plan.stages * 4 + plan.paged * 2 + plan.every_reader_arrives})
    key = key << 8 | static_cast<std::uint64_t>(field);
  return key;
}

std::string mqa_source(MqaPlan const& plan, Arch const& arch) {
  std::string fields;
#define DW_FIELD(type, name) \
  fields +=                  \
      fmt::format("{}.{} = {}", fields.empty() ? "" : ", ", #name, literal(static_cast<type>(plan.name)));
  DW_MQA_PLAN_FIELDS(DW_FIELD)
#undef DW_FIELD
  return fmt::format(
      "// generated: mqa_logits\n"
      "#include \"deepwell/kernel/mqa_logits.cuh\"\n"
      "using Kernel = deepwell::MqaLogits<deepwell::MqaPlan{{{}}}, deepwell::{}>;\n"
      "extern \"C\" __global__ void __launch_bounds__(Kernel::kThreads, 1)\n"
      "{}(__grid_constant__ deepwell::MqaArgs const args) {{ Kernel::run(args); }}\n",
      fields, arch.device_target, plan_name(plan));
}

std::string mqa_schedule_source() {
  return "// generated: mqa_schedule\n"
         "#include \"deepwell/kernel/mqa_schedule.cuh\"\n"
         "extern \"C\" __global__ void __launch_bounds__(deepwell::MqaSchedule::kThreads)\n"
         "mqa_schedule(__grid_constant__ deepwell::MqaScheduleArgs const args) { "
         "deepwell::MqaSchedule::run(args); }\n";
}

std::vector<MqaPlan> all_mqa_plans(Arch const& arch) {
  std::vector<MqaPlan> plans;
  for (int page : {0, 32, 64, 128}) {
    for (int dim : {32, 64, 128}) {
      for (int heads : {8, 16, 32, 64}) {
        for (int rows : {1, 2, 4, 8})
          plans.push_back(
              mqa_plan({.paged = page != 0, .rows = rows, .heads = heads, .dim = dim, .page = page}, arch));
      }
    }
  }
  return plans;
}

std::vector<MqaPlan> representative_mqa_plans(Arch const& arch) {
  std::vector<MqaPlan> plans;
  auto const add = [&](int page, int dim, int heads, int rows) {
    plans.push_back(
        mqa_plan({.paged = page != 0, .rows = rows, .heads = heads, .dim = dim, .page = page}, arch));
  };
  for (int rows : {1, 2, 4, 8}) {  // what V4-Flash is served with
    add(0, 128, 64, rows);
    add(64, 128, 64, rows);
  }
  add(0, 64, 32, 8);
  add(0, 32, 8, 8);
  add(32, 128, 16, 1);
  add(32, 64, 64, 2);
  add(128, 128, 32, 4);
  add(128, 32, 64, 1);
  return plans;
}

}  // namespace deepwell
