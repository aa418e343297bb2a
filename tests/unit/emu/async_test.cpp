// Asynchronous copies, mbarriers, fences, tensor map edits and clusters in the running machine.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "emu/emu.hpp"
#include "emu/mem/tensor_map.hpp"

namespace deepwell::emu {
namespace {

/// A machine with one kernel. Parameters are 64-bit words (and tensor maps, each aligned to 64).
class Program {
 public:
  explicit Program(std::string const& body, std::string const& parameters = ".param .u64 in, .param .u64 out",
                   std::string const& target = "sm_120a")
      : profile_(parse_profile("emu:" + target)),
        module_(Module::parse(
            ".version 8.8\n.target " + target + "\n.address_size 64\n" +
                ".extern .shared .align 1024 .b8 smem[];\n.visible .entry k(" + parameters + ")\n{\n" +
                ".reg .pred %p<8>;\n.reg .b16 %h<8>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<40>;\n" +
                ".reg .f32 %f<8>;\n.reg .b128 %q<4>;\n" + body + "\nret;\n}\n",
            profile_, "test.ptx")) {}

  Program& param(std::uint64_t word) { return raw(&word, 8, 8); }
  Program& map(TensorMapSpec const& spec) {
    auto const bytes = encode_tensor_map(spec);
    return raw(bytes.data(), bytes.size(), 64);
  }
  Statistics run(Memory& memory, std::uint64_t seed = 0, std::uint32_t threads = 32,
                 std::uint32_t cluster = 1, bool race = true) const {
    Options options;
    options.race = race;
    options.seed = seed;
    options.threads = 1;
    options.max_steps = 200000;
    LaunchConfig config;
    config.grid = {cluster, 1, 1};
    config.cluster = {cluster, 1, 1};
    config.block = {threads, 1, 1};
    config.dynamic_smem_bytes = 32768;
    return launch(*module_, "k", config, params_, memory, options, profile_);
  }

 private:
  Program& raw(void const* data, std::size_t bytes, std::size_t alignment) {
    while (params_.size() % alignment != 0) params_.push_back(std::byte{0});
    auto const* const from = static_cast<std::byte const*>(data);
    params_.insert(params_.end(), from, from + bytes);
    return *this;
  }

  Profile profile_;
  std::shared_ptr<Module const> module_;
  std::vector<std::byte> params_;
};

template <class T>
std::uint64_t upload(Memory& memory, std::vector<T> const& values, std::string label) {
  std::uint64_t const at = memory.allocate(values.size() * sizeof(T), std::move(label));
  memory.write(at, std::as_bytes(std::span(values)));
  return at;
}

template <class T>
std::vector<T> download(Memory& memory, std::uint64_t at, std::size_t count) {
  std::vector<T> out(count);
  memory.read(at, std::as_writable_bytes(std::span(out)));
  return out;
}

std::vector<std::uint32_t> iota(std::size_t count, std::uint32_t first = 100) {
  std::vector<std::uint32_t> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = first + static_cast<std::uint32_t>(i);
  return out;
}

/// Runs and returns the report, empty when the run succeeded.
std::string report(std::function<void()> const& body) {
  try {
    body();
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    return error.what();
  }
  return "";
}

void expect_in(std::string const& text, std::string const& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
}

// Addresses and small things that every program wants.
std::string const kPrologue = R"(
  ld.param.u64 %rd1, [in];
  ld.param.u64 %rd2, [out];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, smem;
  mul.wide.u32 %rd3, %r1, 4;
  add.u64 %rd4, %rd2, %rd3;      // &out[tid]
  setp.eq.u32 %p1, %r1, 0;
)";

/// Copies 32 words from smem + 1024 to out.
std::string const kCopyOut = R"(
  shl.b32 %r3, %r1, 2;
  add.u32 %r3, %r3, %r2;
  ld.shared.u32 %r4, [%r3+1024];
  st.global.u32 [%rd4], %r4;
)";

std::string wait_parity(std::string const& label, int parity) {
  return label + ": mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], " + std::to_string(parity) +
         ";\n@!%p2 bra " + label + ";\n";
}

