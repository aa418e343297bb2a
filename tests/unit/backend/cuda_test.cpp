// The CUDA backend's logic against a stand-in driver: contexts, loading, launches, capture, errors, no driver at all.
#include "backend/cuda/cuda_backend.hpp"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <thread>

#include "backend/cuda/cuda_tools.hpp"
#include "base/options.hpp"
#include "unit/backend/mock_cuda/mock_cuda.hpp"
#include "unit/captured_log.hpp"

namespace deepwell::cuda {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

/// Runs `call`, which must throw deepwell::Error, and returns that.
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

KernelImage cubin_image(std::string entry = "kernel_a") {
  KernelImage image{.entry = std::move(entry), .target = "sm_120a", .cubin = {}, .ptx = "// PTX text"};
  for (char const c : std::string_view("CUBIN...")) image.cubin.push_back(static_cast<std::byte>(c));
  return image;
}

class CudaBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    void* const library = dlopen(DW_MOCK_CUDA, RTLD_NOW);
    ASSERT_NE(library, nullptr);
    state_ = reinterpret_cast<mock_cuda::StateFunction>(dlsym(library, "mock_cuda_state"))();
    *state_ = mock_cuda::State{};
    driver_ = Driver::open({DW_MOCK_CUDA});
  }
  std::unique_ptr<CudaBackend> make(int ordinal = 0) {
    return std::make_unique<CudaBackend>(driver_, ordinal);
  }

  std::shared_ptr<Driver const> driver_;
  mock_cuda::State* state_ = nullptr;
};

TEST(CudaDriver, SaysWhatWasTriedWhenThereIsNone) {
  Error const error = error_of([] {
    Driver::open({"libno_such_driver.so.1", "/no/such/folder/libcuda.so.1"});
  });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_EQ(error.argument(), "device");
  EXPECT_THAT(error.what(), AllOf(HasSubstr("no CUDA driver"), HasSubstr("libno_such_driver.so.1"),
                                  HasSubstr("/no/such/folder/libcuda.so.1")));
}

TEST(CudaDriver, SaysWhatAnOldOneLacks) {
  Error const error = error_of([] { Driver::open({DW_MOCK_CUDA_OLD}); });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("too old"), HasSubstr("cuFuncLoad, cuFuncGetParamInfo"),
                                  HasSubstr("for CUDA 13.0"), HasSubstr("12.4")));
}

TEST_F(CudaBackendTest, BestIsTheFirstUsableDeviceAndSaysWhyThereIsNone) {
  CapturedLog const log;
  {
    ScopedOption const driver(Option::kCudaDriver, DW_MOCK_CUDA);
    state_->devices = {{"Mock Ampere", 8, 0, 108}, {"Mock RTX", 12, 0, 170}};
    EXPECT_EQ(make_backend("best")->device().id, "cuda:1");
    state_->devices.pop_back();
    EXPECT_EQ(make_backend("best")->device().id, "emu:sm_120a");
    EXPECT_EQ(log.count("emu:sm_120a is: cuda:0: device: compute capability 8.0 is not served"), 1u);
  }
  ScopedOption const none(Option::kCudaDriver, "/no/such/folder/libcuda.so.1");
  EXPECT_EQ(make_backend("best")->device().id, "emu:sm_120a");
  EXPECT_EQ(log.count("/no/such/folder"), 0u);  // no driver: nothing to warn of
}

TEST_F(CudaBackendTest, InitFailureIsNamed) {
  state_->fail["cuInit"] = kErrorNoDevice;
  Error const error = error_of([] { Driver::open({DW_MOCK_CUDA}); });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("cuInit(0)"), HasSubstr("CUDA_ERROR_NO_DEVICE (100)")));
}

TEST_F(CudaBackendTest, DescribesItsDevice) {
  auto const backend = make(1);
  EXPECT_EQ(backend->device().id, "cuda:1");
  EXPECT_EQ(backend->device().name, "Mock Hopper");
  EXPECT_EQ(backend->device().arch.target, "sm_90a");
  EXPECT_EQ(backend->device().sm_count, 132);
  EXPECT_EQ(backend->device().memory_bytes, std::size_t{32} << 30);
  EXPECT_TRUE(backend->needs_code());
}

