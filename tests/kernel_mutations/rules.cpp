// The table of mutations.
#include "kernel_mutations/rules.hpp"

#include <utility>

#include "kernel_mutations/hc_prenorm.hpp"

namespace deepwell::mutations {
namespace {

constexpr Expect kReport = Expect::kReport, kAny = Expect::kAny, kNothing = Expect::kNothing,
                 kGap = Expect::kGap;

// Lines of the shipped kernels.
#define DW_INIT "mbarrier.init.shared::cta.b64 [*], *;"
#define DW_TRY_WAIT "mbarrier.try_wait.parity.shared::cta.b64 complete, [*], *;"
#define DW_ARRIVE "mbarrier.arrive.shared::cta.b64 _, [*];"
#define DW_EXPECT "mbarrier.arrive.expect_tx.shared::cta.b64 _, [*], *;"
#define DW_WORDS_ARRIVE "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [*];"
#define DW_COPY_OP "cp.async.bulk.tensor.3d.shared::cta.global.tile.mbarrier::complete_tx::bytes"
#define DW_COPY DW_COPY_OP " [*], [*, {*, *, *}], [*];"
#define DW_WORD "cp.async.ca.shared.global [*], [*], 4;"
#define DW_STORE "st.shared.u32 [*], *;"
#define DW_SHUFFLE "shfl.sync.idx.b32 *, *, *, 31, 0xffffffff;"
#define DW_BARRIER "barrier.cta.sync *, *;"
#define DW_LDMATRIX "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {*}, [*];"
#define DW_MMA "mma.sync.aligned.**, {*}, {*, *}, {*}, {*, *};"
#define DW_BRANCH "@* bra *;"
#define DW_LOAD_ARRIVE "barrier.cta.arrive *, *;"
#define DW_CONVERGE "bar.warp.sync 0xffffffff;"
#define DW_ELECT "elect.sync _|mine, 0xffffffff;"
#define DW_CLUSTER_ARRIVE "barrier.cluster.arrive.release.aligned;"
#define DW_CLUSTER_WAIT "barrier.cluster.wait.acquire.aligned;"
#define DW_CLUSTER_TELL "barrier.cluster.arrive.relaxed;"
#define DW_SENT_EXPECT "mbarrier.arrive.expect_tx.release.cluster.shared::cta.b64 _, [*], *;"
#define DW_SEND_OP "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32"
#define DW_SEND DW_SEND_OP " [*], {*, *, *, *}, [*];"
#define DW_SENT_WAIT "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 complete, [*], *;"
#define DW_MAPA "mapa.shared::cluster.u32 *, *, *;"
#define DW_PART "ld.shared::cluster.v4.f32 {*}, [*];"

// Order in the PTX: the loop of one elected lane, where tensor maps bring everything (kernels with FP32 scales have none), then the
// one for bytes, then the one for words. A stage of two k tiles takes two copies of either operand's data. The data of both operands
// come first, then the scales, if a slot of them begins.

// The waits of the two roles: the load warp's before it announces bytes, the math warps' before the first MMA.
#define DW_EMPTY_WAIT DW_EXPECT " <- " DW_TRY_WAIT
#define DW_FULL_WAIT "mma.sync** <- " DW_TRY_WAIT
#define DW_RELEASE                                                                         \
  "{ .reg .pred first; .reg .b32 lane; mov.u32 lane, %laneid; setp.eq.u32 first, lane, 0;" \
  " bar.warp.sync 0xffffffff; @first mbarrier.arrive.shared::cta.b64 _, [$2+$3]; }"
#define DW_RELAXED_WAIT "mbarrier.try_wait.parity.relaxed.cta.shared::cta.b64 complete, [$1], $2;"
#define DW_NO_WAIT "setp.eq.u32 complete, 0, 0;"
#define DW_OTHER_PARITY                      \
  "{ .reg .b32 other; xor.b32 other, $2, 1;" \
  " mbarrier.try_wait.parity.shared::cta.b64 complete, [$1], other; }"

// clang-format off
std::vector<Rule> const kRules = {
  // ---- setting up ----
  {"the barriers' initialisation is not made visible to copies", "fence.mbarrier_init.release.cluster;", "",
   kReport, {{"decode"}, {"large"}}},
  {"the barriers' initialisation is made visible too late", "fence.mbarrier_init.release.cluster;", "", kReport,
   {{"decode"}, {"large"}}, {{"-> " DW_COPY, "$0 fence.mbarrier_init.release.cluster;"}}},
  {"every thread initialises the barriers", DW_INIT " <- " DW_BRANCH, "", kReport, {{"decode"}, {"large"}}},
  {"full expects one arrival more", DW_INIT,
   "{ .reg .b32 other; add.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }", kReport,
   {{"decode"}, {"words"}, {"plain"}, {"large", 2}}},
  {"full expects one arrival less", DW_INIT,
   "{ .reg .b32 other; sub.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }", kReport,
   {{"decode"}, {"words"}, {"plain"}, {"large_words"}}},
  {"empty expects one arrival more", DW_INIT,
   "{ .reg .b32 other; add.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }", kReport,
   {{"decode", 1}, {"large", 3}}},
  {"empty expects one arrival less", DW_INIT,
   "{ .reg .b32 other; sub.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }", kReport,
   {{"decode", 1}, {"large", 3}}},
  {"no barrier between initialisation and use", DW_BARRIER, "", kReport, {{"decode"}, {"words"}, {"large"}}},
  {"the first barrier does not count the load warp", DW_BARRIER, "barrier.cta.sync $1, 128;", kReport,
   {{"decode"}}},
  {"the load warp does not arrive at the first barrier", DW_LOAD_ARRIVE, "", kReport, {{"decode"}, {"words"}, {"large"}}},
  {"the load warp arrives at another barrier", DW_LOAD_ARRIVE, "barrier.cta.arrive 1, $2;", kReport, {{"decode"}}},
  {"the load warp arrives at a barrier of the math warps only", DW_LOAD_ARRIVE, "barrier.cta.arrive $1, 128;", kReport,
   {{"decode"}}},
  {"the lane that loads does not wait for the one that initialised", DW_ELECT,
   "{ .reg .b32 lane; mov.u32 lane, %laneid; setp.eq.u32 mine, lane, 5; }", kReport, {{"decode"}},
   {{"<- " DW_CONVERGE, ""}}},

  // ---- the load warp ----
  {"no wait until a stage is empty", DW_EMPTY_WAIT, DW_NO_WAIT, kReport,
   {{"decode"}, {"words", 1}, {"plain", 1}, {"large"}, {"k64_large"}}},
  {"a wait for an empty stage that acquires nothing", DW_EMPTY_WAIT, DW_RELAXED_WAIT, kReport,
   {{"decode"}, {"words", 1}, {"plain", 1}, {"large"}}},
  {"a wait for an empty stage that may give up", DW_EMPTY_WAIT " -> " DW_BRANCH, "", kReport,
   {{"decode"}, {"words", 1}, {"large"}}},
  {"the load warp waits for the other parity", DW_EMPTY_WAIT, DW_OTHER_PARITY, kReport, {{"decode"}, {"large"}}},
  {"16 bytes too few are announced", DW_EXPECT,
   "{ .reg .b32 other; sub.s32 other, $2, 16; mbarrier.arrive.expect_tx.shared::cta.b64 _, [$1], other; }",
   kReport, {{"decode"}, {"words", 1}, {"large"}}},
  {"half of the bytes are announced", DW_EXPECT,
   "{ .reg .b32 other; shr.u32 other, $2, 1; mbarrier.arrive.expect_tx.shared::cta.b64 _, [$1], other; }",
   kReport, {{"decode"}, {"k64"}}},
  {"twice the bytes are announced", DW_EXPECT,
   "{ .reg .b32 other; shl.b32 other, $2, 1; mbarrier.arrive.expect_tx.shared::cta.b64 _, [$1], other; }",
   kReport, {{"decode"}, {"large"}}},
  {"no bytes are announced", DW_EXPECT, "mbarrier.arrive.shared::cta.b64 _, [$1];", kReport,
   {{"decode"}, {"words", 1}, {"large"}}},
  {"every lane announces the bytes", DW_EXPECT " <- " DW_BRANCH, "", kReport, {{"words", 1}, {"large_words", 1}}},
  {"the announcement is dropped", DW_EXPECT, "", kReport, {{"decode"}, {"words", 1}}},
  {"a copy is dropped", DW_COPY, "", kReport, {{"decode", 0}, {"decode", 1}, {"decode", 5}, {"large", 1}, {"large", 2}, {"large", 3}}},
  {"every lane issues a copy", DW_COPY " <- " DW_BRANCH, "", kReport, {{"words", 1}, {"large_words", 1}}},
  {"a copy with its coordinates swapped", DW_COPY, DW_COPY_OP " [$1], [$2, {$4, $3, $5}], [$6];", kAny,
   {{"decode", 0}, {"decode", 2}, {"large", 1}, {"large", 2}, {"k64", 0}}},
  {"a copy that always brings the first k tile", DW_COPY, DW_COPY_OP " [$1], [$2, {0, $4, $5}], [$6];", kAny,
   {{"decode", 0}, {"decode", 2}, {"large", 0}, {"k64_large", 1}}},
  {"a copy of the tile one row down", DW_COPY,
   "{ .reg .b32 other; add.s32 other, $4, 1; " DW_COPY_OP " [$1], [$2, {$3, other, $5}], [$6]; }", kAny,
   {{"decode", 0}, {"decode", 2}, {"large", 1}, {"large", 2}}},
  {"a copy into the next stage", DW_COPY, DW_COPY_OP " [$1+8192], [$2, {$3, $4, $5}], [$6];", kAny,
   {{"decode", 0}}},
  {"a copy to an address that its swizzle does not allow", DW_COPY,
   DW_COPY_OP " [$1+16], [$2, {$3, $4, $5}], [$6];", kAny, {{"decode", 0}, {"k64", 3}}},
  {"a stage's second k tile is the first once more", DW_COPY,
   "{ .reg .b32 other; add.s32 other, $3, -128; " DW_COPY_OP " [$1], [$2, {other, $4, $5}], [$6]; }", kAny,
   {{"decode", 1}, {"decode", 3}}},
  {"a stage's second k tile in the place of the first", DW_COPY,
   DW_COPY_OP " [$1+-4096], [$2, {$3, $4, $5}], [$6];", kAny, {{"decode", 1}}},
  {"every lane copies", DW_ELECT, "setp.eq.u32 mine, 0, 0;", kReport, {{"decode"}, {"k64"}, {"large"}}},
  {"no lane copies", DW_ELECT, "setp.ne.u32 mine, 0, 0;", kReport, {{"decode"}, {"large"}}},
  {"a copy that completes on the next stage's barrier", DW_COPY, DW_COPY_OP " [$1], [$2, {$3, $4, $5}], [$6+8];",
   kReport, {{"decode", 0}, {"large", 1}}},
  {"words without their arrival", DW_WORDS_ARRIVE, "", kReport, {{"words"}, {"large_words"}}},
  {"words that arrive besides what is counted", DW_WORDS_ARRIVE, "cp.async.mbarrier.arrive.shared::cta.b64 [$1];",
   kReport, {{"words"}, {"large_words"}}},
  {"an arrival that does not wait for the words", DW_WORDS_ARRIVE, "mbarrier.arrive.shared::cta.b64 _, [$1];",
   kReport, {{"words"}, {"widened"}, {"large_words"}}},
  {"the arrival of the words comes before the last of them", DW_WORDS_ARRIVE, "", kReport, {{"large_words"}},
   {{"<- " DW_WORD " <- " DW_WORD " <- " DW_WORD " <- " DW_WORD,
     "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [$1]; $0"}}},
  {"the arrival of the words on the next stage", DW_WORDS_ARRIVE,
   "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [$1+8];", kReport, {{"words"}}},
  {"a word four bytes off", DW_WORD, "cp.async.ca.shared.global [$1+4], [$2], 4;", kAny,
   {{"large_words", 3}, {"widened", 2}}},
  {"scales of rows past the end are read", DW_WORD " <- add.s32 *, *, -1;", "add.s32 $1, $2, 99;", kAny,
   {{"large_words", 2}}},
  {"bytes without their arrival", DW_WORDS_ARRIVE " -> " DW_ARRIVE, "", kReport, {{"plain", 1}}},
  {"the arrival of the bytes releases nothing", DW_WORDS_ARRIVE " -> " DW_ARRIVE,
   "mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [$1];", kReport, {{"plain", 1}}},
  {"the arrival of the bytes comes before the last store", DW_WORDS_ARRIVE " -> " DW_ARRIVE, "", kReport,
   {{"plain", 1}},
   {{"<- " DW_STORE " <- " DW_STORE " <- " DW_STORE " <- " DW_STORE " <- " DW_STORE " <- " DW_STORE " <- " DW_STORE,
     "mbarrier.arrive.shared::cta.b64 _, [$1]; $0"}}},
  {"bytes of data four off", DW_STORE, "st.shared.u32 [$1+4], $2;", kAny, {{"plain", 1}}},
  {"bytes of scales four off", DW_STORE, "st.shared.u32 [$1+4], $2;", kAny, {{"plain", 4}}},
  {"bytes stored without the swizzle", DW_STORE " <- xor.b32 *, *, *;", "mov.b32 $1, $3;", kAny,
   {{"plain", 0}, {"plain", 5}}},
  {"rows past the end are read", "ld.global.nc.u8 *, [*]; <- setp.ge.s32 *, *, *; -> " DW_BRANCH, "", kAny,
   {{"plain", 4}}},
  {"elements past k are read", "ld.global.nc.u8 *, [*]; <- " DW_BRANCH, "", kAny, {{"plain", 0}, {"plain", 3}}},
  {"scales go to the first slot alone", "mbarrier.arrive.expect_tx** -> and.b32 *, *, 512;", "mov.b32 $2, 0;", kAny,
   {{"large", 0}}},
  {"one slot of scales for all", "mbarrier.arrive.expect_tx** -> and.b32 *, *, 512;", "mov.b32 $2, 0;", kReport,
   {{"large", 0}}, {{"-> and.b32 *, *, 512; -> and.b32 *, *, 512; -> and.b32 *, *, 512;", "and.b32 $1, $1, 0;"}}},
  {"scales are brought once", DW_EXPECT " -> " DW_COPY " -> " DW_COPY " -> " DW_BRANCH, "bra $2;", kAny, {{"large", 0}}},
  {"the load warp leaves one stage early", DW_EXPECT " -> xor.b32 *, *, *; -> setp.lt.#32 *, *, *;",
   "{ .reg .b32 other; sub.s32 other, $3, 2; setp.lt.s32 $1, $2, other; }", kReport, {{"decode"}}},
  {"the warp that loads words leaves one stage early", DW_WORDS_ARRIVE " -> xor.b32 *, *, *; -> setp.lt.#32 *, *, *;",
   "{ .reg .b32 other; sub.s32 other, $3, 2; setp.lt.s32 $1, $2, other; }", kReport, {{"words"}}},
  {"the load warp's ring is one stage shorter", DW_EXPECT " -> setp.eq.#32 *, *, 4;", "setp.eq.s32 $1, $2, 3;", kReport,
   {{"decode"}, {"words", 1}}},
  {"the load warp keeps its phase", DW_EXPECT " -> xor.b32 *, *, *;", "", kReport, {{"decode"}, {"large"}}},
  {"the warp that loads words keeps its phase", DW_WORDS_ARRIVE " -> xor.b32 *, *, *;", "", kReport, {{"words"}}},

  // ---- the math warps ----
  {"a wait for a full stage that may give up", DW_FULL_WAIT " -> " DW_BRANCH, "", kReport,
   {{"decode"}, {"large"}}},
  {"no wait until a stage is full", DW_FULL_WAIT, DW_NO_WAIT, kReport,
   {{"decode"}, {"words"}, {"widened"}, {"plain"}, {"large"}, {"large_words"}, {"k64"}, {"k64_large"}}},
  {"a wait for a full stage that acquires nothing", DW_FULL_WAIT, DW_RELAXED_WAIT, kReport,
   {{"decode"}, {"words"}, {"plain"}, {"large"}}},
  {"the math warps wait for the other parity", DW_FULL_WAIT, DW_OTHER_PARITY, kReport, {{"decode"}, {"large"}}},
  {"the math warps keep their phase", DW_CONVERGE " -> xor.b32 *, *, *;", "", kReport,
   {{"decode"}, {"large", -1}, {"k64_large", -1}}},
  {"the math warps' ring is one stage shorter", DW_CONVERGE " -> setp.eq.#32 *, *, 4;",
   "setp.eq.s32 $1, $2, 3;", kReport, {{"decode"}}},
  {"a stage is released before the warp has converged", DW_CONVERGE, "", kReport,
   {{"decode"}, {"words", -1}, {"large", -1}, {"k64_large", -1}}},
  {"only half of the warp converges before the release", DW_CONVERGE, "bar.warp.sync 0x0000ffff;",
   kReport, {{"decode"}, {"large", -1}}},
  {"a stage's release releases nothing", DW_CONVERGE " -> " DW_ARRIVE,
   "mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [$1];", kReport, {{"decode"}, {"words", -1}, {"large", -1}}},
  {"a stage is never released", DW_CONVERGE " -> " DW_ARRIVE, "", kReport,
   {{"decode"}, {"words", -1}, {"large", -1}}},
  {"every lane releases a stage", DW_CONVERGE " -> " DW_BRANCH, "", kReport,
   {{"decode"}, {"large", -1}}},
  {"the next stage is released", DW_CONVERGE " -> " DW_ARRIVE,
   "mbarrier.arrive.shared::cta.b64 _, [$1+8];", kReport, {{"decode"}, {"large", -1}}},
  {"a stage is released before its last read", DW_CONVERGE " -> add.s32 *, *, *;", "$0", kReport,
   {{"decode"}, {"large", -1}, {"k64_large", -1}},
   {{"-> " DW_ARRIVE, ""}, {"<- " DW_LDMATRIX, DW_RELEASE " $0"}}},
  {"the second group's weights are the first's", "shl.b32 *, *, 12;", "mov.b32 $1, 0;", kAny, {{"decode"}}},
  {"the second group's tokens are the first's", "shl.b32 *, *, 10;", "mov.b32 $1, 0;", kAny, {{"decode"}}},
  {"the second group's scales of weights are the first's", "shl.b32 *, *, 12; -> shl.b32 *, *, 7;", "mov.b32 $1, 0;", kAny,
   {{"decode"}}},
  {"the second group takes itself for the first", DW_BARRIER " -> shr.u32 *, *, 6;", "mov.b32 $1, 0;", kAny,
   {{"decode"}, {"split"}}},
  {"a group without a k tile in the last stage multiplies", DW_FULL_WAIT " -> " DW_BRANCH " -> " DW_BRANCH, "", kAny,
   {{"decode"}}},
  {"fragments 16 bytes off", DW_LDMATRIX, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$1}, [$2+16];", kAny,
   {{"decode", 0}, {"decode", -1}, {"words", 2}, {"large", -1}, {"k64", 0}}},
  {"fragments of another stage", DW_LDMATRIX, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$1}, [$2+8192];", kAny,
   {{"decode", 2}}},
  {"the stage's offset is half of what it is", DW_LDMATRIX " <- shl.b32 *, *, 13;", "shl.b32 $1, $2, 12;", kAny,
   {{"decode", 2}}},
  {"fragments with one bit of the swizzle missing", DW_FULL_WAIT " <- and.b32 *, *, 7;", "and.b32 $1, $2, 3;",
   kAny, {{"decode"}, {"large"}, {"words"}}},
  {"packed fragments with one bit of the swizzle missing", DW_FULL_WAIT " <- and.b32 *, *, 3;",
   "and.b32 $1, $2, 1;", kAny, {{"k64"}, {"k64_large"}}},
  {"packed elements two bytes off", "ld.shared.u16 *, [*];", "ld.shared.u16 $1, [$2+2];", kAny,
   {{"widened", 0}, {"widened", -1}}},
  {"signs of packed elements from other nibbles", "prmt.b32 *, *, *, *;", "prmt.b32 $1, $3, $2, $4;", kAny,
   {{"widened", 1}}},
  {"a word of scales four bytes off", DW_FULL_WAIT " -> ld.shared.u32 *, [*];", "ld.shared.u32 $1, [$2+4];", kAny,
   {{"decode"}, {"large"}, {"k64"}}},
  {"scales past k are used", "selp.b32 *, -1, *, *;", "mov.b32 $1, -1;", kAny, {{"decode"}, {"widened"}}},
  {"an MMA with another byte of x's scales", DW_MMA, "mma.sync.aligned.$1, {$2}, {1, $4}, {$5}, {$6, $7};", kAny,
   {{"decode", 0}, {"decode", 3}}},
  {"a k64 MMA with other bytes of y's scales", DW_MMA, "mma.sync.aligned.$1, {$2}, {$3, $4}, {$5}, {2, $7};",
   kAny, {{"k64", 0}, {"k64_large", 0}}},
  {"an MMA with another lane's scales of x", DW_MMA, "mma.sync.aligned.$1, {$2}, {$3, 1}, {$5}, {$6, $7};", kAny,
   {{"large", 0}, {"k64_large", 1}}},
  {"an MMA with another lane's scales of y", DW_MMA, "mma.sync.aligned.$1, {$2}, {$3, $4}, {$5}, {$6, 1};", kAny,
   {{"large", 0}, {"k64_large", 0}}},
  {"an MMA is dropped", "mma.sync**", "", kAny, {{"decode", -1}, {"widened", 0}, {"large", 5}, {"k64", 0}}},
  {"lanes decide by themselves where scales act", "vote.sync.all.pred every, mine, 0xffffffff;",
   "mov.pred every, mine;", kAny, {{"widened"}, {"large_words"}}},
  {"FP32 scales lose their fraction", "and.b32 *, *, -2139095041;", "mov.b32 $1, 0;", kAny,
   {{"words"}, {"widened"}, {"large_words"}}},

