// Tile copies against an element-by-element model: ranks, edges, swizzles, packed 4-bit forms, reductions, poison.
#include "emu/mem/tma.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <map>
#include <random>

namespace deepwell::emu {
namespace {

constexpr std::uint64_t kBase = 0x700000000;

class FakeMemory : public BulkMemory {
 public:
  std::vector<std::byte> global, shared;
  std::vector<std::uint8_t> global_valid, shared_valid;

  FakeMemory(std::size_t g, std::size_t s) : global(g), shared(s), global_valid(g, 1), shared_valid(s, 0) {}

  void read_global(std::uint64_t address, std::span<std::byte> data, std::span<std::uint8_t> valid) override {
    std::size_t const at = check(address, data.size());
    std::copy_n(global.begin() + at, data.size(), data.begin());
    std::copy_n(global_valid.begin() + at, data.size(), valid.begin());
  }
  void write_global(std::uint64_t address, std::span<std::byte const> data,
                    std::span<std::uint8_t const> valid) override {
    std::size_t const at = check(address, data.size());
    std::copy(data.begin(), data.end(), global.begin() + at);
    std::copy(valid.begin(), valid.end(), global_valid.begin() + at);
  }
  void update_global(std::uint64_t address, std::size_t bytes,
                     std::function<void(std::span<std::byte>)> const& update) override {
    update(std::span(global).subspan(check(address, bytes), bytes));
  }
  void read_shared(std::uint32_t address, std::span<std::byte> data, std::span<std::uint8_t> valid) override {
    DW_REQUIRE(address + data.size() <= shared.size(), kMemory, "shared range");
    std::copy_n(shared.begin() + address, data.size(), data.begin());
    std::copy_n(shared_valid.begin() + address, data.size(), valid.begin());
  }
  void write_shared(std::uint32_t address, std::span<std::byte const> data,
                    std::span<std::uint8_t const> valid) override {
    DW_REQUIRE(address + data.size() <= shared.size(), kMemory, "shared range");
    std::copy(data.begin(), data.end(), shared.begin() + address);
    std::copy(valid.begin(), valid.end(), shared_valid.begin() + address);
  }

