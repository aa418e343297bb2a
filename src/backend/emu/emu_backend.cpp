// The emulator as a Backend.
#include "backend/emu/emu_backend.hpp"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "backend/checks.hpp"
#include "base/log.hpp"
#include "base/options.hpp"

namespace deepwell {
namespace {

constexpr std::size_t kMaxQueued = 1024;  // below what a list may have, with room for other threads' launches

class EmuKernel : public LoadedKernel {
 public:
  EmuKernel(EmuBackend const* owner, std::shared_ptr<emu::Module const> module, std::string entry,
            std::size_t param_bytes, std::uint32_t dynamic_smem_bytes)
      : owner_(owner),
        module_(std::move(module)),
        entry_(std::move(entry)),
        param_bytes_(param_bytes),
        dynamic_smem_bytes_(dynamic_smem_bytes) {}
  std::string_view entry() const override { return entry_; }
  EmuBackend const* owner() const { return owner_; }
  std::shared_ptr<emu::Module const> const& module() const { return module_; }
  std::size_t param_bytes() const { return param_bytes_; }
  std::uint32_t dynamic_smem_bytes() const { return dynamic_smem_bytes_; }

 private:
  EmuBackend const* owner_;
  std::shared_ptr<emu::Module const> module_;
  std::string entry_;
  std::size_t param_bytes_;
  std::uint32_t dynamic_smem_bytes_;
};

std::size_t host_memory_bytes() {
  long const pages = sysconf(_SC_PHYS_PAGES);
  long const page_bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 ? static_cast<std::size_t>(pages) * static_cast<std::size_t>(page_bytes)
                                     : 0;
}

}  // namespace

EmuBackend::EmuBackend(std::string_view device) : profile_(emu::parse_profile(device)) {
  info_.arch = arch_by_target(profile_.target);
  info_.sm_count = profile_.sm_count;
  info_.id = fmt::format("emu:{}", profile_.target);
  if (profile_.sm_count != info_.arch.default_sm_count) info_.id += fmt::format(":{}", profile_.sm_count);
  info_.name = fmt::format("emulated {}, {} SMs", profile_.target, profile_.sm_count);
  info_.memory_bytes = host_memory_bytes();
  long long const threads = option_integer(Option::kThreads);
  if (threads < 0 || threads > 1024) {
    throw bad_argument(std::string(option_row(Option::kThreads).name), std::to_string(threads), "0 to 1024");
  }
  options_.threads = static_cast<int>(threads);
  notes_ = memory_.allocate(kNoteCount * sizeof(std::uint32_t), "notes");
  memory_.fill(notes_, kNoteCount * sizeof(std::uint32_t), std::byte{0});
}

EmuBackend::~EmuBackend() {
  try {
    try {
      run_queue();
    } catch (std::exception const& error) {
      log_error("{}: launches whose results nobody asked for: {}", info_.id, error.what());
    }
  } catch (...) {  // the message could not be logged either
  }
}

DeviceAddress EmuBackend::allocate(std::size_t bytes) {
  check_allocation(bytes);
  return memory_.allocate(bytes);
}

void EmuBackend::release(DeviceAddress address) {
  auto const release = [&] {
    std::lock_guard const lock(mutex_);
    memory_.release(address);
    async_bytes_.erase(address);
  };
  try {
    run_queue();
  } catch (...) {
    release();
    throw;
  }
  release();
}

DeviceAddress EmuBackend::allocate_zeroed(std::size_t bytes) {
  DeviceAddress const address = allocate(bytes);
  memory_.fill(address, bytes, std::byte{0});
  return address;
}

DeviceAddress EmuBackend::allocate_async(std::size_t bytes, Stream stream) {
  check_allocation(bytes);
  std::lock_guard const lock(mutex_);
  // As a driver's pool does: the stream's own released memory comes back at once, whatever still runs there.
  auto const fits = [&](Released const& one) { return one.stream == stream && one.bytes == bytes; };
  if (auto const found = std::find_if(released_.begin(), released_.end(), fits); found != released_.end()) {
    DeviceAddress const address = found->address;
    released_.erase(found);
    async_bytes_[address] = bytes;
    return address;
  }
  DeviceAddress const address = memory_.allocate(bytes, "workspace");
  async_bytes_[address] = bytes;
  return address;
}

void EmuBackend::release_async(DeviceAddress address, Stream stream) {
  {
    std::lock_guard const lock(mutex_);
    if (auto const known = async_bytes_.find(address); known != async_bytes_.end()) {
      if (queue_.empty() && !list_runs_) {
        memory_.release(address);
      } else {
        released_.push_back({address, known->second, stream});
      }
      async_bytes_.erase(known);
      return;
    }
  }
  release(address);
}

void EmuBackend::copy_to_device(DeviceAddress to, std::span<std::byte const> from, Stream) {
  run_queue();
  if (!from.empty()) memory_.write(to, from);
}

void EmuBackend::copy_to_host(std::span<std::byte> to, DeviceAddress from, Stream) {
  run_queue();
  if (!to.empty()) memory_.read(from, to);
}

void EmuBackend::fill(DeviceAddress to, std::size_t bytes, std::byte value, Stream) {
  run_queue();
  if (bytes > 0) memory_.fill(to, bytes, value);
}

TensorMap EmuBackend::encode(TensorMapSpec const& spec) {
  return std::bit_cast<TensorMap>(emu::encode_tensor_map(driver_values(spec)));
}

std::shared_ptr<LoadedKernel> EmuBackend::load(KernelImage const& image, std::uint32_t dynamic_smem_bytes) {
  check_image(image);
  if (image.ptx.empty()) {
    throw bad_argument("image", fmt::format("kernel {} without PTX", image.entry),
                       "PTX: the emulator runs nothing else");
  }
  std::shared_ptr<emu::Module const> module;
  {
    std::lock_guard const lock(mutex_);
    if (auto const known = modules_.find(image.ptx); known != modules_.end()) module = known->second;
  }
  if (module == nullptr) {
    module = emu::Module::parse(image.ptx, profile_, image.entry + ".ptx");
    std::lock_guard const lock(mutex_);
    module = modules_.try_emplace(image.ptx, module).first->second;
  }
  std::string known;
  for (emu::KernelInfo const& kernel : module->kernels()) {
    if (kernel.name != image.entry) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", kernel.name);
      continue;
    }
    std::size_t const smem = kernel.static_smem_bytes + dynamic_smem_bytes;
    if (smem > static_cast<std::size_t>(profile_.smem_per_cta)) {
      throw bad_argument("dynamic_smem_bytes",
                         fmt::format("{} and {} of static shared memory for kernel {}", dynamic_smem_bytes,
                                     kernel.static_smem_bytes, image.entry),
                         fmt::format("at most {} together on {}", profile_.smem_per_cta, profile_.target));
    }
    return std::make_shared<EmuKernel>(this, std::move(module), image.entry, kernel.param_bytes,
                                       dynamic_smem_bytes);
  }
  throw bad_argument("entry", image.entry, known.empty() ? "a kernel; the PTX has none" : "one of " + known);
}

