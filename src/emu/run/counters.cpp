// The counters behind Options::statistics.
#include "emu/run/counters.hpp"

#include <algorithm>
#include <bit>

#include "emu/race/checker.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {
namespace {

AccessKind access_kind(std::uint16_t race_kind) {
  bool const reads = (race_kind & race::kRead) != 0, writes = (race_kind & race::kWrite) != 0;
  return reads && writes ? AccessKind::kAtomic : writes ? AccessKind::kStore : AccessKind::kLoad;
}

/// One request; lanes without bytes take no part.
MemoryCounts request(std::span<ByteRange const> ranges) {
  MemoryCounts out;
  for (ByteRange const& range : ranges) {
    out.lanes += range.bytes != 0 ? 1 : 0;
    out.bytes += range.bytes;
  }
  out.requests = out.lanes != 0 ? 1 : 0;
  return out;
}

MemoryCounts global_request(std::span<ByteRange> ranges) {
  MemoryCounts out = request(ranges);
  Transactions const sectors = sectors_of(ranges);
  out.transactions = sectors.needed, out.ideal = sectors.ideal;
  return out;
}

MemoryCounts shared_request(std::span<ByteRange const> ranges, bool each_lane_counts) {
  MemoryCounts out = request(ranges);
  Transactions const wavefronts = wavefronts_of(ranges, each_lane_counts);
  out.transactions = wavefronts.needed, out.ideal = wavefronts.ideal;
  return out;
}

MemoryCounts& column(SpaceCounts& space, AccessKind access) {
  return access == AccessKind::kAtomic  ? space.atomic
         : access == AccessKind::kStore ? space.store
                                        : space.load;
}

/// All ranges of one operation as one request of one thread.
MemoryCounts operation_request(std::vector<ByteRange>& ranges) {
  MemoryCounts out = global_request(ranges);
  out.lanes = out.requests;
  ranges.clear();
  return out;
}

}  // namespace

Counters::Counters(Launch const& launch) : launch_(launch), sites_(launch.function->code.size()) {}

std::size_t Counters::position_of(Instr const& instr) const {
  return static_cast<std::size_t>(&instr - launch_.function->code.data());
}

void Counters::access(Instr const& instr, LaneAccesses const& accesses) {
  std::array<ByteRange, kLanes> global{}, shared{}, local{};
  bool has_global = false, has_shared = false, has_local = false;
  for_lanes(accesses.mask, [&](int lane) {
    Place const& place = accesses.places[lane];
    auto const l = static_cast<std::size_t>(lane);
    ByteRange const range{place.address, accesses.bytes};
    switch (place.space) {
      case Space::kGlobal: global[l] = range, has_global = true; break;
      case Space::kShared: shared[l] = range, has_shared = true; break;
      case Space::kLocal: local[l] = range, has_local = true; break;
      default: break;
    }
  });
  Site& site = site_of(instr);
  site.access = access_kind(accesses.kind);
  // Constants lie in global memory too, but are read through a cache of their own.
  if (has_global && kind_of(instr) != InstructionKind::kConstant) site.global += global_request(global);
  if (has_shared) site.shared += shared_request(shared, site.access == AccessKind::kAtomic);
  if (has_local) site.local += request(local);
}

void Counters::cp_async(Instr const& instr, std::span<ByteRange> reads, std::span<ByteRange const> writes) {
  Site& site = site_of(instr);
  site.global += global_request(reads);
  site.shared += shared_request(writes, false);
}

void Counters::start_bulk(Instr const& instr) {
  finish_bulk();
  CopyKind const kind = copy_kind_of(instr);
  if (kind != CopyKind::kBulk && kind != CopyKind::kTensor) return;
  bulk_ = position_of(instr);
  ++sites_[*bulk_].bulk.operations;
}

void Counters::bulk_global(std::uint64_t address, std::size_t bytes, std::uint16_t race_kind) {
  if (!bulk_ || bytes == 0) return;
  ((race_kind & race::kWrite) != 0 ? written_ : read_).push_back({address, bytes});
}

void Counters::bulk_shared(std::size_t bytes, std::uint16_t race_kind) {
  if (!bulk_) return;
  BulkCounts& counts = sites_[*bulk_].bulk;
  ((race_kind & race::kWrite) != 0 ? counts.bytes_in : counts.bytes_out) += bytes;
}

void Counters::finish_bulk() {
  if (!bulk_) return;
  sites_[*bulk_].bulk.global_in += operation_request(read_);
  sites_[*bulk_].bulk.global_out += operation_request(written_);
  bulk_.reset();
}

void Counters::merge(Counters& other) {
  finish_bulk();
  other.finish_bulk();
  for (std::size_t pc = 0; pc < sites_.size(); ++pc) {
    Site const& from = other.sites_[pc];
    Site& to = sites_[pc];
    to.global += from.global;
    to.shared += from.shared;
    to.local += from.local;
    to.bulk += from.bulk;
    to.access = std::max(to.access, from.access);  // where one of them never came, it has the least
  }
  sync += other.sync;
}

std::vector<HotLine> Counters::hot_lines(std::span<MemoryCounts const> counts) const {
  std::vector<std::size_t> order;
  for (std::size_t pc = 0; pc < counts.size(); ++pc) {
    if (counts[pc].transactions != 0) order.push_back(pc);
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    MemoryCounts const &x = counts[a], &y = counts[b];
    return x.excess() != y.excess() ? x.excess() > y.excess() : x.transactions > y.transactions;
  });
  order.resize(std::min(order.size(), Statistics::kHotLines));
  Module::Impl const& module = launch_.module->impl();
  std::vector<HotLine> out;
  for (std::size_t const pc : order) {
    InstrText const& text = *launch_.function->code[pc].info;
    HotLine line{.line = text.line, .text = text.text, .source = {}, .counts = counts[pc]};
    if (auto const file = module.files.find(text.source_file);
        text.source_file != 0 && file != module.files.end())
      line.source = fmt::format("{}:{}", file->second, text.source_line);
    out.push_back(std::move(line));
  }
  return out;
}

void Counters::add_to(Statistics& out) const {
  Counters all = *this;
  all.finish_bulk();
  out.detailed = true;
  out.sync = all.sync;
  std::vector<MemoryCounts> global, shared;
  for (std::size_t pc = 0; pc < all.sites_.size(); ++pc) {
    Site const& site = all.sites_[pc];
    CopyKind const copy = copy_kind_of(launch_.function->code[pc]);
    (copy == CopyKind::kPlain ? out.global.copy : column(out.global, site.access)) += site.global;
    (copy == CopyKind::kPlain ? out.shared.copy : column(out.shared, site.access)) += site.shared;
    column(out.local, site.access) += site.local;
    (copy == CopyKind::kTensor ? out.tensor : out.bulk) += site.bulk;
    global.push_back(site.global);
    global.back() += site.bulk.global_in;
    global.back() += site.bulk.global_out;
    shared.push_back(site.shared);
  }
  out.global_lines = hot_lines(global);
  out.shared_lines = hot_lines(shared);
}

}  // namespace deepwell::emu
