// Checked runs: a list of launches as streams would run them, on one host thread, under one seed.
#include "emu/run/list.hpp"

#include <algorithm>
#include <memory>

#include "emu/race/checker.hpp"
#include "emu/run/counters.hpp"
#include "emu/run/execute.hpp"
#include "emu/run/program.hpp"

namespace deepwell::emu {
namespace {

/// Instructions of CTAs that all poll in vain, each, before it is a livelock.
constexpr std::uint64_t kMaxIdleSteps = 2'000'000;

/// One launch of the list while it runs.
class GridRun : public GridDependency, public PendingClusters {
 public:
  GridRun(Launch& launch, std::uint64_t resident_limit) : launch_(launch), resident_limit_(resident_limit) {
    total_ = std::uint64_t{launch.cluster_grid[0]} * launch.cluster_grid[1] * launch.cluster_grid[2];
    counts.resize(launch.function->code.size());
    if (launch.options.statistics) counters = std::make_unique<Counters>(launch);
    launch.dependency = this;
    launch.pending = this;
  }

  Launch& launch() { return launch_; }
  bool all_started() const { return started_ == total_; }
  bool is_complete() const { return done_ == total_; }
  std::uint64_t resident() const { return started_ - done_; }
  std::uint64_t resident_limit() const { return resident_limit_; }
  std::string progress() const {
    return fmt::format("launch {} ({}): {} of {} clusters started, {} ended", launch_.index, launch_.kernel,
                       started_, total_, done_);
  }

  /// The cluster to start next; the seed permutes those that are resident together, seed 0 keeps the order.
  std::unique_ptr<Cluster> start_next(race::Checker* race) {
    require_host_memory(launch_, resident() + 1);
    auto cluster = make_cluster(launch_, permuted(launch_, started_++, total_, resident_limit_));
    cluster->counters = counters.get();
    if (race != nullptr) {
      auto const ctas = static_cast<std::uint32_t>(cluster->ctas.size());
      auto const warps = static_cast<std::uint32_t>(cluster->ctas[0]->warps.size());
      cluster->team = race->start_team(launch_.index, number_of(*cluster), ctas, warps, launch_.block_threads,
                                       launch_.shared_bytes, root);
    }
    return cluster;
  }
  void end_one() { ++done_; }

  // PendingClusters
  std::optional<std::array<std::uint32_t, 3>> take() override {
    if (all_started()) return std::nullopt;
    ++done_;
    return first_cta_of(launch_, permuted(launch_, started_++, total_, resident_limit_));
  }

  // GridDependency
  bool exists() const override { return programmatic; }
  bool may_pass() const override { return previous == nullptr || previous->is_complete(); }
  std::vector<bool> complete() const override {
    std::vector<bool> out = root;
    if (previous != nullptr) merge(out, previous->known_when_complete());
    return out;
  }
  void passed() override { someone_waited_ = true; }

  /// Launches that are certainly complete when this one is, itself included.
  std::vector<bool> known_when_complete() const {
    std::vector<bool> out = someone_waited_ ? complete() : root;
    out[launch_.index] = true;
    return out;
  }
  static void merge(std::vector<bool>& to, std::vector<bool> const& from) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = to[i] || from[i];
  }

  GridRun* previous = nullptr;  // on the same stream
  bool programmatic = false;    // may overlap `previous`
  bool has_started = false;
  std::vector<bool> root;  // launches that are complete when this one starts, whatever the timing
  std::vector<std::uint64_t> counts;
  std::unique_ptr<Counters> counters;  // null without statistics

 private:
  std::uint64_t number_of(Cluster const& cluster) const {
    auto const& id = cluster.ctas[0]->id;
    auto const& shape = launch_.config.cluster;
    auto const& grid = launch_.cluster_grid;
    return id[0] / shape[0] +
           std::uint64_t{grid[0]} * (id[1] / shape[1] + std::uint64_t{grid[1]} * (id[2] / shape[2]));
  }

  Launch& launch_;
  std::uint64_t resident_limit_, total_ = 0, started_ = 0, done_ = 0;
  bool someone_waited_ = false;
};

class ListRun {
 public:
  ListRun(std::span<std::unique_ptr<Launch> const> launches, std::span<GridLaunch const> wanted,
          Options const& options, race::Checker* race)
      : wanted_(wanted), race_(race), policy_(policy_of(options.seed)), random_(options.seed + 0x51ed) {
    for (auto const& launch : launches)
      grids_.push_back(std::make_unique<GridRun>(*launch, resident_clusters(*launch)));
    for (std::size_t i = 0; i < grids_.size(); ++i) {
      for (std::size_t j = i; j-- > 0 && grids_[i]->previous == nullptr;) {
        if (!wanted.empty() && wanted[j].stream == wanted[i].stream) grids_[i]->previous = grids_[j].get();
      }
      grids_[i]->programmatic = !wanted.empty() && wanted[i].programmatic && grids_[i]->previous != nullptr;
    }
  }

