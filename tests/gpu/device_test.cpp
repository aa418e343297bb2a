// What only a GPU can show about calls, streams and graphs: capture that meets kernels not loaded yet, replay beside other work,
// streams at once, programmatic dependent launch, notes. Every answer is compared bit for bit with that of a plain call;
// whether plain calls are right, `deepwell check` shows.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "backend/cuda/cuda_tools.hpp"
#include "base/options.hpp"
#include "deepwell/notes.h"
#include "ops/gemm/gemm.hpp"
#include "ops/layout/layout.hpp"

namespace deepwell::cuda {
namespace {

constexpr char const* kDevice = "cuda";
constexpr std::int64_t kM = 4, kN = 256, kK = 4096;
constexpr std::size_t kResultBytes = kM * kN * 2;  // d is bf16
using Bytes = std::vector<std::byte>;

/// Device memory that goes with its scope.
class Memory {
 public:
  Memory(Context& context, std::size_t bytes)
      : backend_(context.backend()), address_(backend_.allocate(bytes)), bytes_(bytes) {}
  Memory(Context& context, Bytes const& content) : Memory(context, content.size()) {
    backend_.copy_to_device(address_, content, nullptr);
  }
  ~Memory() { backend_.release(address_); }
  Memory(Memory const&) = delete;
  Memory& operator=(Memory const&) = delete;

  DeviceAddress address(std::size_t offset = 0) const { return address_ + offset; }
  void poison() {
    backend_.fill(address_, bytes_, std::byte{0xff}, nullptr);
    backend_.synchronize(nullptr);
  }
  Bytes read(std::size_t offset, std::size_t bytes) const {
    Bytes content(bytes);
    backend_.copy_to_host(content, address_ + offset, nullptr);
    return content;
  }

 private:
  Backend& backend_;
  DeviceAddress address_;
  std::size_t bytes_;
};

Bytes random_bytes(std::size_t count, std::uint64_t seed, unsigned mask, unsigned add) {
  std::mt19937_64 random(seed);
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>((random() >> 11 & mask) + add);
  return bytes;
}

/// One product [kM, kN] = [kM, kK] x [kN, kK]^T, small enough that k is split over CTAs.
class Product {
 public:
  Product(Context& context, std::uint64_t seed)
      : a_(context, random_bytes(kM * kK, seed, 0xbf, 0)),  // no exponent of ones: no NaN
        b_(context, random_bytes(kN * kK, seed + 1, 0xbf, 0)),
        a_scale_(context, random_bytes(kM * kK / 128, seed + 2, 7, 124)),
        b_scale_(context, random_bytes(kN / 128 * kK / 128, seed + 3, 7, 124)) {}

  GemmCall call(DeviceAddress d, Stream stream) const {
    GemmCall call;
    call.a = contiguous_view(a_.address(), Dtype::kE4m3, {kM, kK});
    call.b = contiguous_view(b_.address(), Dtype::kE4m3, {kN, kK});
    call.scale_a = contiguous_view(a_scale_.address(), Dtype::kUe8m0, {kM, kK / 128});
    call.scale_b = contiguous_view(b_scale_.address(), Dtype::kUe8m0, {kN / 128, kK / 128});
    call.d = contiguous_view(d, Dtype::kBf16, {kM, kN});
    call.stream = stream;
    return call;
  }

  /// The bits of a plain call on a stream of its own, with nothing else going on.
  Bytes plain(Context& context) const {
    Memory d(context, kResultBytes);
    d.poison();
    OwnedStream const stream(device_of(context.backend()));
    fp8_fp4_gemm_nt(context, call(d.address(), stream.get()));
    context.backend().synchronize(stream.get());
    return d.read(0, kResultBytes);
  }