TEST_F(CudaBackendTest, DeviceThatIsNotThere) {
  Error const error = error_of([&] { make(2); });
  EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
  EXPECT_EQ(error.got(), "cuda:2");
  EXPECT_EQ(error.expected(), "cuda:0 to cuda:1");
}

TEST_F(CudaBackendTest, ArchitectureThatIsNotServed) {
  state_->devices = {{"Old", 7, 5, 40}, {"Mock RTX", 12, 1, 48}};
  EXPECT_EQ(error_of([&] { make(0); }).code(), ErrorCode::kUnsupported);
  std::vector<DeviceSummary> const rows = list_devices(*driver_);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].unusable, HasSubstr("7.5"));
  EXPECT_EQ(rows[0].name, "Old");
  EXPECT_EQ(rows[1].unusable, "");
  EXPECT_EQ(rows[1].target, "sm_121a");
  EXPECT_EQ(rows[1].driver, "13.0");
}

TEST_F(CudaBackendTest, NoDeviceIsOneRow) {
  state_->devices.clear();
  std::vector<DeviceSummary> const rows = list_devices(*driver_);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].id, "cuda");
  EXPECT_THAT(rows[0].unusable, HasSubstr("sees no device"));
}

TEST_F(CudaBackendTest, GivesEverythingBack) {
  {
    auto const backend = make();
    auto const kernel = backend->load(cubin_image(), 0);
    DeviceAddress const address = backend->allocate(100);
    DeviceAddress const workspace = backend->allocate_async(100, nullptr);
    backend->release_async(workspace, nullptr);
    backend->release(address);
    EXPECT_EQ(state_->retained[0], 1);
  }
  EXPECT_EQ(state_->retained[0], 0);
  EXPECT_EQ(state_->live_allocations, 0u);
  EXPECT_EQ(state_->live_modules, 0u);
  EXPECT_EQ(state_->live_streams, 0u);
  EXPECT_EQ(state_->count("cuMemPoolDestroy"), 1);
}

TEST_F(CudaBackendTest, KernelsOutliveTheirBackend) {
  auto backend = make();
  auto kernel = backend->load(cubin_image(), 0);
  backend.reset();
  EXPECT_EQ(state_->retained[0], 1);
  kernel.reset();
  EXPECT_EQ(state_->retained[0], 0);
  EXPECT_EQ(state_->live_modules, 0u);
}

TEST_F(CudaBackendTest, PushesAndPopsItsContextOnlyWhenAnotherIsCurrent) {
  auto const first = make(0);
  auto const second = make(1);
  state_->calls.clear();
  DeviceAddress const a = first->allocate(8);
  DeviceAddress const b = second->allocate(8);
  EXPECT_EQ(state_->count("cuCtxPushCurrent"), 2);
  EXPECT_EQ(state_->count("cuCtxPopCurrent"), 2);
  EXPECT_EQ(state_->count("cuCtxPushCurrent 1"), 1);
  state_->calls.clear();
  {
    CurrentContext const current(*first->shared_device());
    first->fill(a, 8, std::byte{1}, nullptr);
    EXPECT_EQ(state_->count("cuCtxPushCurrent"), 1);  // only the scope's own
    second->fill(b, 8, std::byte{1}, nullptr);
    EXPECT_EQ(state_->count("cuCtxPushCurrent"), 2);
  }
  EXPECT_EQ(state_->count("cuCtxPopCurrent"), 2);
  std::thread([&] { first->fill(a, 8, std::byte{2}, nullptr); }).join();  // a thread without any context
  first->release(a);
  second->release(b);
}

TEST_F(CudaBackendTest, CopiesAndFills) {
  auto const backend = make();
  std::vector<std::byte> data(300);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
  DeviceAddress const address = backend->allocate(data.size());
  backend->copy_to_device(address, data, nullptr);
  std::vector<std::byte> back(data.size());
  backend->copy_to_host(back, address, nullptr);
  EXPECT_EQ(back, data);
  EXPECT_EQ(state_->count("cuStreamSynchronize"), 2);
  backend->fill(address + 1, 2, std::byte{0xee}, nullptr);
  backend->copy_to_host(back, address, nullptr);
  data[1] = data[2] = std::byte{0xee};
  EXPECT_EQ(back, data);
  backend->copy_to_device(address, {}, nullptr);
  backend->release(address);
}

