// Runs programs on a device.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backend/backend.hpp"
#include "silicon/program.hpp"

namespace deepwell::silicon {

inline std::uint64_t fnv(std::string_view bytes) {
  std::uint64_t out = 0xcbf29ce484222325u;
  for (char const byte : bytes) out = (out ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return out;
}

inline std::vector<std::byte> bytes_of(std::vector<std::uint64_t> const& words) {
  std::vector<std::byte> out(words.size() * 8);
  std::memcpy(out.data(), words.data(), out.size());
  return out;
}

/// Runs the seeds of a program; outputs one after the other.
class Runner {
 public:
  explicit Runner(std::string const& device) : backend_(make_backend(device)) {}
  Backend& backend() { return *backend_; }

  std::vector<std::uint64_t> run(Program const& program, KernelImage const& image) {
    auto const kernel = backend_->load(image, 0);
    std::size_t const in_bytes = std::max<std::size_t>(8, program.inputs.size() * 8 * size(program));
    std::size_t const out_words = static_cast<std::size_t>(program.outputs) * size(program);
    DeviceAddress const in = buffer(0, in_bytes), out = buffer(1, out_words * 8);
    std::vector<std::uint64_t> all;
    for (int seed = 0; seed < program.seeds; ++seed) {
      std::vector<std::byte> const input = bytes_of(input_words(program, seed));
      if (!input.empty()) backend_->copy_to_device(in, input, nullptr);
      backend_->fill(out, out_words * 8, std::byte{0}, nullptr);
      std::vector<std::byte> params(16);
      std::memcpy(params.data(), &in, 8);
      std::memcpy(params.data() + 8, &out, 8);
      backend_->launch(*kernel, {.threads = static_cast<std::uint32_t>(program.threads)}, params);
      backend_->synchronize(nullptr);
      std::vector<std::uint64_t> words(out_words);
      backend_->copy_to_host({reinterpret_cast<std::byte*>(words.data()), out_words * 8}, out, nullptr);
      all.insert(all.end(), words.begin(), words.end());
    }
    return all;
  }

 private:
  static std::size_t size(Program const& program) { return static_cast<std::size_t>(program.threads); }
  DeviceAddress buffer(std::size_t which, std::size_t bytes) {
    auto& [address, capacity] = buffers_[which];
    if (capacity < bytes) {
      if (address != 0) backend_->release(address);
      capacity = std::max<std::size_t>(bytes, 1 << 16);
      address = backend_->allocate(capacity);
    }
    return address;
  }
  std::unique_ptr<Backend> backend_;
  std::pair<DeviceAddress, std::size_t> buffers_[2]{};
};

}  // namespace deepwell::silicon