 private:
  Memory a_, b_, a_scale_, b_scale_;
};

class Gpu : public ::testing::Test {
 protected:
  ScopedOption no_background_{Option::kBackgroundBuilds, "0"};
  Context context_{kDevice};
};

TEST_F(Gpu, TheProductSplitsK) {
  GemmShape const shape{.m = kM, .n = kN, .k = kK};
  EXPECT_GT(choose_gemm(shape, context_.arch()).ranked.at(0).splits,
            1);  // else the tests here show less than they say
  Product const product(context_, 1);
  Bytes const first = product.plain(context_);
  EXPECT_NE(first, Bytes(kResultBytes, std::byte{0xff}));
  EXPECT_EQ(product.plain(context_), first);
}

class GpuCapture : public Gpu, public ::testing::WithParamInterface<CaptureMode> {};

TEST_P(GpuCapture, LoadsAKernelThatItMeetsFirst) {
  Product const product(context_, 2);
  Bytes const expected = product.plain(context_);
  Memory d(context_, kResultBytes);
  d.poison();
  Context cold(kDevice);  // has loaded nothing
  OwnedStream const stream(device_of(cold.backend()));
  ASSERT_EQ(cold.kernels().counts().loaded, 0u);
  Capture capture(device_of(cold.backend()), stream.get(), GetParam());
  fp8_fp4_gemm_nt(cold, product.call(d.address(), stream.get()));
  std::unique_ptr<Graph> const graph = capture.finish();
  ASSERT_EQ(cold.kernels().counts().loaded, 1u);
  EXPECT_EQ(d.read(0, kResultBytes), Bytes(kResultBytes, std::byte{0xff}));  // captured, not run
  for (int replay = 0; replay < 3; ++replay) {
    d.poison();
    graph->launch(stream.get());
    cold.backend().synchronize(stream.get());
    EXPECT_EQ(d.read(0, kResultBytes), expected) << "replay " << replay;
  }
}

TEST_P(GpuCapture, SurvivesLoadingAndWorkInAnotherThread) {
  Product const product(context_, 3);
  Bytes const expected = product.plain(context_);
  Memory captured(context_, kResultBytes), beside(context_, kResultBytes);
  captured.poison();
  beside.poison();
  OwnedStream const stream(device_of(context_.backend())), other(device_of(context_.backend()));
  Context cold(kDevice);
  Capture capture(device_of(context_.backend()), stream.get(), GetParam());
  std::thread([&] { fp8_fp4_gemm_nt(cold, product.call(beside.address(), other.get())); }).join();
  fp8_fp4_gemm_nt(context_, product.call(captured.address(), stream.get()));
  std::unique_ptr<Graph> const graph = capture.finish();
  graph->launch(stream.get());
  context_.backend().synchronize(stream.get());
  cold.backend().synchronize(other.get());
  EXPECT_EQ(captured.read(0, kResultBytes), expected);
  EXPECT_EQ(beside.read(0, kResultBytes), expected);
}

INSTANTIATE_TEST_SUITE_P(Modes, GpuCapture,
                         ::testing::Values(CaptureMode::kGlobal, CaptureMode::kThreadLocal,
                                           CaptureMode::kRelaxed),
                         [](auto const& info) {
                           return std::string(info.param == CaptureMode::kGlobal        ? "Global"
                                              : info.param == CaptureMode::kThreadLocal ? "ThreadLocal"
                                                                                        : "Relaxed");
                         });

TEST_F(Gpu, ReplaysRunBesidePlainCallsOnTheSameAndOtherStreams) {
  constexpr int kCalls = 40;
  Product const product(context_, 4);
  Bytes const expected = product.plain(context_);
  Memory plain(context_, kCalls * kResultBytes), replayed(context_, kCalls * kResultBytes);
  plain.poison();
  replayed.poison();
  OwnedStream const stream(device_of(context_.backend())), other(device_of(context_.backend()));
  Capture capture(device_of(context_.backend()), stream.get());
  for (int i = 0; i < kCalls; ++i) {
    fp8_fp4_gemm_nt(context_,
                    product.call(replayed.address(static_cast<std::size_t>(i) * kResultBytes), stream.get()));
  }
  std::unique_ptr<Graph> const graph = capture.finish();
  for (int i = 0; i < kCalls; ++i) {
    if (i % 10 == 0) graph->launch(other.get());
    fp8_fp4_gemm_nt(context_,
                    product.call(plain.address(static_cast<std::size_t>(i) * kResultBytes), stream.get()));
  }
  context_.backend().synchronize(stream.get());
  context_.backend().synchronize(other.get());
  for (int i = 0; i < kCalls; ++i) {
    std::size_t const at = static_cast<std::size_t>(i) * kResultBytes;
    ASSERT_EQ(plain.read(at, kResultBytes), expected) << "plain call " << i;
    ASSERT_EQ(replayed.read(at, kResultBytes), expected) << "replayed call " << i;
  }
}

/// Three threads call at once, each on the stream that `stream_of(thread)` gives inside it.
template <class StreamOf>
void expect_three_streams_agree(Context& context, StreamOf&& stream_of) {
  constexpr int kThreads = 3, kCalls = 300;
  std::vector<std::unique_ptr<Product>> products;
  std::vector<std::unique_ptr<Memory>> results;
  std::vector<Bytes> expected;
  for (int t = 0; t < kThreads; ++t) {
    products.push_back(std::make_unique<Product>(context, 10 * t + 5));
    results.push_back(std::make_unique<Memory>(context, kCalls * kResultBytes));
    results.back()->poison();
    expected.push_back(products.back()->plain(context));
  }
  std::vector<std::jthread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Stream const stream = stream_of(t);
      for (std::size_t i = 0; i < kCalls; ++i) {
        fp8_fp4_gemm_nt(context, products[t]->call(results[t]->address(i * kResultBytes), stream));
      }
      context.backend().synchronize(stream);
    });
  }
  threads.clear();
  for (std::size_t t = 0; t < kThreads; ++t) {
    for (std::size_t i = 0; i < kCalls; ++i) {
      ASSERT_EQ(results[t]->read(i * kResultBytes, kResultBytes), expected[t])
          << "thread " << t << " call " << i;
    }
  }
}

TEST_F(Gpu, ThreeStreamsAtOnce) {
  std::shared_ptr<Device const> const device = device_of(context_.backend());
  OwnedStream const streams[] = {OwnedStream(device), OwnedStream(device), OwnedStream(device)};
  expect_three_streams_agree(context_, [&](std::size_t t) { return streams[t].get(); });
}

