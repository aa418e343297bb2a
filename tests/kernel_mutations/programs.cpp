// The programs that mutated kernels run in.
#include "kernel_mutations/programs.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "check/mqa_logits.hpp"
#include "check/run.hpp"
#include "kernel_mutations/hc_prenorm.hpp"
#include "ops/gemm/gemm.hpp"
#include "ops/layout/layout.hpp"

namespace deepwell::mutations {
namespace {

using check::Case;
using check::CaseData;
using check::CMode;
using check::DataKind;
using check::OperandCase;
using check::Pitch;
using check::ScaleLayout;
using ref::ScaleFormat;

constexpr std::uint64_t kDataSeed = 0;

ThreadPool& pool() {
  static ThreadPool one(1);
  return one;
}

/// Data of a case whose sums are exact: d is compared bit for bit, the bounds are zeros.
struct Judged {
  CaseData data;
  std::vector<double> limits;
};

Judged judged(Case const& what, std::uint64_t seed = kDataSeed) {
  Judged out{.data = check::make_data(what, seed, pool()), .limits = {}};
  DW_CHECK(what.data == DataKind::kExact, kInternal, "{} is not exact", what.name());
  out.limits.assign(out.data.exact.size(), 0.0);
  return out;
}

/// One GEMM, called `times` times on the same context; each result is judged.
class OneGemm final : public Program {
 public:
  OneGemm(Case const& what, int times) : judged_(judged(what)), times_(times) {}

  std::string kernel(Arch const& arch) const override {
    return check::choose(judged_.data.what, arch).kernel;
  }
  std::string run(Context& context) const override {
    for (int call = 0; call < times_; ++call) {
      std::vector<std::byte> const after = check::run_on_device(context, judged_.data).after;
      check::Verdict const verdict = check::judge(judged_.data, judged_.limits, after);
      if (!verdict.pass)
        return times_ == 1 ? verdict.reason : fmt::format("call {}: {}", call + 1, verdict.reason);
    }
    return {};
  }

 private:
  Judged judged_;
  int times_;
};

/// Device memory of a program. It goes with the context.
DeviceAddress upload(Context& context, check::Buffer const& from) {
  DeviceAddress const address = context.backend().allocate(from.bytes.size());
  context.backend().copy_to_device(address, from.bytes, nullptr);
  return address + static_cast<DeviceAddress>(from.start);
}

TensorView strided(DeviceAddress data, Dtype dtype, std::initializer_list<std::int64_t> shape,
                   std::initializer_list<std::int64_t> strides) {
  TensorView out = contiguous_view(data, dtype, shape);
  std::copy(strides.begin(), strides.end(), out.strides.begin());
  return out;
}

TensorView matrix(check::OperandData const& o, DeviceAddress at) {
  return strided(at, o.how.dtype == Dtype::kE2m1 ? Dtype::kI8 : o.how.dtype,
                 {o.rows, o.k * bits_of(o.how.dtype) / 8}, {o.pitch, 1});
}

TensorView scales(check::OperandData const& o, DeviceAddress at) {
  Dtype const dtype = o.how.scale == ScaleFormat::kF32     ? Dtype::kF32
                      : o.how.scale == ScaleFormat::kUe8m0 ? Dtype::kUe8m0
                                                           : Dtype::kI32;
  return strided(at, dtype, {o.scale_rows, o.scale_cols}, {o.scale_row_stride, o.scale_k_stride});
}

TensorView output(CaseData const& data, DeviceAddress at) {
  return strided(at, data.what.d, {data.what.m, data.what.n}, {data.d_pitch, 1});
}

/// The d of one call, read back.
std::vector<std::byte> download(Context& context, CaseData const& data, DeviceAddress d) {
  std::vector<std::byte> after(data.d.bytes.size());
  context.backend().copy_to_host(after, d - static_cast<DeviceAddress>(data.d.start), nullptr);
  return after;
}

/// FP32 scales of b -> packed; FP32 scales of a -> column by column -> packed; then the GEMM that reads both, each by a launch of
/// its own, with programmatic dependent launch.
class ScalesThenGemm final : public Program {
 public:
  explicit ScalesThenGemm(Case const& what) : judged_(judged(what)) {}

