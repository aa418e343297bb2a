// The emulator's side of its library: the table of functions around EmuBackend. Exceptions end here.
#include "backend/emu/emulator_library.h"

#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backend/emu/emu_backend.hpp"
#include "backend/emu/launches.hpp"
#include "backend/emu/library_texts.hpp"
#include "base/log.hpp"
#include "base/options.hpp"

struct dw_emulator_device {
  explicit dw_emulator_device(std::string_view name) : backend(name) {}
  deepwell::EmuBackend backend;
};
struct dw_emulator_kernel {
  std::shared_ptr<deepwell::LoadedKernel> kernel;
};

namespace deepwell {
namespace {

using emulator_library::code_of;
using emulator_library::text;
using emulator_library::view;

struct LastError {
  int code = DW_EMULATOR_OK;
  std::string message, argument, got, expected;
};
thread_local LastError last_error;

int fail(Error const& error) {
  last_error.code = code_of(error.code());
  try {
    last_error = {.code = last_error.code,
                  .message = error.what(),
                  .argument = error.argument(),
                  .got = error.got(),
                  .expected = error.expected()};
  } catch (std::exception const&) {  // no memory for the texts; the code is there
    last_error.message.clear();
  }
  return last_error.code;
}

/// Runs `body`; what it throws becomes the thread's last error and a code.
template <class Body>
int guarded(Body&& body) noexcept {
  try {
    try {
      body();
      return DW_EMULATOR_OK;
    } catch (Error const& error) {
      return fail(error);
    } catch (std::exception const& error) {
      return fail(Error(ErrorCode::kInternal, error.what()));
    }
  } catch (...) {
    last_error.code = DW_EMULATOR_INTERNAL;
    last_error.message.clear();
    return DW_EMULATOR_INTERNAL;
  }
}

std::span<std::byte const> bytes_of(void const* data, std::size_t size) {
  return {static_cast<std::byte const*>(data), size};
}

void set_named_option(std::string_view name, std::string_view value) {
  for (OptionRow const& row : option_table()) {
    if (row.name == name) return set_option(row.id, std::string(value));
  }
  throw bad_argument("option", std::string(name), "a row of the table of options");
}

int create(dw_emulator_text device, dw_emulator_option const* options, std::size_t num_options,
           dw_emulator_device** out) {
  return guarded([&] {
    static std::mutex mutex;  // the options are this device's until it has read them
    std::lock_guard const lock(mutex);
    for (dw_emulator_option const& option : std::span(options, num_options))
      set_named_option(view(option.name), view(option.value));
    *out = std::make_unique<dw_emulator_device>(view(device)).release();
  });
}

void destroy(dw_emulator_device* device) { delete device; }

void describe(dw_emulator_device* device, dw_emulator_description* out) {
  DeviceInfo const& info = device->backend.device();
  *out = {.id = text(info.id),
          .name = text(info.name),
          .target = text(info.arch.target),
          .sm_count = info.sm_count,
          .memory_bytes = info.memory_bytes,
          .notes_address = device->backend.notes_address()};
}

void describe_last_error(dw_emulator_error* out) {
  *out = {.code = last_error.code,
          .message = text(last_error.message),
          .argument = text(last_error.argument),
          .got = text(last_error.got),
          .expected = text(last_error.expected)};
}

void set_log(dw_emulator_log log) {
  if (log == nullptr) {
    set_log_sink({});
    return;
  }
  set_log_level(LogLevel::kDebug);  // the receiver chooses
  set_log_sink(
      [log](LogLevel level, std::string_view message) { log(static_cast<int>(level), text(message)); });
}

int allocate(dw_emulator_device* device, std::size_t bytes, std::uint64_t* out) {
  return guarded([&] { *out = device->backend.allocate(bytes); });
}
int allocate_zeroed(dw_emulator_device* device, std::size_t bytes, std::uint64_t* out) {
  return guarded([&] { *out = device->backend.allocate_zeroed(bytes); });
}
int allocate_async(dw_emulator_device* device, std::size_t bytes, void* stream, std::uint64_t* out) {
  return guarded([&] { *out = device->backend.allocate_async(bytes, stream); });
}
int release(dw_emulator_device* device, std::uint64_t address) {
  return guarded([&] { device->backend.release(address); });
}
int release_async(dw_emulator_device* device, std::uint64_t address, void* stream) {
  return guarded([&] { device->backend.release_async(address, stream); });
}
int copy_to_device(dw_emulator_device* device, std::uint64_t to, void const* from, std::size_t bytes,
                   void* stream) {
  return guarded([&] { device->backend.copy_to_device(to, bytes_of(from, bytes), stream); });
}
int copy_to_host(dw_emulator_device* device, void* to, std::uint64_t from, std::size_t bytes, void* stream) {
  return guarded([&] { device->backend.copy_to_host({static_cast<std::byte*>(to), bytes}, from, stream); });
}
int fill(dw_emulator_device* device, std::uint64_t to, std::size_t bytes, std::uint8_t value, void* stream) {
  return guarded([&] { device->backend.fill(to, bytes, std::byte{value}, stream); });
}

int encode(dw_emulator_device* device, dw_emulator_tensor_map const* map, void* out) {
  return guarded([&] {
    TensorMapSpec spec{.element = static_cast<TensorMapSpec::Element>(map->element),
                       .swizzle = static_cast<TensorMapSpec::Swizzle>(map->swizzle),
                       .rank = map->rank,
                       .base = map->base};
    std::copy(std::begin(map->dims), std::end(map->dims), spec.dims.begin());
    std::copy(std::begin(map->strides_bytes), std::end(map->strides_bytes), spec.strides_bytes.begin());
    std::copy(std::begin(map->box), std::end(map->box), spec.box.begin());
    TensorMap const encoded = device->backend.encode(spec);
    static_assert(sizeof(encoded) == 128);
    std::memcpy(out, &encoded, sizeof(encoded));
  });
}

int load(dw_emulator_device* device, dw_emulator_text entry, dw_emulator_text target, dw_emulator_text ptx,
         std::uint32_t dynamic_smem_bytes, dw_emulator_kernel** out) {
  return guarded([&] {
    KernelImage const image{.entry = std::string(view(entry)),
                            .target = std::string(view(target)),
                            .cubin = {},
                            .ptx = std::string(view(ptx))};
    *out = std::make_unique<dw_emulator_kernel>(device->backend.load(image, dynamic_smem_bytes)).release();
  });
}

void unload(dw_emulator_kernel* kernel) { delete kernel; }

int launch(dw_emulator_device* device, dw_emulator_kernel* kernel, dw_emulator_launch const* launch,
           void const* params, std::size_t num_param_bytes) {
  return guarded([&] {
    LaunchSpec const spec{.grid = {launch->grid[0], launch->grid[1], launch->grid[2]},
                          .threads = launch->block[0],
                          .dynamic_smem_bytes = launch->dynamic_smem_bytes,
                          .programmatic_dependent_launch = launch->programmatic != 0,
                          .stream = launch->stream,
                          .threads_y = launch->block[1],
                          .threads_z = launch->block[2],
                          .cluster = {launch->cluster[0], launch->cluster[1], launch->cluster[2]}};
    device->backend.launch(*kernel->kernel, spec, bytes_of(params, num_param_bytes));
  });
}

int synchronize(dw_emulator_device* device, void* stream) {
  return guarded([&] { device->backend.synchronize(stream); });
}
int set_schedule(dw_emulator_device* device, std::uint64_t seed) {
  return guarded([&] { device->backend.set_schedule(seed); });
}
int read_note(dw_emulator_device* device, std::int32_t index, std::uint32_t* out) {
  return guarded([&] { *out = device->backend.read_note(index); });
}

int run_launches_for(dw_emulator_text launches, dw_emulator_text folder, dw_emulator_array const* arrays,
                     std::size_t num_arrays, dw_emulator_text* report) {
  return guarded([&] {
    static thread_local std::string last_report;
    std::vector<LaunchArray> given;
    for (dw_emulator_array const& array : std::span(arrays, num_arrays)) {
      given.push_back({.name = view(array.name),
                       .bytes = {static_cast<std::byte*>(array.data), array.bytes},
                       .written = array.written});
    }
    last_report = emu::run_launches_here(view(launches), view(folder), given);
    *report = text(last_report);
  });
}

constexpr dw_emulator_table kTable{.version = DW_EMULATOR_VERSION,
                                   .last_error = describe_last_error,
                                   .set_log = set_log,
                                   .create = create,
                                   .destroy = destroy,
                                   .describe = describe,
                                   .allocate = allocate,
                                   .allocate_zeroed = allocate_zeroed,
                                   .allocate_async = allocate_async,
                                   .release = release,
                                   .release_async = release_async,
                                   .copy_to_device = copy_to_device,
                                   .copy_to_host = copy_to_host,
                                   .fill = fill,
                                   .encode = encode,
                                   .load = load,
                                   .unload = unload,
                                   .launch = launch,
                                   .synchronize = synchronize,
                                   .set_schedule = set_schedule,
                                   .read_note = read_note,
                                   .run_launches = run_launches_for};

}  // namespace
}  // namespace deepwell

extern "C" __attribute__((visibility("default"))) dw_emulator_table const* deepwell_emulator() {
  return &deepwell::kTable;
}
