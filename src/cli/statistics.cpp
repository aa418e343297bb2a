// Tables of statistics.
#include "cli/statistics.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/table.hpp"

namespace deepwell {
namespace {

using emu::MemoryCounts;
constexpr Table::Align kRight = Table::Align::kRight;

std::string number(std::uint64_t value) { return fmt::format("{}", value); }

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? ""
                    : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string instructions_text(emu::Statistics const& statistics) {
  Table table({{"warp instructions"}, {"", kRight}, {"", kRight}});
  std::vector<std::pair<std::uint64_t, std::string>> rows;
  for (std::size_t k = 0; k < emu::kInstructionKinds; ++k) {
    if (statistics.by_kind[k] != 0)
      rows.emplace_back(statistics.by_kind[k], name_of(static_cast<emu::InstructionKind>(k)));
  }
  std::stable_sort(rows.begin(), rows.end(), [](auto const& a, auto const& b) { return a.first > b.first; });
  for (auto const& [count, name] : rows)
    table.add({name, number(count), percent(count, statistics.warp_instructions)});
  return table.text();
}

class MemoryTable {
 public:
  MemoryTable(char const* title, char const* unit, char const* last)
      : table_({{title},
                {"requests", kRight},
                {"lanes", kRight},
                {"bytes", kRight},
                {unit, kRight},
                {"ideal", kRight},
                {last, kRight}}) {}
  void add(std::string name, MemoryCounts const& counts, std::string last) {
    if (counts.requests == 0) return;
    table_.add({std::move(name), number(counts.requests), number(counts.lanes), number(counts.bytes),
                number(counts.transactions), number(counts.ideal), std::move(last)});
  }
  /// A line break before it; nothing without rows.
  std::string text() const { return table_.empty() ? "" : "\n" + table_.text(); }

