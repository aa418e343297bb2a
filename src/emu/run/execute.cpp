// Runs clusters: picks warps and fragments, executes instructions, completes asynchronous work, finds deadlocks.
#include "emu/run/execute.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "emu/instr/table.hpp"
#include "emu/run/calls.hpp"
#include "emu/run/observe.hpp"

namespace deepwell::emu {
namespace {

constexpr std::uint32_t kBackwardLimit =
    256;  // branches back before a fragment gives way to others of its warp
constexpr std::uint64_t kTimeoutRounds =
    4096;  // waits that time out in a row, without progress, before it is a deadlock

bool is_warp_barrier(Instr const& instr) {
  return instr.info->parts.size() > 1 && instr.info->parts[0] == "bar" && instr.info->parts[1] == ".warp";
}

/// Lanes that must be at the instruction before `mask` of the fragment may execute it.
Mask required_lanes(Warp& warp, Instr const& instr, Mask mask) {
  if (instr.rendezvous == Rendezvous::kAligned) return warp.live;
  Value const& members = instr.v(instr.row->member_operand);
  warp.require_defined(instr, members, mask, "the member mask");
  std::uint32_t const* const each = warp.s32(members);
  Mask required = 0;
  for_lanes(mask, [&](int lane) {
    if (((each[lane] >> lane) & 1) == 0) {
      fail(warp, instr, lane,
           fmt::format("the lane executes it but is not in its own member mask {:#010x}", each[lane]));
    }
    required |= each[lane];
  });
  return required & warp.live;
}

Mask guarded(Warp& warp, Instr const& instr, Mask lanes) {
  if (!instr.guard.exists()) return lanes;
  warp.require_defined(instr, instr.guard, lanes, "the guard predicate");
  return lanes & warp.predicate(instr.guard);
}

bool may_pass(Warp& warp, Fragment const& fragment, Instr const& instr) {
  if (fragment.released) return true;
  Mask const mask = guarded(warp, instr, fragment.lanes);
  return mask == 0 || (required_lanes(warp, instr, mask) & ~fragment.lanes) == 0;
}

/// Merges fragments that stand at the same instruction; `current` follows its lanes.
void merge(Warp& warp) {
  auto& list = warp.fragments;
  for (std::size_t i = 0; i < list.size(); ++i) {
    for (std::size_t j = i + 1; j < list.size();) {
      if (list[i].pc == list[j].pc && list[i].token == 0 && list[j].token == 0) {
        list[i].lanes |= list[j].lanes;
        list[i].state = Fragment::State::kReady;
        list[i].timed_out = list[i].tried = list[i].released = false;
        list[i].backward = std::min(list[i].backward, list[j].backward);
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(j));
      } else {
        ++j;
      }
    }
  }
}

/// Chooses the fragment to run: the lowest program counter that can go on, spinning ones last. False: none can.
bool pick(Warp& warp) {
  auto& list = warp.fragments;
  Instr const* const code = warp.function->code.data();
  for (int round = 0; round < 2; ++round) {
    int best = -1;
    bool tired = false;
    for (std::size_t i = 0; i < list.size(); ++i) {
      Fragment& fragment = list[i];
      switch (fragment.state) {
        case Fragment::State::kReady: break;
        case Fragment::State::kWaiting:
          if (!may_pass(warp, fragment, code[fragment.pc])) continue;
          break;
        case Fragment::State::kBlocked:
        case Fragment::State::kSuspended:
          if (fragment.tried) continue;
          break;
      }
      if (fragment.backward >= kBackwardLimit) {
        tired = true;
        continue;
      }
      if (best < 0 || fragment.pc < list[static_cast<std::size_t>(best)].pc) best = static_cast<int>(i);
    }
    if (best >= 0) {
      warp.current = best;
      return true;
    }
    if (!tired) return false;
    for (Fragment& fragment : list) fragment.backward = 0;
  }
  return false;
}

std::vector<OperandRule> const& operand_rules(Instr const& instr) {
  static std::vector<OperandRule> const none;
  auto const* const rows = Table::instance().find(instr.info->parts[0]);
  if (rows == nullptr) return none;
  for (CompiledRow const& row : *rows) {
    if (row.row == instr.row) return row.operands;
  }
  return none;
}

void add_result(Warp const& warp, Value const& value, TraceStep& step) {
  if (!value.is_register()) return;
  TraceStep::Result result{.name = warp.function->register_names[value.number],
                           .bits = value.bits,
                           .values = {},
                           .undefined = warp.check ? warp.poison_of(value) & step.lanes : 0};
  for (int lane = 0; lane < kLanes; ++lane) {
    auto const l = static_cast<std::size_t>(lane);
    result.values[l] = value.bits == 128 ? warp.s128(value)[lane].lo : warp.lane_of(value, lane);
  }
  step.results.push_back(std::move(result));
}

/// Options::trace for an instruction that `mask` has executed.
void trace(Warp const& warp, Instr const& instr, Mask mask) {
  TraceStep step{.launch = warp.launch->index,
                 .cta = warp.cta->id,
                 .warp = warp.id,
                 .lanes = mask,
                 .line = instr.info->line,
                 .instruction = instr.info->text,
                 .results = {}};
  std::vector<OperandRule> const& rules = operand_rules(instr);
  bool const is_mov = instr.info->parts[0] == "mov";
  for (std::size_t k = 0; k < instr.ops.size() && k < rules.size(); ++k) {
    if (rules[k].role != 'd' && !(k == 0 && is_mov)) continue;
    add_result(warp, instr.ops[k].value, step);
    add_result(warp, instr.ops[k].second, step);
    for (Value const& element : instr.ops[k].elements) add_result(warp, element, step);
  }
  warp.launch->options.trace(step);
}

/// Executes the current fragment until it blocks, the warp diverges or `budget` is spent. Returns instructions done.
std::uint64_t run_fragment(Warp& warp, std::uint64_t budget, std::uint64_t* counts, bool& yielded) {
  Instr const* const code = warp.function->code.data();
  std::uint64_t done = 0;
  bool const& hurry = warp.cta->cluster->hurry;
  bool const traced = static_cast<bool>(warp.launch->options.trace);
  while (done < budget && !hurry) {
    Fragment* fragment = &warp.fragments[static_cast<std::size_t>(warp.current)];
    std::uint32_t const pc = fragment->pc;
    Instr const& instr = code[pc];
    Mask const mask = guarded(warp, instr, fragment->lanes);
    Outcome outcome = Outcome::kNext;
    if (mask != 0) {
      if (instr.rendezvous != Rendezvous::kNone && fragment->token == 0 && !fragment->released &&
          (required_lanes(warp, instr, mask) & ~fragment->lanes) != 0) {
        fragment->state = Fragment::State::kWaiting;
        return done;
      }
      outcome = instr.exec(warp, instr, mask);
      if (traced && outcome != Outcome::kBlocked && outcome != Outcome::kSuspended) trace(warp, instr, mask);
    }
    switch (outcome) {
      case Outcome::kNext:
        ++counts[pc];
        ++done;
        fragment->pc = pc + 1;
        fragment->state = Fragment::State::kReady;
        fragment->token = 0;
        fragment->timed_out = fragment->released = false;
        break;
      case Outcome::kYield:
        ++warp.cta->cluster->polls;
        ++counts[pc];
        fragment->pc = pc + 1;
        fragment->state = Fragment::State::kReady;
        fragment->token = 0;
        fragment->timed_out = fragment->released = false;
        yielded = true;
        if (warp.fragments.size() > 1) merge(warp);
        return done + 1;
      case Outcome::kBlocked:
      case Outcome::kSuspended:
        fragment->state =
            outcome == Outcome::kBlocked ? Fragment::State::kBlocked : Fragment::State::kSuspended;
        fragment->tried = true;
        ++warp.cta->cluster->polls;
        return done;
      case Outcome::kControl:
        ++counts[pc];
        ++done;
        if (warp.live == 0) return done;
        if (warp.fragments.size() == 1) warp.current = 0;
        break;
    }
    if (warp.fragments.size() > 1) {
      merge(warp);
      return done;
    }
  }
  return done;
}

/// When every lane of a warp waits for other lanes: bar.warp.sync lets go of lanes that wait at another one or will not
/// come (hardware converges by mask, and code that relies on it works). Returns whether something was released.
bool release_warp_barrier(Warp& warp) {
  Fragment* lowest = nullptr;
  Mask together = 0;
  for (Fragment const& fragment : warp.fragments) {
    if (fragment.state == Fragment::State::kWaiting && is_warp_barrier(warp.function->code[fragment.pc]))
      together |= fragment.lanes;
  }
  bool released = false;
  for (Fragment& fragment : warp.fragments) {
    Instr const& instr = warp.function->code[fragment.pc];
    if (fragment.state != Fragment::State::kWaiting || !is_warp_barrier(instr)) continue;
    Mask const mask = guarded(warp, instr, fragment.lanes);
    if ((required_lanes(warp, instr, mask) & ~together) == 0) {
      fragment.released = released = true;
    }
    if (lowest == nullptr || fragment.pc < lowest->pc) lowest = &fragment;
  }
  if (!released && lowest != nullptr) lowest->released = released = true;
  return released;
}

std::uint64_t run_slice(Warp& warp, std::uint64_t budget, std::uint64_t* counts) {
  for (Fragment& fragment : warp.fragments) fragment.tried = false;
  std::uint64_t done = 0;
  bool yielded = false;
  while (done < budget && warp.live != 0 && !yielded && !warp.cta->cluster->hurry) {
    if (warp.fragments.size() == 1 && warp.fragments[0].state == Fragment::State::kReady) {
      warp.current = 0;
    } else if (!pick(warp)) {
      bool const all_wait =
          std::all_of(warp.fragments.begin(), warp.fragments.end(),
                      [](Fragment const& fragment) { return fragment.state == Fragment::State::kWaiting; });
      if (all_wait && release_warp_barrier(warp)) continue;
      break;
    }
    done += run_fragment(warp, budget - done, counts, yielded);
  }
  return done;
}

std::string describe_reason(WaitReason const& reason) {
  return fmt::format(fmt::runtime(reason.format), reason.a, reason.b, reason.c);
}

std::string describe_fragment(Warp& warp, Fragment const& fragment) {
  Instr const& instr = warp.function->code[fragment.pc];
  std::string what;
  switch (fragment.state) {
    case Fragment::State::kReady:
      what = "runs";
      if (*fragment.reason.format != 0) what += "; it last waited for " + describe_reason(fragment.reason);
      break;
    case Fragment::State::kWaiting: {
      Mask const mask = guarded(warp, instr, fragment.lanes);
      Mask const missing = mask == 0 ? 0 : required_lanes(warp, instr, mask) & ~fragment.lanes;
      what = fmt::format("waits for lanes {:#010x} of its warp", missing);
      break;
    }
    case Fragment::State::kBlocked:
    case Fragment::State::kSuspended: what = "waits for " + describe_reason(fragment.reason); break;
  }
  return fmt::format("CTA ({},{},{}) warp {} lanes {:#010x} at line {} `{}` {}", warp.cta->id[0],
                     warp.cta->id[1], warp.cta->id[2], warp.id, fragment.lanes, instr.info->line,
                     instr.info->text, what);
}

[[noreturn]] void report_deadlock(Cluster& cluster, std::string_view kind) {
  throw Report(Finding::kDeadlock,
               fmt::format("kernel {}: {}\n{}", cluster.launch->kernel, kind, describe_waits(cluster)),
               std::string(cluster.launch->kernel));
}

void run_completion(Cluster& cluster) {
  std::pop_heap(cluster.queue.begin(), cluster.queue.end(), Cluster::Later{});
  Completion completion = std::move(cluster.queue.back());
  cluster.queue.pop_back();
  ++cluster.progress;
  completion.run();
}

/// What a CTA may not leave behind.
void check_end(Cta& cta) {
  for (auto const& check : cta.at_end) check(cta);
  Launch const& launch = *cta.launch;
  if (!launch.options.check) return;
  check_unwaited_loads(cta);
  if (launch.dependency == nullptr || !launch.dependency->exists() || cta.waited_for_grids) return;
  throw Report(
      Finding::kDependency,
      fmt::format(
          "kernel {}, CTA ({},{},{}): the CTA ended without griddepcontrol.wait, in a launch that may "
          "overlap the one before it: it may be complete before that one is, and what follows "
          "waits only for it",
          launch.kernel, cta.id[0], cta.id[1], cta.id[2]),
      std::string(launch.kernel));
}

void fill_special(Warp& warp, SpecialUse const& use) {
  Cta const& cta = *warp.cta;
  Launch const& launch = *warp.launch;
  auto const& config = launch.config;
  for (int lane = 0; lane < kLanes; ++lane) {
    auto const tid = warp.tid(lane);
    std::uint64_t value = 0;
    auto const l = static_cast<unsigned>(lane);
    auto const cluster_of = [&](int d) {
      return cta.id[static_cast<std::size_t>(d)] / config.cluster[static_cast<std::size_t>(d)];
    };
    auto const in_cluster = [&](int d) {
      return cta.id[static_cast<std::size_t>(d)] % config.cluster[static_cast<std::size_t>(d)];
    };
    switch (use.special) {
      case Special::kTidX: value = tid[0]; break;
      case Special::kTidY: value = tid[1]; break;
      case Special::kTidZ: value = tid[2]; break;
      case Special::kNtidX: value = config.block[0]; break;
      case Special::kNtidY: value = config.block[1]; break;
      case Special::kNtidZ: value = config.block[2]; break;
      case Special::kCtaidX: value = cta.id[0]; break;
      case Special::kCtaidY: value = cta.id[1]; break;
      case Special::kCtaidZ: value = cta.id[2]; break;
      case Special::kNctaidX: value = config.grid[0]; break;
      case Special::kNctaidY: value = config.grid[1]; break;
      case Special::kNctaidZ: value = config.grid[2]; break;
      case Special::kLaneid: value = l; break;
      case Special::kWarpid: value = static_cast<std::uint64_t>(warp.id); break;
      case Special::kNwarpid: value = cta.warps.size(); break;
      case Special::kSmid: value = cta.linear_id % static_cast<std::uint64_t>(launch.profile.sm_count); break;
      case Special::kNsmid: value = static_cast<std::uint64_t>(launch.profile.sm_count); break;
      case Special::kGridid: value = 1; break;
      case Special::kLanemaskEq: value = 1u << l; break;
      case Special::kLanemaskLt: value = (1u << l) - 1; break;
      case Special::kLanemaskLe: value = ((1u << l) - 1) | (1u << l); break;
      case Special::kLanemaskGe: value = static_cast<std::uint32_t>(~((1u << l) - 1)); break;
      case Special::kLanemaskGt: value = static_cast<std::uint32_t>(~(((1u << l) - 1) | (1u << l))); break;
      case Special::kDynamicSmem: value = config.dynamic_smem_bytes; break;
      case Special::kTotalSmem: value = launch.shared_bytes; break;
      case Special::kAggrSmem: value = launch.shared_bytes + kSharedBase; break;
      case Special::kReservedSmem0: value = 16; break;
      case Special::kReservedSmem1: value = 32; break;
      case Special::kReservedSmemBegin: value = 0; break;
      case Special::kReservedSmemEnd:
      case Special::kReservedSmemCap: value = kSharedBase; break;
      case Special::kClusteridX: value = cluster_of(0); break;
      case Special::kClusteridY: value = cluster_of(1); break;
      case Special::kClusteridZ: value = cluster_of(2); break;
      case Special::kNclusteridX: value = launch.cluster_grid[0]; break;
      case Special::kNclusteridY: value = launch.cluster_grid[1]; break;
      case Special::kNclusteridZ: value = launch.cluster_grid[2]; break;
      case Special::kClusterCtaidX: value = in_cluster(0); break;
      case Special::kClusterCtaidY: value = in_cluster(1); break;
      case Special::kClusterCtaidZ: value = in_cluster(2); break;
      case Special::kClusterNctaidX: value = config.cluster[0]; break;
      case Special::kClusterNctaidY: value = config.cluster[1]; break;
      case Special::kClusterNctaidZ: value = config.cluster[2]; break;
      case Special::kClusterCtarank: value = cta.rank; break;
      case Special::kClusterNctarank: value = cta.cluster->ctas.size(); break;
      case Special::kDynamicShared: {
        std::uint64_t const alignment = std::max(1u, launch.function->dynamic_shared_alignment);
        value =
            kSharedBase + (launch.static_shared_bytes + alignment - 1) / alignment * alignment + use.addend;
        break;
      }
      case Special::kIsExplicitCluster: value = cta.cluster->ctas.size() > 1; break;
      default: break;
    }
    warp.set_lane(use.value, lane, value);
  }
}

void start_warp(Warp& warp, Cta& cta, int id) {
  Launch const& launch = *cta.launch;
  warp.cta = &cta;
  warp.launch = &launch;
  warp.function = launch.function;
  warp.id = id;
  warp.check = launch.options.check;
  std::uint32_t const first = static_cast<std::uint32_t>(id) * kLanes;
  std::uint32_t const lanes = std::min<std::uint32_t>(kLanes, launch.block_threads - first);
  warp.live = lanes == kLanes ? kFullMask : (Mask{1} << lanes) - 1;
  Function const& function = *launch.function;
  std::size_t const poison_bytes = function.register_count * sizeof(Mask);
  warp.storage.assign(function.register_bytes + 64 + poison_bytes + 64, std::byte{0});
  auto const start = reinterpret_cast<std::uintptr_t>(warp.storage.data());
  std::size_t const shift = (64 - start % 64) % 64;
  warp.base[0] = warp.storage.data() + shift;
  warp.base[1] = const_cast<std::byte*>(launch.constants.data());
  warp.poison = reinterpret_cast<Mask*>(warp.base[0] + (function.register_bytes + 63) / 64 * 64);
  if (warp.check) {
    std::fill_n(warp.poison, function.register_count, kFullMask);
    warp.poison[0] = 0;
  }
  for (SpecialUse const& use : function.specials) {
    fill_special(warp, use);
    warp.poison[use.value.index] = 0;
  }
  warp.fragments.reserve(4);
  warp.local_stride = function.local_bytes;
  warp.local = LazyArray<std::byte>(warp.local_stride * kLanes);
  if (warp.check) warp.local_shadow = LazyArray<std::uint8_t>(warp.local.size());
  Fragment whole;
  whole.lanes = warp.live;
  whole.pc = function.start;
  warp.fragments.push_back(whole);
}

}  // namespace

