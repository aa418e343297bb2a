// Statistics of the shipped kernels against a snapshot: a kernel that touches more sectors, meets bank conflicts or executes
// more MMAs than before fails here, without a GPU. DEEPWELL_UPDATE_GOLDEN=1 writes the snapshot anew.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "base/options.hpp"
#include "check/hc_prenorm.hpp"
#include "check/layout.hpp"
#include "check/run.hpp"
#include "check/work.hpp"
#include "jit/jit.hpp"
#include "kernel/counting.hpp"
#include "kernel/devices.hpp"

namespace deepwell::check {
namespace {

using Json = nlohmann::ordered_json;
using ref::ScaleFormat;

constexpr char const* kGolden = DW_SOURCE_DIR "/tests/golden/statistics.json";
constexpr char const* kDevices[] = {"emu:sm_120a", "emu:sm_121a"};

OperandCase operand(Dtype dtype, ScaleFormat scale, int gran_k, int gran_mn = 1) {
  OperandCase out{.dtype = dtype, .scale = scale, .gran_mn = gran_mn, .gran_k = gran_k};
  out.layout = scale == ScaleFormat::kPacked ? ScaleLayout::kColumns : ScaleLayout::kRows;
  return out;
}

Case gemm(std::int64_t m, std::int64_t n, std::int64_t k, OperandCase a, OperandCase b,
          Dtype d = Dtype::kBf16) {
  Case out;
  out.m = m, out.n = n, out.k = k;
  out.a = a, out.b = b, out.d = d;
  return out;
}

/// A few of every family of kernels: each tile, each way in, each kind of scale.
std::vector<Case> gemm_cases() {
  constexpr Dtype kE4m3 = Dtype::kE4m3, kE2m1 = Dtype::kE2m1;
  OperandCase const packed = operand(kE4m3, ScaleFormat::kPacked, 128);
  OperandCase const f32 = operand(kE4m3, ScaleFormat::kF32, 128);
  OperandCase const f32_block = operand(kE4m3, ScaleFormat::kF32, 128, 128);
  OperandCase const bytes_block = operand(kE4m3, ScaleFormat::kUe8m0, 128, 128);
  OperandCase const fp4 = operand(kE2m1, ScaleFormat::kPacked, 32);
  std::vector<Case> out{
      gemm(4, 256, 512, packed, packed),               // decode, all by TMA
      gemm(4, 256, 512, packed, bytes_block),          // block scales
      gemm(4, 256, 512, f32, f32_block, Dtype::kF32),  // FP32 scales
      gemm(4, 256, 512, packed, fp4),                  // packed e2m1 widened
      gemm(4, 256, 512, fp4, fp4),                     // k64
      gemm(16, 128, 512, packed, packed),
      gemm(32, 128, 512, packed, packed),
      gemm(64, 128, 512, packed, packed),
      gemm(256, 256, 512, packed, packed),                              // large tile
      gemm(136, 72, 512, packed, packed),                               // large tile, mostly empty
      gemm(256, 128, 512, fp4, fp4),                                    // large tile, k64
      gemm(128, 128, 512, operand(kE4m3, ScaleFormat::kF32, 32), fp4),  // outside factors per 32
      gemm(2, 64, 4096, packed, packed)};                               // split of k
  Case odd = gemm(6, 45, 352, packed, operand(kE4m3, ScaleFormat::kUe8m0, 32));
  odd.a.pitch = odd.b.pitch = odd.d_pitch = Pitch::kOdd;
  odd.b.layout = ScaleLayout::kOddColumns;
  out.push_back(odd);  // no TMA
  Case with_c = gemm(8, 128, 512, packed, packed);
  with_c.c = CMode::kOther;
  out.push_back(with_c);
  Case einsum = gemm(2, 128, 512, packed, packed);
  einsum.op = Op::kEinsum, einsum.batch = 4;
  out.push_back(einsum);
  return out;
}

std::vector<LayoutCase> scale_cases() {
  return {{Dtype::kF32, 256, 4096, 1, 128, 0, false},
          {Dtype::kF32, 256, 4096, 1, 128, 0, true},
          {Dtype::kUe8m0, 256, 1024, 128, 32, 2, false}};
}

/// Each tile of the hyper-connections' product, a whole call in pieces, and elements one by one.
std::vector<HcPrenormCase> hc_prenorm_statistics_cases() {
  return {{.m = 4, .n = 24, .k = 4096, .splits = 16},
          {.m = 4, .n = 24, .k = 4096},
          {.m = 200, .n = 24, .k = 1024, .splits = 16},
          {.m = 2048, .n = 24, .k = 512, .splits = 4},
          {.m = 4, .n = 24, .k = 520, .a = Pitch::kOdd, .b = Pitch::kOdd}};
}

struct Counted {
  std::string kernel;
  emu::Statistics statistics;
  Efficiency efficiency;
};

std::map<std::string, Counted> count_all(std::string const& device) {
  Context& context = context_of(device);
  Counting const counting(context);
  std::map<std::string, Counted> out;
  build_kernels(context, gemm_cases());
  for (Case const& c : gemm_cases()) {
    Choice const choice = choose(c, context.arch());
    EXPECT_EQ(choice.refused, "") << c.name();
    run_on_device(context, make_data(c, 0, test_pool()));
    emu::Statistics const statistics = counting.last();
    out[c.name()] = {choice.kernel, statistics, efficiency_of(c, choice.swap, statistics)};
  }
  for (LayoutCase const& c : scale_cases()) {
    Outcome const outcome = run_layout_case(context, c, 0);
    EXPECT_EQ(outcome.status, Status::kPass) << c.name() << ": " << outcome.reason;
    OpCase what;
    what.floor_sectors = least_sectors(c);
    out[c.name()] = {outcome.kernel, counting.last(), efficiency_of(what, counting.last())};
  }
  std::vector<OpCase> const ops = hc_prenorm_op_cases(hc_prenorm_statistics_cases());
  for (OpCase const& c : ops) {
    Outcome const outcome = c.run(context, 0, {});
    EXPECT_EQ(outcome.status, Status::kPass) << c.name << ": " << outcome.reason;
    out[c.name] = {outcome.kernel, counting.last(), efficiency_of(c, counting.last())};
  }
  return out;
}

/// Counts as "global.load.sectors", without zeros and without what depends on timing or is text.
void flatten(Json const& json, std::string const& path, std::map<std::string, std::uint64_t>& out) {
  for (auto const& [key, value] : json.items()) {
    std::string const name = path.empty() ? key : path + "." + key;
    if (name == "by_opcode" || name == "global_lines" || name == "shared_lines" ||
        name == "sync.mbarrier_retries")
      continue;
    if (value.is_object()) {
      flatten(value, name, out);
    } else if (value.get<std::uint64_t>() != 0) {
      out[name] = value.get<std::uint64_t>();
    }
  }
}

std::map<std::string, std::uint64_t> fields_of(Counted const& counted) {
  std::map<std::string, std::uint64_t> out;
  flatten(Json::parse(to_json(counted.statistics)), "", out);
  out["useful_mma"] = counted.efficiency.useful_mma;
  out["floor_sectors"] = counted.efficiency.floor_sectors;
  return out;
}

/// What another release of the compiler may change without harm.
bool depends_on_compiler(std::string const& field) {
  for (std::string_view const group : {"warp_instructions", "by_kind.", "declared.registers",
                                       "declared.local_bytes", "global.", "shared.", "local."}) {
    if (field.starts_with(group)) return true;
  }
  return false;
}

std::string lines(char const* unit, std::vector<emu::HotLine> const& from) {
  std::string out;
  for (emu::HotLine const& line : from)
    out += fmt::format("    {} {}, ideal {}: PTX line {} `{}`\n", line.counts.transactions, unit,
                       line.counts.ideal, line.line, line.text);
  return out;
}

/// Empty when the counts are those of the snapshot, else what is different, and where it may come from.
std::string differences(Json const& before, Counted const& now, bool same_compiler) {
  std::map<std::string, std::uint64_t> old_fields, fields = fields_of(now);
  flatten(before["counts"], "", old_fields);
  std::string out;
  if (before["kernel"] != now.kernel)
    out += fmt::format("  kernel: was {}, is {}\n", before["kernel"].get<std::string>(), now.kernel);
  for (auto const& [name, value] : old_fields) fields.try_emplace(name, 0);
  bool global = false, shared = false;
  for (auto const& [name, value] : fields) {
    std::uint64_t const was = old_fields.contains(name) ? old_fields.at(name) : 0;
    if (was == value || (!same_compiler && depends_on_compiler(name))) continue;
    out +=
        fmt::format("  {}: was {}, is {} ({:+.1f} %)\n", name, was, value,
                    was == 0 ? 100.0 : 100.0 * (static_cast<double>(value) / static_cast<double>(was) - 1));
    global |= name.find("sectors") != std::string::npos;
    shared |= name.find("wavefronts") != std::string::npos;
  }
  if (global) out += "  worst lines of global memory now:\n" + lines("sectors", now.statistics.global_lines);
  if (shared)
    out += "  worst lines of shared memory now:\n" + lines("wavefronts", now.statistics.shared_lines);
  return out;
}

/// "global.load.sectors" 4 becomes {"global": {"load": {"sectors": 4}}} again, one line for each first name.
void write_golden(std::string const& compiler,
                  std::map<std::string, std::map<std::string, Counted>> const& all) {
  std::ofstream out(kGolden);
  out << "{\n  \"compiler\": " << Json(compiler).dump() << ",\n  \"devices\": {";
  char const* device_separator = "";
  for (auto const& [device, cases] : all) {
    out << device_separator << "\n    " << Json(device).dump() << ": {";
    device_separator = ",";
    char const* case_separator = "";
    for (auto const& [name, counted] : cases) {
      Json groups;
      for (auto const& [field, value] : fields_of(counted)) {
        std::string pointer = "/" + field;
        std::replace(pointer.begin(), pointer.end(), '.', '/');
        groups[Json::json_pointer(pointer)] = value;
      }
      out << case_separator << "\n      " << Json(name).dump()
          << ": {\n        \"kernel\": " << Json(counted.kernel).dump() << ",\n        \"counts\": {";
      case_separator = ",";
      char const* separator = "";
      for (auto const& [key, value] : groups.items()) {
        out << separator << "\n          " << Json(key).dump() << ": " << value.dump();
        separator = ",";
      }
      out << "\n        }\n      }";
    }
    out << "\n    }";
  }
  out << "\n  }\n}\n";
}

TEST(Statistics, OfShippedKernelsAreTheSnapshots) {
  std::string const compiler =
      jit::make_compiler(option_text(Option::kCompiler), "sm_120a")->info().full_version;
  bool const update = option_flag(Option::kUpdateGolden);
  std::map<std::string, std::map<std::string, Counted>> all;
  for (char const* device : kDevices) all[device] = count_all(device);
  if (update) {
    write_golden(compiler, all);
    return;
  }
  std::ifstream in(kGolden);
  ASSERT_TRUE(in.good()) << kGolden;
  Json const golden = Json::parse(in);
  std::string const release = golden["compiler"];
  bool const same_compiler = release == compiler;
  if (!same_compiler) {
    std::printf(
        "the snapshot is of compiler %s, this is %s: instructions, registers and the accesses that they make "
        "are not compared; copies, MMAs, barriers and declared shared memory are\n",
        release.c_str(), compiler.c_str());
  }
  for (auto const& [device, cases] : all) {
    Json const& before = golden["devices"].at(device);
    EXPECT_EQ(before.size(), cases.size()) << device << ": the snapshot has cases that are gone";
    for (auto const& [name, counted] : cases) {
      if (!before.contains(name)) {
        ADD_FAILURE() << device << " " << name
                      << " is not in the snapshot (DEEPWELL_UPDATE_GOLDEN=1 writes it)";
        continue;
      }
      std::string const changed = differences(before.at(name), counted, same_compiler);
      if (changed.empty()) continue;
      ADD_FAILURE() << device << " " << name << " (" << counted.kernel << ") changed:\n"
                    << changed << "  If that is wanted, DEEPWELL_UPDATE_GOLDEN=1 kernel_tests "
                    << "--gtest_filter='Statistics.*' writes the snapshot anew.";
    }
  }
}

TEST(Statistics, ADifferenceIsNamed) {
  Counted counted;
  counted.kernel = "k";
  counted.statistics.detailed = true;
  counted.statistics.global.load = {.requests = 1, .lanes = 32, .bytes = 128, .transactions = 8, .ideal = 4};
  counted.statistics.global_lines = {
      {.line = 7, .text = "ld.global.u32", .source = {}, .counts = counted.statistics.global.load}};
  counted.statistics.mma = 3;
  Json const before = Json::parse(R"({"kernel": "k", "counts": {"mma": 2, "global": {"load":
      {"requests": 1, "lanes": 32, "bytes": 128, "sectors": 4, "ideal_sectors": 4}}}})");
  std::string const text = differences(before, counted, true);
  EXPECT_NE(text.find("global.load.sectors: was 4, is 8 (+100.0 %)"), std::string::npos) << text;
  EXPECT_NE(text.find("mma: was 2, is 3 (+50.0 %)"), std::string::npos) << text;
  EXPECT_NE(text.find("PTX line 7 `ld.global.u32`"), std::string::npos) << text;
  EXPECT_EQ(text.find("requests"), std::string::npos) << text;
  EXPECT_EQ(differences(before, counted, false).find("global.load"), std::string::npos);
}

/// Neither host threads nor the order of warps and copies change the counts.
TEST(Statistics, DoNotDependOnTheSchedule) {
  Context& context = context_of("emu:sm_120a");
  auto& backend = dynamic_cast<EmuBackend&>(context.backend());
  for (std::size_t const index : {std::size_t{0}, std::size_t{12}}) {
    Case const c = gemm_cases().at(index);
    CaseData const data = make_data(c, 0, test_pool());
    Counting const counting(context);
    auto const counts = [&] {
      run_on_device(context, data);
      return fields_of({.kernel = {}, .statistics = counting.last(), .efficiency = {}});
    };
    std::map<std::string, std::uint64_t> const fair = counts();
    emu::Options options = backend.options();
    // Even seeds: under odd ones waits give up early and are repeated.
    for (options.seed = 2; options.seed <= 8; options.seed += 2) {
      backend.set_options(options);
      EXPECT_EQ(counts(), fair) << c.name() << " with seed " << options.seed;
    }
    options.check = false;
    options.threads = 3;
    backend.set_options(options);
    EXPECT_EQ(counts(), fair) << c.name() << " without checks";
  }
}

}  // namespace
}  // namespace deepwell::check