  // ---- registers ----
  {"only the load warp gives registers back", "setmaxnreg.dec.sync.aligned.u32 72;", "", kReport, {{"large"}},
   {{"-> " DW_BRANCH, "$0 setmaxnreg.dec.sync.aligned.u32 72;"}}},

  // ---- sums to d ----
  {"sums are staged while warps still read the ring", DW_BARRIER, "", kReport,
   {{"decode", 1}, {"widened", 1}, {"large", 1}}},
  {"staged sums are read before all are there", DW_BARRIER, "", kReport,
   {{"decode", 2}, {"large", 2}}},
  {"warps arrive where they have to wait", DW_BARRIER, "barrier.cta.arrive $1, $2;", kReport,
   {{"decode", 1}, {"decode", 2}, {"large", 1}}},
  {"a staged sum four bytes off", "st.shared.f32 [*], *;", "st.shared.f32 [$1+4], $2;", kAny,
   {{"decode", 0}, {"k64", -1}}},
  {"a staged pair eight bytes off", "st.shared.v2.f32 [*], **;", "st.shared.v2.f32 [$1+8], $2;", kAny,
   {{"large", 0}, {"large", -1}}},
  {"staged sums are read one row down", "ld.shared.v4.f32 {*}, [*];", "ld.shared.v4.f32 {$1}, [$2+144];", kAny,
   {{"decode", -1}}},
  {"the groups of warps stage their sums in one place", "mad.lo.s32 *, *, 1152, *;", "mov.b32 $1, $3;", kReport,
   {{"decode"}, {"sent"}}},
  {"the last group's sums are left out", "ld.shared.v4.f32 {*}, [*]; -> add.rn.f32 *, *, *;", "mov.f32 $1, $3;", kAny,
   {{"decode", -1}, {"words", -1}}},
  {"rows or columns past the end are stored", DW_BARRIER " -> or.pred *, *, *;", "and.pred $1, $2, $3;", kAny,
   {{"decode", -1}, {"large", -1}}},
  {"a column past the end is stored", "st.global.**; <- " DW_BRANCH, "", kAny, {{"plain", -1}}},
  {"c of the next column", "ld.global.#32 *, [*];", "ld.global.f32 $1, [$2+4];", kAny, {{"split", 0}}},
  {"c is left out", "setp.eq.#64 *, *, 0;", "setp.eq.s64 $1, $2, $2;", kAny, {{"split", 0}, {"large", -1}}},

