// libFuzzer entry: any PTX text runs to its end, to a report or to a named error, within its limits of steps and memory: decoder,
// machine, checkers. Each kernel is launched small, checked under a seed and unchecked, with parameters that are addresses of a
// buffer, of a tensor map and small numbers.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "emu/emu.hpp"

using namespace deepwell;

namespace {

constexpr std::uint64_t kSteps = 2000, kBytes = std::uint64_t{64} << 20;

std::vector<std::byte> parameters(emu::KernelInfo const& kernel, std::uint64_t buffer,
                                  std::array<std::byte, 128> const& map) {
  std::vector<std::byte> out(kernel.param_bytes);
  for (emu::ParamInfo const& param : kernel.params) {
    if (param.bytes == 0) continue;
    std::byte* const at = out.data() + param.offset;
    std::uint64_t const small = 16 + param.offset;
    if (param.bytes == 8) std::memcpy(at, &buffer, 8);
    if (param.bytes < 8) std::memcpy(at, &small, param.bytes);
    if (param.bytes == 128) std::memcpy(at, map.data(), 128);
  }
  return out;
}

void run(std::string_view text, std::string_view target, bool check, std::uint64_t seed) {
  emu::Profile profile = emu::parse_profile(target);
  try {
    auto const module = emu::Module::parse(text, profile, "fuzz");
    for (emu::KernelInfo const& kernel : module->kernels()) {
      try {
        emu::Memory memory(kBytes);
        std::uint64_t const buffer = memory.allocate(4096, "buffer");
        memory.fill(buffer, 2048, std::byte{1});
        emu::TensorMapSpec const spec{.data_type = 0,
                                      .rank = 2,
                                      .base = buffer,
                                      .dims = {32, 8},
                                      .strides_bytes = {64},
                                      .box = {16, 4}};
        emu::LaunchConfig const config{.grid = {2, 1, 1}, .block = {40, 1, 1}, .dynamic_smem_bytes = 1024};
        emu::Options const options{.check = check,
                                   .seed = seed,
                                   .max_steps = kSteps,
                                   .max_total_steps = 3 * kSteps,
                                   .memory_bytes = kBytes,
                                   .threads = 1,
                                   .output = [](std::string_view) {},
                                   .statistics = check};
        std::vector<std::byte> const params = parameters(kernel, buffer, encode_tensor_map(spec));
        launch(*module, kernel.name, config, params, memory, options, profile);
      } catch (Error const& error) {
        if (error.code() == ErrorCode::kInternal) std::abort();
      }
    }
  } catch (Error const& error) {
    if (error.code() == ErrorCode::kInternal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  std::uint64_t seed = size;
  for (std::size_t i = 0; i < size; ++i) seed = seed * 31 + data[i];
  bool const hopper = text.find("sm_90") != std::string_view::npos;
  run(text, hopper ? "emu:sm_90a:2" : "emu:sm_120a:2", seed % 4 != 0, seed % 61);
  return 0;
}
