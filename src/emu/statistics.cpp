// Sums of counts, their names, and statistics as JSON.
#include "emu/statistics.hpp"

#include <nlohmann/json.hpp>

namespace deepwell::emu {
namespace {

using Json = nlohmann::ordered_json;

enum class Unit { kSectors, kWavefronts, kNone };

Json json_of(MemoryCounts const& counts, Unit unit) {
  Json out{{"requests", counts.requests}, {"lanes", counts.lanes}, {"bytes", counts.bytes}};
  if (unit == Unit::kNone) return out;
  bool const sectors = unit == Unit::kSectors;
  out[sectors ? "sectors" : "wavefronts"] = counts.transactions;
  out[sectors ? "ideal_sectors" : "ideal_wavefronts"] = counts.ideal;
  return out;
}

Json json_of(SpaceCounts const& space, Unit unit) {
  Json out;
  out["load"] = json_of(space.load, unit);
  out["store"] = json_of(space.store, unit);
  out["atomic"] = json_of(space.atomic, unit);
  if (unit != Unit::kNone) out["cp_async"] = json_of(space.copy, unit);
  return out;
}

Json json_of(BulkCounts const& bulk) {
  return {{"operations", bulk.operations},
          {"bytes_in", bulk.bytes_in},
          {"bytes_out", bulk.bytes_out},
          {"global_in", json_of(bulk.global_in, Unit::kSectors)},
          {"global_out", json_of(bulk.global_out, Unit::kSectors)}};
}

Json json_of(SyncCounts const& sync) {
  return {{"barrier_arrivals", sync.barrier_arrivals},
          {"barriers", sync.barriers},
          {"mbarrier_arrivals", sync.mbarrier_arrivals},
          {"mbarrier_phases", sync.mbarrier_phases},
          {"mbarrier_waits", sync.mbarrier_waits},
          {"mbarrier_retries", sync.mbarrier_retries},
          {"grid_waits", sync.grid_waits},
          {"grid_launches", sync.grid_launches}};
}

Json json_of(std::vector<HotLine> const& lines, Unit unit) {
  Json out = Json::array();
  for (HotLine const& line : lines) {
    Json row{{"line", line.line}, {"text", line.text}, {"source", line.source}};
    row.update(json_of(line.counts, unit));
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace

char const* name_of(InstructionKind kind) {
  switch (kind) {
    case InstructionKind::kInteger: return "integer";
    case InstructionKind::kFloat: return "float";
    case InstructionKind::kCompare: return "compare";
    case InstructionKind::kConvert: return "convert";
    case InstructionKind::kMove: return "move";
    case InstructionKind::kGlobal: return "global";
    case InstructionKind::kShared: return "shared";
    case InstructionKind::kLocal: return "local";
    case InstructionKind::kConstant: return "constant";
    case InstructionKind::kGeneric: return "generic";
    case InstructionKind::kControl: return "control";
    case InstructionKind::kWarp: return "warp";
    case InstructionKind::kBarrier: return "barrier";
    case InstructionKind::kMbarrier: return "mbarrier";
    case InstructionKind::kFence: return "fence";
    case InstructionKind::kAsyncCopy: return "async_copy";
    case InstructionKind::kMma: return "mma";
    case InstructionKind::kTensorMap: return "tensor_map";
    case InstructionKind::kCluster: return "cluster";
    case InstructionKind::kGrid: return "grid";
  }
  return "?";
}

MemoryCounts& MemoryCounts::operator+=(MemoryCounts const& other) {
  requests += other.requests;
  lanes += other.lanes;
  bytes += other.bytes;
  transactions += other.transactions;
  ideal += other.ideal;
  return *this;
}

MemoryCounts SpaceCounts::total() const {
  MemoryCounts out = load;
  return out += store, out += atomic, out += copy;
}

BulkCounts& BulkCounts::operator+=(BulkCounts const& other) {
  operations += other.operations;
  bytes_in += other.bytes_in;
  bytes_out += other.bytes_out;
  global_in += other.global_in;
  global_out += other.global_out;
  return *this;
}

SyncCounts& SyncCounts::operator+=(SyncCounts const& other) {
  barrier_arrivals += other.barrier_arrivals;
  barriers += other.barriers;
  mbarrier_arrivals += other.mbarrier_arrivals;
  mbarrier_phases += other.mbarrier_phases;
  mbarrier_waits += other.mbarrier_waits;
  mbarrier_retries += other.mbarrier_retries;
  grid_waits += other.grid_waits;
  grid_launches += other.grid_launches;
  return *this;
}

MemoryCounts Statistics::global_traffic() const {
  MemoryCounts out = global.total();
  for (BulkCounts const* copies : {&bulk, &tensor}) out += copies->global_in, out += copies->global_out;
  return out;
}

std::string to_json(Statistics const& statistics) {
  Json kinds;
  for (std::size_t k = 0; k < kInstructionKinds; ++k)
    kinds[name_of(static_cast<InstructionKind>(k))] = statistics.by_kind[k];
  DeclaredResources const& declared = statistics.declared;
  Json out{{"ctas", statistics.ctas},
           {"warp_instructions", statistics.warp_instructions},
           {"mma", statistics.mma},
           {"multiply_adds", statistics.multiply_adds},
           {"declared",
            {{"registers", declared.registers},
             {"threads", declared.threads},
             {"static_smem_bytes", declared.static_smem_bytes},
             {"dynamic_smem_bytes", declared.dynamic_smem_bytes},
             {"local_bytes", declared.local_bytes}}},
           {"by_kind", std::move(kinds)}};
  if (statistics.detailed) {
    out["global"] = json_of(statistics.global, Unit::kSectors);
    out["shared"] = json_of(statistics.shared, Unit::kWavefronts);
    out["local"] = json_of(statistics.local, Unit::kNone);
    out["bulk"] = json_of(statistics.bulk);
    out["tensor"] = json_of(statistics.tensor);
    out["sync"] = json_of(statistics.sync);
    out["global_lines"] = json_of(statistics.global_lines, Unit::kSectors);
    out["shared_lines"] = json_of(statistics.shared_lines, Unit::kWavefronts);
  }
  out["by_opcode"] = statistics.by_opcode;
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace deepwell::emu