  // ---- splits of k ----
  {"no barrier of the cluster before sums are read", DW_CLUSTER_ARRIVE, "", kReport, {{"split"}},
   {{"-> " DW_CLUSTER_WAIT, ""}}},
  {"a barrier of the CTA before sums of others are read", DW_CLUSTER_ARRIVE, "barrier.cta.sync 1, 128;", kReport,
   {{"split"}}, {{"-> " DW_CLUSTER_WAIT, ""}}},
  {"CTAs do not arrive at the cluster's barrier", DW_CLUSTER_ARRIVE, "", kReport, {{"split", 0}, {"split", 1}}},
  {"CTAs do not wait at the cluster's barrier", DW_CLUSTER_WAIT, "", kReport, {{"split", 0}, {"split", 1}}},
  {"the cluster's barrier releases nothing", DW_CLUSTER_ARRIVE, "barrier.cluster.arrive.relaxed.aligned;", kReport,
   {{"split"}}},
  {"the warps that read sums take no part in the cluster's barrier", DW_CLUSTER_ARRIVE,
   "{ .reg .pred first; .reg .b32 thread; mov.u32 thread, %tid.x; setp.ge.u32 first, thread, 64; @first " DW_CLUSTER_ARRIVE
   " @first " DW_CLUSTER_WAIT " }", kReport, {{"split"}}, {{"-> " DW_CLUSTER_WAIT, ""}}},
  {"a CTA ends while others read its sums", DW_CLUSTER_ARRIVE, "", kReport, {{"split", 1}},
   {{"-> " DW_CLUSTER_WAIT, ""}}},
  {"a split reads its own sums instead of another's", DW_MAPA,
   "{ .reg .b32 mine; mov.u32 mine, %cluster_ctarank; mapa.shared::cluster.u32 $1, $2, mine; }", kAny,
   {{"split", 0}, {"split", 3}, {"split", 5}}},
  {"sums are read without mapping their address", DW_MAPA, "mov.b32 $1, $2;", kAny, {{"split", 0}, {"split", 5}}},
  {"sums of a CTA that the cluster does not have", DW_MAPA,
   "{ .reg .b32 other; add.s32 other, $3, 1; mapa.shared::cluster.u32 $1, $2, other; }", kReport, {{"split", 5}}},
  {"sums of the next split", DW_MAPA,
   "{ .reg .b32 other; add.s32 other, $3, 1; mapa.shared::cluster.u32 $1, $2, other; }", kAny, {{"split", 0}, {"split", 3}}},
  {"sums of the other group", DW_PART, "ld.shared::cluster.v4.f32 {$1}, [$2+4608];", kAny, {{"split", 0}, {"split", 4}}},
  {"sums of the next columns", DW_PART, "ld.shared::cluster.v4.f32 {$1}, [$2+16];", kAny, {{"split", 0}, {"split", 5}}},
  {"the last split's sums are left out", DW_PART " <- setp.ge.s32 *, *, *;", "setp.ge.s32 $1, 0, 0;", kAny,
   {{"split", 4}, {"split", 5}}},
  {"the first split's sums are added to what was there", DW_PART " -> setp.eq.#32 *, *, 0;", "setp.ne.s32 $1, $2, 0;", kAny,
   {{"split", 7}}},
  {"the last quad of each split is stored by nobody", DW_CLUSTER_WAIT " -> min.s32 *, *, 256;",
   "{ .reg .b32 other; sub.s32 other, $2, 1; min.s32 $1, other, 256; }", kAny, {{"split"}}},
  {"two splits store one quad", DW_CLUSTER_WAIT " -> min.s32 *, *, 256;",
   "{ .reg .b32 other; add.s32 other, $2, 1; min.s32 $1, other, 256; }", kNothing, {{"split"}}, {}, "gemm_mx",
   "both store the same sum by the same line"},
  {"every split stores the first one's part", DW_CLUSTER_WAIT " -> mul.lo.s32 *, *, *;", "mov.b32 $1, 0;", kAny,
   {{"split"}}},

