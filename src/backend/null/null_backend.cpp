// The backend that runs nothing.
#include "backend/null/null_backend.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>

#include "backend/checks.hpp"

namespace deepwell {
namespace {

constexpr std::size_t kAlignment = 256;

class NullKernel : public LoadedKernel {
 public:
  NullKernel(std::string entry, std::uint32_t dynamic_smem_bytes)
      : entry_(std::move(entry)), dynamic_smem_bytes_(dynamic_smem_bytes) {}
  std::string_view entry() const override { return entry_; }
  std::uint32_t dynamic_smem_bytes() const { return dynamic_smem_bytes_; }

 private:
  std::string entry_;
  std::uint32_t dynamic_smem_bytes_;
};

int parse_sm_count(std::string_view device, std::string_view text) {
  int value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) {
    throw bad_argument("device", std::string(device), "null:<target>[:<number of SMs, 1 or more>]");
  }
  return value;
}

}  // namespace

NullBackend::NullBackend(std::string_view device) {
  constexpr std::string_view kPrefix = "null:";
  if (!device.starts_with(kPrefix)) {
    throw bad_argument("device", std::string(device), "null:<target>[:<number of SMs, 1 or more>]");
  }
  std::string_view const rest = device.substr(kPrefix.size());
  std::size_t const colon = rest.find(':');
  info_.arch = arch_by_target(rest.substr(0, colon));
  info_.sm_count =
      colon == rest.npos ? info_.arch.default_sm_count : parse_sm_count(device, rest.substr(colon + 1));
  info_.id = device;
  info_.name = fmt::format("nothing, as {} with {} SMs", info_.arch.target, info_.sm_count);
}

NullBackend::~NullBackend() {
  for (auto const& [address, bytes] : allocations_) std::free(reinterpret_cast<void*>(address));
}

DeviceAddress NullBackend::allocate(std::size_t bytes) {
  check_allocation(bytes);
  // Rounding up must not wrap: no machine has the last page.
  void* const memory =
      bytes > SIZE_MAX - kAlignment
          ? nullptr
          : std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  DW_CHECK(memory != nullptr, kDevice, "{}: no memory for {} bytes", info_.id, bytes);
  auto const address = reinterpret_cast<DeviceAddress>(memory);
  std::lock_guard const lock(mutex_);
  allocations_.emplace(address, bytes);
  return address;
}

void NullBackend::release(DeviceAddress address) {
  {
    std::lock_guard const lock(mutex_);
    if (allocations_.erase(address) == 0) {
      throw bad_argument("address", fmt::format("{:#x}", address), "what allocate() gave");
    }
  }
  std::free(reinterpret_cast<void*>(address));
}

DeviceAddress NullBackend::allocate_zeroed(std::size_t bytes) {
  DeviceAddress const address = allocate(bytes);
  std::memset(reinterpret_cast<void*>(address), 0, bytes);
  return address;
}

DeviceAddress NullBackend::allocate_async(std::size_t bytes, Stream) { return allocate(bytes); }
void NullBackend::release_async(DeviceAddress address, Stream) { release(address); }

std::byte* NullBackend::host(DeviceAddress address, std::size_t bytes) const {
  std::lock_guard const lock(mutex_);
  auto const after = allocations_.upper_bound(address);
  if (after != allocations_.begin()) {
    auto const& [start, size] = *std::prev(after);
    if (address - start <= size && bytes <= size - (address - start))
      return reinterpret_cast<std::byte*>(address);
  }
  throw bad_argument("address", fmt::format("{} bytes at {:#x}", bytes, address),
                     "a range inside one allocation");
}

void NullBackend::copy_to_device(DeviceAddress to, std::span<std::byte const> from, Stream) {
  if (!from.empty()) std::memcpy(host(to, from.size()), from.data(), from.size());
}

void NullBackend::copy_to_host(std::span<std::byte> to, DeviceAddress from, Stream) {
  if (!to.empty()) std::memcpy(to.data(), host(from, to.size()), to.size());
}

void NullBackend::fill(DeviceAddress to, std::size_t bytes, std::byte value, Stream) {
  if (bytes > 0) std::memset(host(to, bytes), std::to_integer<int>(value), bytes);
}

TensorMap NullBackend::encode(TensorMapSpec const& spec) {
  // As much work as passing the fields on; the content is read by nobody.
  emu::TensorMapSpec const values = driver_values(spec);
  TensorMap map{};
  map.opaque[0] = values.base;
  map.opaque[1] =
      static_cast<unsigned long long>(values.data_type) | static_cast<unsigned long long>(values.rank) << 8;
  for (std::size_t i = 0; i < 5; ++i) map.opaque[2 + i] = values.dims[i];
  for (std::size_t i = 0; i < 4; ++i) map.opaque[7 + i] = values.strides_bytes[i];
  return map;
}

std::shared_ptr<LoadedKernel> NullBackend::load(KernelImage const& image, std::uint32_t dynamic_smem_bytes) {
  check_image(image);
  return std::make_shared<NullKernel>(image.entry, dynamic_smem_bytes);
}

void NullBackend::launch(LoadedKernel const& kernel, LaunchSpec const& spec,
                         std::span<std::byte const> params) {
  auto const* const own = dynamic_cast<NullKernel const*>(&kernel);
  if (own == nullptr)
    throw bad_argument("kernel", std::string(kernel.entry()), "a kernel that a null backend loaded");
  check_launch(own->entry(), spec, own->dynamic_smem_bytes());
  launches_.fetch_add(1, std::memory_order_relaxed);
  if (!recording_.load(std::memory_order_relaxed)) return;
  std::lock_guard const lock(mutex_);
  recorded_.push_back({.entry = std::string(own->entry()),
                       .spec = spec,
                       .params = std::vector<std::byte>(params.begin(), params.end())});
}

void NullBackend::synchronize(Stream) {}

std::uint64_t NullBackend::capture_id(Stream stream) {
  if (!any_capture_.load(std::memory_order_relaxed)) return 0;
  std::lock_guard const lock(mutex_);
  auto const found = captures_.find(stream);
  return found == captures_.end() ? 0 : found->second;
}

void NullBackend::set_capture_id(Stream stream, std::uint64_t id) {
  std::lock_guard const lock(mutex_);
  captures_[stream] = id;
  any_capture_.store(true, std::memory_order_relaxed);
}

DeviceAddress NullBackend::notes_address() { return reinterpret_cast<DeviceAddress>(notes_.data()); }

std::uint32_t NullBackend::read_note(int index) const {
  check_note(index);
  // Tests write the counters through notes_address(), as kernels do.
  return std::atomic_ref(const_cast<std::uint32_t&>(notes_[static_cast<std::size_t>(index)]))
      .load(std::memory_order_relaxed);
}

std::vector<NullBackend::Launch> NullBackend::recorded() const {
  std::lock_guard const lock(mutex_);
  return recorded_;
}

}  // namespace deepwell
