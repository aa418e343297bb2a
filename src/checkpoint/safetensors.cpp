// Safetensors: parsing with every check, and writing.
#include "checkpoint/safetensors.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <system_error>

#include "base/error.hpp"
#include "base/file.hpp"

namespace deepwell {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kMaxTensors = 1'000'000;
constexpr std::size_t kMaxRank = 8;
constexpr int kMaxDepth = 3;  // { name: { "shape": [ ... ] } }

struct ElementType {
  std::string_view name;
  int bits;
  std::optional<Dtype> dtype;
};
constexpr ElementType kElementTypes[] = {
    {"F8_E4M3", 8, Dtype::kE4m3}, {"F8_E8M0", 8, Dtype::kUe8m0}, {"I8", 8, Dtype::kI8},
    {"U8", 8, Dtype::kU8},        {"BF16", 16, Dtype::kBf16},    {"F16", 16, Dtype::kF16},
    {"F32", 32, Dtype::kF32},     {"I32", 32, Dtype::kI32},      {"I64", 64, Dtype::kI64},
    {"F4", 4, Dtype::kE2m1},      {"BOOL", 8, std::nullopt},     {"F8_E5M2", 8, std::nullopt},
    {"U16", 16, std::nullopt},    {"I16", 16, std::nullopt},     {"U32", 32, std::nullopt},
    {"U64", 64, std::nullopt},    {"F64", 64, std::nullopt},
};

ElementType const* find_type(std::string_view name) {
  for (ElementType const& type : kElementTypes) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

/// What the JSON says about one tensor, before it is compared with the file.
struct Entry {
  std::string name, dtype;
  std::vector<std::uint64_t> shape, offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

/// Takes the header's JSON apart as it is read, so that depth, duplicates and types are checked before anything is built.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string source) : source_(std::move(source)) {}

  bool null() override { return unexpected("null"); }
  bool boolean(bool value) override { return unexpected(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return unexpected(fmt::format("{}", value)); }
  bool number_float(number_float_t, string_t const& text) override { return unexpected(text); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (list_ == nullptr) return unexpected(fmt::format("{}", value));
    list_->push_back(value);
    if (list_->size() > kMaxRank) fail("more than 8 numbers", "at most 8");
    return true;
  }

  bool string(string_t& value) override {
    if (depth_ == 2 && in_metadata_) {
      metadata.emplace(field_, value);
      return true;
    }
    if (depth_ != 2 || in_metadata_ || field_ != "dtype")
      return unexpected(fmt::format("\"{}\"", shorten(value)));
    entry_.dtype = value;
    entry_.has_dtype = true;
    return true;
  }

  bool start_object(std::size_t) override {
    if (depth_ >= 2 || list_ != nullptr) return unexpected("an object");
    ++depth_;
    return true;
  }

  bool key(string_t& value) override {
    if (value.size() > 4096) fail("a name of more than 4096 bytes", "a shorter one");
    if (depth_ == 1) {
      name_ = value;
      field_.clear();
      if (!names_.insert(value).second) fail("given twice", "each tensor once");
      if (names_.size() > kMaxTensors) fail("more than a million tensors", "fewer");
      in_metadata_ = value == "__metadata__";
      entry_ = Entry{};
      entry_.name = value;
      fields_.clear();
      return true;
    }
    field_ = value;
    if (!fields_.insert(value).second) fail("given twice", "each field once");
    if (!in_metadata_ && value != "dtype" && value != "shape" && value != "data_offsets") {
      fail("an unknown field", "dtype, shape or data_offsets");
    }
    return true;
  }

  bool end_object() override {
    --depth_;
    if (depth_ == 1) {
      field_.clear();
      if (!in_metadata_) {
        if (!entry_.has_dtype) fail("no dtype", "dtype, shape and data_offsets");
        if (!entry_.has_shape) fail("no shape", "dtype, shape and data_offsets");
        if (!entry_.has_offsets) fail("no data_offsets", "dtype, shape and data_offsets");
        entries.push_back(std::move(entry_));
      }
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || list_ != nullptr || field_ == "dtype") return unexpected("an array");
    bool const is_shape = field_ == "shape";
    list_ = is_shape ? &entry_.shape : &entry_.offsets;
    (is_shape ? entry_.has_shape : entry_.has_offsets) = true;
    return true;
  }

  bool end_array() override {
    list_ = nullptr;
    return true;
  }

  bool parse_error(std::size_t position, std::string const&, nlohmann::json::exception const&) override {
    name_.clear();
    field_.clear();
    fail(fmt::format("no JSON at byte {}", position), "a JSON object");
    return false;
  }

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

 private:
  static std::string shorten(std::string const& text) {
    return text.size() > 60 ? text.substr(0, 60) + "..." : text;
  }

  [[noreturn]] void fail(std::string got, std::string expected) const {
    std::string where = name_.empty() ? "header" : shorten(name_);
    if (!field_.empty()) where += "." + shorten(field_);
    throw bad_argument(fmt::format("{}: {}", source_, where), std::move(got), std::move(expected));
  }
  bool unexpected(std::string const& got) const {
    std::string expected = "an object";
    if (depth_ == 2) {
      expected = in_metadata_ || field_ == "dtype" ? "a string" : "an array of non-negative integers";
    } else if (depth_ == 1) {
      expected = "an object with dtype, shape and data_offsets";
    }
    fail(got, expected);
  }

  std::string source_, name_, field_;
  std::set<std::string> names_, fields_;
  Entry entry_;
  std::vector<std::uint64_t>* list_ = nullptr;
  bool in_metadata_ = false;
  int depth_ = 0;
};
static_assert(kMaxDepth == 3);

/// The bytes of a tensor, or nothing when they overflow.
std::optional<std::uint64_t> bytes_of(std::vector<std::uint64_t> const& shape, int bits) {
  unsigned __int128 total = static_cast<unsigned>(bits);
  bool empty = false;
  for (std::uint64_t extent : shape) {
    if (extent == 0) {
      empty = true;
      continue;
    }
    total *= extent;
    if (total > static_cast<unsigned __int128>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  }
  if (empty) return 0;
  if (total % 8 != 0) return std::nullopt;
  return static_cast<std::uint64_t>(total / 8);
}

StoredTensor check_entry(Entry const& entry, std::span<std::byte const> file, std::size_t data_start,
                         std::string const& source) {
  auto const where = [&](std::string_view field) {
    return fmt::format("{}: {}.{}", source, entry.name, field);
  };
  std::uint64_t const data_size = file.size() - data_start;
  ElementType const* type = find_type(entry.dtype);
  if (type == nullptr)
    throw bad_argument(where("dtype"), entry.dtype, "an element type of the format, such as F8_E4M3 or BF16");
  if (entry.offsets.size() != 2) {
    throw bad_argument(where("data_offsets"), fmt::format("{} numbers", entry.offsets.size()), "two numbers");
  }
  std::uint64_t const begin = entry.offsets[0], end = entry.offsets[1];
  if (begin > end)
    throw bad_argument(where("data_offsets"), fmt::format("{}, {}", begin, end), "begin <= end");
  if (end > data_size) {
    throw bad_argument(where("data_offsets"), fmt::format("{}, {}", begin, end),
                       fmt::format("at most {}, the bytes after the header", data_size));
  }
  std::optional<std::uint64_t> const expected = bytes_of(entry.shape, type->bits);
  if (!expected) {
    throw bad_argument(where("shape"), fmt::format("[{}]", fmt::join(entry.shape, ", ")),
                       fmt::format("whole bytes of {}, fewer than 2^63 bits", entry.dtype));
  }
  if (*expected != end - begin) {
    throw bad_argument(where("data_offsets"), fmt::format("{} bytes", end - begin),
                       fmt::format("{} bytes for its shape and dtype", *expected));
  }
  StoredTensor tensor;
  tensor.name = entry.name;
  tensor.dtype_name = entry.dtype;
  tensor.dtype = type->dtype;
  for (std::uint64_t extent : entry.shape) {
    if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw bad_argument(where("shape"), fmt::format("{}", extent), "below 2^63");
    }
    tensor.shape.push_back(static_cast<std::int64_t>(extent));
  }
  tensor.offset = data_start + begin;
  int const alignment = std::max(1, type->bits / 8);
  if (end > begin && tensor.offset % static_cast<std::size_t>(alignment) != 0) {
    throw bad_argument(where("data_offsets"), fmt::format("byte {} of the file", tensor.offset),
                       fmt::format("a multiple of {}", alignment));
  }
  tensor.bytes = file.subspan(tensor.offset, end - begin);
  return tensor;
}

}  // namespace

SafetensorsHeader parse_safetensors(std::span<std::byte const> file, std::string const& source) {
  if (file.size() < 8) {
    throw bad_argument(fmt::format("{}: header length", source),
                       fmt::format("a file of {} bytes", file.size()), "at least 8 bytes");
  }
  std::uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | std::to_integer<std::uint64_t>(file[i]);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file.size() - 8 || header_bytes < 2) {
    throw bad_argument(fmt::format("{}: header length", source), fmt::format("{}", header_bytes),
                       fmt::format("2 to {}", std::min<std::uint64_t>(kMaxHeaderBytes, file.size() - 8)));
  }
  std::string_view text(reinterpret_cast<char const*>(file.data()) + 8, header_bytes);
  if (text.front() != '{') throw bad_argument(fmt::format("{}: header", source), "another first byte", "'{'");
  HeaderReader reader(source);
  nlohmann::json::sax_parse(text, &reader);

  SafetensorsHeader header;
  header.metadata = std::move(reader.metadata);
  std::size_t const data_start = 8 + header_bytes;
  for (Entry const& entry : reader.entries)
    header.tensors.push_back(check_entry(entry, file, data_start, source));
  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](StoredTensor const& x, StoredTensor const& y) {
                     return std::pair(x.offset, x.bytes.size()) < std::pair(y.offset, y.bytes.size());
                   });
  std::size_t at = data_start;
  StoredTensor const* last = nullptr;
  for (StoredTensor const& tensor : header.tensors) {
    if (tensor.offset < at) {
      throw bad_argument(fmt::format("{}: {}.data_offsets", source, tensor.name),
                         fmt::format("byte {}", tensor.offset - data_start),
                         fmt::format("at least {}, the end of {}", at - data_start,
                                     last != nullptr ? last->name : "the header"));
    }
    if (tensor.offset > at) {
      throw bad_argument(fmt::format("{}: {}.data_offsets", source, tensor.name),
                         fmt::format("byte {}", tensor.offset - data_start),
                         fmt::format("{}: no bytes between two tensors", at - data_start));
    }
    at = tensor.offset + tensor.bytes.size();
    last = &tensor;
  }
  if (at != file.size()) {
    throw bad_argument(fmt::format("{}: length", source), fmt::format("{} bytes", file.size()),
                       fmt::format("{}, the end of the last tensor", at));
  }
  return header;
}