std::array<std::uint32_t, 3> thread_of(Launch const& launch, int warp_id, int lane) {
  auto const& block = launch.config.block;
  auto const linear = static_cast<std::uint32_t>(warp_id) * kLanes + static_cast<std::uint32_t>(lane);
  return {linear % block[0], linear / block[0] % block[1], linear / block[0] / block[1]};
}

std::array<std::uint32_t, 3> Warp::tid(int lane) const { return thread_of(*launch, id, lane); }

void Cluster::post(std::string what, std::function<void()> run, std::uint64_t typical) {
  std::uint64_t const r = random.next();
  std::uint64_t delay = 0;
  switch (policy.copies) {
    case CopyTiming::kEarly: hurry = true; break;
    case CopyTiming::kLate: delay = 64 * typical + (r >> 8) % (256 * typical + 1); break;
    case CopyTiming::kMixed: {
      std::uint64_t const span = (r & 7) == 0 ? typical * 16 : typical * 2;
      delay = (r >> 8) % (span + 1);
      break;
    }
  }
  Completion completion{clock + delay, next_sequence++, std::move(run), std::move(what)};
  queue.push_back(std::move(completion));
  std::push_heap(queue.begin(), queue.end(), Later{});
}

Cluster::Cluster() = default;
Cluster::~Cluster() = default;

