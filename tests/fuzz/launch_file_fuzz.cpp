// libFuzzer entry: any bytes are a launch file or a named error, and what is one runs within its limits. The file may name the
// kernels of a small module; it has no folder, so it reads and writes no file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "emu/launch/sheet_json.hpp"

using namespace deepwell;

namespace {

constexpr char const* kModule = R"(
.version 8.7
.target sm_120a
.address_size 64
.visible .entry add(.param .u64 p, .param .u32 n)
{
  .reg .pred %q;
  .reg .b32 %r<4>;
  .reg .b64 %d<4>;
  ld.param.u64 %d1, [p];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %tid.x;
  setp.ge.u32 %q, %r2, %r1;
  @%q bra DONE;
  mul.wide.u32 %d2, %r2, 4;
  add.s64 %d3, %d1, %d2;
  ld.global.u32 %r3, [%d3];
  add.u32 %r3, %r3, 1;
  st.global.u32 [%d3], %r3;
DONE:
  ret;
}
.visible .entry mapped(.param .align 64 .b8 m[128])
{
  .reg .b64 %d<3>;
  mov.b64 %d1, m;
  cvta.param.u64 %d2, %d1;
  prefetch.tensormap [%d2];
  ret;
}
)";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  emu::SheetSource source;
  source.text = {reinterpret_cast<char const*>(data), size};
  source.most_memory_bytes = std::uint64_t{1} << 20;
  source.module = {.name = "fuzz", .ptx = kModule};
  try {
    emu::Sheet sheet = parse_sheet(source);
    sheet.options.max_steps = 500;
    sheet.options.max_total_steps = 2000;
    sheet.options.memory_bytes = std::uint64_t{64} << 20;
    sheet.options.threads = 1;
    sheet.seeds = std::min<std::uint64_t>(sheet.seeds, 3);
    emu::SheetResult const result = run_sheet(sheet);
    if (to_json(sheet, result, true).empty()) std::abort();
  } catch (Error const& error) {
    if (error.code() == ErrorCode::kInternal) std::abort();
  }
  return 0;
}