TEST_F(Gpu, ThreePerThreadDefaultStreamsAtOnce) {
  expect_three_streams_agree(context_, [](std::size_t) { return reinterpret_cast<Stream>(2); });
}

TEST_F(Gpu, StreamsAreToldApart) {
  Backend& backend = context_.backend();
  OwnedStream const stream(device_of(backend));
  auto const handle = [](std::uintptr_t value) { return reinterpret_cast<Stream>(value); };
  EXPECT_EQ(backend.stream_id(nullptr), backend.stream_id(handle(1)));
  EXPECT_NE(backend.stream_id(nullptr), backend.stream_id(stream.get()));
  std::uint64_t const here = backend.stream_id(handle(2));
  std::uint64_t there = here;
  std::thread([&] { there = backend.stream_id(handle(2)); }).join();
  EXPECT_NE(here, there);
}

/// d(i + 1) = product + d(i): each call reads what the one before wrote.
Bytes chain(Context& context, Product const& product, Stream stream, Memory& d, bool pdl, bool as_graph) {
  constexpr std::size_t kCalls = 50;
  d.poison();
  context.backend().fill(d.address(), kResultBytes, std::byte{0}, stream);
  context.set_pdl(pdl);
  auto const calls = [&] {
    for (std::size_t i = 0; i < kCalls; ++i) {
      GemmCall call = product.call(d.address((i + 1) % 3 * kResultBytes), stream);
      call.c = contiguous_view(d.address(i % 3 * kResultBytes), Dtype::kBf16, {kM, kN});
      fp8_fp4_gemm_nt(context, call);
    }
  };
  std::unique_ptr<Graph> graph;
  if (as_graph) {
    Capture capture(device_of(context.backend()), stream);
    calls();
    graph = capture.finish();
    graph->launch(stream);
  } else {
    calls();
  }
  context.backend().synchronize(stream);
  context.set_pdl(false);
  return d.read(kCalls % 3 * kResultBytes, kResultBytes);
}

TEST_F(Gpu, ProgrammaticDependentLaunchKeepsTheOrder) {
  Product const product(context_, 6);
  product.plain(context_);
  OwnedStream const stream(device_of(context_.backend()));
  Memory d(context_, 3 * kResultBytes);
  Bytes const expected = chain(context_, product, stream.get(), d, false, false);
  EXPECT_NE(expected, Bytes(kResultBytes, std::byte{0xff}));
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(chain(context_, product, stream.get(), d, true, false), expected) << round;
    ASSERT_EQ(chain(context_, product, stream.get(), d, true, true), expected) << "graph " << round;
  }
}

TEST_F(Gpu, NotesCountUnderReplayAndAreReadWithoutASync) {
  constexpr std::int64_t kRows = 96, kColumns = 8;
  std::vector<float> scales(kRows * kColumns, 0.5f);
  for (std::size_t i = 0; i < 10; ++i) scales[i * 7] = 0.3f;  // no powers of two
  Bytes content(scales.size() * sizeof(float));
  std::memcpy(content.data(), scales.data(), content.size());
  Memory const from(context_, content);
  TensorView const view = contiguous_view(from.address(), Dtype::kF32, {kRows, kColumns});
  ScaleLayoutResult wanted = packed_scale_layout(view);
  Memory const to(context_, wanted.bytes);
  wanted.view.data = to.address();
  OwnedStream const stream(device_of(context_.backend()));
  Capture capture(device_of(context_.backend()), stream.get());
  write_scale_layout(context_, view, wanted.view, stream.get());
  std::unique_ptr<Graph> const graph = capture.finish();
  int const note = static_cast<int>(Note::kLossyScale);
  EXPECT_EQ(context_.backend().read_note(note), 0u);
  for (unsigned replay = 1; replay <= 3; ++replay) {
    graph->launch(stream.get());
    context_.backend().synchronize(stream.get());
    EXPECT_EQ(context_.backend().read_note(note), 10 * replay);
  }
}

TEST_F(Gpu, EveryDeviceGivesTheSameBitsAndTheCallersContextStays) {
  Driver const& driver = device_of(context_.backend())->driver();
  Bytes const expected = Product(context_, 7).plain(context_);
  int used = 0;
  for (DeviceSummary const& row : list_devices(driver)) {
    if (!row.unusable.empty() || row.target != context_.arch().target) continue;
    Context on_device(row.id);
    Context second(row.id);  // two in one process, on one device
    Product const product(on_device, 7);
    EXPECT_EQ(product.plain(on_device), expected) << row.id;
    EXPECT_EQ(product.plain(second), expected) << row.id;
    ++used;
  }
  EXPECT_GE(used, 1);
  ContextHandle current = nullptr;
  ASSERT_EQ(driver.cuCtxGetCurrent(&current), kSuccess);
  EXPECT_EQ(current, nullptr);  // this thread never made one current
}

}  // namespace
}  // namespace deepwell::cuda
