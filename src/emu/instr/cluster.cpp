// Instruction family: clusters: mapa, getctarank, barrier.cluster, st.async, red.async, clusterlaunchcontrol.
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "emu/instr/async.hpp"

namespace deepwell::emu {
namespace {

std::uint32_t rank_of(Cta const& cta, std::uint32_t shared) {
  return shared < kClusterStride ? cta.rank : shared / kClusterStride - 1;
}

// aux[0]: space of the address operand.
void bind_address_space(Instr& instr) { instr.aux[0] = static_cast<std::uint32_t>(shared_space_of(instr)); }

// Operands: destination, shared address (a register, or a variable with an offset), rank.
Outcome exec_mapa(Warp& warp, Instr const& instr, Mask mask) {
  Space const space = static_cast<Space>(instr.aux[0]);
  Value const& address = instr.v(1);
  warp.require_defined(instr, instr.v(2), mask, "the rank");
  std::size_t const ctas = warp.cta->cluster->ctas.size();
  for_lanes(mask, [&](int lane) {
    std::uint64_t const rank = warp.lane_of(instr.v(2), lane);
    if (rank >= ctas) {
      fail(warp, instr, lane, fmt::format("rank {} does not exist: the cluster has {} CTAs", rank, ctas));
    }
    std::uint64_t const from =
        warp.lane_of(address, lane) + static_cast<std::uint64_t>(instr.ops[1].displacement);
    std::uint32_t const shared =
        reported(warp, instr, lane, [&] { return shared_address(space, from, "the operand of mapa"); });
    std::uint64_t const mapped = (rank + 1) * kClusterStride + shared % kClusterStride;
    warp.set_lane(instr.v(0), lane, space == Space::kGeneric ? mapped + kSharedWindow : mapped);
  });
  warp.propagate(instr, mask);
  return Outcome::kNext;
}

Outcome exec_getctarank(Warp& warp, Instr const& instr, Mask mask) {
  Space const space = static_cast<Space>(instr.aux[0]);
  for_lanes(mask, [&](int lane) {
    std::uint64_t const from =
        warp.lane_of(instr.v(1), lane) + static_cast<std::uint64_t>(instr.ops[1].displacement);
    std::uint32_t const shared =
        reported(warp, instr, lane, [&] { return shared_address(space, from, "the operand of getctarank"); });
    warp.set_lane(instr.v(0), lane, rank_of(*warp.cta, shared));
  });
  warp.propagate(instr, mask);
  return Outcome::kNext;
}

/// The cluster's one hardware barrier.
struct ClusterBarrier {
  std::uint64_t generation = 1;
  std::unordered_map<Warp*, Mask> arrived;  // of the current generation
  std::unordered_map<Warp*, std::array<std::uint64_t, kLanes>>
      waiting_for;  // by lane: generation it arrived in, 0: none