std::string const kInitBarrier = R"(
  @%p1 mbarrier.init.shared::cta.b64 [%r2], 1;
  fence.mbarrier_init.release.cluster;
  bar.sync 0;
)";

TEST(CpAsync, SourceSizesZeroFillAndGroups) {
  Program program(kPrologue + R"(
    shl.b32 %r3, %r1, 4;
    add.u32 %r5, %r2, %r3;
    cvt.u64.u32 %rd5, %r3;
    add.u64 %rd6, %rd1, %rd5;
    and.b32 %r6, %r1, 3;
    shl.b32 %r6, %r6, 2;           // 0, 4, 8, 12 source bytes
    cp.async.cg.shared.global [%r5], [%rd6], 16, %r6;
    cp.async.commit_group;
    cp.async.wait_group 0;
    ld.shared.v4.u32 {%r7, %r8, %r9, %r10}, [%r5];
    add.u64 %rd7, %rd2, %rd5;
    st.global.v4.u32 [%rd7], {%r7, %r8, %r9, %r10};
  )");
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Memory memory;
    auto const in = iota(128);
    std::uint64_t const out = memory.allocate(512, "out");
    Program(program).param(upload(memory, in, "in")).param(out).run(memory, seed);
    auto const got = download<std::uint32_t>(memory, out, 128);
    for (std::size_t i = 0; i < 128; ++i) EXPECT_EQ(got[i], i % 4 < i / 4 % 4 ? in[i] : 0u) << i;
  }
}

TEST(CpAsync, ReadingWithoutWaitingIsSeen) {
  Program program(kPrologue + R"(
    add.u32 %r5, %r2, 1024;
    shl.b32 %r3, %r1, 2;
    add.u32 %r5, %r5, %r3;
    add.u64 %rd6, %rd1, %rd3;
    cp.async.ca.shared.global [%r5], [%rd6], 4;
    cp.async.commit_group;
  )" + kCopyOut + "cp.async.wait_all;");
  int seen = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Memory memory;
    std::uint64_t const in = upload(memory, iota(32), "in"), out = memory.allocate(128, "out");
    seen += !report([&] { Program(program).param(in).param(out).run(memory, seed); }).empty();
  }
  EXPECT_GE(seen, 5);
}

TEST(CpAsync, WaitGroupLeavesTheLatestPending) {
  Program program(kPrologue + R"(
    add.u32 %r5, %r2, 1024;
    shl.b32 %r3, %r1, 2;
    add.u32 %r5, %r5, %r3;
    add.u64 %rd6, %rd1, %rd3;
    cp.async.ca.shared::cta.global [%r5], [%rd6], 4;
    cp.async.commit_group;
    cp.async.ca.shared::cta.global [%r5+1024], [%rd6], 4;
    cp.async.commit_group;
    cp.async.wait_group 1;
  )" + kCopyOut + "cp.async.wait_group 0;");
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program(program).param(upload(memory, iota(32), "in")).param(out).run(memory, seed);
    EXPECT_EQ(download<std::uint32_t>(memory, out, 32), iota(32));
  }
}

TEST(CpAsync, LanesThatWaitLaterKeepTheirGroups) {
  // Half of the warp waits at once. The others commit again when those have waited and the copy is done.
  Program program(kPrologue + R"(
    add.u32 %r5, %r2, 1024;
    shl.b32 %r3, %r1, 2;
    add.u32 %r5, %r5, %r3;
    add.u64 %rd6, %rd1, %rd3;
    cp.async.ca.shared::cta.global [%r5], [%rd6], 4;
    cp.async.commit_group;
    setp.lt.u32 %p2, %r1, 16;
    @!%p2 bra LATE;
    cp.async.wait_group 0;
    bra MEET;
    LATE: mov.u32 %r6, 0;
    DELAY: add.u32 %r6, %r6, 1;
    setp.lt.u32 %p3, %r6, 2000;
    @%p3 bra DELAY;
    cp.async.commit_group;
    cp.async.wait_group 0;
    MEET:
  )" + kCopyOut);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program(program).param(upload(memory, iota(32), "in")).param(out).run(memory, seed);
    EXPECT_EQ(download<std::uint32_t>(memory, out, 32), iota(32));
  }
}