TEST_F(CudaBackendTest, OutOfMemoryNamesTheBytes) {
  auto const backend = make();
  state_->fail["cuMemAlloc"] = kErrorOutOfMemory;
  Error const error = error_of([&] { backend->allocate(12345); });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("cuMemAlloc(&address, bytes)"), HasSubstr("CUDA_ERROR_OUT_OF_MEMORY (2)"),
                    HasSubstr("words of the mock"), HasSubstr("cuda:0, 12345 bytes")));
  EXPECT_EQ(error_of([&] { backend->allocate(0); }).code(), ErrorCode::kBadArgument);
}

TEST_F(CudaBackendTest, ZeroedMemoryLeavesNothingBehindWhenItFails) {
  auto const backend = make();
  std::size_t const before = state_->live_allocations;
  state_->fail["cuMemsetD8Async"] = 1;
  Error const error = error_of([&] { backend->allocate_zeroed(64); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("cuMemsetD8Async"), HasSubstr("CUDA_ERROR_INVALID_VALUE")));
  EXPECT_EQ(state_->live_allocations, before);
  EXPECT_EQ(state_->live_streams, 0u);
}

TEST_F(CudaBackendTest, LoadsTheCubinAndPreparesTheKernel) {
  auto const backend = make();
  auto const kernel = backend->load(cubin_image(), 65536);
  EXPECT_EQ(kernel->entry(), "kernel_a");
  EXPECT_EQ(state_->count("cuModuleLoadDataEx CUBI"), 1);
  EXPECT_EQ(state_->count("cuModuleGetFunction kernel_a"), 1);
  EXPECT_EQ(state_->count("cuFuncLoad"), 1);
  EXPECT_EQ(state_->count("cuFuncSetAttribute 8 65536"), 1);
  EXPECT_EQ(dynamic_cast<CudaKernel&>(*kernel).use().registers, 96);
}

TEST_F(CudaBackendTest, LoadsPtxOnlyWhenThereIsNoCubin) {
  auto const backend = make();
  KernelImage image = cubin_image();
  image.cubin.clear();
  backend->load(image, 0);
  EXPECT_EQ(state_->count("cuModuleLoadDataEx // P"), 1);
  EXPECT_EQ(state_->count("cuFuncSetAttribute"), 0);
  image.ptx.clear();
  Error const error = error_of([&] { backend->load(image, 0); });
  EXPECT_EQ(error.code(), ErrorCode::kBadArgument);
  EXPECT_EQ(error.argument(), "image");
}

TEST_F(CudaBackendTest, LoadFailuresCarryTheLogAndUnload) {
  auto const backend = make();
  state_->module_log = "ptxas fatal: something";
  state_->fail["cuModuleLoadDataEx"] = 1;
  Error const first = error_of([&] { backend->load(cubin_image(), 0); });
  EXPECT_THAT(first.what(), AllOf(HasSubstr("kernel kernel_a"), HasSubstr("ptxas fatal: something"),
                                  HasSubstr("for sm_120a"), HasSubstr("driver for CUDA 13.0")));
  state_->fail = {{"cuFuncSetAttribute", 1}};
  Error const second = error_of([&] { backend->load(cubin_image(), 200000); });
  EXPECT_THAT(second.what(),
              AllOf(HasSubstr("200000 bytes of dynamic and 128 of static"), HasSubstr("101376")));
  EXPECT_EQ(state_->live_modules, 0u);
}

