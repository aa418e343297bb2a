// Names of devices, the list of devices, the null backend, and what all backends check alike.
#include "backend/backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/checks.hpp"
#include "backend/null/null_backend.hpp"

namespace deepwell {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <class Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (Error const& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorCode::kInternal, "no error");
}

TEST(MakeBackend, RefusesUnknownNames) {
  for (char const* const name :
       {"", "gpu", "cudax", "cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "emu", "null", "cpu:0"}) {
    Error const error = error_of([&] { make_backend(name); });
    EXPECT_EQ(error.code(), ErrorCode::kBadArgument) << name;
    EXPECT_EQ(error.argument(), "device") << name;
    EXPECT_EQ(error.got(), name);
  }
}

TEST(MakeBackend, KnowsProfilesOfTheNullDevice) {
  auto const plain = make_backend("null:sm_120a");
  EXPECT_EQ(plain->device().id, "null:sm_120a");
  EXPECT_EQ(plain->device().arch.target, "sm_120a");
  EXPECT_EQ(plain->device().sm_count, 188);
  EXPECT_FALSE(plain->needs_code());
  EXPECT_EQ(make_backend("null:sm_90a:12")->device().sm_count, 12);
  EXPECT_EQ(error_of([] { make_backend("null:sm_70"); }).code(), ErrorCode::kUnsupported);
  for (char const* const name : {"null:sm_120a:", "null:sm_120a:0", "null:sm_120a:x", "null:sm_120a:4x"}) {
    EXPECT_EQ(error_of([&] { make_backend(name); }).got(), name);
  }
}

TEST(ListDevices, EndsWithTheEmulatedOnes) {
  std::vector<DeviceSummary> const rows = list_devices();
  std::size_t const emulated = all_archs().size();
  ASSERT_GT(rows.size(), emulated);
  EXPECT_TRUE(rows.front().id.starts_with("cuda"));
  for (std::size_t i = 0; i < emulated; ++i) {
    DeviceSummary const& row = rows[rows.size() - emulated + i];
    EXPECT_EQ(row.id, "emu:" + std::string(all_archs()[i].target));
    EXPECT_EQ(row.sm_count, all_archs()[i].default_sm_count);
    EXPECT_EQ(row.unusable, "");
    EXPECT_EQ(make_backend(row.id)->device().name, row.name);
  }
  // Without a usable device the first row says why, and "cuda" fails for the same reason.
  if (rows.front().id == "cuda") {
    EXPECT_NE(rows.front().unusable, "");
    Error const error = error_of([] { make_backend("cuda"); });
    EXPECT_THAT(error.code(), ::testing::AnyOf(ErrorCode::kDevice, ErrorCode::kBadArgument));
  }
}

TEST(NullBackend, MemoryIsCheckedHostMemory) {
  NullBackend backend("null:sm_120a");
  DeviceAddress const address = backend.allocate(100);
  EXPECT_EQ(address % 256, 0u);
  std::vector<std::byte> data(100, std::byte{3});
  backend.copy_to_device(address, data, nullptr);
  backend.fill(address + 10, 5, std::byte{9}, nullptr);
  std::vector<std::byte> back(100);
  backend.copy_to_host(back, address, nullptr);
  std::fill(data.begin() + 10, data.begin() + 15, std::byte{9});
  EXPECT_EQ(back, data);
  EXPECT_EQ(error_of([&] { backend.fill(address + 1, 100, std::byte{0}, nullptr); }).argument(), "address");
  EXPECT_EQ(error_of([&] { backend.copy_to_host(back, address - 1, nullptr); }).argument(), "address");
  EXPECT_EQ(error_of([&] { backend.release(address + 1); }).argument(), "address");
  EXPECT_EQ(error_of([&] { backend.allocate(0); }).argument(), "bytes");
  EXPECT_EQ(error_of([&] { backend.allocate(~std::size_t{0}); }).code(), ErrorCode::kDevice);
  backend.release(address);
  EXPECT_EQ(error_of([&] { backend.release(address); }).argument(), "address");
  DeviceAddress const zeroed = backend.allocate_zeroed(64);
  backend.copy_to_host(std::span(back).first(64), zeroed, nullptr);
  EXPECT_TRUE(std::all_of(back.begin(), back.begin() + 64, [](std::byte b) { return b == std::byte{0}; }));
}

TEST(NullBackend, RecordsLaunches) {
  NullBackend backend("null:sm_120a");
  auto const kernel = backend.load({.entry = "k", .target = "sm_120a", .cubin = {}, .ptx = {}}, 512);
  std::vector<std::byte> const params{std::byte{1}, std::byte{2}};
  backend.launch(*kernel, {}, params);
  backend.set_recording(true);
  backend.launch(*kernel, {.grid = {2, 3, 4}, .threads = 64, .dynamic_smem_bytes = 512}, params);
  EXPECT_EQ(backend.launches(), 2u);
  ASSERT_EQ(backend.recorded().size(), 1u);
  EXPECT_EQ(backend.recorded()[0].entry, "k");
  EXPECT_EQ(backend.recorded()[0].spec.grid[2], 4u);
  EXPECT_EQ(backend.recorded()[0].params, params);
  EXPECT_EQ(error_of([&] { backend.launch(*kernel, {.dynamic_smem_bytes = 513}, params); }).argument(),
            "dynamic_smem_bytes");
  EXPECT_EQ(
      error_of([&] { backend.load({.entry = "", .target = "", .cubin = {}, .ptx = {}}, 0); }).argument(),
      "entry");
}

TEST(NullBackend, PretendsToCapture) {
  NullBackend backend("null:sm_120a");
  int stream = 0;
  EXPECT_FALSE(backend.capturing(&stream));
  backend.set_capture_id(&stream, 5);
  EXPECT_EQ(backend.capture_id(&stream), 5u);
  EXPECT_EQ(backend.capture_id(nullptr), 0u);
  backend.set_capture_id(&stream, 0);
  EXPECT_FALSE(backend.capturing(&stream));
}

TEST(Checks, DescribeLaunchesAndTensorMaps) {
  EXPECT_EQ(
      describe_launch("k", {.grid = {1, 2, 3}, .threads = 32, .cluster = {2, 1, 1}}),
      "kernel k, grid [1, 2, 3], block [32, 1, 1], 0 bytes of dynamic shared memory, cluster [2, 1, 1]");
  EXPECT_EQ(describe_tensor_map({.element = TensorMapSpec::Element::kF32,
                                 .swizzle = TensorMapSpec::Swizzle::k64B,
                                 .rank = 3,
                                 .base = 0x100,
                                 .dims = {1, 2, 3},
                                 .strides_bytes = {16, 32},
                                 .box = {4, 5, 6}}),
            "f32 [1, 2, 3], strides [16, 32] bytes, box [4, 5, 6], swizzle 64B, base 0x100");
}

TEST(Checks, DriverValuesAreCudas) {
  using Element = TensorMapSpec::Element;
  auto const type = [](Element element) { return driver_values({.element = element, .rank = 1}).data_type; };
  EXPECT_EQ(type(Element::kU8), 0);
  EXPECT_EQ(type(Element::kU16), 1);
  EXPECT_EQ(type(Element::kI32), 3);
  EXPECT_EQ(type(Element::kF32), 7);
  EXPECT_EQ(type(Element::kBf16), 9);
  EXPECT_EQ(type(Element::kPacked4Align8), 13);
  EXPECT_EQ(type(Element::kPacked4Align16), 14);
  auto const promotion = [](std::uint64_t bytes) {
    return driver_values({.rank = 1, .dims = {bytes}}).l2_promotion;
  };
  EXPECT_EQ(promotion(63), 0);
  EXPECT_EQ(promotion(64), 1);
  EXPECT_EQ(promotion(128), 2);
  EXPECT_EQ(promotion(256), 3);
}

}  // namespace
}  // namespace deepwell