 private:
  std::size_t check(std::uint64_t address, std::size_t bytes) const {
    DW_REQUIRE(address >= kBase && address - kBase + bytes <= global.size(), kMemory, "global range");
    return address - kBase;
  }
};

void randomise(std::vector<std::byte>& bytes, std::uint32_t seed) {
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
}

/// Calls body(element index in the box's row, linear row, coordinates) for each element of the box.
template <class Body>
void for_each_element(TensorMapSpec const& map, std::vector<std::int32_t> const& at, Body const& body) {
  std::array<std::uint32_t, 5> n{1, 1, 1, 1, 1};
  for (int i = 0; i < map.rank; ++i) {
    n[i] = i == 0 ? map.box[0] : (map.box[i] + map.element_strides[i] - 1) / map.element_strides[i];
  }
  std::uint32_t row = 0;
  for (std::uint32_t e = 0; e < n[4]; ++e) {
    for (std::uint32_t d = 0; d < n[3]; ++d) {
      for (std::uint32_t c = 0; c < n[2]; ++c) {
        for (std::uint32_t b = 0; b < n[1]; ++b, ++row) {
          for (std::uint32_t a = 0; a < n[0]; ++a) {
            std::array<std::int64_t, 5> x{a, b, c, d, e};
            bool inside = true;
            for (int i = 0; i < map.rank; ++i) {
              x[i] = at[i] + x[i] * (i == 0 ? 1 : map.element_strides[i]);
              inside = inside && x[i] >= 0 && x[i] < static_cast<std::int64_t>(map.dims[i]);
            }
            body(a, row, x, inside);
          }
        }
      }
    }
  }
}

std::uint64_t element_address(TensorMapSpec const& map, std::array<std::int64_t, 5> const& x, int bytes) {
  std::uint64_t address = map.base + static_cast<std::uint64_t>(x[0] * bytes);
  for (int i = 1; i < map.rank; ++i) address += static_cast<std::uint64_t>(x[i]) * map.strides_bytes[i - 1];
  return address;
}

TensorMapSpec make(int rank, TensorMapType type, TensorMapSwizzle swizzle) {
  TensorMapSpec map;
  map.data_type = static_cast<int>(type);
  map.swizzle = static_cast<int>(swizzle);
  map.rank = rank;
  map.base = kBase + 64;
  map.dims = {29, 7, 5, 3, 2};
  map.box = {static_cast<std::uint32_t>(256 / bits_of(type)), 6, 3, 2, 2};
  std::uint64_t stride = 256;
  for (int i = 0; i < 4; ++i) {
    map.strides_bytes[i] = stride;
    stride *= map.dims[i + 1] + 1;
  }
  return map;
}

TEST(Tile, LoadsEveryRankTypeSwizzleAndEdge) {
  std::vector<std::vector<std::int32_t>> const places{
      {0, 0, 0, 0, 0},  {5, 3, 4, 2, 1},    {-3, -2, -1, -1, -1},
      {28, 6, 0, 0, 0}, {-100, 0, 0, 0, 0}, {100000000, 0, 0, 0, -2147483647}};
  for (int rank = 1; rank <= 5; ++rank) {
    for (auto type : {TensorMapType::kU8, TensorMapType::kBf16, TensorMapType::kS32, TensorMapType::kU64}) {
      for (auto swizzle :
           {TensorMapSwizzle::kNone, TensorMapSwizzle::k32B, TensorMapSwizzle::k64B, TensorMapSwizzle::k128B,
            TensorMapSwizzle::k128BAtom32B, TensorMapSwizzle::k128BAtom64B}) {
        for (auto place : places) {
          place.resize(static_cast<std::size_t>(rank));
          place[0] *= 128 / bits_of(type);  // in steps of 16 bytes
          TensorMapSpec map = make(rank, type, swizzle);
          if (rank > 2) map.element_strides[2] = 2;
          int const bytes = bits_of(type) / 8;
          FakeMemory memory(256 * 8 * 6 * 4 * 3 + 4096, 8192);
          randomise(memory.global, 1);
          memory.global_valid[64 + 40] = 0;
          std::uint32_t const at = 1152;
          Tile const tile(map, place, at);
          tile.load(memory);
          std::uint32_t written = 0, rows = 0;
          for_each_element(map, place, [&](std::uint32_t a, std::uint32_t row, auto const& x, bool inside) {
            std::uint32_t const pitch = swizzle == TensorMapSwizzle::kNone
                                            ? map.box[0] * bytes
                                            : static_cast<std::uint32_t>(span_of(swizzle));
            rows = row + 1;
            std::uint32_t const linear = at + row * pitch + a * bytes;
            std::uint32_t const where = swizzle_address(swizzle, linear);
            std::uint64_t want = 0, got = 0;
            bool valid = true;
            if (inside) {
              std::uint64_t const from = element_address(map, x, bytes) - kBase;
              std::memcpy(&want, &memory.global[from], bytes);
              for (int i = 0; i < bytes; ++i) valid = valid && memory.global_valid[from + i];
            }
            std::memcpy(&got, &memory.shared[where], bytes);
            ASSERT_EQ(got, want);
            bool got_valid = true;
            for (int i = 0; i < bytes; ++i) got_valid = got_valid && memory.shared_valid[where + i];
            ASSERT_EQ(got_valid, valid);
            written += bytes;
          });
          ASSERT_EQ(tile.transaction_bytes(), written);
          std::uint32_t const span = static_cast<std::uint32_t>(span_of(swizzle));
          ASSERT_EQ(tile.shared_bytes(), swizzle == TensorMapSwizzle::kNone ? written : rows * span);
          // A swizzle moves bytes inside their 128-byte line, not beyond it.
          std::uint32_t const end = (at + tile.shared_bytes() + 127) / 128 * 128;
          for (std::uint32_t i = 0; i < memory.shared.size(); ++i) {
            ASSERT_TRUE(memory.shared_valid[i] == 0 || (i >= at && i < end))
                << "byte outside the tile was written";
          }
        }
      }
    }
  }
}

TEST(Tile, StoreClipsTheInnerDimensionToSixteenBytes) {
  for (auto swizzle : {TensorMapSwizzle::kNone, TensorMapSwizzle::k128B}) {
    for (std::vector<std::int32_t> const& place :
         {std::vector<std::int32_t>{0, 0}, {16, 5}, {24, 3}, {40, 0}, {0, 7}}) {
      TensorMapSpec const map = make(2, TensorMapType::kBf16, swizzle);
      std::uint32_t const pitch = swizzle == TensorMapSwizzle::kNone ? 32 : 128;
      FakeMemory memory(8192, 4096);
      randomise(memory.shared, 3);
      std::fill(memory.shared_valid.begin(), memory.shared_valid.end(), 1);
      auto want = memory.global;
      for_each_element(map, place, [&](std::uint32_t a, std::uint32_t row, auto const& x, bool) {
        if (x[0] >= 32 || x[1] >= 7) return;  // 29 elements are 58 bytes: 64 are written
        std::uint32_t const from = swizzle_address(swizzle, 1024 + row * pitch + a * 2);
        std::memcpy(&want[element_address(map, x, 2) - kBase], &memory.shared[from], 2);
      });
      store_pieces(memory, Tile(map, place, 1024).gather(memory));
      EXPECT_EQ(memory.global, want);
    }
  }
  FakeMemory memory(8192, 4096);
  std::int32_t const negative[] = {-8, 0}, above[] = {0, -1};
  TensorMapSpec const map = make(2, TensorMapType::kBf16, TensorMapSwizzle::kNone);
  EXPECT_THROW(Tile(map, negative, 0).gather(memory), Error);
  EXPECT_THROW(Tile(map, above, 0).gather(memory), Error);
}

TEST(Tile, NanFill) {
  TensorMapSpec map = make(1, TensorMapType::kF32, TensorMapSwizzle::kNone);
  map.oob_fill = 1;
  FakeMemory memory(8192, 4096);
  std::int32_t const at[] = {-4};
  Tile(map, at, 0).load(memory);
  std::uint32_t value;
  std::memcpy(&value, &memory.shared[0], 4);
  EXPECT_EQ(value, 0x7ff77ff7u);
  std::memcpy(&value, &memory.shared[16], 4);
  EXPECT_EQ(value, 0u);
}

TEST(Tile, Tf32RoundsToNearestEven) {
  // Inputs and results as an SM 9.0 device gave them.
  std::uint32_t const in[] = {0x3f801000, 0x00000123, 0x80400000, 0x7f7fffff, 0x7fc12345, 0xff812345,
                              0x3f801fff, 0x3f800fff, 0xbf803000, 0x3f80a009, 0x3f80b00a, 0x3f80c00b};
  std::uint32_t const out[] = {0x3f800000, 0x00000000, 0x80400000, 0x7f800000, 0x7fffe000, 0x7fffe000,
                               0x3f802000, 0x3f800000, 0xbf804000, 0x3f80a000, 0x3f80c000, 0x3f80c000};
  for (auto type : {TensorMapType::kTf32, TensorMapType::kTf32Ftz, TensorMapType::kF32Ftz}) {
    TensorMapSpec map = make(1, type, TensorMapSwizzle::kNone);
    map.box[0] = 12;
    FakeMemory memory(8192, 4096);
    std::memcpy(&memory.global[64], in, sizeof in);
    std::int32_t const at[] = {0};
    Tile(map, at, 0).load(memory);
    bool const rounds = type != TensorMapType::kF32Ftz;
    EXPECT_EQ(std::memcmp(memory.shared.data(), rounds ? out : in, sizeof in), 0);
  }
}

TEST(Tile, PackedAlign16SpreadsEightBytesToSixteen) {
  TensorMapSpec map;
  map.data_type = static_cast<int>(TensorMapType::kU4Align16);
  map.rank = 2;
  map.base = kBase;
  map.dims = {256, 3};
  map.strides_bytes = {128};
  map.box = {128, 4};
  FakeMemory memory(128 * 3, 4096);
  randomise(memory.global, 5);
  std::int32_t const at[] = {128, 1};
  Tile const tile(map, at, 1024);
  EXPECT_EQ(tile.transaction_bytes(), 4u * 64);
  EXPECT_EQ(tile.shared_bytes(), 4u * 128);
  tile.load(memory);
  for (int row = 0; row < 4; ++row) {
    for (int i = 0; i < 64; ++i) {
      std::byte const want = row + 1 < 3 ? memory.global[(row + 1) * 128 + 64 + i] : std::byte{0};
      std::size_t const where = 1024 + row * 128 + i / 8 * 16 + i % 8;
      EXPECT_EQ(memory.shared[where], want);
      EXPECT_EQ(memory.shared_valid[where], 1);
      EXPECT_EQ(memory.shared_valid[where + 8], 0) << "padding";
    }
  }
  EXPECT_THROW(tile.gather(memory), Error);
  std::int32_t const odd[] = {64, 0};
  EXPECT_THROW(Tile(map, odd, 1024), Error);
}

TEST(Tile, PackedAlign8IsDense) {
  TensorMapSpec map;
  map.data_type = static_cast<int>(TensorMapType::kU4Align8);
  map.rank = 2;
  map.base = kBase;
  map.dims = {90, 2};
  map.strides_bytes = {48};
  map.box = {64, 2};
  FakeMemory memory(96, 4096);
  randomise(memory.global, 6);
  std::int32_t const at[] = {32, 0};
  Tile const tile(map, at, 0);
  EXPECT_EQ(tile.transaction_bytes(), 64u);
  tile.load(memory);
  for (int row = 0; row < 2; ++row) {
    for (int i = 0; i < 32; ++i) {
      std::byte const want = 16 + i < 45 ? memory.global[row * 48 + 16 + i] : std::byte{0};
      EXPECT_EQ(memory.shared[row * 32 + i], want);
    }
  }
}

TEST(Tile, RejectsWhatTheInstructionRejects) {
  TensorMapSpec map = make(2, TensorMapType::kBf16, TensorMapSwizzle::kNone);
  std::int32_t const two[] = {0, 0}, three[] = {0, 0, 0};
  EXPECT_THROW(Tile(map, three, 0), Error);
  EXPECT_THROW(Tile(map, two, 64), Error);
  std::int32_t const odd_start[] = {4, 0};
  EXPECT_THROW(Tile(map, odd_start, 0), Error);
  map.base += 1;
  EXPECT_THROW(Tile(map, two, 0), Error);
}

TEST(Tile, BoundsErrorNamesTheMapAndCoordinates) {
  TensorMapSpec map = make(2, TensorMapType::kBf16, TensorMapSwizzle::kNone);
  FakeMemory memory(512, 4096);
  std::int32_t const at[] = {0, 3};
  try {
    Tile(map, at, 0).load(memory);
    FAIL() << "the map is larger than its buffer";
  } catch (Error const& error) {
    std::string const text = error.what();
    EXPECT_NE(text.find("coordinates {0, 3}"), std::string::npos) << text;
    EXPECT_NE(text.find("dims {29, 7}"), std::string::npos) << text;
  }
}

TEST(Reduce, TileAdd) {
  TensorMapSpec map = make(2, TensorMapType::kF32, TensorMapSwizzle::kNone);
  FakeMemory memory(8192, 4096);
  float* const shared = reinterpret_cast<float*>(memory.shared.data());
  float* const global = reinterpret_cast<float*>(memory.global.data());
  for (int i = 0; i < 48; ++i) shared[i] = static_cast<float>(i + 1);
  for (int i = 0; i < 2048; ++i) global[i] = 1000;
  std::fill(memory.shared_valid.begin(), memory.shared_valid.end(), 1);
  std::int32_t const at[] = {28, 5};
  auto const add = [&] {
    reduce_pieces(memory, Tile(map, at, 0).gather(memory), ReduceOp::kAdd, TensorMapType::kF32);
  };
  add();
  int changed = 0;
  for (int i = 0; i < 2048; ++i) changed += global[i] != 1000;
  EXPECT_EQ(global[16 + 5 * 64 + 28], 1001);
  EXPECT_EQ(global[16 + 5 * 64 + 31], 1004);
  EXPECT_EQ(global[16 + 6 * 64 + 28], 1009);
  EXPECT_EQ(changed, 8);  // 29 elements wide: whole 16 bytes are touched
  memory.shared_valid[4] = 0;
  EXPECT_THROW(add(), Error);
}

template <class T>
T reduced(ReduceOp op, TensorMapType type, T a, T b) {
  std::array<std::byte, sizeof(T)> into, with;
  std::memcpy(into.data(), &a, sizeof a);
  std::memcpy(with.data(), &b, sizeof b);
  reduce_elements(op, type, into, with);
  std::memcpy(&a, into.data(), sizeof a);
  return a;
}

TEST(Reduce, Integers) {
  using enum ReduceOp;
  EXPECT_EQ(reduced<std::uint32_t>(kAdd, TensorMapType::kU32, 0xffffffffu, 2), 1u);
  EXPECT_EQ(reduced<std::int32_t>(kMin, TensorMapType::kS32, -1, 2), -1);
  EXPECT_EQ(reduced<std::uint32_t>(kMin, TensorMapType::kU32, 0xffffffffu, 2), 2u);
  EXPECT_EQ(reduced<std::uint32_t>(kInc, TensorMapType::kU32, 5, 5), 0u);
  EXPECT_EQ(reduced<std::uint32_t>(kInc, TensorMapType::kU32, 4, 5), 5u);
  EXPECT_EQ(reduced<std::uint32_t>(kDec, TensorMapType::kU32, 0, 5), 5u);
  EXPECT_EQ(reduced<std::uint64_t>(kXor, TensorMapType::kU64, 0xf0, 0xff), 0x0fu);
  EXPECT_THROW(reduced<std::int32_t>(kInc, TensorMapType::kS32, 1, 1), Error);
  EXPECT_THROW(reduced<std::uint8_t>(kAdd, TensorMapType::kU8, 1, 1), Error);
}

TEST(Reduce, HalvesRoundToNearestEven) {
  using enum ReduceOp;
  auto const f16 = TensorMapType::kF16, bf16 = TensorMapType::kBf16;
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, f16, 0x3c00, 0x3c00), 0x4000);   // 1 + 1
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, f16, 0x6800, 0x3c00), 0x6800);   // 2048 + 1 ties to even
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, f16, 0x6801, 0x3c00), 0x6802);   // 2050 + 1 ties to even
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, f16, 0x0001, 0x0001), 0x0002);   // subnormals
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, f16, 0x7bff, 0x7bff), 0x7c00);   // overflow
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, f16, 0x3c00, 0xbc00), 0x0000);   // 1 - 1
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, bf16, 0x3f80, 0x3b80), 0x3f80);  // 1 + 2^-8 ties to even
  EXPECT_EQ(reduced<std::uint16_t>(kAdd, bf16, 0x3f81, 0x3b80), 0x3f82);
  EXPECT_EQ(reduced<std::uint16_t>(kMax, bf16, 0xbf80, 0x0000), 0x0000);
  EXPECT_EQ(reduced<std::uint16_t>(kMin, f16, 0x3c00, 0x7e00), 0x3c00);  // NaN loses
}

}  // namespace
}  // namespace deepwell::emu
