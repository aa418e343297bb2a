// Every kernel compiles, on SM 12.x without spills, with both compilers, for every target: here one target completely and a part of
// {kernels} x {targets} x {compilers} that changes from day to day; all of it with DEEPWELL_COMPILE_ALL=1. What ptxas says about
// registers and shared memory is compared with a snapshot.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/options.hpp"
#include "jit/parallel.hpp"
#include "jit/resource_use.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"
#include "ops/layout/layout.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"

namespace deepwell {
namespace {

constexpr char const* kGolden = DW_SOURCE_DIR "/tests/golden/ptxas.json";
constexpr std::uint64_t kPart = 256;  // one of so many of the rest
// SM 9.0 scales all partial sums itself; its largest tiles spill a few registers, most with FP32 scales per 32 elements of k and in the
// logits, whose load warps have 24. On SM 12.x nothing spills.
constexpr int kHopperSpill = 320;  // bytes stored and loaded

struct Kernel {
  jit::CompileRequest request;
  int dynamic_smem = 0;
  bool grouped = false;
};

Kernel kernel_of(GemmPlan const& plan, Arch const& arch) {
  return {{.name = plan_name(plan),
           .source = gemm_source(plan, arch),
           .target = std::string(arch.target),
           .entry = plan_name(plan)},
          smem_map(plan).total,
          plan.grouping != Grouping::kNone};
}

Kernel kernel_of(ScaleLayoutPlan const& plan, Arch const& arch) {
  return {{.name = plan_name(plan),
           .source = scale_layout_source(plan, arch),
           .target = std::string(arch.target),
           .entry = plan_name(plan)},
          0};
}

Kernel kernel_of(MqaPlan const& plan, Arch const& arch) {
  return {{.name = plan_name(plan),
           .source = mqa_source(plan, arch),
           .target = std::string(arch.target),
           .entry = plan_name(plan)},
          smem_map(plan).total};
}

Kernel kernel_of(HcPrenormPlan const& plan, Arch const& arch) {
  return {{.name = plan_name(plan),
           .source = hc_prenorm_source(plan, arch),
           .target = std::string(arch.target),
           .entry = plan_name(plan)},
          smem_map(plan).total};
}

Kernel mqa_schedule_kernel(Arch const& arch) {
  return {{.name = "mqa_schedule",
           .source = mqa_schedule_source(),
           .target = std::string(arch.target),
           .entry = "mqa_schedule"},
          static_cast<int>(sizeof(MqaShareScratch))};
}

std::vector<Kernel> kernels_for(Arch const& arch, std::vector<GemmPlan> const& plans,
                                std::vector<MqaPlan> const& mqa_plans) {
  std::vector<Kernel> kernels;
  for (MqaPlan const& plan : mqa_plans) kernels.push_back(kernel_of(plan, arch));
  kernels.push_back(mqa_schedule_kernel(arch));
  for (GemmPlan const& plan : plans) kernels.push_back(kernel_of(plan, arch));
  for (ScaleLayoutPlan const& plan : all_scale_layout_plans()) kernels.push_back(kernel_of(plan, arch));
  for (HcPrenormPlan const& plan : all_hc_prenorm_plans(arch)) kernels.push_back(kernel_of(plan, arch));
  return kernels;
}

std::uint64_t text_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash ^ (hash >> 32);
}

/// Today's number, or gtest's --gtest_random_seed.
std::uint64_t rotation() {
  int const seed = testing::UnitTest::GetInstance()->random_seed();
  if (seed != 0) return static_cast<std::uint64_t>(seed);
  auto const now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::hours>(now).count() / 24);
}

/// Compiles all (or takes them from the cache) and checks what came out. Returns ptxas's report by kernel name.
std::map<std::string, jit::ResourceUse> compile_all(std::vector<Kernel> const& kernels,
                                                    jit::Compiler const& compiler) {
  std::vector<jit::CompileRequest> requests;
  for (Kernel const& kernel : kernels) requests.push_back(kernel.request);
  jit::KernelCache cache;
  std::vector<jit::Built> const built = jit::compile_many(cache, compiler, requests);
  std::map<std::string, jit::ResourceUse> uses;
  for (std::size_t i = 0; i < built.size(); ++i) {
    SCOPED_TRACE(fmt::format("{} {} {}", compiler.info().kind, requests[i].target, requests[i].name));
    if (built[i].error) {
      ADD_FAILURE() << built[i].error->what();
      continue;
    }
    jit::Compiled const& compiled = *built[i].compiled;
    EXPECT_FALSE(compiled.cubin.empty());
    EXPECT_NE(compiled.ptx.find(".entry " + requests[i].entry), std::string::npos);
    EXPECT_NE(compiled.ptx.find(".target " + requests[i].target), std::string::npos);
    jit::ResourceUse const use = jit::resource_use(compiled.log);
    int const spilled = use.spill_store_bytes + use.spill_load_bytes;
    EXPECT_LE(spilled, arch_by_target(requests[i].target).block_scaled_mma ? 0 : kHopperSpill)
        << use.spill_store_bytes << " bytes stored, " << use.spill_load_bytes << " loaded";
    EXPECT_EQ(use.static_smem_bytes, 0);
    uses.emplace(requests[i].name, use);
  }
  return uses;
}

nlohmann::ordered_json snapshot_of(std::vector<Kernel> const& kernels,
                                   std::map<std::string, jit::ResourceUse> const& uses) {
  std::map<std::string, nlohmann::ordered_json> rows;
  for (Kernel const& kernel : kernels) {
    if (auto const use = uses.find(kernel.request.name); use != uses.end()) {
      rows[kernel.request.name] = {{"registers", use->second.registers},
                                   {"spilled", use->second.spill_store_bytes + use->second.spill_load_bytes},
                                   {"smem", kernel.dynamic_smem}};
    }
  }
  nlohmann::ordered_json json;
  for (auto& [name, row] : rows) json[name] = std::move(row);
  return json;
}

