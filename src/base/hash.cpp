// XXH3-128 over parts with their lengths.
#include "base/hash.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstdint>

#include "base/error.hpp"

namespace deepwell {

struct Hasher::State {
  XXH3_state_t xxh;
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }
Hasher::~Hasher() = default;

Hasher& Hasher::add(std::string_view part) { return add(std::as_bytes(std::span(part.data(), part.size()))); }

Hasher& Hasher::add(std::span<std::byte const> part) {
  std::array<unsigned char, 8> length{};
  for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(std::uint64_t{part.size()} >> (8 * i));
  XXH3_128bits_update(&state_->xxh, length.data(), length.size());
  if (!part.empty()) XXH3_128bits_update(&state_->xxh, part.data(), part.size());
  return *this;
}

std::string Hasher::hex() const {
  XXH128_hash_t const hash = XXH3_128bits_digest(&state_->xxh);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string hash_hex(std::initializer_list<std::string_view> parts) {
  Hasher hasher;
  for (std::string_view part : parts) hasher.add(part);
  return hasher.hex();
}

std::string hash_hex(std::span<std::byte const> bytes) {
  Hasher hasher;
  hasher.add(bytes);
  return hasher.hex();
}

}  // namespace deepwell
