// Tensor maps that the driver has encoded lately: weights, and activations whose memory comes back, need the same ones call
// after call. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include "backend/backend.hpp"

namespace deepwell::cuda {

class TensorMapCache {
 public:
  std::optional<TensorMap> find(TensorMapSpec const& spec) {
    Slot& slot = slot_of(spec);
    std::lock_guard const lock(mutex_);
    if (!slot.used || !(slot.spec == spec)) return std::nullopt;
    return slot.map;
  }
  void insert(TensorMapSpec const& spec, TensorMap const& map) {
    Slot& slot = slot_of(spec);
    std::lock_guard const lock(mutex_);
    slot = {.spec = spec, .map = map, .used = true};
  }

 private:
  static constexpr std::size_t kSlots = 1024;  // a power of two
  struct Slot {
    TensorMapSpec spec;
    TensorMap map{};
    bool used = false;
  };
  Slot& slot_of(TensorMapSpec const& spec) {
    std::uint64_t hash = spec.base;
    for (std::uint64_t value : {spec.dims[0], spec.dims[1], spec.strides_bytes[0],
                                std::uint64_t{spec.box[0]} << 32 | spec.box[1]}) {
      hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 29;
    }
    return (*slots_)[hash % kSlots];
  }

  std::mutex mutex_;
  std::unique_ptr<std::array<Slot, kSlots>> slots_ = std::make_unique<std::array<Slot, kSlots>>();
};

}  // namespace deepwell::cuda