/// One line for each kernel, so that changes are readable.
void write_golden(nlohmann::ordered_json const& json) {
  std::ofstream out(kGolden);
  out << "{\n  \"compiler\": " << json["compiler"].dump() << ",\n  \"targets\": {";
  char const* target_separator = "";
  for (auto const& [target, kernels] : json["targets"].items()) {
    out << target_separator << "\n    \"" << target << "\": {";
    target_separator = ",";
    char const* separator = "";
    for (auto const& [name, row] : kernels.items()) {
      out << separator << "\n      \"" << name << "\": " << row.dump();
      separator = ",";
    }
    out << "\n    }";
  }
  out << "\n  }\n}\n";
}

TEST(Compile, RepresentativesOfOneTargetAsInTheSnapshot) {
  bool const update = option_flag(Option::kUpdateGolden);
  bool const all = option_flag(Option::kCompileAll);
  auto const compiler_for = [](Arch const& arch) { return jit::make_compiler("nvrtc", arch.target); };
  nlohmann::ordered_json golden;
  if (update) {
    golden["compiler"] = compiler_for(arch_by_target("sm_120a"))->info().full_version;
  } else {
    std::ifstream in(kGolden);
    ASSERT_TRUE(in.good()) << kGolden;
    golden = nlohmann::ordered_json::parse(in);
  }
  for (char const* target : {"sm_120a", "sm_121a"}) {
    if (!update && !all && std::string_view(target) != "sm_120a") continue;
    Arch const& arch = arch_by_target(target);
    auto const compiler = compiler_for(arch);
    std::vector<Kernel> const kernels =
        kernels_for(arch, representative_gemm_plans(arch), representative_mqa_plans(arch));
    std::map<std::string, jit::ResourceUse> const uses = compile_all(kernels, *compiler);
    ASSERT_EQ(uses.size(), kernels.size());
    nlohmann::ordered_json const now = snapshot_of(kernels, uses);
    if (update) {
      golden["targets"][target] = now;
      continue;
    }
    nlohmann::ordered_json const& before = golden["targets"][target];
    for (auto const& [name, row] : now.items()) {
      if (!before.contains(name)) {
        ADD_FAILURE() << target << " " << name
                      << " is not in the snapshot (DEEPWELL_UPDATE_GOLDEN=1 writes it)";
        continue;
      }
      EXPECT_EQ(row["smem"], before[name]["smem"]) << target << " " << name;
      // Other releases allocate registers differently: only what holds for all of them is checked then.
      if (golden["compiler"] == compiler->info().full_version) {
        EXPECT_EQ(row["registers"], before[name]["registers"]) << target << " " << name;
      }
    }
    EXPECT_EQ(before.size(), now.size()) << target << ": the snapshot has kernels that are gone";
    std::printf("%s: %zu kernels as in the snapshot\n", target, now.size());
  }
  if (update) write_golden(golden);
}

class CompileEverything : public testing::TestWithParam<std::tuple<char const*, std::string>> {};

/// All of NVRTC's kernels for sm_120a, and of the rest the part that the day has.
TEST_P(CompileEverything, OrThisDaysPart) {
  auto const& [kind, target] = GetParam();
  Arch const& arch = arch_by_target(target);
  bool const all = option_flag(Option::kCompileAll);
  bool const whole = all || (std::string_view(kind) == "nvrtc" && target == "sm_120a");
  std::uint64_t const part = rotation() % kPart;
  auto const compiler = jit::make_compiler(kind, target);
  std::vector<Kernel> kernels = kernels_for(arch, all_gemm_plans(arch), all_mqa_plans(arch));
  std::erase_if(kernels, [&](Kernel const& kernel) {
    return !(whole && !kernel.grouped) && !all &&
           text_hash(fmt::format("{} {} {}", kind, target, kernel.request.name)) % kPart != part;
  });
  std::printf("%s %s: %zu kernels (%s)\n", kind, target.c_str(), kernels.size(),
              all     ? "all"
              : whole ? "all but grouped"
                      : fmt::format("part {} of {}", part, kPart).c_str());
  compile_all(kernels, *compiler);
}

INSTANTIATE_TEST_SUITE_P(Compile, CompileEverything,
                         testing::Combine(testing::Values("nvrtc", "nvcc"), testing::ValuesIn([] {
                                            std::vector<std::string> targets;
                                            for (Arch const& arch : all_archs())
                                              targets.emplace_back(arch.target);
                                            return targets;
                                          }())),
                         [](auto const& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param), std::get<1>(info.param));
                         });

TEST(Compile, EveryKernelIsInSomePart) {
  std::map<std::uint64_t, int> parts;
  for (Arch const& arch : all_archs()) {
    for (Kernel const& kernel : kernels_for(arch, all_gemm_plans(arch), all_mqa_plans(arch))) {
      ++parts[text_hash(fmt::format("nvrtc {} {}", arch.target, kernel.request.name)) % kPart];
    }
  }
  EXPECT_EQ(parts.size(), kPart);
  for (auto const& [part, count] : parts) EXPECT_LT(count, 60) << part;
}

TEST(Compile, APlanThatDoesNotFitSaysSo) {
  GemmPlan plan = all_gemm_plans(arch_by_target("sm_120a")).front();
  plan.stages = 64;
  Arch const& arch = arch_by_target("sm_120a");
  try {
    jit::make_compiler("nvrtc", arch.target)->compile(kernel_of(plan, arch).request);
    FAIL() << "compiled";
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kToolchain);
    EXPECT_NE(std::string(error.what()).find("more shared memory than the target has"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace deepwell
