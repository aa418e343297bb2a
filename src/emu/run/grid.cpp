// The public entry points: profiles, modules and launches.
#include <atomic>
#include <charconv>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "base/arch.hpp"
#include "emu/emu.hpp"
#include "emu/instr/kind.hpp"
#include "emu/mem/memory.hpp"
#include "emu/ptx/syntax.hpp"
#include "emu/race/shadow.hpp"
#include "emu/run/counters.hpp"
#include "emu/run/decode.hpp"
#include "emu/run/execute.hpp"
#include "emu/run/list.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {
namespace {

constexpr std::uint64_t kDefaultMaxSteps = 2'000'000'000;
constexpr std::uint64_t kQuantum = 20'000;  // warp-instructions before a cluster is looked at
constexpr std::uint64_t kMaxIdleQuanta =
    3'000;  // rounds in which every CTA only spins, before the run is stopped

/// Addresses of the module's variables on this memory; allocates and initialises them the first time.
std::vector<std::uint64_t> place_variables(Module::Impl const& module, Memory& memory) {
  if (module.variables.empty()) return {};
  Memory::Impl& impl = memory.impl();
  std::scoped_lock lock(impl.mutex);
  auto const found = impl.variables.find(module.token);
  if (found != impl.variables.end()) return found->second;
  std::vector<std::uint64_t> addresses;
  std::vector<std::shared_ptr<Block>> blocks;
  for (Variable const& variable : module.variables) {
    impl.require(variable.bytes);
    // Variables without an initialiser are zero, as a loaded module's are.
    auto block = make_block(variable.bytes, true);
    std::copy(variable.initial.begin(), variable.initial.end(), block->data);
    blocks.push_back(block);
    addresses.push_back(impl.add({.base = 0,
                                  .bytes = variable.bytes,
                                  .label = "variable " + variable.name,
                                  .read_only = variable.constant,
                                  .block = std::move(block)}));
  }
  for (std::size_t v = 0; v < module.variables.size(); ++v) {
    for (Variable::Fixup const& fixup : module.variables[v].fixups) {
      std::uint64_t const address = addresses[fixup.variable] + static_cast<std::uint64_t>(fixup.addend);
      std::memcpy(blocks[v]->data + fixup.at, &address, fixup.bytes);
    }
  }
  impl.variables.emplace(module.token, addresses);
  return addresses;
}

void fill_constants(Launch& launch, Module::Impl const& module, std::vector<std::uint64_t> const& variables) {
  launch.constants = module.pool;
  for (PoolFixup const& fixup : module.pool_fixups) {
    std::uint64_t const address = variables[fixup.variable] + static_cast<std::uint64_t>(fixup.addend);
    std::size_t const each = fixup.bits <= 32 ? 4 : fixup.bits / 8;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      std::memcpy(launch.constants.data() + fixup.offset + lane * each, &address,
                  std::min<std::size_t>(each, 8));
    }
  }
}