void EmuBackend::launch(LoadedKernel const& kernel, LaunchSpec const& spec,
                        std::span<std::byte const> params) {
  auto const* const own = dynamic_cast<EmuKernel const*>(&kernel);
  if (own == nullptr || own->owner() != this) {
    throw bad_argument("kernel", fmt::format("{}, loaded elsewhere", kernel.entry()),
                       fmt::format("a kernel that this backend ({}) loaded", info_.id));
  }
  check_launch(own->entry(), spec, own->dynamic_smem_bytes());
  if (params.size() != own->param_bytes()) {
    throw bad_argument("params", fmt::format("{} bytes", params.size()),
                       fmt::format("{} bytes for {}", own->param_bytes(), own->entry()));
  }
  emu::LaunchConfig const config{.grid = spec.grid,
                                 .block = {spec.threads, spec.threads_y, spec.threads_z},
                                 .cluster = spec.cluster,
                                 .dynamic_smem_bytes = spec.dynamic_smem_bytes};
  std::unique_lock lock(mutex_);
  programmatic_seen_ = programmatic_seen_ || spec.programmatic_dependent_launch;
  auto const waits = [&] { return programmatic_seen_ || overlap_ || list_runs_ || !queue_.empty(); };
  auto const runs = [&] { return std::find(single_runs_.begin(), single_runs_.end(), spec.stream); };
  ended_.wait(lock, [&] { return waits() || runs() == single_runs_.end(); });
  if (waits()) {
    auto const known = std::find(streams_.begin(), streams_.end(), spec.stream);
    auto const stream = static_cast<int>(known - streams_.begin());
    if (known == streams_.end()) streams_.push_back(spec.stream);
    queue_.push_back({.module = own->module(),
                      .kernel = std::string(own->entry()),
                      .config = config,
                      .params = {params.begin(), params.end()},
                      .stream = stream,
                      .programmatic = spec.programmatic_dependent_launch,
                      .after = {}});
    bool const full = queue_.size() >= kMaxQueued;
    lock.unlock();
    if (full) run_queue();
    return;
  }
  single_runs_.push_back(spec.stream);
  emu::Options const options = options_;
  lock.unlock();
  auto const end = [&] {
    lock.lock();
    single_runs_.erase(runs());
    ended_.notify_all();
  };
  try {
    emu::Statistics statistics =
        emu::launch(*own->module(), own->entry(), config, params, memory_, options, profile_);
    end();
    last_statistics_ = std::move(statistics);
  } catch (...) {
    end();
    throw;
  }
}

