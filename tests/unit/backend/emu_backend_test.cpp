// The emulator as a Backend: memory, loading, launches, notes, statistics, errors that pass through.
#include "backend/emu/emu_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "backend/cuda/cuda_tools.hpp"

namespace deepwell {
namespace {

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

// out[i] = in[i] + add, one thread an element; thread 0 of each CTA counts in note 2.
constexpr char const* kAddPtx = R"(
.version 8.7
.target sm_120a
.address_size 64
.visible .entry add_scalar(.param .u64 in, .param .u64 out, .param .u64 notes, .param .u32 add)
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<8>;
  ld.param.u64 %rd1, [in];
  ld.param.u64 %rd2, [out];
  ld.param.u64 %rd3, [notes];
  ld.param.u32 %r1, [add];
  mov.u32 %r2, %tid.x;
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.x;
  mad.lo.s32 %r5, %r3, %r4, %r2;
  mul.wide.u32 %rd4, %r5, 4;
  add.s64 %rd5, %rd1, %rd4;
  ld.global.u32 %r6, [%rd5];
  add.u32 %r6, %r6, %r1;
  add.s64 %rd6, %rd2, %rd4;
  st.global.u32 [%rd6], %r6;
  setp.ne.u32 %p1, %r2, 0;
  @%p1 bra DONE;
  red.global.add.u32 [%rd3+8], 1;
DONE:
  ret;
}
)";

struct AddArgs {
  DeviceAddress in, out, notes;
  std::uint32_t add;
  std::uint32_t pad = 0;
};
constexpr std::size_t kAddParamBytes = 28;

KernelImage add_image(std::string ptx = kAddPtx) {
  return {.entry = "add_scalar", .target = "sm_120a", .cubin = {}, .ptx = std::move(ptx)};
}

std::span<std::byte const> params_of(AddArgs const& args) {
  return std::as_bytes(std::span(&args, 1)).first(kAddParamBytes);
}

TEST(EmuBackend, DescribesItsDevice) {
  EmuBackend const plain("emu:sm_120a");
  EXPECT_EQ(plain.device().id, "emu:sm_120a");
  EXPECT_EQ(plain.device().arch.target, "sm_120a");
  EXPECT_EQ(plain.device().sm_count, 188);
  EXPECT_GT(plain.device().memory_bytes, 0u);
  EmuBackend const small("emu:sm_120a:48");
  EXPECT_EQ(small.device().id, "emu:sm_120a:48");
  EXPECT_EQ(small.device().sm_count, 48);
  EXPECT_EQ(make_backend("emu:sm_90a")->device().arch.target, "sm_90a");
  for (char const* const name : {"emu:sm_999", "emu:", "emu:sm_120a:0", "emu:sm_120a:x"}) {
    EXPECT_THROW(EmuBackend{name}, Error) << name;
  }
}

TEST(EmuBackend, RunsAKernelFromItsPtx) {
  EmuBackend backend("emu:sm_120a");
  std::vector<std::uint32_t> data(128);
  std::iota(data.begin(), data.end(), 5u);
  std::size_t const bytes = data.size() * 4;
  DeviceAddress const in = backend.allocate(bytes);
  DeviceAddress const out = backend.allocate(bytes);
  EXPECT_EQ(in % 256, 0u);
  backend.copy_to_device(in, std::as_bytes(std::span(data)), nullptr);
  auto const kernel = backend.load(add_image(), 0);
  EXPECT_EQ(kernel->entry(), "add_scalar");
  AddArgs const args{in, out, backend.notes_address(), 100};
  backend.launch(*kernel, {.grid = {2, 1, 1}, .threads = 64}, params_of(args));
  backend.synchronize(nullptr);
  std::vector<std::uint32_t> result(128);
  backend.copy_to_host(std::as_writable_bytes(std::span(result)), out, nullptr);
  for (std::size_t i = 0; i < data.size(); ++i) ASSERT_EQ(result[i], data[i] + 100) << i;
  for (int i = 0; i < kNoteCount; ++i) EXPECT_EQ(backend.read_note(i), i == 2 ? 2u : 0u) << i;
  EXPECT_THROW(backend.read_note(kNoteCount), Error);
  EXPECT_EQ(backend.last_statistics().ctas, 2u);
  EXPECT_GT(backend.last_statistics().warp_instructions, 4u * 10u);
  backend.release(in);
  backend.release(out);
}