void check_shape(Launch& launch, Function const& function) {
  auto const bad = [&](std::string const& what, std::string const& got, std::string const& expected) {
    throw Report(Finding::kResource,
                 fmt::format("kernel {}: {} is {}, expected {}", launch.kernel, what, got, expected),
                 std::string(launch.kernel));
  };
  auto const text = [](auto const& shape) { return fmt::format("({},{},{})", shape[0], shape[1], shape[2]); };
  LaunchConfig const& config = launch.config;
  std::uint64_t threads = 1, ctas_per_cluster = 1;
  for (std::size_t d = 0; d < 3; ++d) {
    if (config.grid[d] == 0 || (d > 0 && config.grid[d] > 65535) || config.grid[d] > 0x7fffffffu) {
      bad("grid", text(config.grid), "1 to 2^31-1 by 1 to 65535 by 1 to 65535");
    }
    if (config.block[d] == 0 || config.block[d] > 1024) bad("block", text(config.block), "1 to 1024 threads");
    if (config.cluster[d] == 0 || config.grid[d] % config.cluster[d] != 0) {
      bad("cluster", text(config.cluster),
          fmt::format("a shape that divides the grid {}", text(config.grid)));
    }
    threads *= config.block[d];
    ctas_per_cluster *= config.cluster[d];
    launch.cluster_grid[d] = config.grid[d] / config.cluster[d];
  }
  if (threads > static_cast<std::uint64_t>(launch.profile.max_threads_per_cta)) {
    bad("block", text(config.block), fmt::format("at most {} threads", launch.profile.max_threads_per_cta));
  }
  if (config.block[2] > 64) bad("block", text(config.block), "at most 64 in z");
  if (ctas_per_cluster > 16) bad("cluster", text(config.cluster), "at most 16 CTAs");
  launch.block_threads = static_cast<std::uint32_t>(threads);
  if (function.max_ntid[0] != 0) {
    std::uint64_t const most = static_cast<std::uint64_t>(function.max_ntid[0]) *
                               static_cast<std::uint64_t>(function.max_ntid[1]) *
                               static_cast<std::uint64_t>(function.max_ntid[2]);
    if (threads > most) bad("block", text(config.block), fmt::format("at most {} threads (.maxntid)", most));
  }
  if (function.required_ntid[0] != 0) {
    for (std::size_t d = 0; d < 3; ++d) {
      if (config.block[d] != static_cast<std::uint32_t>(function.required_ntid[d])) {
        bad("block", text(config.block), fmt::format("{} (.reqntid)", text(function.required_ntid)));
      }
    }
  }
  if (function.required_cluster[0] != 0) {
    for (std::size_t d = 0; d < 3; ++d) {
      if (config.cluster[d] != static_cast<std::uint32_t>(function.required_cluster[d])) {
        bad("cluster", text(config.cluster),
            fmt::format("{} (.reqnctapercluster)", text(function.required_cluster)));
      }
    }
  }
  std::uint64_t shared = function.static_shared_bytes;
  if (function.dynamic_shared_alignment > 0) {
    shared = (shared + function.dynamic_shared_alignment - 1) / function.dynamic_shared_alignment *
             function.dynamic_shared_alignment;
  }
  shared += config.dynamic_smem_bytes;
  if (shared > static_cast<std::uint64_t>(launch.profile.smem_per_cta)) {
    bad("shared memory",
        fmt::format("{} bytes ({} static, {} dynamic)", shared, function.static_shared_bytes,
                    config.dynamic_smem_bytes),
        fmt::format("at most {} bytes on {}", launch.profile.smem_per_cta, launch.profile.target));
  }
  launch.shared_bytes = static_cast<std::uint32_t>(shared);
  launch.static_shared_bytes = function.static_shared_bytes;
}

void check_cooperative(Launch const& launch) {
  auto const& clusters = launch.cluster_grid;
  std::uint64_t const wanted = std::uint64_t{clusters[0]} * clusters[1] * clusters[2];
  std::uint64_t const room = resident_clusters(launch);
  if (wanted <= room) return;
  throw Report(
      Finding::kResource,
      fmt::format("kernel {}: a cooperative launch of {} clusters, expected at most the {} that fit the "
                  "{} SMs of the board at once",
                  launch.kernel, wanted, room, launch.profile.sm_count),
      std::string(launch.kernel));
}

/// A launch without checks, on several host threads.
class UncheckedRun : public PendingClusters {
 public:
  explicit UncheckedRun(Launch const& launch) : launch_(launch) {
    launch.pending = this;
    total_ = std::uint64_t{launch.cluster_grid[0]} * launch.cluster_grid[1] * launch.cluster_grid[2];
    resident_limit_ = resident_clusters(launch);
    counts_.resize(launch.function->code.size());
    if (launch.options.statistics) counters_ = std::make_unique<Counters>(launch);
  }