TEST(CpAsync, WaitCoversWhatAnMbarrierArrivalCoveredBefore) {
  Program program(kPrologue + R"(
    @%p1 mbarrier.init.shared::cta.b64 [%r2], 64;
    bar.sync 0;
    add.u32 %r5, %r2, 1024;
    shl.b32 %r3, %r1, 2;
    add.u32 %r5, %r5, %r3;
    add.u64 %rd6, %rd1, %rd3;
    cp.async.ca.shared::cta.global [%r5], [%rd6], 4;
    cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r2];
    mov.u32 %r6, 0;
    DELAY: add.u32 %r6, %r6, 1;
    setp.lt.u32 %p3, %r6, 2000;
    @%p3 bra DELAY;
    cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r2];
    cp.async.commit_group;
    cp.async.wait_group 0;
  )" + kCopyOut);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program(program).param(upload(memory, iota(32), "in")).param(out).run(memory, seed);
    EXPECT_EQ(download<std::uint32_t>(memory, out, 32), iota(32));
  }
}

TEST(CpAsync, IgnoreSourceAndMbarrierArrival) {
  Program program(kPrologue + R"(
    @%p1 mbarrier.init.shared::cta.b64 [%r2], 32;
    bar.sync 0;
    add.u32 %r5, %r2, 1024;
    shl.b32 %r3, %r1, 2;
    add.u32 %r5, %r5, %r3;
    add.u64 %rd6, %rd1, %rd3;
    setp.gt.u32 %p3, %r1, 15;
    cp.async.ca.shared.global [%r5], [%rd6], 4, %p3;
    cp.async.mbarrier.arrive.noinc.shared.b64 [%r2];
  )" + wait_parity("W", 0) +
                  kCopyOut);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program(program).param(upload(memory, iota(32), "in")).param(out).run(memory, seed);
    auto const got = download<std::uint32_t>(memory, out, 32);
    for (std::uint32_t i = 0; i < 32; ++i) EXPECT_EQ(got[i], i < 16 ? 100 + i : 0);
  }
}

std::string const kBulkLoad = kInitBarrier + R"(
  @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 128;
  add.u32 %r5, %r2, 1024;
  @%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r5], [%rd1], 128, [%r2];
)";

TEST(Bulk, LoadCompletesTheBarrier) {
  Program program(kPrologue + kBulkLoad + wait_parity("W", 0) + kCopyOut);
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program(program).param(upload(memory, iota(32), "in")).param(out).run(memory, seed, 32);
    EXPECT_EQ(download<std::uint32_t>(memory, out, 32), iota(32));
  }
}

TEST(Bulk, LoadCarriesPoison) {
  Program program(kPrologue + kBulkLoad + wait_parity("W", 0) + kCopyOut);
  Memory memory;
  std::uint64_t const in = upload(memory, iota(32), "in"), out = memory.allocate(128, "out");
  memory.poison(in + 20, 4);
  expect_in(report([&] { Program(program).param(in).param(out).run(memory); }), "st.global");
}

TEST(Bulk, LoadOutsideItsAllocationNamesTheInstruction) {
  Program program(kPrologue + kBulkLoad + wait_parity("W", 0));
  Memory memory;
  std::uint64_t const in = upload(memory, iota(16), "short"), out = memory.allocate(128, "out");
  std::string const text = report([&] { Program(program).param(in).param(out).run(memory); });
  expect_in(text, "cp.async.bulk");
  expect_in(text, "short");
}

std::string const kStoreWords = R"(
  shl.b32 %r3, %r1, 2;
  add.u32 %r3, %r3, %r2;
  add.u32 %r4, %r1, 7;
  st.shared.u32 [%r3], %r4;
  fence.proxy.async.shared::cta;
  bar.sync 0;
)";

TEST(Bulk, StoreAndWait) {
  Program program(kPrologue + kStoreWords + R"(
    @%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 128;
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;
  )");
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program(program).param(0).param(out).run(memory, seed);
    EXPECT_EQ(download<std::uint32_t>(memory, out, 32), iota(32, 7));
  }
}

