// Tensor maps: encoding, the driver's rules, damage detection, swizzles.
#include "emu/mem/tensor_map.hpp"

#include <gtest/gtest.h>

#include <set>

namespace deepwell::emu {
namespace {

TensorMapSpec plain() {
  TensorMapSpec spec;
  spec.data_type = static_cast<int>(TensorMapType::kBf16);
  spec.rank = 3;
  spec.base = 0x700001000;
  spec.dims = {100, 37, 5};
  spec.strides_bytes = {208, 208 * 40};
  spec.box = {64, 8, 2};
  spec.swizzle = static_cast<int>(TensorMapSwizzle::k128B);
  return spec;
}

/// Runs encode and returns the argument that was blamed, empty when it was accepted.
std::string blamed(TensorMapSpec const& spec) {
  try {
    encode_tensor_map(spec);
  } catch (Error const& error) {
    EXPECT_FALSE(std::string(error.what()).empty());
    if (error.code() == ErrorCode::kUnsupported) return "unsupported";
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
    EXPECT_FALSE(error.expected().empty());
    return error.argument();
  }
  return "";
}

TEST(TensorMap, RoundTrip) {
  TensorMapSpec spec = plain();
  spec.element_strides = {1, 3, 8, 1, 1};
  spec.l2_promotion = 2;
  spec.oob_fill = 1;
  spec.dims[2] = 1ull << 32;
  TensorMapSpec const back = unpack_tensor_map(encode_tensor_map(spec));
  EXPECT_EQ(back.data_type, spec.data_type);
  EXPECT_EQ(back.rank, spec.rank);
  EXPECT_EQ(back.base, spec.base);
  EXPECT_EQ(back.dims, spec.dims);
  EXPECT_EQ(back.strides_bytes, spec.strides_bytes);
  EXPECT_EQ(back.box, spec.box);
  EXPECT_EQ(back.element_strides, spec.element_strides);
  EXPECT_EQ(back.swizzle, spec.swizzle);
  EXPECT_EQ(back.l2_promotion, 2);
  EXPECT_EQ(back.oob_fill, 1);
}

TEST(TensorMap, EveryDamagedByteIsSeen) {
  auto const good = encode_tensor_map(plain());
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] ^= std::byte{0x10};
    EXPECT_THROW(unpack_tensor_map(bad), Error) << "byte " << i;
  }
  std::array<std::byte, 128> zeros{};
  EXPECT_THROW(unpack_tensor_map(zeros), Error);
}

TEST(TensorMap, RulesNameTheField) {
  auto with = [](auto change) {
    TensorMapSpec spec = plain();
    change(spec);
    return blamed(spec);
  };
  EXPECT_EQ(blamed(plain()), "");
  EXPECT_EQ(with([](auto& s) { s.base += 8; }), "tensor map base");
  EXPECT_EQ(with([](auto& s) { s.rank = 0; }), "tensor map rank");
  EXPECT_EQ(with([](auto& s) { s.rank = 6; }), "tensor map rank");
  EXPECT_EQ(with([](auto& s) { s.data_type = 16; }), "tensor map data_type");
  EXPECT_EQ(with([](auto& s) { s.data_type = 15; }), "unsupported");
  EXPECT_EQ(with([](auto& s) { s.dims[1] = 0; }), "tensor map dims[1]");
  EXPECT_EQ(with([](auto& s) { s.dims[1] = (1ull << 32) + 1; }), "tensor map dims[1]");
  EXPECT_EQ(with([](auto& s) { s.dims[1] = 1ull << 32; }), "");
  EXPECT_EQ(with([](auto& s) { s.strides_bytes[0] = 200; }), "tensor map strides_bytes[0]");
  EXPECT_EQ(with([](auto& s) { s.strides_bytes[1] = 1ull << 40; }), "tensor map strides_bytes[1]");
  EXPECT_EQ(with([](auto& s) { s.strides_bytes[1] = 0; }), "");
  EXPECT_EQ(with([](auto& s) { s.box[1] = 257; }), "tensor map box[1]");
  EXPECT_EQ(with([](auto& s) { s.box[2] = 0; }), "tensor map box[2]");
  EXPECT_EQ(with([](auto& s) { s.box[0] = 63; }), "tensor map box[0]");
  EXPECT_EQ(with([](auto& s) { s.box[0] = 72; }), "tensor map box[0]");  // 144 bytes in a 128-byte span
  EXPECT_EQ(with([](auto& s) { s.box[0] = 72, s.swizzle = 0; }), "");
  EXPECT_EQ(with([](auto& s) { s.swizzle = 2; }), "tensor map box[0]");
  EXPECT_EQ(with([](auto& s) { s.swizzle = 7; }), "tensor map swizzle");
  EXPECT_EQ(with([](auto& s) { s.swizzle = 5; }), "unsupported");
  EXPECT_EQ(with([](auto& s) { s.interleave = 1; }), "unsupported");
  EXPECT_EQ(with([](auto& s) { s.interleave = 3; }), "tensor map interleave");
  EXPECT_EQ(with([](auto& s) { s.element_strides[1] = 9; }), "tensor map element_strides[1]");
  EXPECT_EQ(with([](auto& s) { s.element_strides[1] = 0; }), "tensor map element_strides[1]");
  EXPECT_EQ(with([](auto& s) { s.l2_promotion = 4; }), "tensor map l2_promotion");
  EXPECT_EQ(with([](auto& s) { s.oob_fill = 2; }), "tensor map oob_fill");
  EXPECT_EQ(with([](auto& s) { s.oob_fill = 1; }), "");
  EXPECT_EQ(with([](auto& s) { s.oob_fill = 1, s.data_type = 0, s.box[0] = 128; }), "tensor map oob_fill");
}