  void run(int threads) {
    threads = static_cast<int>(
        std::min<std::uint64_t>(static_cast<std::uint64_t>(threads), std::min(total_, resident_limit_)));
    if (threads <= 1) {
      work();
    } else {
      std::vector<std::thread> pool;
      for (int t = 0; t < threads; ++t) pool.emplace_back([this] { work(); });
      for (std::thread& thread : pool) thread.join();
    }
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

  std::optional<std::array<std::uint32_t, 3>> take() override {
    std::scoped_lock lock(mutex_);
    if (started_ == total_) return std::nullopt;
    return first_cta_of(launch_, permuted(launch_, started_++, total_, resident_limit_));
  }

  std::vector<std::uint64_t> const& counts() const { return counts_; }
  Counters const* counters() const { return counters_.get(); }

 private:
  /// The next cluster that may start, or nothing (all started, or as many resident as the board holds).
  std::unique_ptr<Cluster> start_next(bool& all_started, Counters* counters) {
    std::uint64_t number = 0;
    {
      std::scoped_lock lock(mutex_);
      all_started = started_ == total_;
      if (all_started || resident_ >= resident_limit_) return nullptr;
      number = started_++;
      ++resident_;
      require_host_memory(launch_, resident_);
    }
    auto cluster = make_cluster(launch_, permuted(launch_, number, total_, resident_limit_));
    cluster->counters = counters;
    return cluster;
  }

  /// Adds what a cluster has executed since it was looked at last.
  void count_steps(std::uint64_t steps) {
    if (steps_.fetch_add(steps) + steps > launch_.options.max_total_steps) report_total_steps(launch_);
  }

  void work() {
    std::vector<std::uint64_t> counts(launch_.function->code.size());
    auto const counters = counters_ == nullptr ? nullptr : std::make_unique<Counters>(launch_);
    try {
      std::vector<std::unique_ptr<Cluster>> mine;
      std::size_t turn = 0;
      std::uint64_t idle = 0, seen_before = 0;
      bool all_started = false;
      while (!stop_.load(std::memory_order_relaxed)) {
        if (mine.empty()) {
          auto next = start_next(all_started, counters.get());
          if (next == nullptr) {
            if (all_started) break;
            std::this_thread::yield();
            continue;
          }
          mine.push_back(std::move(next));
        }
        turn %= mine.size();
        std::uint64_t const before = mine[turn]->steps;
        ClusterStatus const status = run_cluster(*mine[turn], kQuantum, counts);
        count_steps(mine[turn]->steps - before);
        switch (status) {
          case ClusterStatus::kDone:
            mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(turn));
            {
              std::scoped_lock lock(mutex_);
              --resident_;
            }
            ++progress_;
            idle = 0;
            break;
          case ClusterStatus::kPaused:
            ++progress_;
            idle = 0;
            break;
          case ClusterStatus::kSpinning: {
            // It may wait for another CTA: start one more if the board has room, else take turns.
            if (auto next = start_next(all_started, counters.get())) {
              mine.push_back(std::move(next));
              turn = mine.size() - 1;
              idle = 0;
              break;
            }
            ++turn;
            std::uint64_t const seen = progress_.load();
            if (std::exchange(seen_before, seen) != seen) idle = 0;
            if (++idle > kMaxIdleQuanta * mine.size()) {
              throw Report(
                  Finding::kDeadlock,
                  fmt::format("kernel {}: livelock: every resident CTA spins and {} of {} clusters have "
                              "started (the board holds {} at once)\n{}",
                              launch_.kernel, started_, total_, resident_limit_, describe_waits(*mine[0])),
                  std::string(launch_.kernel));
            }
            break;
          }
        }
      }
    } catch (...) {
      std::scoped_lock lock(mutex_);
      if (error_ == nullptr) error_ = std::current_exception();
      stop_ = true;
    }
    std::scoped_lock lock(mutex_);
    for (std::size_t pc = 0; pc < counts.size(); ++pc) counts_[pc] += counts[pc];
    if (counters != nullptr) counters_->merge(*counters);
  }

  Launch const& launch_;
  std::uint64_t total_ = 0, resident_limit_ = 1;
  std::mutex mutex_;
  std::uint64_t started_ = 0, resident_ = 0;
  std::atomic<std::uint64_t> progress_{0}, steps_{0};
  std::atomic<bool> stop_{false};
  std::exception_ptr error_;
  std::vector<std::uint64_t> counts_;
  std::unique_ptr<Counters> counters_;  // the sum of all threads' own; null without statistics
};

}  // namespace

Profile parse_profile(std::string_view name) {
  auto const bad = [&]() -> Error {
    return bad_argument("device", std::string(name), "emu:TARGET or emu:TARGET:SM_COUNT");
  };
  std::string_view rest = name;
  if (rest.substr(0, 4) == "emu:") rest.remove_prefix(4);
  std::size_t const colon = rest.find(':');
  Arch const& arch = arch_by_target(rest.substr(0, colon));
  Profile profile;
  profile.target = std::string(arch.target);
  profile.sm_count = arch.default_sm_count;
  profile.smem_per_cta = arch.smem_per_cta;
  profile.smem_per_sm = arch.smem_per_sm;
  if (colon != std::string_view::npos) {
    std::string_view const count = rest.substr(colon + 1);
    auto const result = std::from_chars(count.data(), count.data() + count.size(), profile.sm_count);
    if (result.ec != std::errc() || result.ptr != count.data() + count.size() || profile.sm_count <= 0 ||
        profile.sm_count > 4096) {
      throw bad();
    }
  }
  return profile;
}