  // ---- sums that are sent ----
  {"sums are sent before the cluster's barriers are there", DW_CLUSTER_WAIT, "", kReport, {{"sent"}, {"gemm_then_gemm"}}},
  {"math warps do not tell the cluster that their barrier is there", DW_CLUSTER_TELL, "", kReport,
   {{"sent"}, {"gemm_then_gemm"}}},
  {"the barrier of sent sums is not made visible", "fence.mbarrier_init.release.cluster;", "", kReport,
   {{"sent", 1}, {"gemm_then_gemm", 1}}},
  {"a CTA expects more sums than it is sent", DW_SENT_EXPECT,
   "{ .reg .b32 other; add.s32 other, $2, 16; mbarrier.arrive.expect_tx.release.cluster.shared::cta.b64 _, [$1], other; }", kReport,
   {{"sent"}}},
  {"a CTA expects fewer sums than it is sent", DW_SENT_EXPECT,
   "{ .reg .b32 other; sub.s32 other, $2, 16; mbarrier.arrive.expect_tx.release.cluster.shared::cta.b64 _, [$1], other; }", kReport,
   {{"sent"}}},
  {"sums are added before they have come", DW_SENT_WAIT, DW_NO_WAIT, kReport, {{"sent"}, {"gemm_then_gemm"}}},
  {"who waits for sent sums acquires nothing", DW_SENT_WAIT,
   "mbarrier.try_wait.parity.relaxed.cluster.shared::cta.b64 complete, [$1], $2;", kReport, {{"sent"}}},
  {"the other phase of sent sums", DW_SENT_WAIT,
   "{ .reg .b32 other; xor.b32 other, $2, 1;"
   " mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 complete, [$1], other; }", kReport, {{"sent"}}},
  {"each split keeps its sums", DW_MAPA,
   "{ .reg .b32 mine; mov.u32 mine, %cluster_ctarank; mapa.shared::cluster.u32 $1, $2, mine; }", kAny, {{"sent", 0}}},
  {"sent sums are counted where they come from", DW_MAPA,
   "{ .reg .b32 mine; mov.u32 mine, %cluster_ctarank; mapa.shared::cluster.u32 $1, $2, mine; }", kReport, {{"sent", 1}}},
  {"sums are sent to the next split", DW_MAPA,
   "{ .reg .b32 other; add.s32 other, $3, 1; mapa.shared::cluster.u32 $1, $2, other; }", kAny, {{"sent", 0}}},
  {"sums are sent to the place of the next columns", DW_SEND, DW_SEND_OP " [$1+16], {$2, $3, $4, $5}, [$6];", kAny,
   {{"sent"}}},
  {"columns of sent sums change places", DW_SEND, DW_SEND_OP " [$1], {$3, $2, $4, $5}, [$6];", kAny, {{"sent"}}},
  {"sums are sent before all warps have staged them", DW_CLUSTER_WAIT " <- " DW_BARRIER, "", kReport,
   {{"sent"}, {"gemm_then_gemm"}}},
  {"sums of one group of warps are sent", DW_SEND " <- ld.shared.v4.f32 {*}, [*];", "", kAny, {{"sent"}}},