TEST(Bulk, EndingWithoutWaitingIsReported) {
  Program program(kPrologue + kStoreWords + R"(
    @%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 128;
    cp.async.bulk.commit_group;
  )");
  Memory memory;
  std::uint64_t const out = memory.allocate(128, "out");
  expect_in(report([&] { Program(program).param(0).param(out).run(memory); }), "wait_group");
}

TEST(Bulk, SourceOverwrittenTooEarlyIsSeen) {
  std::string const body = kPrologue + kStoreWords + R"(
    @%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 128;
    cp.async.bulk.commit_group;
    WAIT
    bar.sync 0;
    st.shared.u32 [%r3], 0;
    cp.async.bulk.wait_group 0;
  )";
  auto variant = [&](std::string const& wait) {
    std::string text = body;
    return text.replace(text.find("WAIT"), 4, wait);
  };
  Program const right(variant("cp.async.bulk.wait_group.read 0;")), wrong(variant(""));
  int damaged = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program(right).param(0).param(out).run(memory, seed);
    EXPECT_EQ(download<std::uint32_t>(memory, out, 32), iota(32, 7));
    Program(wrong).param(0).param(out).run(memory, seed, 32, 1, false);
    damaged += download<std::uint32_t>(memory, out, 32) != iota(32, 7);
    try {
      Program(wrong).param(0).param(out).run(memory, seed);
      ADD_FAILURE() << "seed " << seed << ": no race was reported";
    } catch (Report const& report) {
      EXPECT_EQ(report.finding(), Finding::kRace) << report.what();
    }
  }
  EXPECT_GT(damaged, 0);
}

TEST(Bulk, FullWaitCoversWhatWasOnlyReadBefore) {
  // Two stores are complete, and only their reads waited for, when a third group is committed. Lane 0 reads back what the
  // first one wrote, after a wait for all groups but the latest `pending`.
  auto program = [](int pending) {
    return Program(kPrologue + kStoreWords + R"(
      @!%p1 bra DONE;
      cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 16;
      cp.async.bulk.commit_group;
      cp.async.bulk.global.shared::cta.bulk_group [%rd2+16], [%r2], 16;
      cp.async.bulk.commit_group;
      cp.async.bulk.wait_group.read 0;
      mov.u32 %r6, 0;
      DELAY: add.u32 %r6, %r6, 1;
      setp.lt.u32 %p3, %r6, 2000;
      @%p3 bra DELAY;
      cp.async.bulk.commit_group;
      cp.async.bulk.wait_group )" +
                   std::to_string(pending) + R"(;
      ld.global.u32 %r7, [%rd2];
      st.global.u32 [%rd2+128], %r7;
      DONE:
    )");
  };
  for (int pending = 0; pending < 4; ++pending) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      Memory memory;
      std::uint64_t const out = memory.allocate(256, "out");
      auto const run = [&] { program(pending).param(0).param(out).run(memory, seed); };
      if (pending < 3) {
        EXPECT_EQ(report(run), "") << "pending " << pending;
        EXPECT_EQ(download<std::uint32_t>(memory, out + 128, 1), iota(1, 7));
      } else {
        expect_in(report(run), "race");
      }
    }
  }
}

TEST(Bulk, ReduceAdd) {
  Program program(kPrologue + kStoreWords + R"(
    @%p1 cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd2], [%r2], 128;
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;
  )");
  Memory memory;
  std::uint64_t const out = upload(memory, iota(32, 1000), "out");
  Program(program).param(0).param(out).run(memory);
  auto const got = download<std::uint32_t>(memory, out, 32);
  for (std::uint32_t i = 0; i < 32; ++i) EXPECT_EQ(got[i], 1007 + 2 * i);
}

TensorMapSpec words_map(std::uint64_t base, std::uint64_t columns, std::uint64_t rows, int swizzle) {
  TensorMapSpec spec;
  spec.data_type = static_cast<int>(TensorMapType::kU32);
  spec.rank = 2;
  spec.base = base;
  spec.dims = {columns, rows};
  spec.strides_bytes = {columns * 4};
  spec.box = {8, 4};
  spec.swizzle = swizzle;
  return spec;
}

std::string const kMapParameters = ".param .u64 in, .param .u64 out, .param .align 64 .b8 map[128]";
std::string const kMapAddress = "mov.b64 %rd10, map;\ncvta.param.u64 %rd11, %rd10;\n";

