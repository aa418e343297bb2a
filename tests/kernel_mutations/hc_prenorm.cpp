// Programs and mutations of the hyper-connections' product.
#include "kernel_mutations/hc_prenorm.hpp"

#include <utility>

#include "base/thread_pool.hpp"
#include "check/hc_prenorm.hpp"

namespace deepwell::mutations {
namespace {

using check::DataKind;
using check::HcPrenormCase;
using check::HcPrenormData;
using check::Pitch;

constexpr Expect kReport = Expect::kReport, kAny = Expect::kAny;
constexpr char const* kKernel = "tf32_hc_prenorm_gemm";

/// Calls on one context, one after the other, with programmatic dependent launch; each result is judged. `tile_rows`: that tile,
/// whole, instead of the one that would be chosen; 0: none.
class OneHcPrenorm final : public Program {
 public:
  OneHcPrenorm(HcPrenormCase const& what, int times, int tile_rows) : times_(times), tile_rows_(tile_rows) {
    ThreadPool pool(1);
    data_ = check::make_hc_prenorm(what, 0, pool);
    DW_CHECK(what.data == DataKind::kExact, kInternal, "{} is not exact", what.name());
    bounds_.d.assign(data_.exact.d.size(), 0.0);
    bounds_.sqr_sum.assign(data_.exact.sqr_sum.size(), 0.0);
  }

  std::string kernel(Arch const& arch) const override { return check::short_name(how(arch)); }
  std::string run(Context& context) const override {
    context.set_pdl(true);
    HcPrenormCandidate const candidate = how(context.arch());
    for (int call = 0; call < times_; ++call) {
      check::Verdict const verdict = check::judge_hc_prenorm(
          data_, bounds_, check::run_hc_prenorm(context, data_, tile_rows_ == 0 ? nullptr : &candidate));
      if (!verdict.pass)
        return times_ == 1 ? verdict.reason : fmt::format("call {}: {}", call + 1, verdict.reason);
    }
    return {};
  }

 private:
  HcPrenormCandidate how(Arch const& arch) const {
    HcPrenormCase const& c = data_.what;
    for (HcPrenormPlan const& plan : hc_prenorm_plans(c.n, arch)) {
      if (plan.tile_rows == tile_rows_) return {.plan = plan, .pieces = 1, .cost_us = 0};
    }
    return choose_hc_prenorm({.m = c.m, .n = c.n, .k = c.k, .splits = c.parts()}, arch).at(0);
  }