std::array<std::uint32_t, 3> first_cta_of(Launch const& launch, std::uint64_t number) {
  auto const& grid = launch.cluster_grid;
  auto const& shape = launch.config.cluster;
  return {static_cast<std::uint32_t>(number % grid[0] * shape[0]),
          static_cast<std::uint32_t>(number / grid[0] % grid[1] * shape[1]),
          static_cast<std::uint32_t>(number / grid[0] / grid[1] * shape[2])};
}

std::unique_ptr<Cluster> make_cluster(Launch const& launch, std::uint64_t number) {
  auto cluster = std::make_unique<Cluster>();
  cluster->launch = &launch;
  cluster->random = Random(launch.options.seed * 0x9e3779b97f4a7c15u + number);
  auto const& shape = launch.config.cluster;
  std::array<std::uint32_t, 3> const first = first_cta_of(launch, number);
  for (std::uint32_t z = 0; z < shape[2]; ++z) {
    for (std::uint32_t y = 0; y < shape[1]; ++y) {
      for (std::uint32_t x = 0; x < shape[0]; ++x) {
        auto cta = std::make_unique<Cta>();
        cta->launch = &launch;
        cta->cluster = cluster.get();
        cta->id = {first[0] + x, first[1] + y, first[2] + z};
        cta->rank = static_cast<std::uint32_t>(cluster->ctas.size());
        auto const& grid = launch.config.grid;
        cta->linear_id =
            cta->id[0] + std::uint64_t{grid[0]} * (cta->id[1] + std::uint64_t{grid[1]} * cta->id[2]);
        cta->shared.resize(launch.shared_bytes);
        if (launch.options.check) cta->shared_shadow.resize(launch.shared_bytes);
        std::size_t const warps = (launch.block_threads + kLanes - 1) / kLanes;
        cta->live_threads = launch.block_threads;
        cta->live_warps = static_cast<int>(warps);
        for (std::size_t w = 0; w < warps; ++w) {
          cta->warps.push_back(std::make_unique<Warp>());
        }
        cluster->ctas.push_back(std::move(cta));
      }
    }
  }
  for (auto const& cta : cluster->ctas) {
    for (std::size_t w = 0; w < cta->warps.size(); ++w) start_warp(*cta->warps[w], *cta, static_cast<int>(w));
  }
  cluster->policy = policy_of(launch.options.seed);
  if (cluster->policy.starves_one_warp) {
    Cta const& cta = *cluster->ctas[cluster->random.below(cluster->ctas.size())];
    cluster->starved = cta.warps[cluster->random.below(cta.warps.size())].get();
  }
  return cluster;
}