TEST_F(CudaBackendTest, LaunchPassesShapeAttributesAndParameters) {
  state_->param_bytes = {4, 8, 2};
  auto const backend = make();
  auto const kernel = backend->load(cubin_image(), 1000);
  std::vector<std::byte> params(18);  // 4 at 0, 8 at 8, 2 at 16
  for (std::size_t i = 0; i < params.size(); ++i) params[i] = static_cast<std::byte>(i);
  int stream = 0;
  backend->launch(
      *kernel,
      {.grid = {3, 4, 5}, .threads = 96, .dynamic_smem_bytes = 1000, .stream = &stream, .threads_y = 2},
      params);
  backend->launch(*kernel, {.programmatic_dependent_launch = true, .cluster = {2, 1, 1}}, params);
  ASSERT_EQ(state_->launches.size(), 2u);
  mock_cuda::LaunchRecord const& first = state_->launches[0];
  EXPECT_EQ(first.function, "kernel_a");
  EXPECT_THAT(first.grid, ElementsAre(3, 4, 5));
  EXPECT_THAT(first.block, ElementsAre(96, 2, 1));
  EXPECT_EQ(first.dynamic_smem_bytes, 1000u);
  EXPECT_EQ(first.stream, &stream);
  EXPECT_FALSE(first.programmatic);
  EXPECT_THAT(first.cluster, ElementsAre(1, 1, 1));
  ASSERT_EQ(first.params.size(), 3u);
  EXPECT_THAT(first.params[0], ElementsAre(std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}));
  EXPECT_EQ(first.params[1].front(), std::byte{8});
  EXPECT_THAT(first.params[2], ElementsAre(std::byte{16}, std::byte{17}));
  EXPECT_TRUE(state_->launches[1].programmatic);
  EXPECT_THAT(state_->launches[1].cluster, ElementsAre(2, 1, 1));
}

TEST_F(CudaBackendTest, LaunchRefusesWhatIsWrongBeforeTheDriverSeesIt) {
  auto const backend = make();
  auto const other = make();
  auto const kernel = backend->load(cubin_image(), 100);
  std::vector<std::byte> const params(8);
  auto const argument = [&](Backend& on, LaunchSpec const& spec, std::size_t bytes) {
    return error_of([&] { on.launch(*kernel, spec, std::span(params).first(bytes)); }).argument();
  };
  EXPECT_EQ(argument(*backend, {.grid = {0, 1, 1}}, 8), "grid");
  EXPECT_EQ(argument(*backend, {.threads = 0}, 8), "block");
  EXPECT_EQ(argument(*backend, {.threads = 512, .threads_y = 3}, 8), "block");
  EXPECT_EQ(argument(*backend, {.cluster = {0, 1, 1}}, 8), "cluster");
  EXPECT_EQ(argument(*backend, {.dynamic_smem_bytes = 101}, 8), "dynamic_smem_bytes");
  EXPECT_EQ(argument(*backend, {}, 7), "params");
  EXPECT_EQ(argument(*other, {}, 8), "kernel");
  EXPECT_TRUE(state_->launches.empty());
}

TEST_F(CudaBackendTest, LaunchFailureNamesKernelAndGrid) {
  auto const backend = make();
  auto const kernel = backend->load(cubin_image(), 64);
  state_->fail["cuLaunchKernelEx"] = 1;
  std::vector<std::byte> const params(8);
  Error const error = error_of([&] {
    backend->launch(*kernel, {.grid = {7, 1, 1}, .threads = 64, .dynamic_smem_bytes = 64}, params);
  });
  EXPECT_EQ(error.code(), ErrorCode::kDevice);
  EXPECT_THAT(
      error.what(),
      AllOf(
          HasSubstr("cuLaunchKernelEx("), HasSubstr("CUDA_ERROR_INVALID_VALUE (1)"),
          HasSubstr("kernel kernel_a, grid [7, 1, 1], block [64, 1, 1], 64 bytes of dynamic shared memory")));
}

TEST_F(CudaBackendTest, UnderCaptureLoadsAndAllocatesRelaxed) {
  auto const backend = make();
  OwnedStream const stream(backend->shared_device());
  EXPECT_EQ(backend->capture_id(stream.get()), 0u);
  Capture capture(backend->shared_device(), stream.get(), CaptureMode::kGlobal);
  EXPECT_TRUE(backend->capturing(stream.get()));
  EXPECT_EQ(backend->capture_id(stream.get()), 7u);
  EXPECT_FALSE(backend->capturing(nullptr));
  auto const kernel = backend->load(cubin_image(), 1 << 16);
  backend->release(backend->allocate_zeroed(4096));
  std::vector<std::byte> const params(8);
  backend->launch(*kernel, {.stream = stream.get()}, params);
  std::thread([&] {
    backend->load(cubin_image("kernel_b"), 0);
  }).join();  // global mode watches other threads too
  std::unique_ptr<Graph> const graph = capture.finish();
  graph->launch(stream.get());
  EXPECT_FALSE(state_->capture_broken);
  EXPECT_EQ(state_->count("cuThreadExchangeStreamCaptureMode") % 2, 0);  // each exchange was taken back
  EXPECT_FALSE(backend->capturing(stream.get()));
}