  // ---- launches that overlap ----
  {"the GEMM does not wait for the launch before it", "griddepcontrol.wait;", "", kReport,
   {{"pack_then_gemm"}, {"gemm_then_gemm"}}},
  {"the GEMM waits after it has copied the tokens' scales", "griddepcontrol.wait;", "", kReport, {{"pack_then_gemm"}},
   {{"-> " DW_COPY " -> " DW_COPY " -> " DW_COPY " -> " DW_COPY " -> " DW_COPY " -> " DW_COPY, "$0 griddepcontrol.wait;"}}},
  {"the GEMM waits after it has read c", "griddepcontrol.wait;", "", kReport, {{"gemm_then_gemm"}},
   {{"-> ld.global.#32 *, [*];", "$0 griddepcontrol.wait;"}}},
  {"the layout kernel does not wait for the launch before it", "griddepcontrol.wait;", "", kReport,
   {{"pack_then_gemm"}}, {}, "scale_layout_f32_packed"},
  {"the layout kernel waits after its first load", "griddepcontrol.wait;", "", kReport, {{"pack_then_gemm"}},
   {{"-> ld.global.nc.u32 *, [*];", "$0 griddepcontrol.wait;"}}, "scale_layout_f32_packed"},

  {"a launch without a race of its own that may end before the launch before it", "griddepcontrol.wait;", "",
   kReport, {{"pack_then_gemm"}}, {}, "scale_layout_f32_f32"},