  void run() {
    std::uint64_t idle = 0;
    std::size_t turn = 0;
    for (;;) {
      start_what_may();
      if (resident_.empty()) break;
      turn = policy_.resident == 1 ? (turn + 1) % resident_.size() : random_.below(resident_.size());
      Entry& entry = resident_[turn];
      std::uint64_t const quantum = policy_.quantum / 2 + random_.below(policy_.quantum);
      std::uint64_t const before = entry.cluster->clock, steps_before = entry.cluster->steps;
      ClusterStatus const status = run_cluster(*entry.cluster, quantum, entry.grid->counts);
      steps_ += entry.cluster->steps - steps_before;
      Launch const& launch = entry.grid->launch();
      if (steps_ > launch.options.max_total_steps) report_total_steps(launch);
      switch (status) {
        case ClusterStatus::kDone:
          entry.grid->end_one();
          if (race_ != nullptr) race_->end_team(*entry.cluster->team);
          resident_.erase(resident_.begin() + static_cast<std::ptrdiff_t>(turn));
          idle = 0;
          break;
        case ClusterStatus::kPaused: idle = 0; break;
        case ClusterStatus::kSpinning:
          // It may wait for another CTA: one more may start.
          if (start_another()) {
            idle = 0;
          } else {
            idle += 100 + entry.cluster->clock - before;
            if (idle > kMaxIdleSteps * resident_.size()) report_livelock();
          }
          break;
      }
    }
  }

  GridRun const& grid(std::size_t index) const { return *grids_[index]; }

 private:
  struct Entry {
    GridRun* grid = nullptr;
    std::unique_ptr<Cluster> cluster;
  };

  std::span<std::size_t const> events_of(std::size_t index) const {
    return wanted_.empty() ? std::span<std::size_t const>() : wanted_[index].after;
  }

  bool may_begin(std::size_t index) const {
    GridRun const& grid = *grids_[index];
    if (grid.has_started) return true;
    for (std::size_t const other : events_of(index)) {
      if (!grids_[other]->is_complete()) return false;
    }
    if (grid.programmatic) return grid.previous->has_started && dependents_may_start(*grid.previous);
    for (GridRun const* before = grid.previous; before != nullptr; before = before->previous) {
      if (!before->is_complete()) return false;
    }
    return true;
  }

  /// Fixes what is complete when the launch begins.
  void begin(std::size_t index) {
    GridRun& grid = *grids_[index];
    if (grid.has_started) return;
    grid.has_started = true;
    grid.root.resize(grids_.size());
    for (std::size_t const other : events_of(index))
      GridRun::merge(grid.root, grids_[other]->known_when_complete());
    if (grid.programmatic) {
      GridRun::merge(grid.root, grid.previous->root);
    } else {
      for (GridRun const* before = grid.previous; before != nullptr; before = before->previous)
        GridRun::merge(grid.root, before->known_when_complete());
    }
  }

  /// Every CTA has issued griddepcontrol.launch_dependents or ended.
  bool dependents_may_start(GridRun const& grid) const {
    if (!grid.all_started()) return false;
    return std::all_of(resident_.begin(), resident_.end(), [&](Entry const& entry) {
      if (entry.grid != &grid) return true;
      return std::all_of(entry.cluster->ctas.begin(), entry.cluster->ctas.end(),
                         [](auto const& cta) { return cta->dependents_may_start || cta->live_warps == 0; });
    });
  }

  /// Room on the board, in parts of it that the resident clusters of each launch take.
  bool has_room(GridRun const& grid) const {
    double taken = 0;
    for (Entry const& entry : resident_) taken += 1.0 / static_cast<double>(entry.grid->resident_limit());
    return resident_.empty() || taken + 1.0 / static_cast<double>(grid.resident_limit()) <= 1.0 + 1e-9;
  }

  void start_one(std::size_t index) {
    begin(index);
    resident_.push_back({grids_[index].get(), grids_[index]->start_next(race_)});
  }

  void start_what_may() {
    for (std::size_t i = 0; i < grids_.size(); ++i) {
      GridRun const& grid = *grids_[i];
      while (!grid.all_started() && grid.resident() < policy_.resident && may_begin(i) && has_room(grid))
        start_one(i);
    }
  }

  bool start_another() {
    for (std::size_t i = 0; i < grids_.size(); ++i) {
      GridRun const& grid = *grids_[i];
      if (grid.all_started() || !may_begin(i) || !has_room(grid)) continue;
      start_one(i);
      return true;
    }
    return false;
  }

  [[noreturn]] void report_livelock() const {
    std::string text = "livelock: every resident CTA spins and no other may start";
    for (auto const& grid : grids_) text += "\n  " + grid->progress();
    text += "\n" + describe_waits(*resident_.front().cluster);
    std::string_view const kernel = resident_.front().grid->launch().kernel;
    throw Report(Finding::kDeadlock, fmt::format("kernel {}: {}", kernel, text), std::string(kernel));
  }

  std::span<GridLaunch const> wanted_;
  race::Checker* race_;
  Policy policy_;
  Random random_;
  std::uint64_t steps_ = 0;
  std::vector<std::unique_ptr<GridRun>> grids_;
  std::vector<Entry> resident_;
};

}  // namespace

std::vector<Statistics> run_list(std::span<std::unique_ptr<Launch> const> launches,
                                 std::span<GridLaunch const> wanted, Options const& options) {
  std::vector<Launch const*> all;
  for (auto const& launch : launches) all.push_back(launch.get());
  race::Checker race;
  for (std::size_t i = 0; i < launches.size(); ++i) {
    launches[i]->index = static_cast<std::uint32_t>(i);
    launches[i]->launches = &all;
    launches[i]->race = options.race ? &race : nullptr;
  }
  ListRun run(launches, wanted, options, options.race ? &race : nullptr);
  run.run();
  std::vector<Statistics> out;
  for (std::size_t i = 0; i < launches.size(); ++i)
    out.push_back(statistics_of(*launches[i], run.grid(i).counts, run.grid(i).counters.get()));
  return out;
}

}  // namespace deepwell::emu