TEST_F(CudaBackendTest, StreamsAreToldApartByTheDriverNotByTheirHandles) {
  auto const backend = make();
  auto const handle = [](std::uintptr_t value) { return reinterpret_cast<Stream>(value); };
  EXPECT_EQ(backend->stream_id(handle(1)), backend->stream_id(nullptr));  // two names of the legacy stream
  std::uint64_t const here = backend->stream_id(handle(2));               // each thread has its own
  std::uint64_t there = here;
  std::thread([&] { there = backend->stream_id(handle(2)); }).join();
  EXPECT_NE(here, there);
  EXPECT_EQ(backend->stream_id(handle(2)), here);
  OwnedStream const stream(backend->shared_device());
  Capture const capture(backend->shared_device(), stream.get());
  EXPECT_EQ(error_of([&] { backend->stream_id(stream.get()); }).code(), ErrorCode::kDevice);
}

TEST_F(CudaBackendTest, TheStandInForbidsUnsafeCallsUnderCapture) {
  // Shows that the test above can fail: the same call without the relaxed mode breaks the capture.
  auto const backend = make();
  OwnedStream const stream(backend->shared_device());
  Capture const capture(backend->shared_device(), stream.get(), CaptureMode::kGlobal);
  CurrentContext const current(*backend->shared_device());
  DevicePointer address = 0;
  EXPECT_NE(driver_->cuMemAlloc(&address, 16), kSuccess);
  EXPECT_TRUE(state_->capture_broken);
}

TEST_F(CudaBackendTest, CopiesAreRefusedUnderCapture) {
  auto const backend = make();
  DeviceAddress const address = backend->allocate(16);
  OwnedStream const stream(backend->shared_device());
  Capture const capture(backend->shared_device(), stream.get());
  std::vector<std::byte> data(16);
  EXPECT_EQ(error_of([&] { backend->copy_to_device(address, data, stream.get()); }).code(),
            ErrorCode::kUnsupported);
  EXPECT_EQ(error_of([&] { backend->copy_to_host(data, address, stream.get()); }).code(),
            ErrorCode::kUnsupported);
  EXPECT_EQ(state_->count("cuMemcpyHtoDAsync"), 0);
  EXPECT_EQ(state_->count("cuMemcpyDtoHAsync"), 0);
  backend->release(address);
}

TEST_F(CudaBackendTest, NotesAreMappedHostMemoryReadWithoutASync) {
  auto const backend = make();
  EXPECT_EQ(state_->count("cuMemHostAlloc 64 3"), 1);  // portable and mapped
  auto* const words = reinterpret_cast<std::uint32_t*>(backend->notes_address());
  for (int i = 0; i < kNoteCount; ++i) EXPECT_EQ(backend->read_note(i), 0u) << i;
  words[3] = 42;
  state_->calls.clear();
  EXPECT_EQ(backend->read_note(3), 42u);
  EXPECT_TRUE(state_->calls.empty());
  EXPECT_EQ(error_of([&] { backend->read_note(-1); }).argument(), "note");
  EXPECT_EQ(error_of([&] { backend->read_note(kNoteCount); }).argument(), "note");
}

TEST_F(CudaBackendTest, StreamOrderedMemoryComesFromAPoolOfItsOwn) {
  auto const backend = make(1);
  backend->release_async(backend->allocate_async(100, nullptr), nullptr);
  backend->release_async(backend->allocate_async(100, nullptr), nullptr);
  EXPECT_EQ(state_->count("cuMemPoolCreate 1"), 1);
  EXPECT_EQ(state_->count("cuMemPoolSetAttribute 4 18446744073709551615"), 1);
  EXPECT_EQ(state_->count("cuMemAllocFromPoolAsync 100"), 2);
}

