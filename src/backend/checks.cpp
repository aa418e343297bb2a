// Checks and texts that all backends share.
#include "backend/checks.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>

namespace deepwell {
namespace {

char const* element_name(TensorMapSpec::Element element) {
  switch (element) {
    case TensorMapSpec::Element::kU8: return "u8";
    case TensorMapSpec::Element::kU16: return "u16";
    case TensorMapSpec::Element::kI32: return "i32";
    case TensorMapSpec::Element::kF32: return "f32";
    case TensorMapSpec::Element::kBf16: return "bf16";
    case TensorMapSpec::Element::kPacked4Align8: return "16u4_align8b";
    case TensorMapSpec::Element::kPacked4Align16: return "16u4_align16b";
  }
  return "?";
}

int driver_element(TensorMapSpec::Element element) {
  switch (element) {
    case TensorMapSpec::Element::kU8: return 0;
    case TensorMapSpec::Element::kU16: return 1;
    case TensorMapSpec::Element::kI32: return 3;
    case TensorMapSpec::Element::kF32: return 7;
    case TensorMapSpec::Element::kBf16: return 9;
    case TensorMapSpec::Element::kPacked4Align8: return 13;
    case TensorMapSpec::Element::kPacked4Align16: return 14;
  }
  throw bad_argument("element", std::to_string(static_cast<int>(element)), "one of TensorMapSpec::Element");
}

int element_bits(TensorMapSpec::Element element) {
  switch (element) {
    case TensorMapSpec::Element::kU8: return 8;
    case TensorMapSpec::Element::kU16:
    case TensorMapSpec::Element::kBf16: return 16;
    case TensorMapSpec::Element::kI32:
    case TensorMapSpec::Element::kF32: return 32;
    case TensorMapSpec::Element::kPacked4Align8:
    case TensorMapSpec::Element::kPacked4Align16: return 4;
  }
  return 0;
}

char const* swizzle_name(TensorMapSpec::Swizzle swizzle) {
  switch (swizzle) {
    case TensorMapSpec::Swizzle::kNone: return "none";
    case TensorMapSpec::Swizzle::k32B: return "32B";
    case TensorMapSpec::Swizzle::k64B: return "64B";
    case TensorMapSpec::Swizzle::k128B: return "128B";
  }
  return "?";
}

int driver_swizzle(TensorMapSpec::Swizzle swizzle) {
  switch (swizzle) {
    case TensorMapSpec::Swizzle::kNone: return 0;
    case TensorMapSpec::Swizzle::k32B: return 1;
    case TensorMapSpec::Swizzle::k64B: return 2;
    case TensorMapSpec::Swizzle::k128B: return 3;
  }
  throw bad_argument("swizzle", std::to_string(static_cast<int>(swizzle)), "one of TensorMapSpec::Swizzle");
}

template <class Array>
std::string list(Array const& values, int count) {
  std::size_t const shown = std::min(values.size(), static_cast<std::size_t>(std::max(count, 0)));
  return fmt::format("[{}]",
                     fmt::join(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
}

}  // namespace

std::string describe_launch(std::string_view entry, LaunchSpec const& spec) {
  std::string text =
      fmt::format("kernel {}, grid [{}, {}, {}], block [{}, {}, {}], {} bytes of dynamic shared memory",
                  entry, spec.grid[0], spec.grid[1], spec.grid[2], spec.threads, spec.threads_y,
                  spec.threads_z, spec.dynamic_smem_bytes);
  if (spec.cluster != std::array<std::uint32_t, 3>{1, 1, 1}) {
    text += fmt::format(", cluster [{}, {}, {}]", spec.cluster[0], spec.cluster[1], spec.cluster[2]);
  }
  if (spec.programmatic_dependent_launch) text += ", programmatic dependent launch";
  return text;
}

std::string describe_tensor_map(TensorMapSpec const& spec) {
  return fmt::format("{} {}, strides {} bytes, box {}, swizzle {}, base {:#x}", element_name(spec.element),
                     list(spec.dims, spec.rank), list(spec.strides_bytes, spec.rank - 1),
                     list(spec.box, spec.rank), swizzle_name(spec.swizzle), spec.base);
}

void check_launch(std::string_view entry, LaunchSpec const& spec, std::uint32_t loaded_smem_bytes) {
  for (std::uint32_t const size : spec.grid) {
    if (size == 0) throw bad_argument("grid", describe_launch(entry, spec), "dimensions above 0");
  }
  for (std::uint32_t const size : spec.cluster) {
    if (size == 0) throw bad_argument("cluster", describe_launch(entry, spec), "dimensions above 0");
  }
  std::uint64_t const threads = std::uint64_t{spec.threads} * spec.threads_y * spec.threads_z;
  if (threads == 0 || spec.threads > 1024 || spec.threads_y > 1024 || spec.threads_z > 64 || threads > 1024) {
    throw bad_argument("block", describe_launch(entry, spec), "1 to 1024 threads, at most 64 along z");
  }
  if (spec.dynamic_smem_bytes > loaded_smem_bytes) {
    throw bad_argument(
        "dynamic_smem_bytes", describe_launch(entry, spec),
        fmt::format("at most the {} bytes that the kernel was loaded with", loaded_smem_bytes));
  }
}

void check_allocation(std::size_t bytes) {
  if (bytes == 0) throw bad_argument("bytes", "0", "1 or more");
}

void check_note(int index) {
  if (index < 0 || index >= kNoteCount)
    throw bad_argument("note", std::to_string(index), fmt::format("0 to {}", kNoteCount - 1));
}

void check_image(KernelImage const& image) {
  if (image.entry.empty()) throw bad_argument("entry", "an empty name", "the kernel's name in the image");
}

emu::TensorMapSpec driver_values(TensorMapSpec const& spec) {
  if (spec.rank < 1 || spec.rank > 5) throw bad_argument("rank", std::to_string(spec.rank), "1 to 5");
  emu::TensorMapSpec values;
  values.data_type = driver_element(spec.element);
  values.rank = spec.rank;
  values.base = spec.base;
  values.dims = spec.dims;
  values.strides_bytes = spec.strides_bytes;
  values.box = spec.box;
  values.swizzle = driver_swizzle(spec.swizzle);
  // A miss in L2 may fetch more of the row, which the next boxes along it will want; never more than the row has.
  std::uint64_t const row_bytes = spec.dims[0] * static_cast<std::uint64_t>(element_bits(spec.element)) / 8;
  values.l2_promotion = row_bytes >= 256 ? 3 : row_bytes >= 128 ? 2 : row_bytes >= 64 ? 1 : 0;
  return values;
}

}  // namespace deepwell