  // ---- the layout kernel ----
  {"the layout kernel handles rows past the end", "setp.ge.s32 *, *, *; -> " DW_BRANCH, "", kAny,
   {{"pack_scales"}}, {}, "scale_layout"},
  {"the layout kernel reads columns past the end", "ld.global.nc.u32 *, [*]; <- " DW_BRANCH, "", kAny,
   {{"pack_scales", 3}}, {}, "scale_layout"},
  {"an exponent in another byte of its word", "shl.b32 *, *, 24;", "shl.b32 $1, $2, 16;", kAny, {{"pack_scales"}},
   {}, "scale_layout"},
  {"a packed word one row down", "st.global.#32 [*], *;", "st.global.u32 [$1+4], $2;", kAny, {{"pack_scales"}},
   {}, "scale_layout"},
  {"exponents are rounded down", "add.s32 *, *, 8388607;", "mov.b32 $1, $2;", kAny, {{"pack_scales"}}, {},
   "scale_layout"},
  {"only the first lane's lossy scales are noted", "redux.sync.add.u32 *, *, 0xffffffff;", "mov.b32 $1, $2;",
   kAny, {{"pack_scales"}}, {}, "scale_layout"},
  {"every lane notes the lossy scales", "red.relaxed.gpu.global.add.u32 [*], *; <- " DW_BRANCH, "", kAny,
   {{"pack_scales"}}, {}, "scale_layout"},

