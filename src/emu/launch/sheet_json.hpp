// Sheets from JSON and results to JSON: the launch file of `deepwell emulate --launch`. docs/emulate.md describes it,
// docs/launch.schema.json is its schema.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emu/launch/sheet.hpp"

namespace deepwell::emu {

/// A buffer's contents that a program holds, by the buffer's name: instead of a file or a fill. `written` as SheetBuffer's.
struct HostArray {
  std::string_view name;
  std::span<std::byte const> bytes;
  std::span<std::uint8_t const> written;
};

struct SheetSource {
  std::string_view text;                        // the JSON document
  std::string name = "launch.json";             // in messages
  std::optional<std::filesystem::path> folder;  // what files are named against; none: files are refused
  bool anywhere = false;                        // files may lie outside of `folder`
  std::uint64_t most_memory_bytes = std::uint64_t{8}
                                    << 30;  // what the document may ask for, and has where it does not ask
  std::string target;                       // instead of the document's; empty: that, or sm_120a
  std::optional<SheetModule> module;        // the first of the modules, for launches that name none
  std::span<HostArray const> arrays;
};

/// Throws Error kBadArgument naming the path in the document, the value and what was expected, as for files that cannot be read.
Sheet parse_sheet(SheetSource const& source);

/// A file of the sheet, named against `folder`. Throws Error kBadArgument with `path` when it leaves the folder.
std::filesystem::path sheet_file(SheetSource const& source, std::string const& path, std::string const& file);

/// The report as a JSON object; `compact`: in one line. Statistics are whole where the sheet asked for them.
std::string to_json(Sheet const& sheet, SheetResult const& result, bool compact);

/// Writes the buffers that have an `output`: .npy, or raw bytes. Throws Error kBadArgument for a file that cannot be written.
void write_outputs(Sheet const& sheet, SheetResult const& result);

}  // namespace deepwell::emu
