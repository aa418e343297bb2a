// What benchmarks on a GPU share: memory with numbers in it, and the time of calls in one CUDA graph.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_tools.hpp"
#include "ops/context.hpp"

namespace deepwell::bench {

/// Device memory until the end of a scope, with some bytes in it.
class DeviceMemory {
 public:
  DeviceMemory(Backend& backend, std::span<std::byte const> bytes)
      : backend_(&backend), address_(backend.allocate(std::max<std::size_t>(bytes.size(), 1))) {
    if (!bytes.empty()) backend.copy_to_device(address_, bytes, nullptr);
  }
  DeviceMemory(DeviceMemory&& other) noexcept
      : backend_(other.backend_), address_(std::exchange(other.address_, 0)) {}
  DeviceMemory& operator=(DeviceMemory const&) = delete;
  ~DeviceMemory() {
    if (address_ != 0) backend_->release(address_);
  }
  DeviceAddress address() const { return address_; }

 private:
  Backend* backend_;
  DeviceAddress address_;
};

/// Random bytes (bits of `mask`, plus `add`), a few million of them again and again: their number is a prime, so that rows and
/// matrices differ.
inline std::vector<std::byte> random_bytes(std::size_t count, std::uint64_t seed, unsigned mask,
                                           unsigned add) {
  constexpr std::size_t kPeriod = 4'000'037;
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < std::min(count, kPeriod); ++i)
    bytes[i] = static_cast<std::byte>((random() >> 11 & mask) + add);
  for (std::size_t done = kPeriod; done < count;) {
    std::size_t const more = std::min(done, count - done);
    std::memcpy(bytes.data() + done, bytes.data(), more);
    done += more;
  }
  return bytes;
}

/// Microseconds a call: calls(stream) makes `count` calls, first once by itself, then captured into a graph whose replays are timed;
/// the median of ten.
template <class Calls>
double graph_time_us(Context& context, std::size_t count, Calls&& calls) {
  cuda::OwnedStream stream(cuda::device_of(context.backend()));
  calls(stream.get());
  context.backend().synchronize(stream.get());
  std::unique_ptr<cuda::Graph> graph;
  {
    cuda::Capture capture(cuda::device_of(context.backend()), stream.get());
    calls(stream.get());
    graph = capture.finish();
  }
  cuda::Event begin(cuda::device_of(context.backend())), end(cuda::device_of(context.backend()));
  std::vector<double> times;
  for (int i = 0; i < 13; ++i) {
    begin.record(stream.get());
    graph->launch(stream.get());
    end.record(stream.get());
    if (i >= 3) times.push_back(begin.seconds_to(end) / static_cast<double>(count) * 1e6);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace deepwell::bench