  /// Ends the generation when all threads of the cluster that have not exited have arrived.
  void advance(Cluster& cluster) {
    for (auto const& cta : cluster.ctas) {
      for (auto const& warp : cta->warps) {
        auto const found = arrived.find(warp.get());
        if ((warp->live & ~(found == arrived.end() ? 0 : found->second)) != 0) return;
      }
    }
    arrived.clear();
    ++generation;
    if (cluster.launch->race != nullptr) cluster.launch->race->complete(*cluster.team, race::kClusterBarrier);
    ++cluster.progress;
  }
};

Outcome exec_cluster_arrive(Warp& warp, Instr const& instr, Mask mask) {
  auto& barrier = warp.cta->cluster->state.get<ClusterBarrier>();
  auto& mine = barrier.waiting_for[&warp];
  for_lanes(mask, [&](int lane) {
    if (mine[static_cast<std::size_t>(lane)] != 0) {
      fail(warp, instr, lane, "barrier.cluster.arrive a second time without barrier.cluster.wait between");
    }
    mine[static_cast<std::size_t>(lane)] = barrier.generation;
  });
  barrier.arrived[&warp] |= mask;
  if (observed(warp))
    warp.launch->race->arrive(actor_of(warp, instr, mask), race::kClusterBarrier, !instr.has(".relaxed"));
  ++warp.cta->cluster->progress;
  barrier.advance(*warp.cta->cluster);
  return Outcome::kNext;
}

Outcome exec_cluster_wait(Warp& warp, Instr const& instr, Mask mask) {
  auto& barrier = warp.cta->cluster->state.get<ClusterBarrier>();
  auto& mine = barrier.waiting_for[&warp];
  barrier.advance(*warp.cta->cluster);
  bool done = true;
  for_lanes(mask, [&](int lane) {
    std::uint64_t const generation = mine[static_cast<std::size_t>(lane)];
    if (generation == 0)
      fail(warp, instr, lane, "barrier.cluster.wait without barrier.cluster.arrive before it");
    done = done && barrier.generation > generation;
  });
  if (!done) {
    std::uint64_t arrived = 0;
    for (auto const& entry : barrier.arrived)
      arrived += static_cast<std::uint64_t>(std::popcount(entry.second));
    warp.wait_for("the cluster barrier ({0} threads have arrived)", arrived);
    return Outcome::kBlocked;
  }
  std::uint64_t const generation = mine[static_cast<std::size_t>(std::countr_zero(mask))];
  for_lanes(mask, [&](int lane) { mine[static_cast<std::size_t>(lane)] = 0; });
  if (observed(warp))
    warp.launch->race->acquire(actor_of(warp, instr, mask), race::kClusterBarrier, generation - 1);
  return Outcome::kNext;
}

template <Exec kExec>
Exec bind_cluster_barrier(Instr& instr, BindContext const&) {
  if (instr.has(".aligned")) instr.rendezvous = Rendezvous::kAligned;
  return kExec;
}

Exec bind_mapa(Instr& instr, BindContext const&) {
  bind_address_space(instr);
  return exec_mapa;
}
Exec bind_getctarank(Instr& instr, BindContext const&) {
  bind_address_space(instr);
  return exec_getctarank;
}

// aux[0] space, aux[1] bytes of one element, aux[2] reduction, aux[3] element type.
Outcome exec_store_async(Warp& warp, Instr const& instr, Mask mask) {
  Space const space = static_cast<Space>(instr.aux[0]);
  std::size_t const each = instr.aux[1];
  std::vector<Value> values = instr.ops[1].elements;
  if (instr.ops[1].kind != Operand::Kind::kVector) values = {instr.ops[1].value};
  std::uint64_t to[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[2], mask, barrier);
  Cta* const cta = warp.cta;
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::uint32_t const at = shared_address(space, to[lane], "the destination");
      std::uint32_t const mbar = shared_address(space, barrier[lane], "the mbarrier");
      DW_REQUIRE(at % (each * values.size()) == 0, kCopy, "the destination {:#x} is misaligned", at);
      std::vector<std::byte> data(each * values.size());
      std::vector<std::uint8_t> valid(data.size(), 1);
      for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint64_t const bits = warp.lane_of(values[i], lane);
        for (std::size_t b = 0; b < each; ++b) data[i * each + b] = static_cast<std::byte>(bits >> (8 * b));
        if (warp.check && (warp.poison_of(values[i]) >> lane & 1))
          std::fill_n(valid.begin() + i * each, each, std::uint8_t{0});
      }
      bool const reduces = instr.aux[2] != 0;
      auto const op = static_cast<ReduceOp>(instr.aux[2] - reduces);
      auto const type = static_cast<TensorMapType>(instr.aux[3]);
      ObservedOperation const observed(warp, instr, Mask{1} << lane, false);
      observed.shared(
          lane, *cta, at, data.size(),
          reduces ? race::kRead | race::kWrite | race::kStrong | race::scope_bits(race::Scope::kCluster)
                  : race::kWrite);
      observed.signals(lane, *cta, mbar);
      post_copy(warp, instr, lane, "st.async or red.async", [=] {
        CtaBulkMemory memory(*cta);
        std::vector<std::byte> now = data;
        if (reduces) {
          std::vector<std::uint8_t> there(data.size());
          memory.read_shared(at, now, there);
          reduce_elements(op, type, now, data);
        }
        memory.write_shared(at, now, valid);
        observed.done_in_phase(*cta, mbar);
        mbarrier_change(*cta, mbar, [&](Mbarrier& object) { object.complete_tx(data.size()); });
      });
    });
  });
  return Outcome::kNext;
}

