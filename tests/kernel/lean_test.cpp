// What kernels of SM 12.x do, by the emulator's counters, against what their tiling needs by formula: no bank conflict where shared
// memory is read, no more MMAs and no more sectors of global memory than the tiles ask for, within 2 %.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "check/device.hpp"
#include "kernel/counting.hpp"
#include "kernel/devices.hpp"
#include "ops/einsum/einsum.hpp"
#include "ops/gemm/grouped.hpp"
#include "ops/hc_prenorm/hc_prenorm.hpp"
#include "ops/mqa_logits/mqa_logits.hpp"

namespace deepwell {
namespace {

constexpr double kSlack = 0.02;

/// What a launch needs: MMAs, and sectors of global memory that each CTA has to read or write, every one once.
struct Need {
  double sectors = 0, mmas = 0;
  void bytes(double count) { sectors += count / 32; }
};

bool within(double is, double should) { return std::fabs(is / should - 1) <= kSlack; }

void expect_lean(emu::Statistics const& counted, Need const& need) {
  double const touched = static_cast<double>(counted.global_traffic().transactions),
               mmas = static_cast<double>(counted.mma);
  EXPECT_TRUE(within(mmas, need.mmas)) << mmas << " MMAs executed, " << need.mmas << " needed";

  std::string text = fmt::format("{} sectors touched, {} needed ({:+.1f} %)", touched, need.sectors,
                                 100 * (touched / need.sectors - 1));
  for (emu::HotLine const& line : counted.global_lines)
    text +=
        fmt::format("\n  {} sectors, ideal {}: {}", line.counts.transactions, line.counts.ideal, line.text);
  EXPECT_TRUE(within(touched, need.sectors)) << text;
  testing::Test::RecordProperty("sectors", text);

  std::string conflicts;
  for (emu::HotLine const& line : counted.shared_lines) {
    if (line.counts.excess() != 0)
      conflicts += fmt::format("\n  {} wavefronts, ideal {}: {}", line.counts.transactions, line.counts.ideal,
                               line.text);
  }
  EXPECT_EQ(counted.shared.load.excess(), 0u) << conflicts;
}

/// Device memory with one byte everywhere, or words.
class Memory {
 public:
  explicit Memory(Context& context) : backend_(context.backend()) {}
  ~Memory() {
    for (DeviceAddress const address : held_) backend_.release(address);
  }
  Memory(Memory const&) = delete;
  Memory& operator=(Memory const&) = delete;

  DeviceAddress filled(std::int64_t bytes, unsigned char value) {
    DeviceAddress const address = backend_.allocate(static_cast<std::size_t>(bytes));
    backend_.fill(address, static_cast<std::size_t>(bytes), std::byte{value}, nullptr);
    held_.push_back(address);
    return address;
  }
  template <class T>
  DeviceAddress holding(std::vector<T> const& values) {
    DeviceAddress const address = filled(static_cast<std::int64_t>(values.size() * sizeof(T)), 0);
    backend_.copy_to_device(address, std::as_bytes(std::span(values)), nullptr);
    backend_.synchronize(nullptr);
    return address;
  }

