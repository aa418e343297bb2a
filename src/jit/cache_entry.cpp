// Reading and writing one entry of the disk cache.
#include "jit/cache_entry.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/hash.hpp"
#include "jit/compilers.hpp"

namespace deepwell::jit {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr std::size_t kLongestName = 180;  // with the hash and a prefix it stays below the usual limit of 255

std::span<std::byte const> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool is_identifier(std::string_view name) {
  auto const letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

Json inputs_of(CacheKey const& key) {
  return Json{{"entry", key.entry},
              {"target", key.target},
              {"line_info", key.line_info},
              {"compiler", {{"kind", key.compiler_kind}, {"version", key.compiler_version}}},
              {"flags", key.flags},
              {"device_sources", key.device_sources},
              {"source", key.source_hash}};
}

std::string manifest_text(Json const& manifest) {
  return manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string hash_of(CacheKey const& key) {
  return hash_hex({std::to_string(kFormat), inputs_of(key).dump()});
}

/// The key that a manifest, or a line of an archive's index, tells of. Throws nlohmann::json::exception.
CacheKey key_of(Json const& manifest) {
  Json const& inputs = manifest.at("inputs");
  Json const& compiler = inputs.at("compiler");
  return {.name = manifest.at("name").get<std::string>(),
          .entry = inputs.at("entry").get<std::string>(),
          .target = inputs.at("target").get<std::string>(),
          .line_info = inputs.at("line_info").get<bool>(),
          .compiler_kind = compiler.at("kind").get<std::string>(),
          .compiler_version = compiler.at("version").get<std::string>(),
          .flags = inputs.at("flags").get<std::vector<std::string>>(),
          .device_sources = inputs.at("device_sources").get<std::string>(),
          .source_hash = inputs.at("source").get<std::string>(),
          .hash = manifest.at("hash").get<std::string>()};
}

/// {13, 0} of "13.0 0123abcd"; {0, 0} of other text.
std::pair<int, int> leading_version(std::string_view text) {
  std::pair<int, int> version{};
  char const* const end = text.data() + text.size();
  auto const major = std::from_chars(text.data(), end, version.first);
  if (major.ec != std::errc{} || major.ptr == end || *major.ptr != '.') return {};
  auto const minor = std::from_chars(major.ptr + 1, end, version.second);
  return minor.ec == std::errc{} ? version : std::pair<int, int>{};
}

struct Part {
  char const* name;
  std::span<std::byte const> bytes;
};

}  // namespace

std::string safe_name(std::string_view name) {
  std::string safe(name.substr(0, kLongestName));
  for (char& c : safe) {
    bool const keep =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!keep) c = '_';
  }
  return safe.empty() ? "kernel" : safe;
}

std::string CacheKey::folder_name() const { return safe_name(name) + "." + hash; }

CacheKey make_key(CompileRequest const& request, CompilerInfo const& compiler) {
  if (!is_identifier(request.entry))
    throw bad_argument("entry", request.entry, "the name of an extern \"C\" kernel");
  CacheKey key{.name = request.name,
               .entry = request.entry,
               .target = request.target,
               .line_info = request.line_info,
               .compiler_kind = compiler.kind,
               .compiler_version = compiler.full_version,
               .flags = compile_flags(compiler, request),
               .device_sources = device_source_digest(),
               .source_hash = hash_hex({request.source}),
               .hash = {}};
  key.hash = hash_of(key);
  return key;
}

std::string key_text(CacheKey const& key) {
  return Json{{"name", key.name}, {"hash", key.hash}, {"inputs", inputs_of(key)}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

std::optional<CacheKey> parse_key(std::string_view text) {
  try {
    CacheKey key = key_of(Json::parse(text));
    bool const plain =
        std::all_of(key.name.begin(), key.name.end(), [](char c) { return c >= ' ' && c <= '~'; });
    if (!plain || !is_identifier(key.entry) || key.hash != hash_of(key)) return std::nullopt;
    return key;
  } catch (nlohmann::json::exception const&) {
    return std::nullopt;
  }
}

bool fits_this_build(CacheKey const& key) {
  if (key.device_sources != device_source_digest()) return false;
  CompilerInfo const compiler{.kind = key.compiler_kind,
                              .path = {},
                              .found_in = {},
                              .version = leading_version(key.compiler_version),
                              .full_version = key.compiler_version};
  CompileRequest request;
  request.target = key.target;
  request.line_info = key.line_info;
  return key.flags == compile_flags(compiler, request);
}

bool serves(CacheKey const& key, CompileRequest const& request) {
  return key.target == request.target && key.entry == request.entry && key.line_info == request.line_info &&
         key.source_hash == hash_hex({request.source}) && fits_this_build(key);
}

std::optional<CacheKey> entry_key(fs::path const& folder) {
  try {
    return parse_key(read_text_file(folder / "manifest.json"));
  } catch (std::system_error const&) {
    return std::nullopt;
  }
}

CacheTestHooks& cache_test_hooks() {
  static CacheTestHooks hooks;
  return hooks;
}

void cache_step(std::string_view step, fs::path const& path) {
  if (auto const before = cache_test_hooks().before) before(step, path);
}

LoadResult load_entry(fs::path const& folder, CacheKey const& key) {
  LoadResult result;
  auto const corrupt = [&](std::string reason) {
    result.status = LoadStatus::kCorrupt;
    result.reason = std::move(reason);
    return result;
  };
  try {
    cache_step("load", folder);
    std::string const text = read_text_file(folder / "manifest.json");
    Json const manifest = Json::parse(text);
    if (manifest_text(manifest) != text) return corrupt("manifest.json is not as it was written");
    if (manifest.at("format") != kFormat || manifest.at("inputs") != inputs_of(key) ||
        manifest.at("hash") != key.hash) {
      return corrupt("the manifest tells of other inputs");
    }
    Json const& files = manifest.at("files");
    auto const matches = [&](char const* name, std::span<std::byte const> bytes) {
      Json const& file = files.at(name);
      return file.at("bytes") == bytes.size() && file.at("hash") == hash_hex(bytes);
    };
    Compiled& compiled = result.compiled;
    std::string const source = read_text_file(folder / "kernel.cu");
    compiled.cubin = read_binary_file(folder / "kernel.cubin");
    compiled.ptx = read_text_file(folder / "kernel.ptx");
    compiled.log = read_text_file(folder / "log.txt");
    if (!matches("kernel.cu", bytes_of(source))) return corrupt("kernel.cu does not match the manifest");
    if (!matches("kernel.cubin", compiled.cubin)) return corrupt("kernel.cubin does not match the manifest");
    if (!matches("kernel.ptx", bytes_of(compiled.ptx)))
      return corrupt("kernel.ptx does not match the manifest");
    if (!matches("log.txt", bytes_of(compiled.log))) return corrupt("log.txt does not match the manifest");
    compiled.from_cache = true;
    result.status = LoadStatus::kLoaded;
    return result;
  } catch (nlohmann::json::exception const& error) {
    return corrupt(fmt::format("manifest.json: {}", error.what()));
  } catch (std::system_error const& error) {
    result.reason = error.what();
    std::error_code ignored;
    bool const missing =
        error.code() == std::errc::no_such_file_or_directory || error.code() == std::errc::not_a_directory;
    if (missing && !fs::exists(fs::symlink_status(folder, ignored))) {
      result.status = LoadStatus::kAbsent;
    } else if (missing || error.code() == std::errc::invalid_argument ||
               error.code() == std::errc::is_a_directory) {
      result.status = LoadStatus::kCorrupt;
    } else {
      result.status = LoadStatus::kUnreadable;
    }
    return result;
  }
}

void write_entry(fs::path const& folder, CacheKey const& key, CompileRequest const& request,
                 Compiled const& compiled) {
  Part const parts[] = {{"kernel.cu", bytes_of(request.source)},
                        {"kernel.cubin", compiled.cubin},
                        {"kernel.ptx", bytes_of(compiled.ptx)},
                        {"log.txt", bytes_of(compiled.log)}};
  Json files;
  for (Part const& part : parts)
    files[part.name] = {{"bytes", part.bytes.size()}, {"hash", hash_hex(part.bytes)}};
  Json const manifest = {{"format", kFormat},
                         {"name", key.name},
                         {"hash", key.hash},
                         {"inputs", inputs_of(key)},
                         {"compile_seconds", compiled.seconds},
                         {"files", files}};
  for (Part const& part : parts) {
    cache_step("write", folder / part.name);
    write_new_file(folder / part.name, part.bytes, 0600, false);
  }
  cache_step("write", folder / "manifest.json");
  write_new_file(folder / "manifest.json", manifest_text(manifest), 0600, false);
}

std::optional<KernelCache::Entry> describe_entry(fs::path const& folder) {
  try {
    std::string const name = folder.filename().string();
    if (name.starts_with('.')) return std::nullopt;
    Json const manifest = Json::parse(read_text_file(folder / "manifest.json"));
    Json const& inputs = manifest.at("inputs");
    KernelCache::Entry entry{
        .folder = folder,
        .name = manifest.at("name").get<std::string>(),
        .target = inputs.at("target").get<std::string>(),
        .compiler = fmt::format("{} {}", inputs.at("compiler").at("kind").get<std::string>(),
                                inputs.at("compiler").at("version").get<std::string>()),
        .bytes = 0};
    for (fs::directory_entry const& file : fs::directory_iterator(folder)) entry.bytes += file.file_size();
    return entry;
  } catch (nlohmann::json::exception const&) {
    return std::nullopt;
  } catch (std::system_error const&) {
    return std::nullopt;
  }
}

}  // namespace deepwell::jit
