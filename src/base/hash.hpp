// 128-bit content hashes (XXH3), for cache keys and for noticing damage; not against an adversary.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace deepwell {

/// Hashes a sequence of parts. Each part goes in with its length, so ("ab", "c") differs from ("a", "bc").
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher const&) = delete;
  Hasher& operator=(Hasher const&) = delete;

  Hasher& add(std::string_view part);
  Hasher& add(std::span<std::byte const> part);
  std::string hex() const;  // 32 lower-case hexadecimal digits, the same on every machine

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string hash_hex(std::initializer_list<std::string_view> parts);
std::string hash_hex(std::span<std::byte const> bytes);

}  // namespace deepwell
