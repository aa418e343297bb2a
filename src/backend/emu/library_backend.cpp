// The caller's side of the emulator's library: finding it, and forwarding.
#include "backend/emu/library_backend.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "backend/emu/library_texts.hpp"
#include "base/log.hpp"
#include "base/options.hpp"

namespace deepwell {
namespace {

using emulator_library::error_code;
using emulator_library::text;
using emulator_library::view;

constexpr char const* kFileName = "libdeepwell_emulator.so";
constexpr Option kOptions[] = {Option::kThreads};  // those that the emulator reads, besides its log's

class LibraryKernel : public LoadedKernel {
 public:
  LibraryKernel(dw_emulator_table const& table, dw_emulator_kernel* handle, std::string entry)
      : table_(table), handle_(handle), entry_(std::move(entry)) {}
  ~LibraryKernel() override { table_.unload(handle_); }
  LibraryKernel(LibraryKernel const&) = delete;
  LibraryKernel& operator=(LibraryKernel const&) = delete;
  std::string_view entry() const override { return entry_; }
  dw_emulator_table const* table() const { return &table_; }
  dw_emulator_kernel* handle() const { return handle_; }

 private:
  dw_emulator_table const& table_;
  dw_emulator_kernel* handle_;
  std::string entry_;
};

/// The file of the library or program that this code is part of.
std::filesystem::path own_file() {
  Dl_info info{};
  std::error_code none;
  if (dladdr(reinterpret_cast<void const*>(&own_file), &info) != 0 && info.dli_fname != nullptr) {
    std::filesystem::path const file = info.dli_fname;
    // Of a program this is how it was called, which is no path when it was found through PATH.
    if (file.has_parent_path()) return std::filesystem::absolute(file, none);
  }
  return std::filesystem::read_symlink("/proc/self/exe", none);
}

[[noreturn]] void fail_to_open(std::string const& path, std::string const& reason) {
  std::string const name(option_row(Option::kEmulator).name);
  std::string const expected = fmt::format(
      "{} of this version of Deepwell: install Deepwell's emulator beside {}, or set {} to its file",
      kFileName, own_file().string(), name);
  throw Error(ErrorCode::kUnsupported,
              fmt::format("no emulator, {}: {}; expected {}", reason, path, expected), name,
              fmt::format("{}: {}", path, reason), expected);
}

void log_from_library(int level, dw_emulator_text message) noexcept {
  try {
    int const known = std::clamp(level, 0, static_cast<int>(LogLevel::kDebug));
    log_message(static_cast<LogLevel>(known), view(message));
  } catch (...) {  // the message is lost, the emulator goes on
  }
}

dw_emulator_table const& load_table(std::string const& path) {
  std::error_code none;
  if (!std::filesystem::exists(path, none)) fail_to_open(path, "no such file");
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    char const* const reason = dlerror();
    fail_to_open(path, reason != nullptr ? reason : "it cannot be loaded");
  }
  auto const entry = reinterpret_cast<dw_emulator_entry>(dlsym(library, DW_EMULATOR_SYMBOL));
  if (entry == nullptr) fail_to_open(path, "a library without symbol " DW_EMULATOR_SYMBOL);
  dw_emulator_table const& table = *entry();
  if (table.version != DW_EMULATOR_VERSION) {
    fail_to_open(path,
                 fmt::format("its interface has version {}, not {}", table.version, DW_EMULATOR_VERSION));
  }
  table.set_log(log_from_library);
  return table;
}

}  // namespace

std::string emulator_library_path() {
  std::error_code none;
  std::filesystem::path path = option_text(Option::kEmulator);
  if (path.empty()) path = own_file().parent_path() / kFileName;
  if (std::filesystem::is_directory(path, none)) path /= kFileName;
  return path.string();
}

dw_emulator_table const& open_emulator_library() {
  static std::mutex mutex;
  static std::map<std::string, dw_emulator_table const*> loaded;
  std::string const path = emulator_library_path();
  std::lock_guard const lock(mutex);
  auto found = loaded.find(path);
  if (found == loaded.end()) found = loaded.emplace(path, &load_table(path)).first;
  return *found->second;
}

void check_emulator_call(dw_emulator_table const& table, int code) {
  if (code == DW_EMULATOR_OK) return;
  dw_emulator_error error{};
  table.last_error(&error);
  throw Error(error_code(code), std::string(view(error.message)), std::string(view(error.argument)),
              std::string(view(error.got)), std::string(view(error.expected)));
}