Exec bind_store_async(Instr& instr, BindContext const&) {
  bind_address_space(instr);
  std::string const& type = instr.info->parts.back();
  instr.aux[1] = type.ends_with("64") ? 8 : 4;
  return exec_store_async;
}

Exec bind_store_async_global(Instr& instr, BindContext const&) {
  throw unsupported(instr, "asynchronous stores to global memory are not modelled");
}

Exec bind_reduce_async(Instr& instr, BindContext const&) {
  bind_address_space(instr);
  std::string const& type = instr.info->parts.back();
  instr.aux[1] = type.ends_with("64") ? 8 : 4;
  static constexpr char const* kOps[] = {".add", ".min", ".max", ".inc", ".dec", ".and", ".or", ".xor"};
  for (std::uint32_t i = 0; i < std::size(kOps); ++i) {
    if (instr.has(kOps[i])) instr.aux[2] = i + 1;
  }
  auto const element = type == ".s32"      ? TensorMapType::kS32
                       : type == ".s64"    ? TensorMapType::kS64
                       : instr.aux[1] == 8 ? TensorMapType::kU64
                                           : TensorMapType::kU32;
  instr.aux[3] = static_cast<std::uint32_t>(element);
  check_reduce(static_cast<ReduceOp>(instr.aux[2] - 1), element);
  return exec_store_async;
}

/// A response: coordinates of the first CTA of the cluster that will not start, and a tag; zeros where the request failed.
constexpr std::uint64_t kCanceledTag = 0x434c4321ull << 32;  // above z
struct CancelState {
  bool refused = false;  // once refused, a cluster's requests stay so
};

std::array<std::byte, 16> cancel_one(Cta& cta) {
  Cluster& cluster = *cta.cluster;
  auto& state = cluster.state.get<CancelState>();
  std::uint64_t words[2] = {};
  // The seed refuses some requests, as a chip does where CTAs start meanwhile.
  bool const willing = cta.launch->options.seed == 0 || cluster.random.below(4) != 0;
  std::optional<std::array<std::uint32_t, 3>> first;
  if (!state.refused && willing) first = cta.launch->pending->take();
  state.refused = !first;
  if (first) {
    words[0] = (*first)[0] | std::uint64_t{(*first)[1]} << 32;
    words[1] = (*first)[2] | kCanceledTag;
  }
  std::array<std::byte, 16> out;
  std::memcpy(out.data(), words, 16);
  return out;
}

// Takes a cluster of the launch that has not started, if there is one: its work is then the caller's.
// Operands: response address, mbarrier address.
Outcome exec_try_cancel(Warp& warp, Instr const& instr, Mask mask) {
  Space const space = static_cast<Space>(instr.aux[0]);
  std::uint64_t to[kLanes], barrier[kLanes];
  addresses_of(warp, instr, instr.ops[0], mask, to);
  addresses_of(warp, instr, instr.ops[1], mask, barrier);
  Cta* const cta = warp.cta;
  bool const multicast = instr.aux[1] != 0;
  for_lanes(mask, [&](int lane) {
    reported(warp, instr, lane, [&] {
      std::uint32_t const at = shared_address(space, to[lane], "the response");
      std::uint32_t const mbar = shared_address(space, barrier[lane], "the mbarrier");
      DW_REQUIRE(at % 16 == 0, kCopy, "the response address {:#x} is not a multiple of 16", at);
      std::uint32_t const first = multicast ? 0 : rank_of(*cta, at);
      std::uint32_t const last =
          multicast ? static_cast<std::uint32_t>(cta->cluster->ctas.size()) : first + 1;
      std::vector<ObservedOperation> observed;
      for (std::uint32_t rank = first; rank < last; ++rank) {
        std::uint32_t const window = (rank + 1) * kClusterStride;
        ObservedOperation const& one = observed.emplace_back(warp, instr, Mask{1} << lane, true);
        one.shared(lane, *cta, window + at % kClusterStride, 16, race::kWrite);
        one.signals(lane, *cta, window + mbar % kClusterStride);
      }
      post_copy(warp, instr, lane, "clusterlaunchcontrol.try_cancel", [=] {
        CtaBulkMemory memory(*cta);
        std::array<std::byte, 16> const response = cancel_one(*cta);
        std::array<std::uint8_t, 16> valid;
        valid.fill(1);
        for (std::uint32_t rank = first; rank < last; ++rank) {
          std::uint32_t const window = (rank + 1) * kClusterStride;
          memory.write_shared(window + at % kClusterStride, response, valid);
          observed[rank - first].done_in_phase(*cta, window + mbar % kClusterStride);
          mbarrier_change(*cta, window + mbar % kClusterStride,
                          [](Mbarrier& object) { object.complete_tx(16); });
        }
      });
    });
  });
  return Outcome::kNext;
}

