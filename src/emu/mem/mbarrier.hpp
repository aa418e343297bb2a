// The mbarrier object: a 64-bit word in shared memory, and what the operations do to it (PTX ISA, "mbarrier").
//
// Bits of the word: 0..19 pending arrivals of the current phase, 20..39 arrivals expected of the next one, 40..60 pending
// transaction bytes (two's complement), 61 parity of the current phase, 62..63 = 1 for an object, 2 for a state token that
// arrive hands out (the object's word just before the arrival). A phase ends when no arrivals and no bytes are pending; bytes
// may be negative because a copy can complete before it is announced.
#pragma once

#include <cstdint>

#include "base/error.hpp"

namespace deepwell::emu {

class Mbarrier {
 public:
  static constexpr std::uint32_t kMaxCount = (1u << 20) - 1;
  static constexpr std::int64_t kMaxBytes = (1 << 20) - 1;

  /// A fresh object in phase 0. Throws Error when count is not 1 to 2^20 - 1.
  static Mbarrier init(std::uint64_t count);
  /// Whether a word has an object's tag; a word without it is uninitialised or was overwritten.
  static bool is_object(std::uint64_t word) { return word >> 62 == 1; }
  static Mbarrier from_word(std::uint64_t word);
  std::uint64_t word() const;

  std::uint32_t pending() const { return pending_; }
  std::uint32_t expected() const { return expected_; }
  std::int64_t pending_bytes() const { return bytes_; }
  int parity() const { return parity_; }

  /// Each throws Error (kDevice) on misuse: more arrivals than are pending, counts out of range.
  void expect_tx(std::uint64_t bytes);
  void complete_tx(std::uint64_t bytes);
  void arrive(std::uint64_t count);
  void arrive_no_complete(std::uint64_t count);
  void arrive_drop(std::uint64_t count);
  void arrive_drop_no_complete(std::uint64_t count);
  /// Adds one pending arrival (cp.async.mbarrier.arrive without .noinc).
  void add_pending();

  /// Whether the phase of this parity has completed: the immediately preceding phase, or not yet for the current one.
  bool phase_done(int parity) const { return parity_ != parity; }

  /// The token that an arrival returns: taken before the arrival.
  std::uint64_t token() const { return (word() & ~(3ull << 62)) | (2ull << 62); }
  static bool is_token(std::uint64_t word) { return word >> 62 == 2; }
  static int token_parity(std::uint64_t token) { return static_cast<int>(token >> 61 & 1); }
  static std::uint32_t token_pending(std::uint64_t token) {
    return static_cast<std::uint32_t>(token & kMaxCount);
  }

 private:
  void take_arrivals(std::uint64_t count);
  void drop(std::uint64_t count);
  void check_not_last(char const* operation) const;
  void finish_phase_if_done();

  std::uint32_t pending_ = 0, expected_ = 0;
  std::int64_t bytes_ = 0;
  int parity_ = 0;
};

}  // namespace deepwell::emu