std::string tensor_load(std::string const& map, std::string const& coordinates) {
  return kInitBarrier +
         "add.u32 %r5, %r2, 1024;\n@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 128;\n" +
         "@%p1 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r5], [" + map +
         ", {" + coordinates + "}], [%r2];\n" + wait_parity("W", 0);
}

TEST(Tensor, LoadWithSwizzleAndEdges) {
  for (int swizzle : {0, 1}) {
    Program program(kPrologue + kMapAddress + "mov.u32 %r20, 4; mov.u32 %r21, -1;\n" +
                        tensor_load("%rd11", "%r20, %r21") + kCopyOut,
                    kMapParameters);
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Memory memory;
      auto const in = iota(8 * 8);
      std::uint64_t const at = upload(memory, in, "in"), out = memory.allocate(128, "out");
      Program(program).param(at).param(out).map(words_map(at, 8, 8, swizzle)).run(memory, seed);
      auto const got = download<std::uint32_t>(memory, out, 32);
      for (std::uint32_t row = 0; row < 4; ++row) {
        for (std::uint32_t c = 0; c < 8; ++c) {
          std::uint32_t const want = row >= 1 && c < 4 ? in[(row - 1) * 8 + 4 + c] : 0;
          std::uint32_t const address =
              swizzle_address(static_cast<TensorMapSwizzle>(swizzle), 1024 + row * 32 + c * 4) - 1024;
          EXPECT_EQ(got[address / 4], want);
        }
      }
    }
  }
}

TEST(Tensor, MapLargerThanItsBufferNamesCoordinates) {
  Program program(
      kPrologue + kMapAddress + "mov.u32 %r20, 0; mov.u32 %r21, 4;\n" + tensor_load("%rd11", "%r20, %r21"),
      kMapParameters);
  Memory memory;
  std::uint64_t const at = upload(memory, iota(8 * 6), "in");
  std::string const text =
      report([&] { Program(program).param(at).param(at).map(words_map(at, 8, 8, 0)).run(memory); });
  expect_in(text, "coordinates {0, 4}");
  expect_in(text, "cp.async.bulk.tensor");
}

TEST(Tensor, GarbageIsNotATensorMap) {
  Program program(
      kPrologue + kMapAddress + "mov.u32 %r20, 0; mov.u32 %r21, 4;\n" + tensor_load("%rd1", "%r20, %r21"),
      kMapParameters);
  Memory memory;
  std::uint64_t const at = upload(memory, iota(8 * 8), "in");
  std::string const text =
      report([&] { Program(program).param(at).param(at).map(words_map(at, 8, 8, 0)).run(memory); });
  expect_in(text, "not a tensor map");
}

TEST(Tensor, StoreAndReduceClip) {
  for (bool reduce : {false, true}) {
    std::string const store = reduce ? "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group"
                                     : "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group";
    Program program(
        kPrologue + kMapAddress + kStoreWords + "mov.u32 %r20, 4; mov.u32 %r21, 6;\n@%p1 " + store +
            " [%rd11, {%r20, %r21}], [%r2];\ncp.async.bulk.commit_group;\ncp.async.bulk.wait_group 0;",
        kMapParameters);
    Memory memory;
    std::uint64_t const at = upload(memory, iota(64, 1000), "out");
    Program(program).param(at).param(at).map(words_map(at, 8, 8, 0)).run(memory);
    auto want = iota(64, 1000);
    for (std::uint32_t row : {0u, 1u}) {
      for (std::uint32_t c : {0u, 1u, 2u, 3u}) {
        std::uint32_t& place = want[(6 + row) * 8 + 4 + c];
        place = row * 8 + c + 7 + (reduce ? place : 0);
      }
    }
    EXPECT_EQ(download<std::uint32_t>(memory, at, 64), want);
  }
}