std::string describe_waits(Cluster& cluster) {
  std::string out;
  int lines = 0, more = 0;
  for (auto const& cta : cluster.ctas) {
    for (auto const& warp : cta->warps) {
      for (Fragment const& fragment : warp->fragments) {
        if (fragment.lanes == 0) continue;
        if (++lines > 40) {
          ++more;
          continue;
        }
        out += "  " + describe_fragment(*warp, fragment) + "\n";
      }
    }
  }
  if (more > 0) out += fmt::format("  and {} more\n", more);
  for (Completion const& completion : cluster.queue) out += fmt::format("  pending: {}\n", completion.what);
  return out;
}

ClusterStatus run_cluster(Cluster& cluster, std::uint64_t quantum, std::vector<std::uint64_t>& counts) {
  std::uint64_t const max_steps = cluster.launch->options.max_steps * cluster.ctas.size();
  std::uint64_t const stop = cluster.clock + quantum;
  std::uint64_t const progress_at_start = cluster.progress, polls_at_start = cluster.polls;
  std::vector<Warp*> order;
  for (auto const& cta : cluster.ctas) {
    for (auto const& warp : cta->warps) {
      if (warp->live != 0) order.push_back(warp.get());
    }
  }
  for (;;) {
    std::uint64_t moved = 0;
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[cluster.random.below(i)]);
    for (Warp*& warp : order) {
      while (!cluster.queue.empty() && cluster.queue.front().due <= cluster.clock) run_completion(cluster);
      cluster.hurry = false;
      std::uint64_t const chance = cluster.random.next();
      if (warp == cluster.starved && moved > 0 && (chance >> 32) % 16 != 0) continue;
      std::uint64_t const slice = 1 + cluster.policy.turn / 5 + chance % cluster.policy.turn;
      std::uint64_t const done = run_slice(*warp, slice, counts.data());
      moved += done;
      cluster.clock += done;
      cluster.steps += done;
      if (warp->live == 0) {
        ++cluster.progress;
        if (--warp->cta->live_warps == 0) observe_end(*warp->cta);
        warp = nullptr;
      }
    }
    std::erase(order, nullptr);
    if (order.empty()) break;
    if (cluster.steps > max_steps) {
      report_deadlock(cluster, fmt::format("more than {} warp-instructions in one CTA: endless?",
                                           cluster.launch->options.max_steps));
    }
    if (moved == 0) {
      if (!cluster.queue.empty()) {
        cluster.clock = std::max(cluster.clock, cluster.queue.front().due);
        run_completion(cluster);
        continue;
      }
      if (cluster.waits_for_grids > 0) return ClusterStatus::kSpinning;
      bool changed = false;
      for (Warp* warp : order) {
        changed |= std::any_of(warp->fragments.begin(), warp->fragments.end(),
                               [&](Fragment const& f) { return f.state == Fragment::State::kWaiting; }) &&
                   release_warp_barrier(*warp);
      }
      if (changed) continue;
      cluster.timeouts = cluster.progress == cluster.progress_at_timeout ? cluster.timeouts + 1 : 0;
      cluster.progress_at_timeout = cluster.progress;
      if (cluster.timeouts < kTimeoutRounds) {
        for (Warp* warp : order) {
          for (Fragment& fragment : warp->fragments) {
            if (fragment.state == Fragment::State::kSuspended) fragment.timed_out = changed = true;
          }
        }
      }
      if (!changed) report_deadlock(cluster, "deadlock: nothing can move");
    }
    if (cluster.clock >= stop) {
      bool const spins = cluster.progress == progress_at_start && cluster.polls != polls_at_start;
      return spins ? ClusterStatus::kSpinning : ClusterStatus::kPaused;
    }
  }
  while (!cluster.queue.empty()) run_completion(cluster);
  for (auto const& cta : cluster.ctas) check_end(*cta);
  return ClusterStatus::kDone;
}

}  // namespace deepwell::emu