void EmuBackend::run_queue() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return !list_runs_; });
  if (queue_.empty()) return;
  list_runs_ = true;
  ended_.wait(lock, [&] { return single_runs_.empty(); });
  std::vector<emu::GridLaunch> const list = std::exchange(queue_, {});
  std::vector<Released> const released = std::exchange(released_, {});
  streams_.clear();
  emu::Options const options = options_;
  lock.unlock();
  try {
    std::vector<emu::Statistics> statistics = emu::launch_list(list, memory_, options, profile_);
    lock.lock();
    last_statistics_ = std::move(statistics.back());
    lock.unlock();
  } catch (...) {
    end_list(released);
    throw;
  }
  end_list(released);
}

/// `released`: what the list was the last to use.
void EmuBackend::end_list(std::vector<Released> const& released) {
  std::lock_guard const lock(mutex_);
  list_runs_ = false;
  ended_.notify_all();
  for (Released const& one : released) memory_.release(one.address);
  if (!queue_.empty()) return;  // launches that were queued meanwhile may use what was released meanwhile
  for (Released const& one : std::exchange(released_, {})) memory_.release(one.address);
}

void EmuBackend::synchronize(Stream) { run_queue(); }

std::uint64_t EmuBackend::capture_id(Stream) { return 0; }

std::uint32_t EmuBackend::read_note(int index) const {
  check_note(index);
  std::uint32_t value = 0;
  memory_.read(notes_ + static_cast<DeviceAddress>(index) * sizeof(value),
               std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

bool EmuBackend::set_schedule(std::uint64_t seed) {
  run_queue();
  std::lock_guard const lock(mutex_);
  options_.seed = seed;
  return true;
}

void EmuBackend::set_overlap(bool overlap) {
  std::lock_guard const lock(mutex_);
  overlap_ = overlap;
}

void EmuBackend::set_options(emu::Options const& options) {
  std::lock_guard const lock(mutex_);
  options_ = options;
}

emu::Options EmuBackend::options() const {
  std::lock_guard const lock(mutex_);
  return options_;
}

emu::Statistics EmuBackend::last_statistics() const {
  std::lock_guard const lock(mutex_);
  return last_statistics_;
}

}  // namespace deepwell