Exec bind_try_cancel(Instr& instr, BindContext const&) {
  bind_address_space(instr);
  instr.aux[1] = instr.has(".multicast::cluster::all");
  return exec_try_cancel;
}

bool is_canceled(Warp& warp, Instr const& instr, int lane, Bits128 const& response) {
  if ((response.lo | response.hi) == 0) return false;
  if ((response.hi & ~std::uint64_t{0xffffffff}) != kCanceledTag)
    fail(warp, instr, lane, "the response was not written by clusterlaunchcontrol.try_cancel");
  return true;
}

Outcome exec_is_canceled(Warp& warp, Instr const& instr, Mask mask) {
  warp.require_defined(instr, instr.v(1), mask, "the response");
  Mask canceled = 0;
  for_lanes(mask, [&](int lane) {
    if (is_canceled(warp, instr, lane, warp.s128(instr.v(1))[lane])) canceled |= Mask{1} << lane;
  });
  warp.set_predicate(instr.v(0), mask, canceled);
  if (warp.check) warp.set_poison(instr.v(0), mask, 0);
  return Outcome::kNext;
}

// A response that is not a success has no coordinates: poison. The fourth element of a vector has no meaning.
Outcome exec_first_ctaid(Warp& warp, Instr const& instr, Mask mask) {
  warp.require_defined(instr, instr.v(1), mask, "the response");
  std::vector<Value> to = instr.ops[0].elements;
  std::size_t first = 0;
  if (instr.ops[0].kind != Operand::Kind::kVector) {
    to = {instr.v(0)};
    first = instr.has(".get_first_ctaid::y") ? 1 : instr.has(".get_first_ctaid::z") ? 2 : 0;
  }
  for (std::size_t i = 0; i < to.size(); ++i) {
    Mask unknown = 0;
    for_lanes(mask, [&](int lane) {
      Bits128 const response = warp.s128(instr.v(1))[lane];
      std::uint64_t const words[] = {response.lo & 0xffffffff, response.lo >> 32, response.hi & 0xffffffff,
                                     0};
      bool const known = is_canceled(warp, instr, lane, response) && first + i < 3;
      if (!known) unknown |= Mask{1} << lane;
      warp.set_lane(to[i], lane, known ? words[first + i] : 0);
    });
    if (warp.check) warp.set_poison(to[i], mask, unknown);
  }
  return Outcome::kNext;
}

constexpr std::string_view kMapa = "9.7.9 mapa", kRank = "9.7.9 getctarank",
                           kBarrier = "9.7.13 barrier.cluster", kStAsync = "9.7.9 st.async",
                           kRedAsync = "9.7.13 red.async", kCancel = "9.7.13 clusterlaunchcontrol.try_cancel",
                           kQuery = "9.7.13 clusterlaunchcontrol.query_cancel";

