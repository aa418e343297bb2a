// Verdicts: right outputs pass, each kind of wrong one does not.
#include "check/verdict.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "check/mutate.hpp"

namespace deepwell::check {
namespace {

std::vector<double> limits(CaseData const& data, ThreadPool& pool, Arithmetic const& arithmetic = {}) {
  return bounds(data.a.view(), data.b.view(), data.what.batch, data.c_pointer(), data.exact, data.what.d,
                arithmetic, pool);
}

Case plain(DataKind kind, Dtype d) {
  Case c;
  c.data = kind, c.d = d;
  c.m = 5, c.n = 70, c.k = 416, c.d_pitch = Pitch::kOdd;
  return c;
}

TEST(Verdict, AcceptsTheReference) {
  ThreadPool pool(2);
  for (DataKind kind : {DataKind::kExact, DataKind::kRandom, DataKind::kHostile}) {
    for (Dtype d : {Dtype::kBf16, Dtype::kF32}) {
      CaseData const data = make_data(plain(kind, d), 1, pool);
      Verdict const verdict = judge(data, limits(data, pool), reference_output(data));
      EXPECT_TRUE(verdict.pass) << verdict.reason;
      EXPECT_TRUE(verdict.reason.empty());
      EXPECT_LE(verdict.error, verdict.bound);
    }
  }
}

std::byte* element(CaseData const& data, std::vector<std::byte>& after, std::int64_t i, std::int64_t j) {
  return after.data() + data.d.start + (i * data.d_pitch + j) * (bits_of(data.what.d) / 8);
}

TEST(Verdict, OneBitIsEnoughWhereSumsAreExact) {
  ThreadPool pool(2);
  CaseData const data = make_data(plain(DataKind::kExact, Dtype::kF32), 1, pool);
  std::vector<std::byte> after = reference_output(data);
  *element(data, after, 3, 41) ^= std::byte{1};
  Verdict const verdict = judge(data, limits(data, pool), after);
  EXPECT_FALSE(verdict.pass);
  EXPECT_NE(verdict.reason.find("[3, 41]"), std::string::npos) << verdict.reason;
}

TEST(Verdict, EitherZeroIsZero) {
  ThreadPool pool(2);
  CaseData data = make_data(plain(DataKind::kExact, Dtype::kF32), 1, pool);
  std::fill(data.exact.begin(), data.exact.end(), 0.0);
  std::vector<std::byte> after = reference_output(data);
  std::vector<double> const bounds(data.exact.size(), 0.0);
  EXPECT_TRUE(judge(data, bounds, after).pass);
  element(data, after, 0, 0)[3] = std::byte{0x80};
  EXPECT_TRUE(judge(data, bounds, after).pass);
  element(data, after, 0, 0)[0] = std::byte{0x01};
  EXPECT_FALSE(judge(data, bounds, after).pass);
}

TEST(Verdict, NaNInfinityAndUnwrittenFail) {
  ThreadPool pool(2);
  CaseData const data = make_data(plain(DataKind::kRandom, Dtype::kF32), 1, pool);
  std::vector<double> const bounds = limits(data, pool);
  for (float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    std::vector<std::byte> after = reference_output(data);
    std::memcpy(element(data, after, 4, 69), &bad, 4);
    EXPECT_FALSE(judge(data, bounds, after).pass) << bad;
  }
  std::vector<std::byte> after = reference_output(data);
  std::uint32_t const poison = poison_bits(Dtype::kF32);
  std::memcpy(element(data, after, 0, 5), &poison, 4);
  Verdict const verdict = judge(data, bounds, after);
  EXPECT_FALSE(verdict.pass);
  EXPECT_NE(verdict.reason.find("not written"), std::string::npos) << verdict.reason;
}

TEST(Verdict, GuardBandsAndGapsCount) {
  ThreadPool pool(2);
  CaseData const data = make_data(plain(DataKind::kRandom, Dtype::kBf16), 1, pool);
  std::vector<double> const bounds = limits(data, pool);
  std::int64_t const row_end = data.d.start + 70 * 2;
  for (std::int64_t at :
       {std::int64_t{0}, data.d.start - 1, row_end, static_cast<std::int64_t>(data.d.bytes.size()) - 1}) {
    std::vector<std::byte> after = reference_output(data);
    after[static_cast<std::size_t>(at)] ^= std::byte{0x40};
    EXPECT_FALSE(judge(data, bounds, after).pass) << at;
  }
}

TEST(Verdict, JustInsideAndJustOutsideTheBound) {
  ThreadPool pool(2);
  CaseData const data = make_data(plain(DataKind::kRandom, Dtype::kF32), 1, pool);
  std::vector<double> const bounds = limits(data, pool);
  for (double factor : {0.9, 1.1}) {
    std::vector<std::byte> after = reference_output(data);
    std::size_t const index = 2 * 70 + 3;
    float const value = static_cast<float>(data.exact[index] + factor * bounds[index]);
    std::memcpy(element(data, after, 2, 3), &value, 4);
    EXPECT_EQ(judge(data, bounds, after).pass, factor < 1) << factor;
  }
}

TEST(Mutations, EveryOneIsRejectedAndTheRightAnswerIsNot) {
  ThreadPool pool(2);
  std::set<std::string> seen;
  for (Case const& c : mutation_cases()) {
    for (char const* target : {"sm_120a", "sm_90a"}) {
      Arithmetic const arithmetic =
          arithmetic_of(arch_by_target(target), c.a.dtype, c.a.scale, c.b.dtype, c.b.scale, 256);
      for (MutationOutcome const& outcome : mutate_case(c, arithmetic, 1, reference_output, pool)) {
        EXPECT_EQ(outcome.rejected, outcome.mutation != "none")
            << c.name() << " " << target << ": " << outcome.mutation << ": " << outcome.reason;
        seen.insert(outcome.mutation);
      }
    }
  }
  EXPECT_EQ(seen.size(), 11u) << "every mutation must occur";
}

}  // namespace
}  // namespace deepwell::check
