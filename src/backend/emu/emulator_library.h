// The emulator as a library of its own: the table of functions that libdeepwell_emulator.so exports. Plain C, because that
// library and the one that loads it have each a C++ runtime: no C++ type, no exception and no ownership of memory crosses.
//
// Functions that return an int return 0, or a dw_emulator_code; last_error then describes the failure of the calling thread's
// last such call. Texts that come back live until the thread's next failing call (errors) or as long as the device. Every
// function may be called from any thread. What each function does and refuses is said at Backend (backend/backend.hpp) and
// EmuBackend.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* To be raised with every change of this file, and of the meaning of what it passes on (notes, tensor maps, options). */
#define DW_EMULATOR_VERSION 2
/* The one exported function, a dw_emulator_entry. */
#define DW_EMULATOR_SYMBOL "deepwell_emulator"

/* Not terminated by 0; data may be NULL when size is 0. */
typedef struct dw_emulator_text {
  char const* data;
  size_t size;
} dw_emulator_text;

typedef enum dw_emulator_code {
  DW_EMULATOR_OK = 0,
  DW_EMULATOR_BAD_ARGUMENT = 1,
  DW_EMULATOR_UNSUPPORTED = 2,
  DW_EMULATOR_TOOLCHAIN = 3,
  DW_EMULATOR_DEVICE = 4,
  DW_EMULATOR_INTERNAL = 5
} dw_emulator_code;

typedef struct dw_emulator_error {
  int code;
  dw_emulator_text message, argument, got, expected;
} dw_emulator_error;

typedef struct dw_emulator_device dw_emulator_device;
typedef struct dw_emulator_kernel dw_emulator_kernel;

typedef struct dw_emulator_description {
  dw_emulator_text id, name, target;
  int32_t sm_count;
  uint64_t memory_bytes;
  uint64_t notes_address;
} dw_emulator_description;

/* An option of the caller's process, by name; it counts for the device that is created with it. */
typedef struct dw_emulator_option {
  dw_emulator_text name, value;
} dw_emulator_option;

/* TensorMapSpec, field by field; element and swizzle are its enumerators' numbers. */
typedef struct dw_emulator_tensor_map {
  int32_t element, swizzle, rank;
  uint64_t base;
  uint64_t dims[5], strides_bytes[4];
  uint32_t box[5];
} dw_emulator_tensor_map;

/* LaunchSpec, field by field. */
typedef struct dw_emulator_launch {
  uint32_t grid[3], block[3], cluster[3];
  uint32_t dynamic_smem_bytes;
  int32_t programmatic;
  void* stream;
} dw_emulator_launch;

/* Host memory behind a buffer of a launch file; read before the launches, written after them. */
typedef struct dw_emulator_array {
  dw_emulator_text name;
  void* data;
  size_t bytes;
  uint8_t* written; /* by byte: 0 where it was never written; NULL: all are written, and nobody asks */
} dw_emulator_array;

/* The level is that of base/log.hpp: 0 error, 1 warning, 2 info, 3 debug. Must not unwind. */
typedef void (*dw_emulator_log)(int level, dw_emulator_text message);

typedef struct dw_emulator_table {
  uint32_t version; /* DW_EMULATOR_VERSION; only a table of the same version has the fields below */

  void (*last_error)(dw_emulator_error* out);
  /* Where messages of every level go from now on: the receiver chooses. NULL: standard error. */
  void (*set_log)(dw_emulator_log log);

  int (*create)(dw_emulator_text device, dw_emulator_option const* options, size_t num_options,
                dw_emulator_device** out);
  void (*destroy)(dw_emulator_device* device);
  void (*describe)(dw_emulator_device* device, dw_emulator_description* out);

  int (*allocate)(dw_emulator_device* device, size_t bytes, uint64_t* out);
  int (*allocate_zeroed)(dw_emulator_device* device, size_t bytes, uint64_t* out);
  int (*allocate_async)(dw_emulator_device* device, size_t bytes, void* stream, uint64_t* out);
  int (*release)(dw_emulator_device* device, uint64_t address);
  int (*release_async)(dw_emulator_device* device, uint64_t address, void* stream);
  int (*copy_to_device)(dw_emulator_device* device, uint64_t to, void const* from, size_t bytes,
                        void* stream);
  int (*copy_to_host)(dw_emulator_device* device, void* to, uint64_t from, size_t bytes, void* stream);
  int (*fill)(dw_emulator_device* device, uint64_t to, size_t bytes, uint8_t value, void* stream);

  /* out: 128 bytes. */
  int (*encode)(dw_emulator_device* device, dw_emulator_tensor_map const* map, void* out);
  /* The kernel may be used as long as the device, and has to be unloaded, before or after the device's end. */
  int (*load)(dw_emulator_device* device, dw_emulator_text entry, dw_emulator_text target,
              dw_emulator_text ptx, uint32_t dynamic_smem_bytes, dw_emulator_kernel** out);
  void (*unload)(dw_emulator_kernel* kernel);
  int (*launch)(dw_emulator_device* device, dw_emulator_kernel* kernel, dw_emulator_launch const* launch,
                void const* params, size_t num_param_bytes);
  int (*synchronize)(dw_emulator_device* device, void* stream);

  int (*set_schedule)(dw_emulator_device* device, uint64_t seed);
  int (*read_note)(dw_emulator_device* device, int32_t index, uint32_t* out);

  /* Needs no device. The report lives until the thread's next such call. */
  int (*run_launches)(dw_emulator_text launches, dw_emulator_text folder, dw_emulator_array const* arrays,
                      size_t num_arrays, dw_emulator_text* report);
} dw_emulator_table;

typedef dw_emulator_table const* (*dw_emulator_entry)(void);

#ifdef __cplusplus
}
#endif