  std::string kernel(Arch const& arch) const override {
    return check::choose(judged_.data.what, arch).kernel;
  }
  std::string run(Context& context) const override {
    CaseData const& data = judged_.data;
    context.set_pdl(true);
    GemmCall call;
    call.a = matrix(data.a, upload(context, data.a.data));
    call.b = matrix(data.b, upload(context, data.b.data));
    call.d = output(data, upload(context, data.d));
    call.recipe_a = {1, 128};
    call.recipe_b = {1, 128};
    // Everything is in its place before the first launch: a copy between two launches would keep them from overlapping.
    TensorView const rows_b = scales(data.b, upload(context, data.b.scale));
    TensorView const rows_a = scales(data.a, upload(context, data.a.scale));
    TensorView const columns_a = place_of(context, mn_major_scale_layout(rows_a));
    ScaleLayoutCall const pack_b = packing(data.b, rows_b), pack_a = packing(data.a, columns_a);
    call.scale_b = place_of(context, required_scale_layout(pack_b, context.arch()));
    call.scale_a = place_of(context, required_scale_layout(pack_a, context.arch()));
    transform_scale(context, pack_b, call.scale_b, nullptr);
    write_scale_layout(context, rows_a, columns_a, nullptr);
    transform_scale(context, pack_a, call.scale_a, nullptr);
    fp8_fp4_gemm_nt(context, call);
    context.backend().synchronize(nullptr);
    return check::judge(data, judged_.limits, download(context, data, call.d.data)).reason;
  }

 private:
  static ScaleLayoutCall packing(check::OperandData const& operand, TensorView const& from) {
    return {.scale = from,
            .mn = operand.rows,
            .k = operand.k,
            .gran_mn = operand.how.gran_mn,
            .gran_k = operand.how.gran_k};
  }
  static TensorView place_of(Context& context, ScaleLayoutResult const& wanted) {
    TensorView out = wanted.view;
    out.data = context.backend().allocate(wanted.bytes);
    return out;
  }

  Judged judged_;
};

/// d = a b^T in clusters of splits of k, then d += a' b'^T by the same kernel, with programmatic dependent launch.
class GemmThenGemm final : public Program {
 public:
  explicit GemmThenGemm(Case const& what) : first_(judged(what)), second_(judged(what, kDataSeed + 1)) {
    for (std::size_t i = 0; i < second_.data.exact.size(); ++i) second_.data.exact[i] += first_.data.exact[i];
  }

  std::string kernel(Arch const& arch) const override { return check::choose(first_.data.what, arch).kernel; }
  std::string run(Context& context) const override {
    context.set_pdl(true);
    GemmCall first = call_of(context, first_.data);
    GemmCall second = call_of(context, second_.data);
    first.d = second.c = second.d;
    fp8_fp4_gemm_nt(context, first);
    fp8_fp4_gemm_nt(context, second);
    context.backend().synchronize(nullptr);
    return check::judge(second_.data, second_.limits, download(context, second_.data, second.d.data)).reason;
  }

 private:
  static GemmCall call_of(Context& context, CaseData const& data) {
    GemmCall call;
    call.a = matrix(data.a, upload(context, data.a.data));
    call.b = matrix(data.b, upload(context, data.b.data));
    call.scale_a = scales(data.a, upload(context, data.a.scale));
    call.scale_b = scales(data.b, upload(context, data.b.scale));
    call.d = output(data, upload(context, data.d));
    call.recipe_a = {data.what.a.gran_mn, data.what.a.gran_k};
    call.recipe_b = {data.what.b.gran_mn, data.what.b.gran_k};
    return call;
  }

  Judged first_, second_;
};

/// The layout kernel alone: FP32 scales of two groups, some of them no powers of two, to packed words.
class PackScales final : public Program {
 public:
  PackScales() {
    for (std::size_t i = 0; i < kGroups * kRows * kColumns; ++i) {
      std::uint32_t const exponent = 100 + static_cast<std::uint32_t>(i * 7 % 60);
      bool const power = i % 5 != 0;
      source_.push_back(exponent << 23 | (power ? 0 : 0x1234));
      bytes_.push_back(static_cast<std::uint8_t>(exponent + (power ? 0 : 1)));
      lossy_ += power ? 0 : 1;
    }
  }

  std::string run(Context& context) const override {
    Backend& backend = context.backend();
    DeviceAddress const from = backend.allocate(source_.size() * 4);
    backend.copy_to_device(from, std::as_bytes(std::span(source_)), nullptr);
    TensorView const scale = contiguous_view(from, Dtype::kF32, {kGroups, kRows, kColumns});
    ScaleLayoutResult const wanted = packed_scale_layout(scale);
    std::vector<std::byte> after(wanted.bytes, kPadding);
    TensorView to = wanted.view;
    to.data = backend.allocate(wanted.bytes);
    backend.copy_to_device(to.data, after, nullptr);
    write_scale_layout(context, scale, to, nullptr);
    backend.synchronize(nullptr);
    backend.copy_to_host(after, to.data, nullptr);
    if (after != expected(to)) return "packed scales differ from the expected ones";
    std::uint32_t const noted = backend.read_note(static_cast<int>(Note::kLossyScale));
    return noted == lossy_ ? "" : fmt::format("{} lossy scales were noted, there are {}", noted, lossy_);
  }