SafetensorsFile::SafetensorsFile(std::filesystem::path const& path)
    : file_(path), header_(parse_safetensors(file_.bytes(), path.string())) {
  for (std::size_t i = 0; i < header_.tensors.size(); ++i) index_.emplace(header_.tensors[i].name, i);
}

StoredTensor const* SafetensorsFile::find(std::string_view name) const {
  auto const found = index_.find(name);
  return found == index_.end() ? nullptr : &header_.tensors[found->second];
}

std::string_view safetensors_name(Dtype dtype) {
  for (ElementType const& type : kElementTypes) {
    if (type.dtype == dtype) return type.name;
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("dtype: {} has no name in safetensors files", name_of(dtype)), "dtype",
              name_of(dtype), "a type of the format");
}

void write_safetensors(std::filesystem::path const& path, std::span<TensorToWrite const> tensors,
                       std::map<std::string, std::string> const& metadata) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
    return bits_of(tensors[x].dtype) > bits_of(tensors[y].dtype);
  });
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  std::vector<std::uint64_t> sizes(tensors.size());
  std::uint64_t offset = 0;
  for (std::size_t i : order) {
    TensorToWrite const& tensor = tensors[i];
    if (json.contains(tensor.name)) throw bad_argument("tensors", tensor.name, "each name once");
    std::vector<std::uint64_t> shape;
    for (std::int64_t extent : tensor.shape) {
      if (extent < 0) throw bad_argument(tensor.name + ".shape", fmt::format("{}", extent), "not negative");
      shape.push_back(static_cast<std::uint64_t>(extent));
    }
    std::optional<std::uint64_t> const bytes = bytes_of(shape, bits_of(tensor.dtype));
    if (!bytes)
      throw bad_argument(tensor.name + ".shape", "an odd number of nibbles or an overflow", "whole bytes");
    sizes[i] = *bytes;
    json[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)},
                         {"shape", shape},
                         {"data_offsets", {offset, offset + *bytes}}};
    offset += *bytes;
  }
  std::string header = json.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');

  struct Partial {  // removed unless it was renamed
    std::filesystem::path path;
    ~Partial() {
      std::error_code ignored;
      if (!path.empty()) std::filesystem::remove(path, ignored);
    }
  } partial{path};
  partial.path += "." + unique_suffix();
  auto const fail = [&](char const* what) {
    throw bad_argument(path.string(), what, "a file that can be written, and room for it");
  };
  {
    std::ofstream out(partial.path, std::ios::binary);
    if (!out) fail("cannot be created");
    char length[8];
    for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
    out.write(length, 8);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    std::vector<std::byte> buffer;
    for (std::size_t i : order) {
      buffer.assign(sizes[i], std::byte{0});
      tensors[i].fill(buffer);
      out.write(reinterpret_cast<char const*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
      if (!out) fail("writing failed");
    }
    out.close();
    if (!out) fail("writing failed");
  }
  std::error_code error;
  std::filesystem::rename(partial.path, path, error);
  if (error) fail("cannot be renamed into place");
  partial.path.clear();
}

}  // namespace deepwell