Module::Module(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Module::~Module() = default;

std::shared_ptr<Module const> Module::parse(std::string_view ptx, Profile const& profile,
                                            std::string source_name) {
  ptx::ModuleSyntax const syntax = ptx::parse(ptx, source_name);
  return std::make_shared<Module const>(decode(syntax, profile, std::move(source_name)));
}

std::vector<KernelInfo> Module::kernels() const {
  std::vector<KernelInfo> out;
  for (auto const& [name, function] : impl_->entries) {
    std::vector<ParamInfo> params;
    for (Parameter const& one : function->parameters) params.push_back({one.name, one.offset, one.bytes});
    out.push_back({.name = name,
                   .param_bytes = function->param_bytes,
                   .params = std::move(params),
                   .static_smem_bytes = function->static_shared_bytes,
                   .max_ntid = function->max_ntid});
  }
  return out;
}

namespace {

std::unique_ptr<Launch> prepare(Module const& module, std::string_view kernel, LaunchConfig const& config,
                                std::span<std::byte const> params, Memory& memory, Options const& options,
                                Profile const& profile) {
  Module::Impl const& impl = module.impl();
  auto const found = impl.entries.find(kernel);
  if (found == impl.entries.end()) {
    std::string known;
    for (auto const& [name, function] : impl.entries) known += (known.empty() ? "" : ", ") + name;
    throw bad_argument("kernel", std::string(kernel), "one of " + known);
  }
  Function const& function = *found->second;
  auto launch = std::make_unique<Launch>();
  launch->module = &module;
  launch->function = &function;
  launch->kernel = function.name;
  launch->config = config;
  launch->options = options;
  if (launch->options.max_steps == 0) launch->options.max_steps = kDefaultMaxSteps;
  if (launch->options.max_total_steps == 0) {
    std::uint64_t const most = std::numeric_limits<std::uint64_t>::max() / 1000;
    launch->options.max_total_steps = 1000 * std::min(launch->options.max_steps, most);
  }
  launch->profile = profile;
  launch->target = parse_target(profile.target);
  if (params.size() != function.param_bytes) {
    throw bad_argument("params", fmt::format("{} bytes", params.size()),
                       fmt::format("{} bytes for {}", function.param_bytes, function.name));
  }
  DW_CHECK(function.code.size() < race::kMaxInstructions, kUnsupported,
           "kernel {}: {} instructions; {} are possible", function.name, function.code.size(),
           race::kMaxInstructions - 1);
  launch->params.assign(params.begin(), params.end());
  check_shape(*launch, function);
  if (config.cooperative) check_cooperative(*launch);
  if (impl.uses_heap) launch->heap = memory.impl().device_heap();
  fill_constants(*launch, impl, place_variables(impl, memory));
  return launch;
}

Statistics run_unchecked(Launch const& launch) {
  int threads = launch.options.trace ? 1 : launch.options.threads;
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  UncheckedRun run(launch);
  run.run(threads);
  return statistics_of(launch, run.counts(), run.counters());
}

}  // namespace

void require_host_memory(Launch const& launch, std::uint64_t clusters) {
  auto const& shape = launch.config.cluster;
  std::uint64_t const shadows = launch.options.check ? 2 : 1;
  std::uint64_t const warps = (launch.block_threads + kLanes - 1) / kLanes;
  std::uint64_t const warp = launch.function->register_bytes +
                             std::uint64_t{launch.function->register_count} * sizeof(Mask) +
                             shadows * kLanes * launch.function->local_bytes;
  std::uint64_t const cluster =
      (shadows * launch.shared_bytes + warps * warp) * shape[0] * shape[1] * shape[2];
  if (cluster == 0 || clusters <= launch.options.memory_bytes / cluster) return;
  throw Report(
      Finding::kResource,
      fmt::format("kernel {}: {} clusters at once, each {} bytes of host memory for its registers, shared "
                  "and local memory; expected at most {} in all",
                  launch.kernel, clusters, cluster, launch.options.memory_bytes),
      std::string(launch.kernel));
}

void report_total_steps(Launch const& launch) {
  throw Report(Finding::kDeadlock,
               fmt::format("kernel {}: more than {} warp-instructions in all CTAs: endless?", launch.kernel,
                           launch.options.max_total_steps),
               std::string(launch.kernel));
}

std::uint64_t resident_clusters(Launch const& launch) {
  std::uint64_t const smem = launch.shared_bytes + 1024;
  std::uint64_t const by_smem = static_cast<std::uint64_t>(launch.profile.smem_per_sm) / smem;
  std::uint64_t const threads = (launch.block_threads + kLanes - 1) / kLanes * kLanes;
  std::uint64_t const by_threads = (launch.target.is_hopper() ? 2048u : 1536u) / threads;
  std::uint64_t const each = std::max<std::uint64_t>(1, std::min<std::uint64_t>({by_smem, by_threads, 32}));
  auto const& cluster = launch.config.cluster;
  std::uint64_t const ctas = std::uint64_t{cluster[0]} * cluster[1] * cluster[2];
  return std::max<std::uint64_t>(1, each * static_cast<std::uint64_t>(launch.profile.sm_count) / ctas);
}

std::uint64_t permuted(Launch const& launch, std::uint64_t number, std::uint64_t total,
                       std::uint64_t resident_limit) {
  if (launch.options.seed == 0) return number;
  std::uint64_t const block = number / resident_limit;
  std::uint64_t const first = block * resident_limit;
  std::uint64_t const size = std::min(resident_limit, total - first);
  Random random(launch.options.seed ^ (block * 0x5851f42d4c957f2du));
  std::uint64_t factor = 1 + random.below(size);
  while (std::gcd(factor, size) != 1) ++factor;
  return first + ((number - first) % size * factor + random.below(size)) % size;
}

Statistics statistics_of(Launch const& launch, std::vector<std::uint64_t> const& counts,
                         Counters const* counters) {
  Statistics out;
  for (std::size_t pc = 0; pc < counts.size(); ++pc) {
    if (counts[pc] == 0) continue;
    Instr const& instr = launch.function->code[pc];
    out.warp_instructions += counts[pc];
    if (instr.is_mma) out.mma += counts[pc];
    out.multiply_adds += counts[pc] * instr.multiply_adds;
    out.by_kind[static_cast<std::size_t>(kind_of(instr))] += counts[pc];
    out.by_opcode[launch.module->impl().opcodes[instr.info->opcode_id]] += counts[pc];
  }
  out.ctas = std::uint64_t{launch.config.grid[0]} * launch.config.grid[1] * launch.config.grid[2];
  out.declared = {.registers = launch.function->register_count - 1,
                  .threads = launch.block_threads,
                  .static_smem_bytes = launch.static_shared_bytes,
                  .dynamic_smem_bytes = launch.config.dynamic_smem_bytes,
                  .local_bytes = launch.function->local_bytes};
  if (counters != nullptr) counters->add_to(out);
  return out;
}

Statistics launch(Module const& module, std::string_view kernel, LaunchConfig const& config,
                  std::span<std::byte const> params, Memory& memory, Options const& options,
                  Profile const& profile) {
  std::vector<std::unique_ptr<Launch>> one;
  one.push_back(prepare(module, kernel, config, params, memory, options, profile));
  auto const view = memory.impl().snapshot();
  one[0]->global = view.get();
  return options.check ? run_list(one, {}, options)[0] : run_unchecked(*one[0]);
}

std::vector<Statistics> launch_list(std::span<GridLaunch const> launches, Memory& memory,
                                    Options const& options, Profile const& profile) {
  DW_CHECK(launches.size() < race::kMaxLaunches, kBadArgument,
           "a list of {} launches; at most {} are possible", launches.size(), race::kMaxLaunches - 1);
  std::vector<std::unique_ptr<Launch>> prepared;
  for (std::size_t i = 0; i < launches.size(); ++i) {
    GridLaunch const& one = launches[i];
    for (std::size_t const other : one.after) {
      if (other >= i) {
        throw bad_argument(fmt::format("launches[{}].after", i), std::to_string(other), "a launch before it");
      }
    }
    prepared.push_back(prepare(*one.module, one.kernel, one.config, one.params, memory, options, profile));
  }
  auto const view = memory.impl().snapshot();
  for (auto const& launch : prepared) launch->global = view.get();
  if (options.check) return run_list(prepared, launches, options);
  std::vector<Statistics> out;
  for (auto const& launch : prepared) out.push_back(run_unchecked(*launch));
  return out;
}

}  // namespace deepwell::emu
