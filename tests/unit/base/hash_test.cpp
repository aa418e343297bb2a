// Hashes: known value, framing, sensitivity.
#include "base/hash.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace deepwell {
namespace {

TEST(Hash, IsTheSameOnEveryMachine) {
  // XXH3-128 of nothing, and of one part "deepwell" behind its 8-byte little-endian length (checked with xxhsum -H2).
  EXPECT_EQ(hash_hex(std::initializer_list<std::string_view>{}), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash_hex({"deepwell"}), "09de787a3b1e25a314844a2ed18f255e");
}

TEST(Hash, PartsCarryTheirLengths) {
  std::set<std::string> hashes = {hash_hex({"ab", "c"}), hash_hex({"a", "bc"}), hash_hex({"abc"}),
                                  hash_hex({"abc", ""}), hash_hex({"", "abc"}), hash_hex({})};
  EXPECT_EQ(hashes.size(), 6u);
}

TEST(Hash, EveryBitCounts) {
  std::vector<std::byte> bytes(300);
  std::set<std::string> hashes = {hash_hex(bytes)};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] ^= std::byte(1 << bit);
      hashes.insert(hash_hex(bytes));
      bytes[i] ^= std::byte(1 << bit);
    }
  }
  EXPECT_EQ(hashes.size(), 300u * 8 + 1);
}

TEST(Hash, IncrementalEqualsAtOnce) {
  Hasher hasher;
  hasher.add("one");
  std::string const early = hasher.hex();
  hasher.add("two");
  EXPECT_EQ(early, hash_hex({"one"}));
  EXPECT_EQ(hasher.hex(), hash_hex({"one", "two"}));
}

}  // namespace
}  // namespace deepwell