  HcPrenormData data_;
  ref::HcPrenormResult bounds_;
  int times_, tile_rows_;
};

// Lines of the kernel.
#define DW_INIT "mbarrier.init.shared::cta.b64 [*], *;"
#define DW_TRY_WAIT "mbarrier.try_wait.parity.shared::cta.b64 complete, [*], *;"
#define DW_ARRIVE "mbarrier.arrive.shared::cta.b64 _, [*];"
#define DW_EXPECT "mbarrier.arrive.expect_tx.shared::cta.b64 _, [*], *;"
#define DW_COPY_OP "cp.async.bulk.tensor.3d.shared::cta.global.tile.mbarrier::complete_tx::bytes"
#define DW_COPY DW_COPY_OP " [*], [*, {*, *, *}], [*];"
#define DW_BARRIER "barrier.cta.sync *, *;"
#define DW_FRAGMENT "ld.shared.v4.u32 {*}, [*];"
#define DW_BRANCH "@* bra *;"
#define DW_ATOM "atom.acq_rel.gpu.global.add.u32 *, [*], *;"
#define DW_EMPTY_WAIT DW_EXPECT " <- " DW_TRY_WAIT
#define DW_FULL_WAIT "mma.sync** <- " DW_TRY_WAIT
#define DW_RELEASE "bar.warp.sync 0xffffffff; -> " DW_ARRIVE
#define DW_NO_WAIT "setp.eq.u32 complete, 0, 0;"
#define DW_RELAXED_WAIT "mbarrier.try_wait.parity.relaxed.cta.shared::cta.b64 complete, [$1], $2;"
#define DW_OTHER_PARITY                      \
  "{ .reg .b32 other; xor.b32 other, $2, 1;" \
  " mbarrier.try_wait.parity.shared::cta.b64 complete, [$1], other; }"
#define DW_MORE "{ .reg .b32 other; add.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }"
#define DW_LESS "{ .reg .b32 other; sub.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }"

// clang-format off
std::vector<Rule> make_rules() {
  return {
    {"hc: full expects one arrival more", DW_INIT, DW_MORE, kReport, {{"hc_few"}, {"hc_many"}, {"hc_elements"}}},
    {"hc: full expects one arrival less", DW_INIT, DW_LESS, kReport, {{"hc_few"}, {"hc_elements"}}},
    {"hc: empty expects one arrival more", DW_INIT, DW_MORE, kReport, {{"hc_few", 1}, {"hc_many", 1}}},
    {"hc: empty expects one arrival less", DW_INIT, DW_LESS, kReport, {{"hc_many", 1}}},
    {"hc: no barrier between initialisation and use", DW_BARRIER, "", kReport, {{"hc_few"}, {"hc_many"}}},
    {"hc: no wait until a stage is empty", DW_EMPTY_WAIT, DW_NO_WAIT, kReport, {{"hc_few"}, {"hc_many"}}},
    {"hc: a wait for an empty stage that acquires nothing", DW_EMPTY_WAIT, DW_RELAXED_WAIT, kReport,
     {{"hc_few"}, {"hc_many"}}},
    {"hc: the load warp waits for the other parity", DW_EMPTY_WAIT, DW_OTHER_PARITY, kReport, {{"hc_few"}}},
    {"hc: 16 bytes too few are announced", DW_EXPECT,
     "{ .reg .b32 other; sub.s32 other, $2, 16; mbarrier.arrive.expect_tx.shared::cta.b64 _, [$1], other; }",
     kReport, {{"hc_few"}, {"hc_many"}}},
    {"hc: a copy is dropped", DW_COPY, "", kReport, {{"hc_few", 0}, {"hc_few", 1}, {"hc_many", 2}}},
    {"hc: a copy that always brings the first block", DW_COPY, DW_COPY_OP " [$1], [$2, {0, $4, $5}], [$6];", kAny,
     {{"hc_few", 0}, {"hc_few", 2}, {"hc_many", 1}}},
    {"hc: a copy of the tile one row down", DW_COPY,
     "{ .reg .b32 other; add.s32 other, $4, 1; " DW_COPY_OP " [$1], [$2, {$3, other, $5}], [$6]; }", kAny,
     {{"hc_few", 0}, {"hc_many", 1}}},
    {"hc: elements without their arrival", "st.shared.u32 [*], *; -> " DW_ARRIVE, "", kReport, {{"hc_elements"}}},
    {"hc: the arrival of elements releases nothing", "st.shared.u32 [*], *; -> " DW_ARRIVE,
     "mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [$1];", kReport, {{"hc_elements"}}},
    {"hc: an element four bytes off", "st.shared.u32 [*], *;", "st.shared.u32 [$1+4], $2;", kAny,
     {{"hc_elements", 0}, {"hc_elements", 20}}},
    {"hc: elements past k count", "selp.b32 *, *, 0, *;", "mov.b32 $1, $2;", kAny, {{"hc_elements", 0}}},
    {"hc: no wait until a stage is full", DW_FULL_WAIT, DW_NO_WAIT, kReport,
     {{"hc_few"}, {"hc_many"}, {"hc_elements"}}},
    {"hc: a wait for a full stage that acquires nothing", DW_FULL_WAIT, DW_RELAXED_WAIT, kReport,
     {{"hc_few"}, {"hc_many"}, {"hc_elements"}}},
    {"hc: the math warps wait for the other parity", DW_FULL_WAIT, DW_OTHER_PARITY, kReport, {{"hc_few"}}},
    {"hc: a stage is released before the warp has converged", "bar.warp.sync 0xffffffff;", "", kReport,
     {{"hc_few"}, {"hc_many"}}},
    {"hc: a stage's release releases nothing", DW_RELEASE, "mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [$1];",
     kReport, {{"hc_few"}, {"hc_many"}}},
    {"hc: a stage is never released", DW_RELEASE, "", kReport, {{"hc_few"}, {"hc_many"}}},
    {"hc: the next stage is released", DW_RELEASE, "mbarrier.arrive.shared::cta.b64 _, [$1+8];", kReport,
     {{"hc_few"}, {"hc_many"}}},
    {"hc: fragments 16 bytes off", DW_FRAGMENT, "ld.shared.v4.u32 {$1}, [$2+16];", kAny,
     {{"hc_few", 0}, {"hc_few", 2}, {"hc_many", -1}}},
    {"hc: the upper element keeps bits of the lower", "and.b32 *, *, -65536;", "mov.b32 $1, $2;", kAny,
     {{"hc_few", 0}, {"hc_many", 3}}},
    {"hc: an MMA is dropped", "mma.sync**", "", kAny, {{"hc_few", 0}, {"hc_few", -1}, {"hc_many", 5}}},
    {"hc: a square is left out", "fma.rn.f32 *, *, *, *;", "mov.f32 $1, $4;", kAny,
     {{"hc_few", 0}, {"hc_few", 1}, {"hc_many", 7}}},
    {"hc: sums are staged while warps still read the ring", DW_BARRIER, "", kReport, {{"hc_few", 1}, {"hc_many", 1}}},
    {"hc: staged sums are read before all are there", DW_BARRIER, "", kReport, {{"hc_few", 2}, {"hc_pieces", 2}}},
    {"hc: a staged pair eight bytes off", "st.shared.v2.f32 [*], **;", "st.shared.v2.f32 [$1+8], $2;", kAny,
     {{"hc_few", 0}, {"hc_many", -1}}},
    {"hc: partial sums are published without a barrier", DW_BARRIER, "", kReport, {{"hc_pieces", 3}}},
    {"hc: partial sums are announced without release", DW_ATOM, "atom.acquire.gpu.global.add.u32 $1, [$2], $3;",
     kReport, {{"hc_pieces"}}, {{"<- fence.acq_rel.gpu;", ""}}},
    {"hc: threads do not wait to hear whether their CTA is last", DW_BARRIER, "", kReport, {{"hc_pieces", 4}}},
    {"hc: no CTA finds itself last", DW_ATOM " -> add.s32 *, *, 1;", "add.s32 $1, $2, 0;", kAny, {{"hc_pieces"}}},
    {"hc: the counter is not set back", DW_ATOM " -> st.global.#32 [*], *;", "", kAny, {{"hc_pieces"}}},
    {"hc: partial sums of the next element", "ld.global.f32 *, [*];", "ld.global.f32 $1, [$2+4];", kAny,
     {{"hc_pieces", 0}, {"hc_pieces", -1}}},
  };
}
// clang-format on

}  // namespace

std::vector<NamedProgram> hc_prenorm_programs() {
  std::vector<NamedProgram> out;
  auto const add = [&](std::string name, std::string what, std::string kernel, HcPrenormCase const& c,
                       int times = 1, int tile_rows = 0) {
    out.push_back({std::move(name), std::move(what), std::move(kernel),
                   std::make_shared<OneHcPrenorm>(c, times, tile_rows)});
  };
  add("hc_few", "16 rows, four warps take blocks in turn, more blocks than stages", "hc_prenorm 16x24 s12",
      {.data = DataKind::kExact, .m = 5, .n = 23, .k = 1000});
  add("hc_many", "64 rows, two warps share rows, more blocks than stages", "hc_prenorm 64x24 s6",
      {.data = DataKind::kExact, .m = 60, .n = 24, .k = 1024}, 1, 64);
  add("hc_elements", "unaligned operands element by element", "hc_prenorm 16x24 s12",
      {.data = DataKind::kExact,
       .m = 5,
       .n = 21,
       .k = 150,
       .a = Pitch::kOdd,
       .b = Pitch::kOdd,
       .d = Pitch::kOdd,
       .sqr_sum = Pitch::kOdd});
  add("hc_pieces", "k in pieces with workspace and counter, called twice", "hc_prenorm 16x24 s12 split 32",
      {.data = DataKind::kExact, .m = 3, .n = 24, .k = 4096}, 2);
  return out;
}

std::vector<Rule> hc_prenorm_rules() {
  std::vector<Rule> out = make_rules();
  for (Rule& rule : out) rule.kernel = kKernel;
  return out;
}

}  // namespace deepwell::mutations