TEST(TensorMapOps, EditedInSharedAndUsedFromGlobal) {
  // The map in the parameters points at nothing useful; a copy gets address, dims and stride and goes to `in`'s last 128 bytes.
  Program program(kPrologue + kMapAddress + R"(
    mul.wide.u32 %rd12, %r1, 4;
    add.u64 %rd13, %rd11, %rd12;
    ld.u32 %r22, [%rd13];
    shl.b32 %r3, %r1, 2;
    add.u32 %r3, %r3, %r2;
    st.shared.u32 [%r3+2048], %r22;
    bar.warp.sync 0xffffffff;
    add.u32 %r23, %r2, 2048;
    cvt.u64.u32 %rd14, %r23;
    @%p1 tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%rd14], %rd1;
    mov.u32 %r24, 8;
    @%p1 tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%rd14], 0, %r24;
    @%p1 tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%rd14], 1, %r24;
    mov.u64 %rd15, 32;
    @%p1 tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%rd14], 0, %rd15;
    @%p1 tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%rd14], 0;
    @%p1 tensormap.replace.tile.elemtype.shared::cta.b1024.b32 [%rd14], 2;
    bar.warp.sync 0xffffffff;
    add.u64 %rd16, %rd1, 256;
    tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%rd16], [%rd14], 128;
    fence.proxy.tensormap::generic.acquire.gpu [%rd16], 128;
    mov.u32 %r20, 0; mov.u32 %r21, 2;
  )" + tensor_load("%rd16", "%r20, %r21") +
                      kCopyOut,
                  kMapParameters);
  Memory memory;
  std::uint64_t const at = upload(memory, iota(64 + 32), "in"), out = memory.allocate(128, "out");
  TensorMapSpec start = words_map(0x70000000, 256, 99, 1);
  start.data_type = static_cast<int>(TensorMapType::kS32);
  Program(program).param(at).param(out).map(start).run(memory);
  EXPECT_EQ(download<std::uint32_t>(memory, out, 32), iota(32, 116));
}

TEST(MbarrierOps, MisuseIsReported) {
  struct {
    char const* body;
    char const* expected;
  } const cases[] = {
      {"@%p1 mbarrier.arrive.shared::cta.b64 %rd9, [%r2];", "not initialised"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%r2], 1; @%p1 mbarrier.init.shared::cta.b64 [%r2], 2;",
       "is alive"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%r2], 1; @%p1 mbarrier.arrive.shared::cta.b64 %rd9, [%r2], 2;",
       "arrivals are pending"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%r2], 1; @%p1 st.shared.u32 [%r2], 7; @%p1 "
       "mbarrier.arrive.shared::cta.b64 %rd9, [%r2];",
       "overwritten"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%r2], 0;", "count 0"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%r2+4], 1;", "multiple of 8"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%r2], 1; @%p1 mbarrier.inval.shared::cta.b64 [%r2]; "
       "@%p1 mbarrier.arrive.shared::cta.b64 %rd9, [%r2];",
       "not initialised"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%r2], 1; @%p1 mbarrier.arrive.noComplete.shared::cta.b64 %rd9, "
       "[%r2], 1;",
       "noComplete"},
      {"@%p1 mbarrier.init.shared::cta.b64 [%rd2], 1;", "shared"},
  };
  for (auto const& each : cases) {
    Memory memory;
    std::uint64_t const out = memory.allocate(128, "out");
    Program const program(kPrologue + each.body);
    expect_in(report([&] { Program(program).param(out).param(out).run(memory); }), each.expected);
  }
}

TEST(MbarrierOps, StateTokensAndGenericAddresses) {
  Program program(kPrologue + R"(
    cvt.u64.u32 %rd5, %r2;
    cvta.shared.u64 %rd6, %rd5;
    @%p1 mbarrier.init.b64 [%rd6], 32;
    bar.sync 0;
    mbarrier.arrive.release.cta.b64 %rd7, [%rd6];
    W: mbarrier.test_wait.acquire.cta.b64 %p2, [%rd6], %rd7;
    @!%p2 bra W;
    mbarrier.pending_count.b64 %r6, %rd7;
    atom.global.add.u32 %r7, [%rd2], %r6;
  )");
  Memory memory;
  std::uint64_t const out = upload(memory, std::vector<std::uint32_t>{0}, "out");
  Program(program).param(0).param(out).run(memory);
  EXPECT_EQ(download<std::uint32_t>(memory, out, 1)[0], 32u * 33 / 2);  // pending counts 32, 31, ..., 1
}

