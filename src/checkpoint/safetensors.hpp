// Reader and writer of safetensors files: an 8-byte length, a JSON header, and the tensors' bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"
#include "deepwell/common.h"

namespace deepwell {

/// One tensor of a file. `dtype` is empty for element types that the project has no use for ("F64", "BOOL").
struct StoredTensor {
  std::string name;
  std::string dtype_name;  // as in the file: "F8_E4M3"
  std::optional<Dtype> dtype;
  std::vector<std::int64_t> shape;
  std::size_t offset = 0;  // of its bytes in the file
  std::span<std::byte const> bytes;
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// Checks a whole file image: lengths, JSON (depth, size, duplicates, unknown fields), element types, sizes against shapes,
/// offsets inside the file, overlaps, holes, alignment. Throws Error (kBadArgument) whose argument is "<source>: <field>".
SafetensorsHeader parse_safetensors(std::span<std::byte const> file, std::string const& source);

/// A checkpoint file mapped into memory. Immutable.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::filesystem::path const& path);
  std::vector<StoredTensor> const& tensors() const { return header_.tensors; }
  std::map<std::string, std::string> const& metadata() const { return header_.metadata; }
  StoredTensor const* find(std::string_view name) const;  // null when there is none

 private:
  MappedFile file_;
  SafetensorsHeader header_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// The element type's name in a file; throws Error (kUnsupported) for a type the format has no name for.
std::string_view safetensors_name(Dtype dtype);

/// A tensor to write; `fill` is called once with the place for its bytes.
struct TensorToWrite {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::function<void(std::span<std::byte>)> fill;
};

/// Writes beside `path` and renames, so that readers never see half a file. Tensors are laid out by falling element size,
/// the header padded to 8 bytes, so every tensor is aligned. Throws Error (kBadArgument) naming what is wrong.
void write_safetensors(std::filesystem::path const& path, std::span<TensorToWrite const> tensors,
                       std::map<std::string, std::string> const& metadata = {});

}  // namespace deepwell