LibraryBackend::LibraryBackend(dw_emulator_table const& table, std::string_view device)
    : table_(table), device_(nullptr, table.destroy) {
  std::array<std::string, std::size(kOptions)> values;
  std::array<dw_emulator_option, std::size(kOptions)> options{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = option_text(kOptions[i]);
    options[i] = {.name = text(option_row(kOptions[i]).name), .value = text(values[i])};
  }
  dw_emulator_device* made = nullptr;
  check(table_.create(text(device), options.data(), options.size(), &made));
  device_.reset(made);
  dw_emulator_description description{};
  table_.describe(made, &description);
  info_ = {.id = std::string(view(description.id)),
           .name = std::string(view(description.name)),
           .arch = arch_by_target(view(description.target)),
           .sm_count = description.sm_count,
           .memory_bytes = description.memory_bytes};
  notes_ = description.notes_address;
}

DeviceAddress LibraryBackend::allocate(std::size_t bytes) {
  DeviceAddress address = 0;
  check(table_.allocate(device_.get(), bytes, &address));
  return address;
}

void LibraryBackend::release(DeviceAddress address) { check(table_.release(device_.get(), address)); }

DeviceAddress LibraryBackend::allocate_zeroed(std::size_t bytes) {
  DeviceAddress address = 0;
  check(table_.allocate_zeroed(device_.get(), bytes, &address));
  return address;
}

DeviceAddress LibraryBackend::allocate_async(std::size_t bytes, Stream stream) {
  DeviceAddress address = 0;
  check(table_.allocate_async(device_.get(), bytes, stream, &address));
  return address;
}

void LibraryBackend::release_async(DeviceAddress address, Stream stream) {
  check(table_.release_async(device_.get(), address, stream));
}

void LibraryBackend::copy_to_device(DeviceAddress to, std::span<std::byte const> from, Stream stream) {
  check(table_.copy_to_device(device_.get(), to, from.data(), from.size(), stream));
}

void LibraryBackend::copy_to_host(std::span<std::byte> to, DeviceAddress from, Stream stream) {
  check(table_.copy_to_host(device_.get(), to.data(), from, to.size(), stream));
}

void LibraryBackend::fill(DeviceAddress to, std::size_t bytes, std::byte value, Stream stream) {
  check(table_.fill(device_.get(), to, bytes, std::to_integer<std::uint8_t>(value), stream));
}

TensorMap LibraryBackend::encode(TensorMapSpec const& spec) {
  dw_emulator_tensor_map map{.element = static_cast<std::int32_t>(spec.element),
                             .swizzle = static_cast<std::int32_t>(spec.swizzle),
                             .rank = spec.rank,
                             .base = spec.base,
                             .dims = {},
                             .strides_bytes = {},
                             .box = {}};
  std::copy(spec.dims.begin(), spec.dims.end(), map.dims);
  std::copy(spec.strides_bytes.begin(), spec.strides_bytes.end(), map.strides_bytes);
  std::copy(spec.box.begin(), spec.box.end(), map.box);
  TensorMap encoded{};
  check(table_.encode(device_.get(), &map, &encoded));
  return encoded;
}

std::shared_ptr<LoadedKernel> LibraryBackend::load(KernelImage const& image,
                                                   std::uint32_t dynamic_smem_bytes) {
  dw_emulator_kernel* handle = nullptr;
  check(table_.load(device_.get(), text(image.entry), text(image.target), text(image.ptx), dynamic_smem_bytes,
                    &handle));
  std::unique_ptr<dw_emulator_kernel, void (*)(dw_emulator_kernel*)> owned(handle, table_.unload);
  auto kernel = std::make_shared<LibraryKernel>(table_, handle, image.entry);
  owned.release();
  return kernel;
}

void LibraryBackend::launch(LoadedKernel const& kernel, LaunchSpec const& spec,
                            std::span<std::byte const> params) {
  auto const* const own = dynamic_cast<LibraryKernel const*>(&kernel);
  if (own == nullptr || own->table() != &table_) {
    throw bad_argument("kernel", fmt::format("{}, loaded elsewhere", kernel.entry()),
                       fmt::format("a kernel that this backend ({}) loaded", info_.id));
  }
  dw_emulator_launch const launch{.grid = {spec.grid[0], spec.grid[1], spec.grid[2]},
                                  .block = {spec.threads, spec.threads_y, spec.threads_z},
                                  .cluster = {spec.cluster[0], spec.cluster[1], spec.cluster[2]},
                                  .dynamic_smem_bytes = spec.dynamic_smem_bytes,
                                  .programmatic = spec.programmatic_dependent_launch,
                                  .stream = spec.stream};
  check(table_.launch(device_.get(), own->handle(), &launch, params.data(), params.size()));
}

void LibraryBackend::synchronize(Stream stream) { check(table_.synchronize(device_.get(), stream)); }

std::uint32_t LibraryBackend::read_note(int index) const {
  std::uint32_t count = 0;
  check(table_.read_note(device_.get(), index, &count));
  return count;
}

bool LibraryBackend::set_schedule(std::uint64_t seed) {
  check(table_.set_schedule(device_.get(), seed));
  return true;
}

}  // namespace deepwell