TEST(MbarrierOps, DeadlockNamesTheBarrier) {
  Program program(kPrologue + kInitBarrier + wait_parity("W", 0));
  Memory memory;
  std::uint64_t const out = memory.allocate(128, "out");
  std::string const text = report([&] { Program(program).param(out).param(out).run(memory); });
  expect_in(text, "mbarrier at shared address");
  expect_in(text, "parity 0");
}

TEST(Cluster, RemoteBarrierStoreAndMulticast) {
  // Rank 0 multicasts 128 bytes to both CTAs; each then writes rank + value to the other's shared memory by st.async.
  Program program(kPrologue + kInitBarrier + R"(
    mov.u32 %r10, %cluster_ctarank;
    add.u32 %r5, %r2, 1024;
    add.u32 %r11, %r2, 8;
    @%p1 mbarrier.init.shared::cta.b64 [%r11], 1;
    @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 128;
    @%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r11], 4;
    barrier.cluster.arrive.release.aligned;
    barrier.cluster.wait.acquire.aligned;
    setp.eq.and.u32 %p3, %r10, 0, %p1;
    mov.b16 %h1, 3;
    @%p3 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r5], [%rd1], 128, [%r2], %h1;
    xor.b32 %r12, %r10, 1;
    add.u32 %r13, %r2, 512;
    mapa.shared::cluster.u32 %r14, %r13, %r12;
    mapa.shared::cluster.u32 %r15, %r11, %r12;
    add.u32 %r16, %r10, 40;
    @%p1 st.async.shared::cluster.mbarrier::complete_tx::bytes.u32 [%r14], %r16, [%r15];
  )" + wait_parity("W", 0) +
                  R"(
    V: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r11], 0;
    @!%p2 bra V;
    ld.shared.u32 %r17, [%r2+512];
    shl.b32 %r3, %r1, 2;
    add.u32 %r3, %r3, %r2;
    ld.shared.u32 %r4, [%r3+1024];
    add.u32 %r4, %r4, %r17;
    mul.wide.u32 %rd8, %r10, 128;
    add.u64 %rd9, %rd4, %rd8;
    st.global.u32 [%rd9], %r4;
    barrier.cluster.arrive.aligned;
    barrier.cluster.wait.aligned;
  )");
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Memory memory;
    std::uint64_t const out = memory.allocate(256, "out");
    Program(program).param(upload(memory, iota(32), "in")).param(out).run(memory, seed, 32, 2);
    auto const got = download<std::uint32_t>(memory, out, 64);
    for (std::uint32_t i = 0; i < 64; ++i) EXPECT_EQ(got[i], 100 + i % 32 + 41 - i / 32);
  }
}

/// What Module::parse says about one instruction, empty when it is accepted.
std::string refusal(std::string const& body, std::string const& target = "sm_120a") {
  try {
    Program(body, "", target);
  } catch (Error const& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    return error.what();
  }
  return "";
}

TEST(Gating, TargetsAndFormsAreChecked) {
  EXPECT_EQ(refusal("setmaxnreg.inc.sync.aligned.u32 240;"), "");
  EXPECT_EQ(refusal("griddepcontrol.wait; griddepcontrol.launch_dependents;", "sm_90a"), "");
  expect_in(refusal("setmaxnreg.inc.sync.aligned.u32 241;"), "241");
  expect_in(
      refusal(
          "clusterlaunchcontrol.try_cancel.async.shared::cta.mbarrier::complete_tx::bytes.b128 [%r1], [%r2];",
          "sm_90a"),
      "clusterlaunchcontrol");
  expect_in(
      refusal("cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%r1], "
              "[%rd1, {%r2, %r3, %r4}], [%r5], {%h1};"),
      "cp.async.bulk.tensor");
  expect_in(refusal("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], "
                    "[%rd1, {%r2, %r3}], [%r5];"),
            "3 coordinates");
  expect_in(refusal("cp.async.cg.shared.global [%r1], [%rd1], 8;"), "16");
  expect_in(refusal("cp.async.wait_group %r1;"), "constant");
}

}  // namespace
}  // namespace deepwell::emu