TEST_F(CudaBackendTest, EncodesTensorMaps) {
  auto const backend = make();
  TensorMapSpec spec{.element = TensorMapSpec::Element::kBf16,
                     .swizzle = TensorMapSpec::Swizzle::k128B,
                     .rank = 2,
                     .base = 0x7000,
                     .dims = {4096, 64},
                     .strides_bytes = {8192},
                     .box = {64, 16}};
  TensorMap const map = backend->encode(spec);
  EXPECT_EQ(map.opaque[0], 0x7000u);
  EXPECT_EQ(map.opaque[1], 2u);
  EXPECT_EQ(map.opaque[3], 8192u);
  EXPECT_EQ(state_->count("cuTensorMapEncodeTiled 9 3 3"), 1);  // bf16, 128B swizzle, 256 B promotion
  spec.element = TensorMapSpec::Element::kPacked4Align16;
  spec.dims = {128, 64};
  backend->encode(spec);
  EXPECT_EQ(state_->count("cuTensorMapEncodeTiled 14 3 1"), 1);  // rows of 64 bytes
  spec.rank = 6;
  EXPECT_EQ(error_of([&] { backend->encode(spec); }).argument(), "rank");
}

TEST_F(CudaBackendTest, ATensorMapIsEncodedOnce) {
  auto const backend = make();
  TensorMapSpec spec{.rank = 2, .base = 0x7000, .dims = {4096, 64}, .strides_bytes = {4096}, .box = {128, 8}};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(backend->encode(spec).opaque[0], 0x7000u);
  EXPECT_EQ(state_->count("cuTensorMapEncodeTiled"), 1);
  // Every field tells two maps apart, also where they share a slot.
  std::vector<TensorMapSpec> others(7, spec);
  others[0].base = 0x8000;
  others[1].dims[1] = 65;
  others[2].strides_bytes[0] = 8192;
  others[3].box[1] = 16;
  others[4].swizzle = TensorMapSpec::Swizzle::k128B;
  others[5].rank = 1;
  others[6].element = TensorMapSpec::Element::kU16;
  for (TensorMapSpec const& other : others) backend->encode(other);
  EXPECT_EQ(state_->count("cuTensorMapEncodeTiled"), 8);
  backend->encode(spec);
  for (std::uint64_t i = 0; i < 3000; ++i) {  // more than the cache holds
    spec.base = 0x10000 + 256 * i;
    EXPECT_EQ(backend->encode(spec).opaque[0], spec.base);
  }
  for (std::uint64_t i = 0; i < 3000; ++i) {
    spec.base = 0x10000 + 256 * i;
    EXPECT_EQ(backend->encode(spec).opaque[0], spec.base);
  }
}

TEST_F(CudaBackendTest, RefusedTensorMapsAreDescribed) {
  auto const backend = make();
  state_->fail["cuTensorMapEncodeTiled"] = 1;
  TensorMapSpec const spec{
      .rank = 2, .base = 0x7001, .dims = {4096, 64}, .strides_bytes = {4096}, .box = {128, 8}};
  Error const error = error_of([&] { backend->encode(spec); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("u8 [4096, 64], strides [4096] bytes, box [128, 8]"),
                                  HasSubstr("0x7001"), HasSubstr("base:")));
}

TEST_F(CudaBackendTest, ToolsTimeAndCapture) {
  auto const backend = make();
  auto const device = device_of(*backend);
  OwnedStream const stream(device);
  EXPECT_EQ(state_->count("cuStreamCreate 1"), 1);
  Event start(device);
  Event end(device);
  start.record(stream.get());
  end.record(stream.get());
  EXPECT_NEAR(start.seconds_to(end), 0.0025, 1e-9);
  { Capture const dropped(device, stream.get(), CaptureMode::kRelaxed); }
  EXPECT_EQ(state_->count("cuStreamBeginCapture 2"), 1);
  EXPECT_EQ(state_->count("cuStreamEndCapture"), 1);
  EXPECT_EQ(state_->count("cuGraphDestroy"), 1);
}

TEST_F(CudaBackendTest, DriverFailuresInDestructorsStayInside) {
  auto backend = make();
  auto kernel = backend->load(cubin_image(), 0);
  state_->fail["cuCtxPushCurrent"] = 4;  // the driver is already gone, as at the end of a process
  EXPECT_NO_THROW(kernel.reset());
  EXPECT_NO_THROW(backend.reset());
}

}  // namespace
}  // namespace deepwell::cuda
