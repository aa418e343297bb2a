// What every backend checks alike, and the texts that describe launches and tensor maps in errors.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "backend/backend.hpp"
#include "emu/emu.hpp"

namespace deepwell {

/// "kernel gemm, grid [4, 1, 1], block [128, 1, 1], 1024 bytes of dynamic shared memory".
std::string describe_launch(std::string_view entry, LaunchSpec const& spec);
/// "u8 [4096, 64], strides [4096] bytes, box [128, 64], swizzle 128B, base 0x...".
std::string describe_tensor_map(TensorMapSpec const& spec);

/// Throws Error kBadArgument when a dimension is 0, the block is larger than 1,024 threads, or the launch asks for more
/// dynamic shared memory than the kernel was loaded with.
void check_launch(std::string_view entry, LaunchSpec const& spec, std::uint32_t loaded_smem_bytes);
/// Throws Error kBadArgument unless bytes > 0.
void check_allocation(std::size_t bytes);
/// Throws Error kBadArgument unless 0 <= index < kNoteCount.
void check_note(int index);
/// Throws Error kBadArgument unless the image names an entry.
void check_image(KernelImage const& image);

/// CUDA's numbers for the fields, and the L2 promotion that suits the tensor's rows. Throws Error kBadArgument for a rank
/// outside 1..5.
emu::TensorMapSpec driver_values(TensorMapSpec const& spec);

}  // namespace deepwell
