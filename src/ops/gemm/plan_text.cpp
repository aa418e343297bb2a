// A GEMM plan as text: its name, its key, the source that compiles it. All three are made from the one list of fields.
#include <cctype>
#include <string_view>

#include "ops/gemm/gemm.hpp"

namespace deepwell {
namespace {

std::string_view enumerator(Dtype dtype) {
  switch (dtype) {
    case Dtype::kE4m3: return "kE4m3";
    case Dtype::kE2m1: return "kE2m1";
    case Dtype::kBf16: return "kBf16";
    case Dtype::kF32: return "kF32";
    default: break;
  }
  throw Error(ErrorCode::kInternal, fmt::format("a GEMM plan holds {}", name_of(dtype)));
}

std::string literal(Dtype value) { return fmt::format("deepwell::Dtype::{}", enumerator(value)); }
std::string literal(ScaleKind value) {
  return value == ScaleKind::kF32 ? "deepwell::ScaleKind::kF32" : "deepwell::ScaleKind::kUe8m0";
}
std::string literal(Grouping value) {
  switch (value) {
    case Grouping::kNone: return "deepwell::Grouping::kNone";
    case Grouping::kContiguous: return "deepwell::Grouping::kContiguous";
    case Grouping::kMasked: return "deepwell::Grouping::kMasked";
  }
  throw Error(ErrorCode::kInternal, "a GEMM plan's grouping is out of range");
}
std::string literal(int value) { return fmt::format("{}", value); }
std::string literal(bool value) { return value ? "true" : "false"; }

std::string word(Dtype value) { return name_of(value); }
std::string word(ScaleKind value) { return value == ScaleKind::kF32 ? "f32" : "ue8m0"; }
std::string word(Grouping value) { return name_of(value); }
std::string word(int value) { return fmt::format("{}", value); }
std::string word(bool value) { return value ? "1" : "0"; }

/// "tile_rows" -> "tr".
std::string initials(std::string_view field) {
  std::string text;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (i == 0 || field[i - 1] == '_') text += field[i];
  }
  return text;
}

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) + 0x9e3779b97f4a7c15u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
}

}  // namespace

std::string plan_name(GemmPlan const& plan) {
  std::string text = "gemm_mx";
#define DW_APPEND(type, name) text += "_" + initials(#name) + word(static_cast<type>(plan.name));
  DW_GEMM_PLAN_FIELDS(DW_APPEND)
#undef DW_APPEND
  return text;
}

std::string plan_text(GemmPlan const& plan) {
  auto const scale = [](ScaleKind kind, int gran_k) { return fmt::format("{}/{}", word(kind), gran_k); };
  std::string const x = fmt::format("{} ({})", name_of(plan.x), scale(plan.x_scale, plan.x_gran_k));
  std::string const y = fmt::format("{} ({})", name_of(plan.y), scale(plan.y_scale, plan.y_gran_k));
  return fmt::format("{} x {} -> {}{}, tile {}x{}x{}{}, warps {}x{}x{}, stages {} of {} k{}{}",
                     plan.swap ? y : x, plan.swap ? x : y, name_of(plan.d),
                     plan.grouping == Grouping::kNone ? "" : fmt::format(", {}", name_of(plan.grouping)),
                     plan.tile_rows, plan.tile_cols, kTileK, plan.swap ? " of b x a" : "", plan.warps_rows,
                     plan.warps_cols, plan.warps_k, plan.stages, kTileK * plan.k_tiles,
                     plan.native_e2m1 ? ", native e2m1" : "",
                     plan.every_reader_arrives ? ", every reader arrives" : "");
}

std::uint64_t plan_key(GemmPlan const& plan) {
  std::uint64_t hash = 0x67656d6d5f6d78u;  // "gemm_mx"
#define DW_MIX(type, name) hash = mix(hash, static_cast<std::uint64_t>(static_cast<int>(plan.name)));
  DW_GEMM_PLAN_FIELDS(DW_MIX)
#undef DW_MIX
  return hash;
}

std::string gemm_source(GemmPlan const& plan, Arch const& arch) {
  std::string fields;
#define DW_FIELD(type, name) \
  fields +=                  \
      fmt::format("{}.{} = {}", fields.empty() ? "" : ", ", #name, literal(static_cast<type>(plan.name)));
  DW_GEMM_PLAN_FIELDS(DW_FIELD)
#undef DW_FIELD
  return fmt::format(
      "// generated: gemm_mx  {}\n"
      "#include \"deepwell/kernel/gemm_mx.cuh\"\n"
      "using Kernel = deepwell::GemmMx<deepwell::GemmPlan{{{}}}, deepwell::{}>;\n"
      "extern \"C\" __global__ void __launch_bounds__(Kernel::kThreads, Kernel::kMinCtasPerSm)\n"
      "{}(__grid_constant__ deepwell::GemmArgs const args) {{ Kernel::run(args); }}\n",
      plan_text(plan), fields, arch.device_target, plan_name(plan));
}

}  // namespace deepwell