// clang-format off
constexpr Row kRows[] = {
    {.pattern = "mapa [.shared::cluster] (.u32|.u64)", .operands = "dT, x, si32", .ptx = 78, .needs = Needs::kSm90, .section = kMapa, .bind = bind_mapa},
    {.pattern = "getctarank [.shared::cluster] (.u32|.u64)", .operands = "di32, x", .ptx = 78, .needs = Needs::kSm90, .section = kRank, .bind = bind_getctarank},
    {.pattern = "barrier .cluster .arrive [.release|.relaxed] [.aligned]", .operands = "", .ptx = 78, .needs = Needs::kSm90, .section = kBarrier, .bind = bind_cluster_barrier<exec_cluster_arrive>},
    {.pattern = "barrier .cluster .wait [.acquire] [.aligned]", .operands = "", .ptx = 78, .needs = Needs::kSm90, .section = kBarrier, .bind = bind_cluster_barrier<exec_cluster_wait>},
    {.pattern = "st .async [.weak] [.shared|.shared::cta|.shared::cluster] .mbarrier::complete_tx::bytes [.v2|.v4] (.b32|.u32|.s32|.f32)", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kStAsync, .bind = bind_store_async},
    {.pattern = "st .async [.weak] [.shared|.shared::cta|.shared::cluster] .mbarrier::complete_tx::bytes [.v2] (.b64|.u64|.s64|.f64)", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kStAsync, .bind = bind_store_async},
    {.pattern = "st .async .cluster [.shared::cluster] .mbarrier::complete_tx::bytes [.v2|.v4] (.b32|.u32|.s32|.f32)", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kStAsync, .bind = bind_store_async},
    {.pattern = "st .async .cluster [.shared::cluster] .mbarrier::complete_tx::bytes [.v2] (.b64|.u64|.s64|.f64)", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kStAsync, .bind = bind_store_async},
    {.pattern = "st .async [.mmio] .release (.gpu|.sys) [.global] (.b8|.b16|.b32|.b64|.u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64|.f32|.f64)", .operands = "a, x", .ptx = 87, .needs = Needs::kSm100, .section = kStAsync, .bind = bind_store_async_global, .note = "refused by name"},
    {.pattern = "red .async .relaxed .cluster [.shared::cluster] .mbarrier::complete_tx::bytes .add (.u32|.s32|.u64|.s64)", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kRedAsync, .bind = bind_reduce_async},
    {.pattern = "red .async .relaxed .cluster [.shared::cluster] .mbarrier::complete_tx::bytes (.min|.max) (.u32|.s32)", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kRedAsync, .bind = bind_reduce_async},
    {.pattern = "red .async .relaxed .cluster [.shared::cluster] .mbarrier::complete_tx::bytes (.inc|.dec) .u32", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kRedAsync, .bind = bind_reduce_async},
    {.pattern = "red .async .relaxed .cluster [.shared::cluster] .mbarrier::complete_tx::bytes (.and|.or|.xor) .b32", .operands = "a, x, a", .ptx = 81, .needs = Needs::kSm90, .section = kRedAsync, .bind = bind_reduce_async},
    {.pattern = "clusterlaunchcontrol .try_cancel .async [.shared::cta] .mbarrier::complete_tx::bytes .b128", .operands = "a, a", .ptx = 86, .needs = Needs::kSm100, .section = kCancel, .bind = bind_try_cancel, .note = "succeeds where a cluster of the launch has not started; seeds but 0 refuse some requests"},
    {.pattern = "clusterlaunchcontrol .try_cancel .async [.shared::cta] .mbarrier::complete_tx::bytes .multicast::cluster::all .b128", .operands = "a, a", .ptx = 86, .needs = Needs::kSm100aPlus, .section = kCancel, .bind = bind_try_cancel, .note = "succeeds where a cluster of the launch has not started; seeds but 0 refuse some requests"},
    {.pattern = "clusterlaunchcontrol .query_cancel .is_canceled .pred .b128", .operands = "d1, s128", .ptx = 86, .needs = Needs::kSm100, .section = kQuery, .exec = exec_is_canceled},
    {.pattern = "clusterlaunchcontrol .query_cancel (.get_first_ctaid::x|.get_first_ctaid::y|.get_first_ctaid::z) .b32 .b128", .operands = "d32, s128", .ptx = 86, .needs = Needs::kSm100, .section = kQuery, .exec = exec_first_ctaid, .note = "undefined (poison) after a request that failed"},
    {.pattern = "clusterlaunchcontrol .query_cancel .get_first_ctaid .v4 .b32 .b128", .operands = "x, s128", .ptx = 86, .needs = Needs::kSm100, .section = kQuery, .exec = exec_first_ctaid, .note = "undefined (poison) after a request that failed"},
};
// clang-format on

}  // namespace

std::span<Row const> cluster_rows() { return kRows; }

}  // namespace deepwell::emu