 private:
  static constexpr std::int64_t kGroups = 2, kRows = 131, kColumns = 5;
  static constexpr std::byte kPadding{0x5a};

  std::vector<std::byte> expected(TensorView const& to) const {
    std::vector<std::byte> out(static_cast<std::size_t>(to.strides[0] * kGroups * 4), kPadding);
    for (std::int64_t group = 0; group < kGroups; ++group) {
      for (std::int64_t row = 0; row < kRows; ++row) {
        for (std::int64_t column = 0; column < 4 * to.shape[2]; ++column) {
          std::size_t const source = static_cast<std::size_t>((group * kRows + row) * kColumns + column);
          std::int64_t const word = group * to.strides[0] + row + column / 4 * to.strides[2];
          out[static_cast<std::size_t>(4 * word + column % 4)] =
              column < kColumns ? std::byte{bytes_[source]} : std::byte{0};
        }
      }
    }
    return out;
  }

  std::vector<std::uint32_t> source_;
  std::vector<std::uint8_t> bytes_;
  std::uint32_t lossy_ = 0;
};

/// The indexer's logits, judged with all that was noted.
class MqaLogits final : public Program {
 public:
  explicit MqaLogits(check::MqaCase const& what) : what_(what) {}
  std::string run(Context& context) const override {
    return check::judge_mqa_run(context, what_, kDataSeed).reason;
  }

