// Statistics of kernels small enough to count by hand.
#include <gtest/gtest.h>

#include <cstring>

#include "emu/emu.hpp"
#include "emu/instr/kind.hpp"
#include "emu/run/transactions.hpp"

namespace deepwell::emu {

std::ostream& operator<<(std::ostream& out, MemoryCounts const& c) {
  return out << "{" << c.requests << " requests, " << c.lanes << " lanes, " << c.bytes << " bytes, "
             << c.transactions << " transactions, ideal " << c.ideal << "}";
}

namespace {

constexpr std::size_t kBufferBytes = 16384;

/// `body` is a kernel's: %rd1 in, %rd2 out (16 KiB each, global), %rd3 a tensor map, %r1 thread, %r2 shared memory (16 KiB),
/// %p1 thread 0. Free: %r3 on, %rd4 on, %p2 on.
Statistics count(std::string const& body, Options options = {.race = false, .statistics = true},
                 LaunchConfig const& config = {.block = {32, 1, 1}}) {
  std::string const text =
      ".version 8.8\n.target sm_120a\n.address_size 64\n"
      ".visible .entry k(.param .u64 in, .param .u64 out, .param .u64 map) {\n"
      ".shared .align 1024 .b8 smem[16384];\n.local .align 16 .b8 mine[64];\n"
      ".reg .b16 %h<8>; .reg .b32 %r<64>; .reg .f32 %f<16>; .reg .b64 %rd<32>; .reg .pred %p<8>;\n"
      "ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out]; ld.param.u64 %rd3, [map];\n"
      "mov.u32 %r1, %tid.x; mov.u32 %r2, smem; setp.eq.u32 %p1, %r1, 0;\n" +
      body + "\nret;\n}\n";
  Profile const profile;
  auto const module = Module::parse(text, profile, "k.ptx");
  Memory memory;
  std::uint64_t params[3] = {memory.allocate(kBufferBytes, "in"), memory.allocate(kBufferBytes, "out"),
                             memory.allocate(128, "map")};
  memory.fill(params[0], kBufferBytes, std::byte{0});
  // 16 columns and 40 rows of FP32 numbers at `in`, boxes of 32 by 8.
  memory.write(params[2], encode_tensor_map({.data_type = 7,
                                             .rank = 2,
                                             .base = params[0],
                                             .dims = {16, 40},
                                             .strides_bytes = {64},
                                             .box = {32, 8}}));
  return launch(*module, "k", config, std::as_bytes(std::span(params)), memory, options, profile);
}

/// %rd4 = `base` + thread * `stride` + `offset`.
std::string global_address(int stride, int offset = 0, char const* base = "%rd1") {
  return fmt::format("mul.wide.u32 %rd4, %r1, {}; add.u64 %rd4, %rd4, {}; add.u64 %rd4, %rd4, {};\n", stride,
                     base, offset);
}
/// %r3 = shared memory + thread * `stride` + `offset`.
std::string shared_address(int stride, int offset = 0) {
  return fmt::format("mad.lo.u32 %r3, %r1, {}, %r2; add.u32 %r3, %r3, {};\n", stride, offset);
}
MemoryCounts counts(std::uint64_t requests, std::uint64_t lanes, std::uint64_t bytes,
                    std::uint64_t transactions, std::uint64_t ideal) {
  return {.requests = requests, .lanes = lanes, .bytes = bytes, .transactions = transactions, .ideal = ideal};
}

MemoryCounts global_load(std::string const& what) { return count(what).global.load; }
MemoryCounts shared_load(std::string const& what) { return count(what).shared.load; }

TEST(Statistics, SectorsOfGlobalLoads) {
  std::string const load = "ld.global.u32 %r4, [%rd4];";
  EXPECT_EQ(global_load(global_address(4) + load), counts(1, 32, 128, 4, 4)) << "coalesced";
  EXPECT_EQ(global_load(global_address(8) + load), counts(1, 32, 128, 8, 4)) << "every second word";
  EXPECT_EQ(global_load(global_address(128) + load), counts(1, 32, 128, 32, 4)) << "a row each";
  EXPECT_EQ(global_load(global_address(4, 4) + load), counts(1, 32, 128, 5, 4)) << "one word further";
  EXPECT_EQ(global_load(global_address(0) + load), counts(1, 32, 128, 1, 1)) << "one word for all";
  EXPECT_EQ(global_load(global_address(1) + "ld.global.u8 %r4, [%rd4];"), counts(1, 32, 32, 1, 1));
  EXPECT_EQ(global_load(global_address(16) + "ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd4];"),
            counts(1, 32, 512, 16, 16));
  EXPECT_EQ(global_load(global_address(4) + "ld.u32 %r4, [%rd4];"), counts(1, 32, 128, 4, 4)) << "generic";
}

TEST(Statistics, StoresAndAtomicsHaveTheirOwnColumns) {
  Statistics const store = count(global_address(64, 0, "%rd2") + "st.global.u32 [%rd4], %r1;");
  EXPECT_EQ(store.global.store, counts(1, 32, 128, 32, 4));
  EXPECT_EQ(store.global.load, MemoryCounts{});
  Statistics const atomic = count(global_address(0) + "red.global.add.u32 [%rd4], %r1;");
  EXPECT_EQ(atomic.global.atomic, counts(1, 32, 128, 1, 1));
  EXPECT_EQ(atomic.global.total(), atomic.global.atomic);
  Statistics const local = count("st.local.u32 [mine], %r1; ld.local.v2.u32 {%r4, %r5}, [mine];");
  EXPECT_EQ(local.local.store, counts(1, 32, 128, 0, 0));
  EXPECT_EQ(local.local.load, counts(1, 32, 256, 0, 0));
}

TEST(Statistics, LanesThatAreOffDoNotCount) {
  Statistics const some =
      count(global_address(4) + "setp.lt.u32 %p2, %r1, 8; @%p2 ld.global.u32 %r4, [%rd4];");
  EXPECT_EQ(some.global.load, counts(1, 8, 32, 1, 1));
  Statistics const none =
      count(global_address(4) + "setp.gt.u32 %p2, %r1, 99; @%p2 ld.global.u32 %r4, [%rd4];");
  EXPECT_EQ(none.global.load, MemoryCounts{});
  EXPECT_EQ(none.by_opcode.at("ld.global.u32"), 1u);
}

TEST(Statistics, WavefrontsOfSharedLoads) {
  std::string const load = "ld.shared.u32 %r4, [%r3];";
  EXPECT_EQ(shared_load(shared_address(4) + load), counts(1, 32, 128, 1, 1)) << "a bank each";
  EXPECT_EQ(shared_load(shared_address(12) + load), counts(1, 32, 128, 1, 1)) << "odd strides are free too";
  EXPECT_EQ(shared_load(shared_address(8) + load), counts(1, 32, 128, 2, 1));
  EXPECT_EQ(shared_load(shared_address(128) + load), counts(1, 32, 128, 32, 1));
  EXPECT_EQ(shared_load(shared_address(0) + load), counts(1, 32, 128, 1, 1)) << "broadcast";
  EXPECT_EQ(shared_load(shared_address(2) + "ld.shared.u16 %h1, [%r3];"), counts(1, 32, 64, 1, 1));
  EXPECT_EQ(shared_load(shared_address(8) + "ld.shared.v2.u32 {%r4, %r5}, [%r3];"), counts(1, 32, 256, 2, 2));
  std::string const load4 = "ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [%r3];";
  EXPECT_EQ(shared_load(shared_address(16) + load4), counts(1, 32, 512, 4, 4));
  EXPECT_EQ(shared_load(shared_address(32) + load4), counts(1, 32, 512, 8, 4));
  EXPECT_EQ(shared_load(shared_address(128) + load4), counts(1, 32, 512, 32, 4));
}

TEST(Statistics, SharedStoresAndAtomics) {
  EXPECT_EQ(count(shared_address(16) + "st.shared.u32 [%r3], %r1;").shared.store, counts(1, 32, 128, 4, 1));
  std::string const add = "st.shared.u32 [%r3], 0; atom.shared.add.u32 %r4, [%r3], 1;";
  EXPECT_EQ(count(shared_address(4) + add).shared.atomic, counts(1, 32, 128, 1, 1));
  EXPECT_EQ(count(shared_address(0) + add).shared.atomic, counts(1, 32, 128, 32, 1)) << "one after the other";
}

TEST(Statistics, MatrixRowsWithAndWithoutSwizzle) {
  std::string const load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r4, %r5, %r6, %r7}, [%r3];";
  EXPECT_EQ(shared_load(shared_address(128) + load), counts(1, 32, 512, 32, 4)) << "rows of one bank group";
  // Lane l reads row l at chunk (l / 8) ^ (l % 8), as under a 128-byte swizzle.
  std::string const swizzled =
      shared_address(128) +
      "shr.u32 %r8, %r1, 3; and.b32 %r9, %r1, 7; xor.b32 %r8, %r8, %r9; shl.b32 %r8, %r8, 4; "
      "add.u32 %r3, %r3, %r8;\n";
  EXPECT_EQ(shared_load(swizzled + load), counts(1, 32, 512, 4, 4));
  EXPECT_EQ(shared_load(shared_address(16) + "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r4}, [%r3];"),
            counts(1, 8, 128, 1, 1));
  EXPECT_EQ(
      count(shared_address(64) + "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r3], {%r1, %r1};").shared.store,
      counts(1, 16, 256, 8, 2));
}

TEST(Statistics, PlainAsyncCopies) {
  Statistics const s = count(global_address(16) + shared_address(16) +
                             "setp.eq.u32 %p2, %r1, 3;\ncp.async.cg.shared.global [%r3], [%rd4], 16, %p2;\n"
                             "cp.async.wait_all;");
  EXPECT_EQ(s.global.copy, counts(1, 31, 496, 16, 16)) << "a lane that only fills with zeros reads nothing";
  EXPECT_EQ(s.shared.copy, counts(1, 32, 512, 4, 4));
  EXPECT_EQ(s.bulk, BulkCounts{});
  EXPECT_EQ(s.count(InstructionKind::kAsyncCopy), 2u);
}

std::string const kWait = "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0; @!%p2 bra WAIT;\n";
std::string loaded(std::string const& copy, int bytes) {
  return fmt::format(
      "@%p1 mbarrier.init.shared::cta.b64 [%r2], 1; fence.proxy.async; bar.sync 0; add.u32 %r3, %r2, 1024;\n"
      "mov.u32 %r10, 0; @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {};\n@%p1 {}\n{}",
      bytes, copy, kWait);
}

TEST(Statistics, BulkCopies) {
  std::string const copy =
      "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%r3], [%rd1{}], 128, [%r2];";
  Statistics s = count(loaded(fmt::format(fmt::runtime(copy), ""), 128));
  EXPECT_EQ(s.bulk.operations, 1u);
  EXPECT_EQ(s.bulk.bytes_in, 128u);
  EXPECT_EQ(s.bulk.bytes_out, 0u);
  EXPECT_EQ(s.bulk.global_in, counts(1, 1, 128, 4, 4));
  EXPECT_EQ(s.sync.mbarrier_phases, 1u);
  EXPECT_EQ(s.sync.mbarrier_arrivals, 1u);
  EXPECT_EQ(s.sync.mbarrier_waits, 1u);
  EXPECT_EQ(count(loaded(fmt::format(fmt::runtime(copy), "+16"), 128)).bulk.global_in,
            counts(1, 1, 128, 5, 4));

  s = count(shared_address(4) +
            "st.shared.u32 [%r3], %r1; fence.proxy.async; bar.sync 0;\n"
            "@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 128;\n"
            "cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;");
  EXPECT_EQ(s.bulk.operations, 1u);
  EXPECT_EQ(s.bulk.bytes_out, 128u);
  EXPECT_EQ(s.bulk.global_out, counts(1, 1, 128, 4, 4));
  EXPECT_EQ(s.global_traffic(), s.bulk.global_out);
}

TEST(Statistics, TensorCopiesReadWhatLiesInside) {
  Statistics const s =
      count(loaded("cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes "
                   "[%r3], [%rd3, {%r10, 36}], [%r2];",
                   1024));
  EXPECT_EQ(s.tensor.operations, 1u);
  EXPECT_EQ(s.tensor.bytes_in, 1024u);
  EXPECT_EQ(s.tensor.global_in, counts(1, 1, 4 * 64, 8, 8)) << "four rows of sixteen numbers";
  EXPECT_EQ(s.bulk, BulkCounts{});
}

TEST(Statistics, TensorCopiesReadWhatLiesInsideWithoutChecks) {
  Statistics const s =
      count(loaded("cp.async.bulk.tensor.2d.shared::cta.global.tile.mbarrier::complete_tx::bytes "
                   "[%r3], [%rd3, {%r10, 36}], [%r2];",
                   1024),
            {.check = false, .statistics = true});
  EXPECT_EQ(s.tensor.bytes_in, 1024u);
  EXPECT_EQ(s.tensor.global_in, counts(1, 1, 4 * 64, 8, 8));
}

TEST(Statistics, BarriersAndGrids) {
  Statistics const s = count(
      "bar.sync 0; bar.arrive 1, 128; bar.sync 1, 128;\ngriddepcontrol.wait;\n"
      "griddepcontrol.launch_dependents;",
      {.statistics = true}, {.grid = {3, 1, 1}, .block = {64, 1, 1}});
  EXPECT_EQ(s.sync.barrier_arrivals, 3u * 6);
  EXPECT_EQ(s.sync.barriers, 3u * 2);
  EXPECT_EQ(s.sync.grid_waits, 6u);
  EXPECT_EQ(s.sync.grid_launches, 6u);
  EXPECT_EQ(s.declared, (DeclaredResources{
                            .registers = 5, .threads = 64, .static_smem_bytes = 16384, .local_bytes = 64}));
}

TEST(Statistics, MultiplyAddsOfMmas) {
  Statistics const s = count(
      "mov.b32 %r4, 0; mov.f32 %f1, 0f00000000; mov.u16 %h1, 0;\n"
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1, %f2, %f3, %f4}, {%r4, %r4, %r4, %r4}, {%r4, "
      "%r4}, "
      "{%f1, %f1, %f1, %f1};\n"
      "mma.sync.aligned.kind::mxf4.block_scale.scale_vec::2X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue8m0 "
      "{%f5, %f6, %f7, %f8}, {%r4, %r4, %r4, %r4}, {%r4, %r4}, {%f1, %f1, %f1, %f1}, {%r4}, {0, 0}, {%r4}, "
      "{0, 0};");
  EXPECT_EQ(s.mma, 2u);
  EXPECT_EQ(s.multiply_adds, 16u * 8 * 16 + 16u * 8 * 64);
  EXPECT_EQ(s.count(InstructionKind::kMma), 2u);
}

TEST(Statistics, EveryInstructionHasAKind) {
  for (Row const* row : all_rows()) {
    Instr instr;
    instr.row = row;
    instr.ops.resize(2);
    EXPECT_NO_THROW(kind_of(instr)) << row->pattern;
  }
  Statistics const s = count(global_address(4) +
                             "ld.global.u32 %r4, [%rd4]; add.f32 %f1, 0f00000000, 0f00000000;\n"
                             "cvt.rn.f32.u32 %f2, %r4; st.shared.f32 [%r2], %f2; bar.warp.sync 0xffffffff;");
  std::uint64_t sum = 0;
  for (std::uint64_t const each : s.by_kind) sum += each;
  EXPECT_EQ(sum, s.warp_instructions);
  using Kind = InstructionKind;
  for (auto const& [kind, expected] : {std::pair(Kind::kConstant, 3),
                                       {Kind::kGlobal, 1},
                                       {Kind::kFloat, 1},
                                       {Kind::kConvert, 1},
                                       {Kind::kShared, 1},
                                       {Kind::kWarp, 1},
                                       {Kind::kMove, 2},
                                       {Kind::kCompare, 1},
                                       {Kind::kControl, 1},
                                       {Kind::kInteger, 3}})
    EXPECT_EQ(s.count(kind), static_cast<std::uint64_t>(expected)) << name_of(kind);
}

TEST(Statistics, TheWorstLinesComeFirst) {
  Statistics const s =
      count(global_address(4) + "ld.global.u32 %r4, [%rd4];\n" + global_address(128) +
            "ld.global.u32 %r5, [%rd4];\n" + global_address(8) + "ld.global.u32 %r6, [%rd4];");
  ASSERT_EQ(s.global_lines.size(), 3u);
  EXPECT_EQ(s.global_lines[0].text, "ld.global.u32 %r5, [%rd4]");
  EXPECT_EQ(s.global_lines[0].line, 13);
  EXPECT_EQ(s.global_lines[0].counts, counts(1, 32, 128, 32, 4));
  EXPECT_EQ(s.global_lines[1].counts.excess(), 4u);
  EXPECT_EQ(s.global_lines[2].counts.excess(), 0u);
  EXPECT_TRUE(s.shared_lines.empty());
}

TEST(Statistics, HostThreadsDoNotChangeThem) {
  std::string const body = global_address(8) + "ld.global.u32 %r4, [%rd4];\n" + shared_address(8) +
                           "st.shared.u32 [%r3], %r4; bar.sync 0;\n" + global_address(4, 0, "%rd2") +
                           "red.global.add.u32 [%rd4], %r4;";
  LaunchConfig const config{.grid = {40, 1, 1}, .block = {64, 1, 1}};
  std::string const one = to_json(count(body, {.check = false, .threads = 1, .statistics = true}, config));
  EXPECT_EQ(to_json(count(body, {.check = false, .threads = 4, .statistics = true}, config)), one);
}

TEST(Statistics, OnlyWhenAskedFor) {
  std::string const body = global_address(8) + "ld.global.u32 %r4, [%rd4];";
  for (bool const check : {true, false}) {
    Statistics const s = count(body, {.check = check});
    EXPECT_FALSE(s.detailed);
    EXPECT_EQ(s.global, SpaceCounts{});
    EXPECT_EQ(s.count(InstructionKind::kGlobal), 1u);
    EXPECT_EQ(to_json(s).find("sectors"), std::string::npos);
  }
  EXPECT_NE(to_json(count(body)).find("\"sectors\":8"), std::string::npos);
}

TEST(Transactions, RangesMayOverlap) {
  ByteRange ranges[] = {{40, 16}, {0, 0}, {32, 16}, {31, 2}, {96, 64}};
  // 31 to 55 and 96 to 159: sectors 0, 1, 3 and 4.
  EXPECT_EQ(sectors_of(ranges), (Transactions{4, (25 + 64 + 31) / 32}));
}

TEST(Transactions, NobodyNeedsNothing) {
  EXPECT_EQ(sectors_of({}), Transactions{});
  ByteRange const idle[32] = {};
  EXPECT_EQ(wavefronts_of(idle, false), Transactions{});
}

}  // namespace
}  // namespace deepwell::emu
