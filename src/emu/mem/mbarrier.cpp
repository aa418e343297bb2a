// The mbarrier object's arithmetic.
#include "emu/mem/mbarrier.hpp"

#include "emu/mem/fault.hpp"
namespace deepwell::emu {
namespace {

constexpr std::uint64_t kBytesMask = (1ull << 21) - 1;

void check_bytes(std::int64_t bytes, char const* operation, std::uint64_t by) {
  DW_REQUIRE(
      bytes >= -Mbarrier::kMaxBytes && bytes <= Mbarrier::kMaxBytes, kBarrier,
      "{} of {} bytes brings the mbarrier's transaction count to {}; its range is -(2^20 - 1) to 2^20 - 1",
      operation, by, bytes);
}

}  // namespace

Mbarrier Mbarrier::init(std::uint64_t count) {
  DW_REQUIRE(count >= 1 && count <= kMaxCount, kBarrier,
             "mbarrier.init with count {}; 1 to 2^20 - 1 are possible", count);
  Mbarrier barrier;
  barrier.pending_ = barrier.expected_ = static_cast<std::uint32_t>(count);
  return barrier;
}

Mbarrier Mbarrier::from_word(std::uint64_t word) {
  DW_REQUIRE(is_object(word), kBarrier,
             "no mbarrier object here (the word is {:#018x}): not initialised, or overwritten", word);
  Mbarrier barrier;
  barrier.pending_ = static_cast<std::uint32_t>(word & kMaxCount);
  barrier.expected_ = static_cast<std::uint32_t>(word >> 20 & kMaxCount);
  std::int64_t const bytes = static_cast<std::int64_t>(word >> 40 & kBytesMask);
  barrier.bytes_ = bytes > kMaxBytes ? bytes - (1 << 21) : bytes;
  barrier.parity_ = static_cast<int>(word >> 61 & 1);
  return barrier;
}

std::uint64_t Mbarrier::word() const {
  return std::uint64_t{pending_} | std::uint64_t{expected_} << 20 |
         (static_cast<std::uint64_t>(bytes_) & kBytesMask) << 40 | static_cast<std::uint64_t>(parity_) << 61 |
         1ull << 62;
}

void Mbarrier::expect_tx(std::uint64_t bytes) {
  DW_REQUIRE(bytes <= static_cast<std::uint64_t>(kMaxBytes), kBarrier,
             "expect_tx of {} bytes; at most 2^20 - 1 are possible", bytes);
  std::int64_t const next = bytes_ + static_cast<std::int64_t>(bytes);
  check_bytes(next, "expect_tx", bytes);
  bytes_ = next;
  finish_phase_if_done();
}

void Mbarrier::complete_tx(std::uint64_t bytes) {
  DW_REQUIRE(bytes <= static_cast<std::uint64_t>(kMaxBytes), kBarrier,
             "complete_tx of {} bytes; at most 2^20 - 1 are possible", bytes);
  std::int64_t const next = bytes_ - static_cast<std::int64_t>(bytes);
  check_bytes(next, "complete_tx", bytes);
  bytes_ = next;
  finish_phase_if_done();
}

void Mbarrier::take_arrivals(std::uint64_t count) {
  DW_REQUIRE(count >= 1 && count <= kMaxCount, kBarrier,
             "mbarrier arrival with count {}; 1 to 2^20 - 1 are possible", count);
  DW_REQUIRE(count <= pending_, kBarrier,
             "mbarrier arrival with count {} but {} arrivals are pending in this phase ({} expected a phase, "
             "{} bytes pending)",
             count, pending_, expected_, bytes_);
  pending_ -= static_cast<std::uint32_t>(count);
}

void Mbarrier::drop(std::uint64_t count) {
  take_arrivals(count);
  DW_REQUIRE(count <= expected_, kBarrier,
             "mbarrier.arrive_drop of {} but only {} arrivals are expected a phase", count, expected_);
  expected_ -= static_cast<std::uint32_t>(count);
}

void Mbarrier::check_not_last(char const* operation) const {
  DW_REQUIRE(pending_ != 0, kBarrier, "{} would complete the mbarrier's phase", operation);
}

void Mbarrier::arrive(std::uint64_t count) {
  take_arrivals(count);
  finish_phase_if_done();
}

void Mbarrier::arrive_no_complete(std::uint64_t count) {
  take_arrivals(count);
  check_not_last("mbarrier.arrive.noComplete");
}

void Mbarrier::arrive_drop(std::uint64_t count) {
  drop(count);
  finish_phase_if_done();
}

void Mbarrier::arrive_drop_no_complete(std::uint64_t count) {
  drop(count);
  check_not_last("mbarrier.arrive_drop.noComplete");
}

void Mbarrier::add_pending() {
  DW_REQUIRE(pending_ < kMaxCount, kBarrier, "the mbarrier's pending count would exceed 2^20 - 1");
  ++pending_;
}

void Mbarrier::finish_phase_if_done() {
  if (pending_ != 0 || bytes_ != 0) return;
  parity_ ^= 1;
  pending_ = expected_;
}

}  // namespace deepwell::emu