 private:
  check::MqaCase what_;
};

OperandCase operand(Dtype dtype, ScaleFormat scale, int gran_k, int gran_mn = 1) {
  OperandCase out{.dtype = dtype, .scale = scale, .gran_mn = gran_mn, .gran_k = gran_k};
  out.layout = scale == ScaleFormat::kPacked ? ScaleLayout::kColumns : ScaleLayout::kRows;
  return out;
}

Case gemm(std::int64_t m, std::int64_t n, std::int64_t k, OperandCase a, OperandCase b, Dtype d,
          CMode c = CMode::kNone) {
  Case out;
  out.data = DataKind::kExact;
  out.m = m, out.n = n, out.k = k;
  out.a = a, out.b = b, out.d = d, out.c = c;
  return out;
}

constexpr Dtype kE4m3 = Dtype::kE4m3, kE2m1 = Dtype::kE2m1, kBf16 = Dtype::kBf16, kF32 = Dtype::kF32;

std::vector<NamedProgram> make_programs() {
  OperandCase const packed = operand(kE4m3, ScaleFormat::kPacked, 128);
  OperandCase const packed32 = operand(kE4m3, ScaleFormat::kPacked, 32);
  OperandCase const fp32 = operand(kE4m3, ScaleFormat::kF32, 128);
  OperandCase const fp4 = operand(kE2m1, ScaleFormat::kPacked, 32);
  OperandCase power = fp32;
  power.powers = true;

  Case plain = gemm(5, 69, 1376, packed, operand(kE4m3, ScaleFormat::kUe8m0, 32), kBf16);
  plain.a.pitch = plain.b.pitch = plain.d_pitch = Pitch::kOdd;
  plain.b.layout = ScaleLayout::kOddColumns;

  std::vector<NamedProgram> out;
  auto const add = [&](std::string name, std::string what, std::string kernel,
                       std::shared_ptr<Program const> program) {
    out.push_back({std::move(name), std::move(what), std::move(kernel), std::move(program)});
  };
  auto const one = [](Case const& what, int times = 1) { return std::make_shared<OneGemm>(what, times); };
  add("decode",
      "weights on the 16-row side, two groups of warps along k, TMA data and TMA scales, more stages of k "
      "than the ring has; an odd number of k tiles",
      "gemm_mx 32x8 swap s4", one(gemm(5, 70, 1376, packed, packed32, kBf16)));
  add("split",
      "three splits of k in a cluster that fetch each other's sums, the last with fewer k tiles and a smaller "
      "part of the tile to store, C from another tensor, called twice",
      "gemm_mx 32x32 swap s3 split 3", one(gemm(20, 70, 3104, packed, packed, kF32, CMode::kOther), 2));
  add("sent",
      "three splits of k in a cluster that send each other their sums, the last with fewer k tiles and nothing "
      "to store, C from another tensor, called twice",
      "gemm_mx 32x8 swap s4 split 3", one(gemm(8, 70, 3104, packed, packed, kF32, CMode::kOther), 2));
  add("words", "FP32 scales of both operands by cp.async words, more stages of k than the ring has",
      "gemm_mx 32x8 swap s4",
      one(gemm(3, 40, 1376, fp32, operand(kE4m3, ScaleFormat::kF32, 128, 128), kF32)));
  add("widened", "packed e2m1 weights widened to e4m3, FP32 scales of the tokens", "gemm_mx 32x8 swap s6",
      one(gemm(3, 40, 352, fp32, fp4, kBf16)));
  add("plain", "unaligned operands byte by byte, byte scales through registers, TMA scales beside them",
      "gemm_mx 32x8 swap s4", one(plain));
  add("large", "128 x 128 tile, setmaxnreg, three stages, C in place", "gemm_mx 128x128 s3",
      one(gemm(72, 136, 608, packed, packed, kBf16, CMode::kSame)));
  add("large_words", "128 x 128 tile with FP32 scales by cp.async", "gemm_mx 128x128 s2",
      one(gemm(66, 40, 416, fp32, packed, kF32)));
  add("k64", "e2m1 x e2m1 by the k64 MMA, weights on the 16-row side", "gemm_mx 32x8 swap s6",
      one(gemm(3, 72, 352, fp4, fp4, kBf16)));
  add("k64_large", "e2m1 x e2m1 by the k64 MMA, 128 x 128 tile, more k tiles than stages",
      "gemm_mx 128x128 s4", one(gemm(66, 40, 672, fp4, fp4, kF32)));
  add("pack_scales", "the scale layout kernel alone", "", std::make_shared<PackScales>());
  add("pack_then_gemm",
      "three launches of layout kernels, then the GEMM that reads what they wrote, programmatic dependent "
      "launch",
      "gemm_mx 32x8 swap s4", std::make_shared<ScalesThenGemm>(gemm(5, 40, 416, power, power, kBf16)));
  auto const mqa = [&](std::string name, std::string what, check::MqaCase const& c) {
    out.push_back({std::move(name), std::move(what), "", std::make_shared<MqaLogits>(c), ":1"});
  };
  mqa("mqa", "ragged logits: units of eight rows, queries in two stages, ranges that begin anywhere",
      {.data = DataKind::kExact, .rows = 10, .heads = 32, .dim = 64, .keys = 700});
  mqa("mqa_bytes",
      "the same with queries that come byte by byte, beside keys that tensor maps bring; more tiles than "
      "stages",
      {.data = DataKind::kExact, .rows = 6, .heads = 16, .dim = 32, .keys = 1500, .odd_queries = true});
  mqa("mqa_paged", "paged logits: pages of 64, two rows a request, more tiles than stages",
      {.data = DataKind::kExact,
       .paged = true,
       .requests = 4,
       .rows = 2,
       .heads = 16,
       .dim = 64,
       .page = 64,
       .keys = 500});
  out.push_back({"mqa_shares",
                 "paged logits: one row a request, shares that begin in the middle of a warp's units", "",
                 std::make_shared<MqaLogits>(check::MqaCase{.data = DataKind::kExact,
                                                            .paged = true,
                                                            .requests = 7,
                                                            .rows = 1,
                                                            .heads = 16,
                                                            .dim = 64,
                                                            .page = 64,
                                                            .keys = 500}),
                 ":3"});
  mqa("mqa_hostile", "paged logits with NaN, bad pages and lengths that do not fit",
      {.data = DataKind::kHostile,
       .paged = true,
       .requests = 4,
       .rows = 1,
       .heads = 8,
       .dim = 32,
       .page = 32,
       .keys = 500});
  add("gemm_then_gemm",
      "two GEMMs in clusters of two splits of k, the second adds to the first's d, programmatic dependent "
      "launch",
      "gemm_mx 32x8 swap s4 split 2",
      std::make_shared<GemmThenGemm>(gemm(4, 64, 2048, packed, packed, kF32)));
  for (NamedProgram& program : hc_prenorm_programs()) out.push_back(std::move(program));
  return out;
}

}  // namespace

std::vector<NamedProgram> const& programs() {
  static std::vector<NamedProgram> const all = make_programs();
  return all;
}

NamedProgram const& program_of(std::string const& name) {
  for (NamedProgram const& program : programs()) {
    if (program.name == name) return program;
  }
  throw Error(ErrorCode::kInternal, fmt::format("no program {}", name));
}

}  // namespace deepwell::mutations