 private:
  Backend& backend_;
  std::vector<DeviceAddress> held_;
};

constexpr unsigned char kOne = 0x38;         // of e4m3
constexpr unsigned char kOnes = 0x22;        // of e2m1, two
constexpr unsigned char kOneExponent = 127;  // of UE8M0

// ---- products ----

/// Words of packed scales [(groups,) rows, words], column by column.
TensorView packed_scales(Memory& memory, std::int64_t groups, std::int64_t rows, std::int64_t k, int gran_k) {
  std::int64_t const words = ceil_div(k, 4 * gran_k), pitch = align_up(rows, 4);
  DeviceAddress const at = memory.filled((groups > 0 ? groups : 1) * words * pitch * 4, kOneExponent);
  if (groups == 0) return check::strided_view(at, Dtype::kI32, {rows, words}, {1, pitch});
  return check::strided_view(at, Dtype::kI32, {groups, rows, words}, {words * pitch, 1, pitch});
}

TensorView bytes_of(Memory& memory, Dtype dtype, std::initializer_list<std::int64_t> shape,
                    unsigned char value) {
  std::int64_t bytes = bits_of(dtype) / 8;
  for (std::int64_t const size : shape) bytes *= size;
  return contiguous_view(memory.filled(bytes, value), dtype, shape);
}

template <class T>
TensorView repeated(Memory& memory, Dtype dtype, std::initializer_list<std::int64_t> shape, T value) {
  std::int64_t count = 1;
  for (std::int64_t const size : shape) count *= size;
  return contiguous_view(memory.holding(std::vector<T>(static_cast<std::size_t>(count), value)), dtype,
                         shape);
}

/// Rows and tiles of a product as numbers to count with.
struct Tiles {
  double token, weight, size;  // tiles of tokens and of weights, elements of d in one
  Tiles(GemmPlan const& plan, std::int64_t groups, std::int64_t rows, std::int64_t n)
      : token(static_cast<double>(groups * ceil_div(rows, tile_m(plan)))),
        weight(static_cast<double>(ceil_div(n, tile_n(plan)))),
        size(static_cast<double>(tile_m(plan) * tile_n(plan))) {}
  double mmas(std::int64_t k) const { return token * weight * size / (16 * 8) * static_cast<double>(k) / 32; }
};

struct Experts {
  char const* name;
  std::int64_t groups, rows;  // rows of each group
  std::int64_t n, k;
};

class LeanExperts : public testing::TestWithParam<std::tuple<std::string, bool, Experts>> {};

TEST_P(LeanExperts, NothingIsDoneTwice) {
  auto const& [device, f32, what] = GetParam();
  Context& context = context_of(device);
  Counting const counting(context);
  Memory memory(context);
  std::int64_t const alignment = best_alignment(what.groups * what.rows, what.groups);
  std::int64_t const block = align_up(what.rows, alignment), m = what.groups * block;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(m), -1);
  for (std::int64_t row = 0; row < m; ++row) {
    if (row % block < what.rows) ids[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(row / block);
  }
  GroupedGemmCall call;
  call.a = bytes_of(memory, Dtype::kE4m3, {m, what.k}, kOne);
  call.scale_a =
      f32 ? repeated(memory, Dtype::kF32, {m, what.k / 128}, 1.0f) : packed_scales(memory, 0, m, what.k, 128);
  call.b = bytes_of(memory, Dtype::kI8, {what.groups, what.n, what.k / 2}, kOnes);
  call.scale_b = packed_scales(memory, what.groups, what.n, what.k, 32);
  call.layout = contiguous_view(memory.holding(ids), Dtype::kI32, {m});
  call.d = bytes_of(memory, Dtype::kBf16, {m, what.n}, 0);
  call.recipe.recipe_a = {1, 128};
  call.recipe.recipe_b = {1, 32};
  call.alignment = alignment;
  grouped_fp8_fp4_gemm_nt(context, call);
  context.backend().synchronize(nullptr);

  GemmPlan const plan = choose_gemm(shape_of(check_grouped_gemm(call)), context.arch()).ranked.front().plan;
  // A tile of tokens has one expert; it meets every tile of that expert's weights.
  Tiles const tiles(plan, what.groups, what.rows, what.n);
  double const tokens = tiles.token * static_cast<double>(std::min<std::int64_t>(tile_m(plan), block)),
               n = static_cast<double>(what.n), k = static_cast<double>(what.k);
  Need need;
  need.mmas = tiles.mmas(what.k);
  need.bytes(tiles.weight * tokens * k + tiles.token * n * k / 2);  // elements
  need.bytes(tiles.token * n * k / 32);                             // scales of weights
  need.bytes(tiles.weight * tokens * 4);                            // ids
  need.bytes(tiles.weight * tokens * k / 128 * (f32 ? 4 : 1));      // scales of tokens
  need.bytes(tokens * n * 2);                                       // d
  expect_lean(counting.last(), need);
}

INSTANTIATE_TEST_SUITE_P(All, LeanExperts,
                         testing::Combine(testing::Values("emu:sm_120a", "emu:sm_121a"), testing::Bool(),
                                          testing::Values(Experts{"1Row", 3, 1, 256, 1024},
                                                          Experts{"17Rows", 3, 17, 256, 1024},
                                                          Experts{"129Rows", 3, 129, 256, 1024},
                                                          Experts{"Large", 4, 512, 512, 512})),
                         [](auto const& info) {
                           return test_name(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) ? "_Fp32_" : "_Packed_") +
                                  std::get<2>(info.param).name;
                         });

struct Dense {
  char const* name;
  std::int64_t m, n, k;
};

class LeanDecode : public testing::TestWithParam<std::tuple<std::string, Dense>> {};

TEST_P(LeanDecode, NothingIsDoneTwice) {
  auto const& [device, what] = GetParam();
  Context& context = context_of(device);
  Counting const counting(context);
  Memory memory(context);
  GemmCall call;
  call.a = bytes_of(memory, Dtype::kE4m3, {what.m, what.k}, kOne);
  call.b = bytes_of(memory, Dtype::kE4m3, {what.n, what.k}, kOne);
  call.scale_a = packed_scales(memory, 0, what.m, what.k, 128);
  call.scale_b = packed_scales(memory, 0, what.n, what.k, 128);
  call.d = bytes_of(memory, Dtype::kBf16, {what.m, what.n}, 0);
  fp8_fp4_gemm_nt(context, call);
  context.backend().synchronize(nullptr);

  GemmCandidate const chosen = choose_gemm(shape_of(check_gemm(call)), context.arch()).ranked.front();
  Tiles const tiles(chosen.plan, 1, what.m, what.n);
  double const tokens = static_cast<double>(what.m), n = static_cast<double>(what.n),
               k = static_cast<double>(what.k);
  Need need;
  need.mmas = tiles.mmas(what.k);
  need.bytes(tiles.weight * tokens * k + tiles.token * n * k);
  need.bytes(tiles.token * n * k / 128);
  need.bytes(tiles.weight * std::max(tokens * 4, 32.0) * k / 512);  // at least a sector
  need.bytes(tokens * n * 2);
  expect_lean(counting.last(), need);
}

INSTANTIATE_TEST_SUITE_P(
    All, LeanDecode,
    testing::Combine(testing::Values("emu:sm_120a", "emu:sm_121a"),
                     testing::Values(Dense{"WqA", 1, 1536, 4096}, Dense{"WqAOf8", 8, 1536, 4096},
                                     Dense{"SharedDownOf16", 16, 4096, 2048},
                                     Dense{"IndexerWqB", 1, 8192, 1024})),
    [](auto const& info) { return test_name(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name; });

class LeanEinsum : public testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(LeanEinsum, NothingIsDoneTwice) {
  auto const& [device, tokens] = GetParam();
  Context& context = context_of(device);
  Counting const counting(context);
  Memory memory(context);
  std::int64_t const groups = 8, rank = 1024, k = 512;  // o_proj with a shorter k
  EinsumCall call;
  call.a = bytes_of(memory, Dtype::kE4m3, {tokens, groups, k}, kOne);
  call.b = bytes_of(memory, Dtype::kE4m3, {groups, rank, k}, kOne);
  call.d = bytes_of(memory, Dtype::kBf16, {tokens, groups, rank}, 0);
  std::int64_t const pitch = align_up(tokens, 4);
  call.scale_a = check::strided_view(memory.filled(groups * pitch * (k / 512) * 4, kOneExponent), Dtype::kI32,
                                     {tokens, groups, k / 512}, {1, pitch * (k / 512), pitch});
  call.scale_b = packed_scales(memory, groups, rank, k, 128);
  fp8_einsum(context, "bhr,hdr->bhd", call);
  context.backend().synchronize(nullptr);
  GemmPlan const plan =
      choose_gemm(shape_of(check_einsum("bhr,hdr->bhd", call)), context.arch()).ranked.front().plan;
  Tiles const tiles(plan, 1, tokens, rank);
  double const m = static_cast<double>(tokens), n = static_cast<double>(rank), kk = static_cast<double>(k),
               batch = static_cast<double>(groups);
  Need need;
  need.mmas = batch * tiles.mmas(k);
  need.bytes(batch * (tiles.weight * m * kk + tiles.token * n * kk));
  need.bytes(batch * (tiles.token * n + tiles.weight * std::max(m, 8.0)) * kk / 128);  // at least a sector
  need.bytes(batch * m * n * 2);
  expect_lean(counting.last(), need);
}

INSTANTIATE_TEST_SUITE_P(All, LeanEinsum,
                         testing::Combine(testing::Values("emu:sm_120a", "emu:sm_121a"),
                                          testing::Values(1, 17, 129)),
                         [](auto const& info) {
                           return fmt::format("{}_{}Tokens", test_name(std::get<0>(info.param)),
                                              std::get<1>(info.param));
                         });

// ---- the product in front of hyper-connections ----

class LeanHcPrenorm : public testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(LeanHcPrenorm, ReadsAndStoresOnce) {
  auto const& [device, rows] = GetParam();
  Context& context = context_of(device);
  Counting const counting(context);
  Memory memory(context);
  std::int64_t const n = 24, k = 4096;
  HcPrenormCall call;
  call.a = bytes_of(memory, Dtype::kBf16, {rows, k}, 0);
  call.b = bytes_of(memory, Dtype::kF32, {n, k}, 0);
  call.d = bytes_of(memory, Dtype::kF32, {rows, n}, 0);
  call.sqr_sum = bytes_of(memory, Dtype::kF32, {rows}, 0);
  tf32_hc_prenorm_gemm(context, call);
  context.backend().synchronize(nullptr);
  HcPrenormCandidate const chosen = choose_hc_prenorm({.m = rows, .n = n, .k = k}, context.arch()).front();
  double const tiles = static_cast<double>(ceil_div(rows, chosen.plan.tile_rows)),
               m = static_cast<double>(rows), tile_rows = static_cast<double>(chosen.plan.tile_rows);
  Need need;
  need.mmas = tiles * tile_rows / 16 * 3 * static_cast<double>(k) / 8;  // of 16 x 8 x 8
  need.bytes(m * static_cast<double>(k) * 2 + tiles * 24 * static_cast<double>(k) * 4);
  need.bytes(m * 25 * 4);
  if (chosen.pieces > 1) need.bytes(2 * chosen.pieces * m * 25 * 4);  // parts are stored and read
  expect_lean(counting.last(), need);
}

INSTANTIATE_TEST_SUITE_P(All, LeanHcPrenorm,
                         testing::Combine(testing::Values("emu:sm_120a", "emu:sm_121a"),
                                          testing::Values(1, 17, 129, 1024)),
                         [](auto const& info) {
                           return fmt::format("{}_{}Rows", test_name(std::get<0>(info.param)),
                                              std::get<1>(info.param));
                         });

// ---- logits ----

/// Of 64 heads of 128, on the MMA's side of 8; keys on its side of 16.
double logit_mmas(std::int64_t rows, std::int64_t keys) {
  constexpr std::int64_t kTile = 128;  // keys of a stage on SM 12.x
  return static_cast<double>(rows * ceil_div(keys, kTile) * (kTile / 16) * (64 / 8) * (128 / 32));
}

/// Queries and weights of `rows` rows, where a CTA takes up each of so many units, or at least begins in one.
double query_bytes(std::int64_t rows, double units, double ctas) {
  return std::max(units, ctas) * static_cast<double>(rows) * 64 * (128 + 4);
}

class LeanLogits : public testing::TestWithParam<std::string> {};

TEST_P(LeanLogits, OfPages) {
  Context& context = context_of(GetParam());
  for (std::int64_t const next_n : {1, 2}) {
    SCOPED_TRACE(next_n);
    Counting const counting(context);
    Memory memory(context);
    std::int64_t const requests = 4, length = 4096, page = 64, pages = requests * length / page;
    std::vector<std::int32_t> table;
    for (std::int64_t i = pages - 1; i >= 0; --i) table.push_back(static_cast<std::int32_t>(i));
    std::int64_t const rows = requests * next_n;
    PagedMqaLogitsCall call;
    call.q = bytes_of(memory, Dtype::kE4m3, {requests, next_n, 64, 128}, kOne);
    call.cache = bytes_of(memory, Dtype::kU8, {pages, page, 1, 132}, kOne);
    call.weights = bytes_of(memory, Dtype::kF32, {rows, 64}, 0);
    call.lengths = repeated(memory, Dtype::kI32, {requests, next_n}, static_cast<std::int32_t>(length));
    call.block_table = contiguous_view(memory.holding(table), Dtype::kI32, {requests, length / page});
    call.logits = bytes_of(memory, Dtype::kF32, {rows, length}, 0);
    fp8_paged_mqa_logits(context, call);
    context.backend().synchronize(nullptr);
    Need need;
    need.mmas = logit_mmas(rows, length);
    need.bytes(
        static_cast<double>(requests * length * 132 + pages * 4));  // keys once for all rows of a request
    need.bytes(query_bytes(next_n, static_cast<double>(requests), static_cast<double>(counting.last().ctas)));
    need.bytes(static_cast<double>(rows * length * 4));
    expect_lean(counting.last(), need);
  }
}

TEST_P(LeanLogits, OfRanges) {
  Context& context = context_of(GetParam());
  Counting const counting(context);
  Memory memory(context);
  std::int64_t const rows = 64, keys = 2048;
  MqaLogitsCall call;
  call.q = bytes_of(memory, Dtype::kE4m3, {rows, 64, 128}, kOne);
  call.keys = bytes_of(memory, Dtype::kE4m3, {keys, 128}, kOne);
  call.scales = bytes_of(memory, Dtype::kF32, {keys}, 0);
  call.weights = bytes_of(memory, Dtype::kF32, {rows, 64}, 0);
  call.start = repeated(memory, Dtype::kI32, {rows}, 0);
  call.end = repeated(memory, Dtype::kI32, {rows}, static_cast<std::int32_t>(keys));
  call.logits = bytes_of(memory, Dtype::kF32, {rows, keys}, 0);
  fp8_mqa_logits(context, call);
  context.backend().synchronize(nullptr);
  MqaPlan const plan = mqa_plan({.paged = false, .rows = rows, .heads = 64, .dim = 128}, context.arch());
  std::int64_t const units = rows / plan.query_warps;
  double const ctas = static_cast<double>(counting.last().ctas);
  Need need;
  need.mmas = logit_mmas(rows, keys);
  need.bytes(static_cast<double>(units * keys * 132));  // keys once for all rows of a unit
  need.bytes(query_bytes(plan.query_warps, static_cast<double>(units), ctas));
  need.bytes(static_cast<double>(rows * keys * 4));
  need.bytes(ctas * static_cast<double>(rows) * 8);  // every CTA finds its share
  expect_lean(counting.last(), need);
}

INSTANTIATE_TEST_SUITE_P(All, LeanLogits, testing::Values("emu:sm_120a", "emu:sm_121a"),
                         [](auto const& info) { return test_name(info.param); });

}  // namespace
}  // namespace deepwell
