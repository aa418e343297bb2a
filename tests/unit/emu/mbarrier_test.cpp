// The mbarrier object: phases, counts, transaction bytes, misuse.
#include "emu/mem/mbarrier.hpp"

#include <gtest/gtest.h>

namespace deepwell::emu {
namespace {

TEST(Mbarrier, WordRoundTrip) {
  Mbarrier barrier = Mbarrier::init(7);
  barrier.arrive(3);
  barrier.complete_tx(4096);
  Mbarrier const back = Mbarrier::from_word(barrier.word());
  EXPECT_EQ(back.pending(), 4u);
  EXPECT_EQ(back.expected(), 7u);
  EXPECT_EQ(back.pending_bytes(), -4096);
  EXPECT_EQ(back.parity(), 0);
  EXPECT_EQ(back.word(), barrier.word());
  EXPECT_TRUE(Mbarrier::is_object(barrier.word()));
  EXPECT_THROW(Mbarrier::from_word(0), Error);
  EXPECT_THROW(Mbarrier::from_word(~0ull), Error);
  EXPECT_THROW(Mbarrier::from_word(barrier.token()), Error);
}

TEST(Mbarrier, FreshBarrierHasThePhaseBeforeItDone) {
  Mbarrier const barrier = Mbarrier::init(1);
  EXPECT_TRUE(barrier.phase_done(1));
  EXPECT_FALSE(barrier.phase_done(0));
}

TEST(Mbarrier, PhaseNeedsArrivalsAndBytes) {
  Mbarrier barrier = Mbarrier::init(2);
  barrier.arrive(1);
  barrier.expect_tx(256);
  barrier.arrive(1);
  EXPECT_FALSE(barrier.phase_done(0));
  barrier.complete_tx(128);
  EXPECT_FALSE(barrier.phase_done(0));
  barrier.complete_tx(128);
  EXPECT_TRUE(barrier.phase_done(0));
  EXPECT_FALSE(barrier.phase_done(1));
  EXPECT_EQ(barrier.pending(), 2u);
  barrier.arrive(2);
  EXPECT_TRUE(barrier.phase_done(1));
}

TEST(Mbarrier, BytesMayCompleteBeforeTheyAreExpected) {
  Mbarrier barrier = Mbarrier::init(1);
  barrier.complete_tx(64);
  EXPECT_EQ(barrier.pending_bytes(), -64);
  EXPECT_FALSE(barrier.phase_done(0));
  barrier.expect_tx(64);
  EXPECT_FALSE(barrier.phase_done(0));
  barrier.arrive(1);
  EXPECT_TRUE(barrier.phase_done(0));
}

TEST(Mbarrier, DropLowersTheNextPhase) {
  Mbarrier barrier = Mbarrier::init(3);
  barrier.arrive_drop(1);
  EXPECT_EQ(barrier.expected(), 2u);
  barrier.arrive(2);
  EXPECT_TRUE(barrier.phase_done(0));
  EXPECT_EQ(barrier.pending(), 2u);
  barrier.add_pending();
  EXPECT_EQ(barrier.pending(), 3u);
  EXPECT_EQ(barrier.expected(), 2u);
}

TEST(Mbarrier, TokenIsTheStateBeforeTheArrival) {
  Mbarrier barrier = Mbarrier::init(2);
  std::uint64_t const token = barrier.token();
  barrier.arrive(1);
  EXPECT_TRUE(Mbarrier::is_token(token));
  EXPECT_EQ(Mbarrier::token_pending(token), 2u);
  EXPECT_FALSE(barrier.phase_done(Mbarrier::token_parity(token)));
  barrier.arrive(1);
  EXPECT_TRUE(barrier.phase_done(Mbarrier::token_parity(token)));
}

TEST(Mbarrier, MisuseIsAnError) {
  EXPECT_THROW(Mbarrier::init(0), Error);
  EXPECT_THROW(Mbarrier::init(1u << 20), Error);
  Mbarrier barrier = Mbarrier::init(2);
  EXPECT_THROW(barrier.arrive(3), Error);
  EXPECT_THROW(barrier.arrive(0), Error);
  EXPECT_THROW(barrier.expect_tx(1u << 20), Error);
  EXPECT_THROW(Mbarrier(barrier).arrive_no_complete(2), Error);
  EXPECT_THROW(Mbarrier(barrier).arrive_drop_no_complete(2), Error);
  barrier.expect_tx((1u << 20) - 1);
  EXPECT_THROW(barrier.expect_tx(1), Error);
  Mbarrier over = Mbarrier::init(1);
  over.complete_tx((1u << 20) - 1);
  EXPECT_THROW(over.complete_tx(1), Error);
  Mbarrier drop = Mbarrier::init(1);
  drop.add_pending();
  EXPECT_THROW(drop.arrive_drop(2), Error);
}

}  // namespace
}  // namespace deepwell::emu