TEST(EmuBackend, UnwrittenMemoryIsPoison) {
  EmuBackend backend("emu:sm_120a");
  DeviceAddress const in = backend.allocate(256);
  DeviceAddress const out = backend.allocate(256);
  auto const kernel = backend.load(add_image(), 0);
  AddArgs const args{in, out, backend.notes_address(), 1};
  Error const error = error_of([&] { backend.launch(*kernel, {.threads = 32}, params_of(args)); });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_THAT(error.what(), HasSubstr("add_scalar"));
  emu::Options options = backend.options();
  options.check = false;
  backend.set_options(options);
  EXPECT_NO_THROW(backend.launch(*kernel, {.threads = 32}, params_of(args)));
  options.check = true;
  backend.set_options(options);
  DeviceAddress const zeroed = backend.allocate_zeroed(256);
  AddArgs const good{zeroed, out, backend.notes_address(), 1};
  EXPECT_NO_THROW(backend.launch(*kernel, {.threads = 32}, params_of(good)));
  DeviceAddress const workspace = backend.allocate_async(256, nullptr);
  AddArgs const fresh{workspace, out, backend.notes_address(), 1};
  EXPECT_THROW(backend.launch(*kernel, {.threads = 32}, params_of(fresh)), Error);
  backend.release_async(workspace, nullptr);
}

TEST(EmuBackend, LaunchErrorsPassThrough) {
  EmuBackend backend("emu:sm_120a");
  auto const kernel = backend.load(add_image(), 0);
  DeviceAddress const out = backend.allocate(256);
  AddArgs const args{0x10, out, backend.notes_address(), 1};
  Error const error = error_of([&] { backend.launch(*kernel, {.threads = 32}, params_of(args)); });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_THAT(error.what(), HasSubstr("0x10"));
}

TEST(EmuBackend, RefusesWhatIsWrongBeforeItRuns) {
  EmuBackend backend("emu:sm_120a");
  EmuBackend other("emu:sm_120a");
  auto const kernel = backend.load(add_image(), 16);
  AddArgs const args{};
  auto const argument = [&](Backend& on, LaunchSpec const& spec) {
    return error_of([&] { on.launch(*kernel, spec, params_of(args)); }).argument();
  };
  EXPECT_EQ(argument(backend, {.grid = {1, 0, 1}}), "grid");
  EXPECT_EQ(argument(backend, {.threads = 2000}), "block");
  EXPECT_EQ(argument(backend, {.dynamic_smem_bytes = 17}), "dynamic_smem_bytes");
  EXPECT_EQ(argument(other, {}), "kernel");
  EXPECT_EQ(error_of([&] { backend.load(add_image(), 200000); }).argument(), "dynamic_smem_bytes");
  EXPECT_EQ(error_of([&] { backend.load(add_image(""), 0); }).argument(), "image");
  KernelImage missing = add_image();
  missing.entry = "other";
  Error const error = error_of([&] { backend.load(missing, 0); });
  EXPECT_EQ(error.argument(), "entry");
  EXPECT_THAT(error.expected(), HasSubstr("add_scalar"));
  EXPECT_THROW(backend.load(add_image("this is not PTX"), 0), Error);
  EXPECT_EQ(error_of([&] { backend.allocate(0); }).argument(), "bytes");
  EXPECT_EQ(error_of([&] { cuda::device_of(backend); }).argument(), "device");
}

TEST(EmuBackend, HostAccessIsChecked) {
  EmuBackend backend("emu:sm_120a");
  DeviceAddress const address = backend.allocate(64);
  std::vector<std::byte> data(65);
  EXPECT_THROW(backend.copy_to_device(address, data, nullptr), Error);
  EXPECT_THROW(backend.copy_to_host(data, address, nullptr), Error);
  EXPECT_THROW(backend.fill(address + 60, 5, std::byte{0}, nullptr), Error);
  backend.fill(address, 64, std::byte{5}, nullptr);
  backend.copy_to_host(std::span(data).first(64), address, nullptr);
  EXPECT_EQ(data[63], std::byte{5});
  backend.release(address);
  EXPECT_THROW(backend.copy_to_device(address, std::span(data).first(1), nullptr), Error);
  EXPECT_FALSE(backend.capturing(nullptr));
}

TEST(EmuBackend, EncodesTensorMapsOrNamesTheField) {
  EmuBackend backend("emu:sm_120a");
  TensorMapSpec spec{.element = TensorMapSpec::Element::kU8,
                     .swizzle = TensorMapSpec::Swizzle::k128B,
                     .rank = 2,
                     .base = 0x700000000,
                     .dims = {4096, 64},
                     .strides_bytes = {4096},
                     .box = {128, 64}};
  TensorMap const map = backend.encode(spec);
  spec.box[0] = 64;
  TensorMap const another = backend.encode(spec);
  EXPECT_NE(std::memcmp(&map, &another, sizeof(map)), 0);
  spec.strides_bytes[0] = 4097;
  EXPECT_THAT(error_of([&] { backend.encode(spec); }).what(), HasSubstr("4097"));
}

}  // namespace
}  // namespace deepwell