 private:
  Table table_;
};

std::string memory_text(emu::Statistics const& s) {
  MemoryTable global("global memory", "sectors", "coalescing");
  auto const add_global = [&](char const* name, MemoryCounts const& counts) {
    global.add(name, counts, percent(counts.ideal, counts.transactions));
  };
  add_global("load", s.global.load);
  add_global("store", s.global.store);
  add_global("atomic", s.global.atomic);
  add_global("cp.async", s.global.copy);
  add_global("bulk copies in", s.bulk.global_in);
  add_global("bulk copies out", s.bulk.global_out);
  add_global("tensor copies in", s.tensor.global_in);
  add_global("tensor copies out", s.tensor.global_out);
  MemoryTable shared("shared memory", "wavefronts", "conflicts");
  auto const add_shared = [&](char const* name, MemoryCounts const& counts) {
    shared.add(name, counts, number(counts.excess()));
  };
  add_shared("load", s.shared.load);
  add_shared("store", s.shared.store);
  add_shared("atomic", s.shared.atomic);
  add_shared("cp.async", s.shared.copy);
  Table local({{"local memory"}, {"requests", kRight}, {"lanes", kRight}, {"bytes", kRight}});
  for (auto const& [name, counts] : {std::pair("load", s.local.load), std::pair("store", s.local.store)}) {
    if (counts.requests != 0)
      local.add({name, number(counts.requests), number(counts.lanes), number(counts.bytes)});
  }
  return global.text() + shared.text() + (local.empty() ? "" : "\n" + local.text());
}

std::string copies_text(emu::Statistics const& s) {
  Table table({{"bulk copies"}, {"operations", kRight}, {"bytes in", kRight}, {"bytes out", kRight}});
  for (auto const& [name, copies] : {std::pair("bulk", s.bulk), std::pair("tensor", s.tensor)}) {
    if (copies.operations != 0)
      table.add({name, number(copies.operations), number(copies.bytes_in), number(copies.bytes_out)});
  }
  return table.empty() ? "" : "\n" + table.text();
}

std::string sync_text(emu::SyncCounts const& sync) {
  Table table({{"synchronisation"}, {"", kRight}});
  for (auto const& [name, count] : {std::pair("warps at named barriers", sync.barrier_arrivals),
                                    std::pair("named barriers completed", sync.barriers),
                                    std::pair("arrivals at mbarriers", sync.mbarrier_arrivals),
                                    std::pair("mbarrier phases completed", sync.mbarrier_phases),
                                    std::pair("mbarrier waits", sync.mbarrier_waits),
                                    std::pair("mbarrier waits tried in vain", sync.mbarrier_retries),
                                    std::pair("griddepcontrol.wait", sync.grid_waits),
                                    std::pair("griddepcontrol.launch_dependents", sync.grid_launches)}) {
    if (count != 0) table.add({name, number(count)});
  }
  return table.empty() ? "" : "\n" + table.text();
}

std::string lines_text(char const* title, char const* unit, std::vector<emu::HotLine> const& lines) {
  if (lines.empty()) return "";
  Table table({{title, kRight},
               {"ideal", kRight},
               {"excess", kRight},
               {"line", kRight},
               {unit, Table::Align::kLeft, 90}});
  for (emu::HotLine const& line : lines) {
    table.add({number(line.counts.transactions), number(line.counts.ideal), number(line.counts.excess()),
               number(static_cast<std::uint64_t>(line.line)),
               line.source.empty() ? line.text : fmt::format("{} ({})", line.text, line.source)});
  }
  return "\n" + table.text();
}

}  // namespace

std::string statistics_text(emu::Statistics const& statistics) {
  emu::DeclaredResources const& declared = statistics.declared;
  std::string out = fmt::format(
      "{} CTAs of {} threads, {} bytes of static and {} of dynamic shared memory, {} of local memory a "
      "thread, {} "
      "PTX registers\n{} mma, {} multiply-adds\n\n",
      statistics.ctas, declared.threads, declared.static_smem_bytes, declared.dynamic_smem_bytes,
      declared.local_bytes, declared.registers, statistics.mma, statistics.multiply_adds);
  out += instructions_text(statistics) + memory_text(statistics) + copies_text(statistics) +
         sync_text(statistics.sync);
  out += lines_text("sectors", "global memory, worst lines", statistics.global_lines);
  return out + lines_text("wavefronts", "shared memory, worst lines", statistics.shared_lines);
}

Table CaseStatistics::table() {
  return Table({{"operation"},
                {"tensors and shape", Table::Align::kLeft, 60},
                {"kernel", Table::Align::kLeft, 30},
                {"mma", kRight},
                {"useful", kRight},
                {"ratio", kRight},
                {"sectors", kRight},
                {"floor", kRight},
                {"ratio", kRight},
                {"conflicts", kRight},
                {"barriers", kRight},
                {"mbarrier waits", kRight}});
}

void CaseStatistics::add_to(Table& table, std::string const& op, std::string const& tensors,
                            std::string const& kernel) const {
  check::Efficiency const& e = efficiency_;
  table.add({op, tensors, kernel, number(e.mma), number(e.useful_mma), fmt::format("{:.3f}", e.mma_ratio()),
             number(e.sectors), number(e.floor_sectors), fmt::format("{:.3f}", e.sector_ratio()),
             number(e.shared_conflicts), number(e.barrier_arrivals), number(e.mbarrier_waits)});
}

std::string CaseStatistics::json() const {
  check::Efficiency const& e = efficiency_;
  nlohmann::ordered_json const out{{"efficiency",
                                    {{"mma", e.mma},
                                     {"useful_mma", e.useful_mma},
                                     {"mma_ratio", e.mma_ratio()},
                                     {"sectors", e.sectors},
                                     {"floor_sectors", e.floor_sectors},
                                     {"sector_ratio", e.sector_ratio()},
                                     {"shared_conflicts", e.shared_conflicts},
                                     {"barrier_arrivals", e.barrier_arrivals},
                                     {"mbarrier_waits", e.mbarrier_waits}}},
                                   {"statistics", nlohmann::ordered_json::parse(to_json(statistics_))}};
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace deepwell