TEST(TensorMap, PackedFourBitRules) {
  TensorMapSpec spec;
  spec.data_type = static_cast<int>(TensorMapType::kU4Align16);
  spec.rank = 2;
  spec.base = 0x700000020;
  spec.dims = {256, 16};
  spec.strides_bytes = {128};
  spec.box = {128, 8};
  auto with = [&](auto change) {
    TensorMapSpec other = spec;
    change(other);
    return blamed(other);
  };
  EXPECT_EQ(blamed(spec), "");
  EXPECT_EQ(with([](auto& s) { s.base += 16; }), "tensor map base");
  EXPECT_EQ(with([](auto& s) { s.dims[0] = 192; }), "tensor map dims[0]");
  EXPECT_EQ(with([](auto& s) { s.strides_bytes[0] = 144; }), "tensor map strides_bytes[0]");
  EXPECT_EQ(with([](auto& s) { s.box[0] = 64; }), "tensor map box[0]");
  EXPECT_EQ(with([](auto& s) { s.swizzle = 3; }), "");
  EXPECT_EQ(with([](auto& s) { s.swizzle = 2; }), "tensor map swizzle");
  spec.data_type = static_cast<int>(TensorMapType::kU4Align8);
  EXPECT_EQ(with([](auto& s) { s.base += 16, s.dims[0] = 190, s.strides_bytes[0] = 112, s.box[0] = 64; }),
            "");
  EXPECT_EQ(with([](auto& s) { s.dims[0] = 191; }), "tensor map dims[0]");
  EXPECT_EQ(with([](auto& s) { s.box[0] = 48; }), "tensor map box[0]");
}

TEST(TensorMap, SwizzlesPermuteWholeAtoms) {
  for (auto swizzle :
       {TensorMapSwizzle::kNone, TensorMapSwizzle::k32B, TensorMapSwizzle::k64B, TensorMapSwizzle::k128B,
        TensorMapSwizzle::k128BAtom32B, TensorMapSwizzle::k128BAtom64B}) {
    std::set<std::uint32_t> seen;
    for (std::uint32_t a = 0; a < 4096; ++a) {
      std::uint32_t const to = swizzle_address(swizzle, a);
      EXPECT_EQ(to / 128, a / 128);
      EXPECT_EQ(to % 16, a % 16);
      EXPECT_EQ(swizzle_address(swizzle, to), a);
      seen.insert(to);
    }
    EXPECT_EQ(seen.size(), 4096u);
  }
  EXPECT_EQ(swizzle_address(TensorMapSwizzle::k32B, 0x80), 0x90u);
  EXPECT_EQ(swizzle_address(TensorMapSwizzle::k32B, 0x100), 0x100u);
  EXPECT_EQ(swizzle_address(TensorMapSwizzle::k64B, 0x180), 0x1b0u);
  EXPECT_EQ(swizzle_address(TensorMapSwizzle::k64B, 0x1c0), 0x1f0u);
  EXPECT_EQ(swizzle_address(TensorMapSwizzle::k128B, 0x3f5), 0x385u);
  EXPECT_EQ(swizzle_address(TensorMapSwizzle::k128BAtom32B, 0x190), 0x1f0u);
  EXPECT_EQ(swizzle_address(TensorMapSwizzle::k128BAtom64B, 0x80), 0xc0u);
}

}  // namespace
}  // namespace deepwell::emu
