// What every header under plan/ may use: one macro, the element types, small integer helpers. No includes: this text is
// compiled by host compilers, NVCC and NVRTC with an empty include path.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define DW_HD __host__ __device__
#else
#define DW_HD
#endif

namespace deepwell {

/// Element types of tensors and of MMA operands. e2m1 is packed, two elements a byte, the low nibble first.
enum class Dtype : int { kE4m3, kE2m1, kBf16, kF32, kUe8m0, kI32, kU8, kI8, kI64, kF16 };

/// Bits of one element.
DW_HD constexpr int bits_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kE2m1: return 4;
    case Dtype::kE4m3:
    case Dtype::kUe8m0:
    case Dtype::kU8:
    case Dtype::kI8: return 8;
    case Dtype::kBf16:
    case Dtype::kF16: return 16;
    case Dtype::kF32:
    case Dtype::kI32: return 32;
    case Dtype::kI64: return 64;
  }
  return 0;
}

DW_HD constexpr char const* name_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kE4m3: return "e4m3";
    case Dtype::kE2m1: return "e2m1";
    case Dtype::kBf16: return "bf16";
    case Dtype::kF32: return "f32";
    case Dtype::kUe8m0: return "ue8m0";
    case Dtype::kI32: return "i32";
    case Dtype::kU8: return "u8";
    case Dtype::kI8: return "i8";
    case Dtype::kI64: return "i64";
    case Dtype::kF16: return "f16";
  }
  return "?";
}

DW_HD constexpr long long ceil_div(long long value, long long unit) { return (value + unit - 1) / unit; }
DW_HD constexpr long long align_up(long long value, long long unit) { return ceil_div(value, unit) * unit; }

/// Lays out a region of bytes front to back.
struct Bump {
  int used = 0;
  DW_HD constexpr int take(int bytes, int alignment) {
    int const at = (used + alignment - 1) / alignment * alignment;
    used = at + bytes;
    return at;
  }
};

/// Notes of one device: 32-bit counters that kernels add to and the host reads without a sync.
inline constexpr int kNoteCount = 16;

/// A TMA descriptor as kernels receive it: 128 opaque bytes inside a __grid_constant__ parameter.
struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};

}  // namespace deepwell
