// Launch files with buffers in host memory.
#include "backend/emu/launches.hpp"

#include <algorithm>
#include <vector>

#include "emu/launch/sheet_json.hpp"

namespace deepwell::emu {

std::string run_launches_here(std::string_view launches, std::string_view folder,
                              std::span<LaunchArray const> arrays) {
  std::vector<HostArray> inputs;
  for (LaunchArray const& array : arrays) {
    std::span<std::uint8_t> written;
    if (array.written != nullptr) written = {array.written, array.bytes.size()};
    inputs.push_back({.name = array.name, .bytes = array.bytes, .written = written});
  }
  SheetSource source{.text = launches,
                     .name = "launches",
                     .folder = {},
                     .anywhere = true,
                     .most_memory_bytes = std::uint64_t{1} << 40,
                     .target = {},
                     .module = {},
                     .arrays = inputs};
  if (!folder.empty()) source.folder = std::filesystem::path(folder);
  Sheet const sheet = parse_sheet(source);
  for (LaunchArray const& array : arrays) {
    bool const known = std::any_of(sheet.buffers.begin(), sheet.buffers.end(),
                                   [&](SheetBuffer const& buffer) { return buffer.name == array.name; });
    if (!known) throw bad_argument("arrays", std::string(array.name), "the name of a buffer");
  }
  SheetResult const result = run_sheet(sheet);
  write_outputs(sheet, result);
  for (std::size_t i = 0; i < result.buffers.size(); ++i) {
    for (LaunchArray const& array : arrays) {
      if (array.name != sheet.buffers[i].name) continue;
      BufferResult const& got = result.buffers[i];
      std::copy(got.bytes.begin(), got.bytes.end(), array.bytes.begin());
      if (array.written != nullptr) std::copy(got.written.begin(), got.written.end(), array.written);
    }
  }
  return to_json(sheet, result, true);
}

}  // namespace deepwell::emu