  // ---- the indexer's logits ----
  {"the barriers' initialisation is not made visible to copies", "fence.mbarrier_init.release.cluster;", "", kReport,
   {{"mqa"}, {"mqa_paged"}}, {}, "mqa_logits"},
  {"full expects one arrival more", DW_INIT,
   "{ .reg .b32 other; add.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }", kReport,
   {{"mqa"}, {"mqa_bytes"}}, {}, "mqa_logits"},
  {"full expects one arrival less", DW_INIT,
   "{ .reg .b32 other; sub.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }", kReport,
   {{"mqa_bytes"}}, {}, "mqa_logits"},
  {"empty expects one arrival less", DW_INIT,
   "{ .reg .b32 other; sub.s32 other, $2, 1; mbarrier.init.shared::cta.b64 [$1], other; }", kReport,
   {{"mqa", 1}, {"mqa_paged", 1}}, {}, "mqa_logits"},
  {"a share is looked for before all sums are there", DW_BARRIER, "", kReport, {{"mqa", 0}, {"mqa_paged", 0}}, {},
   "mqa_logits"},
  {"a share is used before it is found", DW_BARRIER, "", kReport, {{"mqa", 1}, {"mqa_paged", 1}}, {}, "mqa_logits"},
  {"tiles of lanes are added to the wrong lanes", "shfl.sync.up.b32 *, *, 4, 0, 0xffffffff;",
   "shfl.sync.up.b32 $1, $2, 3, 0, 0xffffffff;", kAny, {{"mqa_shares"}}, {}, "mqa_logits"},
  {"tiles of a part of the units are counted", DW_BARRIER " <- " DW_SHUFFLE " <- " DW_SHUFFLE " <- " DW_SHUFFLE " <- " DW_SHUFFLE
   " <- " DW_SHUFFLE " <- " DW_SHUFFLE, "mov.b32 $1, 0;", kAny, {{"mqa_shares"}}, {}, "mqa_logits"},
  {"no wait until a stage is empty", DW_EMPTY_WAIT, DW_NO_WAIT, kReport, {{"mqa"}, {"mqa_bytes", 2}, {"mqa_paged"}},
   {}, "mqa_logits"},
  {"a wait for an empty stage that acquires nothing", DW_EMPTY_WAIT, DW_RELAXED_WAIT, kReport, {{"mqa"}, {"mqa_paged"}},
   {}, "mqa_logits"},
  {"the load warp waits for the other parity", DW_EMPTY_WAIT, DW_OTHER_PARITY, kReport, {{"mqa"}}, {}, "mqa_logits"},
  {"ranges are not there when lane 0 arrives for all", "bar.warp.sync 0xffffffff;", "", kReport,
   {{"mqa", 0}, {"mqa_paged", 0}}, {}, "mqa_logits"},
  {"16 bytes too few are announced", DW_EXPECT,
   "{ .reg .b32 other; sub.s32 other, $2, 16; mbarrier.arrive.expect_tx.shared::cta.b64 _, [$1], other; }", kReport,
   {{"mqa", 0}, {"mqa", 1}, {"mqa_paged", 1}}, {}, "mqa_logits"},
  {"a copy is dropped", DW_COPY, "", kReport, {{"mqa", 0}, {"mqa", 1}, {"mqa", 2}, {"mqa", 3}, {"mqa_paged", 2}}, {},
   "mqa_logits"},
  {"a copy of the tile one row down", DW_COPY,
   "{ .reg .b32 other; add.s32 other, $4, 1; " DW_COPY_OP " [$1], [$2, {$3, other, $5}], [$6]; }", kAny,
   {{"mqa", 0}, {"mqa", 2}, {"mqa_paged", 2}}, {}, "mqa_logits"},
  {"bytes are not fenced before a copy that comes later", "fence.proxy.async.shared::cta;", "", kReport,
   {{"mqa_bytes"}}, {}, "mqa_logits"},
  {"bytes without their arrival", "fence.proxy.async.shared::cta; -> " DW_ARRIVE, "", kReport, {{"mqa_bytes"}}, {},
   "mqa_logits"},
  {"a page of the next tile", DW_EXPECT " -> shfl.sync.idx.b32 *, *, *, 31, 0xffffffff;",
   "{ .reg .b32 other; add.s32 other, $3, 2; shfl.sync.idx.b32 $1, $2, other, 31, 0xffffffff; }", kAny,
   {{"mqa_paged", 0}}, {}, "mqa_logits"},
  {"no wait until a stage is full", DW_LDMATRIX " <- " DW_TRY_WAIT, DW_NO_WAIT, kReport,
   {{"mqa"}, {"mqa_bytes"}, {"mqa_paged"}}, {}, "mqa_logits"},
  {"a wait for a full stage that acquires nothing", DW_LDMATRIX " <- " DW_TRY_WAIT, DW_RELAXED_WAIT, kReport,
   {{"mqa"}, {"mqa_bytes"}, {"mqa_paged"}}, {}, "mqa_logits"},
  {"a stage is released before the warp has converged", "bar.warp.sync 0xffffffff;", "", kReport,
   {{"mqa", -1}, {"mqa_paged", -1}}, {}, "mqa_logits"},
  {"a stage's release releases nothing", "bar.warp.sync 0xffffffff; -> " DW_ARRIVE,
   "mbarrier.arrive.relaxed.cta.shared::cta.b64 _, [$1];", kReport, {{"mqa", -1}, {"mqa_paged", -1}}, {}, "mqa_logits"},
  {"fragments 16 bytes off", DW_LDMATRIX, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$1}, [$2+16];", kAny,
   {{"mqa", 0}, {"mqa", -1}, {"mqa_paged", 0}, {"mqa_paged", -1}}, {}, "mqa_logits"},
  {"weights four bytes off", "ld.shared.v2.f32 {*}, [*];", "ld.shared.v2.f32 {$1}, [$2+8];", kAny, {{"mqa", 0}, {"mqa", -1}},
   {}, "mqa_logits"},
  {"an MMA is dropped", "mma.sync**", "", kAny, {{"mqa", 0}, {"mqa_paged", -1}}, {}, "mqa_logits"},
  {"no ReLU", "max.NaN.f32 *, *, 0f00000000;", "mov.f32 $1, $2;", kAny, {{"mqa", 0}, {"mqa_paged", 0}}, {}, "mqa_logits"},
  {"a ReLU that loses NaN", "max.NaN.f32 *, *, 0f00000000;", "max.f32 $1, $2, 0f00000000;", kAny, {{"mqa_hostile", 0}}, {},
   "mqa_logits"},
  {"heads of two lanes are left out", "shfl.sync.bfly.b32 *, *, 2, 31, 0xffffffff;",
   "shfl.sync.bfly.b32 $1, $2, 1, 31, 0xffffffff;", kAny, {{"mqa", 0}, {"mqa_paged", -1}}, {}, "mqa_logits"},
  {"NaN is stored", "setp.nan.f32 *, *, *;", "setp.ne.u32 $1, 0, 0;", kAny, {{"mqa_hostile"}}, {}, "mqa_logits"},
  {"logits past a row's keys are stored", "selp.b32 *, *, -1, *;", "mov.b32 $1, $2;", kAny, {{"mqa", 0}, {"mqa_paged", 0}}, {},
   "mqa_logits"},
  {"the row of zeros is not written", "st.shared.u32 [*], *;", "", kReport, {{"mqa", 0}, {"mqa_paged", 0}}, {}, "mqa_logits"},
  {"a logit one column too far", "st.global.f32 [*], *;", "st.global.f32 [$1+4], $2;", kAny, {{"mqa", 0}}, {}, "mqa_logits"},

  // ---- changes that change nothing ----
  {"dependents are never let go", "griddepcontrol.launch_dependents;", "", kNothing,
   {{"pack_then_gemm"}, {"gemm_then_gemm"}}, {}, "gemm_mx", "they start when the grid ends, only later"},
  {"dependents are let go before the wait", "griddepcontrol.wait;", "", kNothing,
   {{"pack_then_gemm"}, {"gemm_then_gemm"}},
   {{"-> griddepcontrol.launch_dependents;", "$0 griddepcontrol.wait;"}}, "gemm_mx",
   "a dependent waits until the grid has ended, whenever it was let go"},
  {"bytes are announced after the copies", DW_EXPECT, "", kNothing, {{"decode"}, {"large"}},
   {{"-> xor.b32 *, *, *;", "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$1], $2; $0"}}, "gemm_mx",
   "the arrival that the announcement is keeps the phase open; the bytes may be counted before"},
  {"one barrier of the same warps has the number of another", DW_BARRIER, "barrier.cta.sync 0, $2;", kNothing,
   {{"decode", 2}}, {}, "gemm_mx", "the load warp is past its only barrier"},
  {"the load warp waits where it only has to arrive", DW_LOAD_ARRIVE, "barrier.cta.sync $1, $2;", kNothing,
   {{"decode"}, {"words"}}, {}, "gemm_mx", "the math warps wait for nobody before that barrier; it only takes longer"},
  {"another lane than the one that initialised loads", DW_ELECT,
   "{ .reg .b32 lane; mov.u32 lane, %laneid; setp.eq.u32 mine, lane, 5; }", kNothing, {{"decode"}}, {}, "gemm_mx",
   "the warp has converged after the fence that makes the barriers visible to copies"},
  {"lanes that do not load end before the one that does", DW_ELECT " -> " DW_CONVERGE, "", kNothing, {{"decode"}, {"large"}},
   {}, "gemm_mx", "nothing waits for them, and no copy needs their lane"},
  {"the cluster's barrier without its qualifiers", DW_CLUSTER_ARRIVE, "barrier.cluster.arrive.aligned;", kNothing,
   {{"split"}}, {{"-> " DW_CLUSTER_WAIT, "barrier.cluster.wait.aligned;"}}, "gemm_mx",
   "it releases and acquires where nothing else is said; no form of it acquires nothing"},
};
// clang-format on

}  // namespace

std::vector<Rule> const& rules() {
  static std::vector<Rule> const all = [] {
    std::vector<Rule> out = kRules;
    for (Rule& rule : hc_prenorm_rules()) out.push_back(std::move(rule));
    return out;
  }();
  return all;
}

}  // namespace deepwell::mutations
