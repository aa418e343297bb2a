// deepwell._native: from Python tensors to the C interface and back. It links no torch: tensors come as DLPack's exchange
// interface gives them, workspace comes from the allocator of whoever made them, work goes on their current stream.
//
// Only the limited interface of Python 3.10 is used, so that one build serves every later version.
#define Py_LIMITED_API 0x030a0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

#include "deepwell/deepwell.h"
#include "dlpack.h"
#include "emulate.hpp"
#include "without_gil.hpp"

namespace deepwell::python {
namespace {

constexpr int kMaxCudaDevices = 64;
constexpr int kMaxContexts = 64;
constexpr int kMaxTypes = 64;
// `decide` has not been asked; it says -1 for a device that this library does not serve.
constexpr int kUnknown = -2;

/// What setup() gives, and what follows from it. Written under the GIL.
struct State {
  DlpackExchange const* exchange = nullptr;
  PyObject* tensor_type = nullptr;
  PyObject* errors[DW_INTERNAL + 1] = {};  // by dw_status
  PyObject* type_error = nullptr;          // (message, argument, got, expected)
  PyObject* out_of_memory = nullptr;       // the framework's class
  PyObject* decide = nullptr;              // (device_type, device_id) -> handle, or -1: not served
  PyObject* accepts_type = nullptr;        // (type) -> None, or raises
  PyObject* types[kMaxTypes] = {};         // types that accepts_type let pass; owned
  int num_types = 0;
  int cuda_handle[kMaxCudaDevices];
  dw_context* contexts[kMaxContexts] = {};
  int num_contexts = 0;
};
State state;

void forget_devices() {
  for (int& handle : state.cuda_handle) handle = kUnknown;
}

// ---- Errors ----

PyObject* raise(PyObject* type, char const* message, char const* argument, char const* got,
                char const* expected) {
  PyObject* const error = PyObject_CallFunction(type, "ssss", message, argument, got, expected);
  if (error != nullptr) {
    PyErr_SetObject(type, error);
    Py_DECREF(error);
  }
  return nullptr;
}

PyObject* raise_status(dw_status status) {
  PyObject* type = state.errors[DW_INTERNAL];
  if (status > DW_OK && status <= DW_INTERNAL) type = state.errors[status];
  if (type == nullptr) type = PyExc_RuntimeError;
  return raise(type, dw_error_message(), dw_error_argument(), dw_error_got(), dw_error_expected());
}

PyObject* raise_type(char const* argument, PyObject* got, char const* expected) {
  PyObject* const kind = PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(got)), "__name__");
  if (kind == nullptr) return nullptr;
  PyObject* const message = PyUnicode_FromFormat("%s: got %U, expected %s", argument, kind, expected);
  PyObject* const error =
      message == nullptr ? nullptr
                         : PyObject_CallFunction(state.type_error, "OsOs", message, argument, kind, expected);
  if (error != nullptr) PyErr_SetObject(state.type_error, error);
  Py_XDECREF(error);
  Py_XDECREF(message);
  Py_DECREF(kind);
  return nullptr;
}

// ---- Arguments ----

/// Whether `object` is a tensor whose memory may be used; else a Python error is set.
bool is_tensor(PyObject* object, char const* name) {
  PyObject* const type = reinterpret_cast<PyObject*>(Py_TYPE(object));
  for (int i = 0; i < state.num_types; ++i) {
    if (state.types[i] == type) return true;
  }
  if (state.exchange == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "deepwell._native.setup() has not been called");
    return false;
  }
  int const is_instance = PyObject_IsInstance(object, state.tensor_type);
  if (is_instance < 0) return false;
  if (is_instance == 0) {
    raise_type(name, object, "a torch.Tensor");
    return false;
  }
  PyObject* const accepted = PyObject_CallFunctionObjArgs(state.accepts_type, type, nullptr);
  if (accepted == nullptr) return false;
  Py_DECREF(accepted);
  if (state.num_types < kMaxTypes) {
    Py_INCREF(type);
    state.types[state.num_types++] = type;
  }
  return true;
}

/// One tensor argument. `pointer()` is null for None.
struct TensorArgument {
  dw_tensor tensor;
  bool present = false;
  dw_tensor const* pointer() const { return present ? &tensor : nullptr; }

  bool read(PyObject* object, char const* name) {
    if (!is_tensor(object, name)) return false;
    present = true;
    return state.exchange->from_python(object, &tensor) == 0 || refuse(name);
  }
  bool read_optional(PyObject* object, char const* name) { return object == Py_None || read(object, name); }

 private:
  /// Turns the framework's error (sparse, meta, a dtype that DLPack lacks) into one that names the argument. False.
  static bool refuse(char const* name) {
    PyObject *type = nullptr, *value = nullptr, *trace = nullptr;
    PyErr_Fetch(&type, &value, &trace);
    PyObject* const text = value == nullptr ? nullptr : PyObject_Str(value);
    Py_ssize_t length = 0;
    char const* const said = text == nullptr ? nullptr : PyUnicode_AsUTF8AndSize(text, &length);
    PyErr_Clear();
    char got[256], message[512];
    std::snprintf(got, sizeof got, "%.*s", said == nullptr ? 0 : static_cast<int>(std::strcspn(said, "\n")),
                  said == nullptr ? "" : said);
    std::snprintf(message, sizeof message, "%s: got %s, expected a dense tensor with memory", name, got);
    raise(state.errors[DW_BAD_ARGUMENT], message, name, got, "a dense tensor with memory");
    PyObject* const taken[] = {type, value, trace, text};
    for (PyObject* object : taken) Py_XDECREF(object);
    return false;
  }
};

/// For an int that does not fit into 64 bits: the fields instead of Python's OverflowError.
bool refuse_overflow(char const* name) {
  PyErr_Clear();
  char message[128];
  std::snprintf(message, sizeof message, "%s: got an int of more than 64 bits, expected a smaller one", name);
  raise(state.errors[DW_BAD_ARGUMENT], message, name, "an int of more than 64 bits", "a smaller one");
  return false;
}

bool read_int64(PyObject* object, char const* name, std::int64_t* out) {
  if (PyLong_Check(object)) {
    *out = PyLong_AsLongLong(object);
  } else {  // NumPy's ints, tensors of one int
    PyObject* const index = PyNumber_Index(object);
    if (index == nullptr) {
      PyErr_Clear();
      raise_type(name, object, "an int");
      return false;
    }
    *out = PyLong_AsLongLong(index);
    Py_DECREF(index);
  }
  return *out != -1 || PyErr_Occurred() == nullptr || refuse_overflow(name);
}

bool read_int(PyObject* object, char const* name, int* out) {
  std::int64_t value = 0;
  if (!read_int64(object, name, &value)) return false;
  if (value != static_cast<int>(value)) {
    char got[32], message[128];
    std::snprintf(got, sizeof got, "%lld", static_cast<long long>(value));
    std::snprintf(message, sizeof message, "%s: got %s, expected an int of 32 bits", name, got);
    raise(state.errors[DW_BAD_ARGUMENT], message, name, got, "an int of 32 bits");
    return false;
  }
  *out = static_cast<int>(value);
  return true;
}

/// The text of a str, valid as long as the object.
char const* read_text(PyObject* object, char const* name) {
  if (!PyUnicode_Check(object)) {
    raise_type(name, object, "a str");
    return nullptr;
  }
  Py_ssize_t length = 0;
  char const* const text = PyUnicode_AsUTF8AndSize(object, &length);
  if (text != nullptr && std::strlen(text) != static_cast<std::size_t>(length)) {
    raise(state.errors[DW_BAD_ARGUMENT], "a str with a NUL in it", name, "a str with a NUL in it", "text");
    return nullptr;
  }
  return text;
}

/// None or a sequence of `count` ints.
struct RecipeArgument {
  int values[3];
  bool present = false;
  int const* pointer() const { return present ? values : nullptr; }

  bool read(PyObject* object, char const* name, int count) {
    if (object == Py_None) return true;
    if (!PySequence_Check(object) || PyUnicode_Check(object)) {
      raise_type(name, object, count == 3 ? "three ints or None" : "two ints or None");
      return false;
    }
    Py_ssize_t const size = PySequence_Size(object);
    if (size < 0) return false;
    if (size != count) {
      char got[32], message[128];
      std::snprintf(got, sizeof got, "%zd numbers", size);
      std::snprintf(message, sizeof message, "%s: got %s, expected %d", name, got, count);
      raise(state.errors[DW_BAD_ARGUMENT], message, name, got, count == 3 ? "3" : "2");
      return false;
    }
    for (Py_ssize_t i = 0; i < size; ++i) {
      PyObject* const item = PySequence_GetItem(object, i);
      if (item == nullptr) return false;
      bool const ok = read_int(item, name, &values[i]);
      Py_DECREF(item);
      if (!ok) return false;
    }
    present = true;
    return true;
  }
};

bool check_count(char const* function, Py_ssize_t given, Py_ssize_t expected) {
  if (given == expected) return true;
  PyErr_Format(PyExc_TypeError, "%s takes %zd positional arguments, got %zd", function, expected, given);
  return false;
}

// ---- Devices ----

/// The context for work on `tensor`'s device and the stream it goes on; `context` null: not ours. False: a Python error is set.
struct Place {
  dw_context* context = nullptr;
  void* stream = nullptr;

  bool find(dw_tensor const& tensor) {
    int const type = tensor.device.device_type;
    int const id = tensor.device.device_id;
    bool const cuda = type == DW_DEVICE_CUDA && id >= 0 && id < kMaxCudaDevices;
    int handle = cuda ? state.cuda_handle[id] : kUnknown;
    if (handle == kUnknown) {
      PyObject* const decided = PyObject_CallFunction(state.decide, "ii", type, id);
      if (decided == nullptr) return false;
      long const value = PyLong_AsLong(decided);
      Py_DECREF(decided);
      if (value == -1 && PyErr_Occurred() != nullptr) return false;
      if (value >= state.num_contexts) {
        PyErr_SetString(PyExc_RuntimeError, "deepwell._native: not a handle of a context");
        return false;
      }
      handle = static_cast<int>(value);
      // A device that is not ours may become ours: when the module that would serve it does not load.
      if (cuda && handle >= 0) state.cuda_handle[id] = handle;
    }
    if (handle < 0) return true;
    context = state.contexts[handle];
    if (!cuda) return true;
    if (state.exchange->current_stream(DW_DEVICE_CUDA, id, &stream) == 0) return true;
    if (PyErr_Occurred() == nullptr)
      PyErr_SetString(PyExc_RuntimeError, "torch does not name its current stream");
    return false;
  }
};

/// Workspace of one call: bytes of the tensors' own framework, on its current stream.
class CallWorkspace {
 public:
  explicit CallWorkspace(dw_tensor const& like) {
    prototype_ = {};
    prototype_.device = like.device;
    prototype_.dtype = {DW_CODE_UINT, 8, 1};
    allocator_ = {sizeof(dw_allocator), this, allocate, release};
  }
  CallWorkspace(CallWorkspace const&) = delete;
  ~CallWorkspace() {
    for (DlpackManagedTensor* held : held_) {
      if (held != nullptr) held->deleter(held);
    }
  }
  /// What the framework said when it had no memory; empty: it was not that.
  char const* error() const { return error_; }
  /// For an emulated device, whose memory is not the framework's: the context's own.
  dw_allocator const* allocator() const {
    return prototype_.device.device_type == DW_DEVICE_CUDA ? &allocator_ : nullptr;
  }

 private:
  static void keep_error(void* user, char const*, char const* message) {
    auto& self = *static_cast<CallWorkspace*>(user);
    std::snprintf(self.error_, sizeof self.error_, "%s", message == nullptr ? "no memory" : message);
  }

  static void* allocate(void* user, std::size_t bytes, void*) {
    auto& self = *static_cast<CallWorkspace*>(user);
    for (DlpackManagedTensor*& slot : self.held_) {
      if (slot != nullptr) continue;
      std::int64_t shape = static_cast<std::int64_t>(bytes), stride = 1;
      dw_tensor prototype = self.prototype_;
      prototype.ndim = 1;
      prototype.shape = &shape;
      prototype.strides = &stride;
      DlpackManagedTensor* made = nullptr;
      if (state.exchange->allocate(&prototype, &made, &self, keep_error) != 0) return nullptr;
      slot = made;
      return static_cast<char*>(made->tensor.data) + made->tensor.byte_offset;
    }
    return nullptr;
  }

  static void release(void* user, void* address, void*) {
    auto& self = *static_cast<CallWorkspace*>(user);
    for (DlpackManagedTensor*& slot : self.held_) {
      if (slot == nullptr) continue;
      if (static_cast<char*>(slot->tensor.data) + slot->tensor.byte_offset != address) continue;
      slot->deleter(slot);
      slot = nullptr;
      return;
    }
  }

  dw_tensor prototype_;
  dw_allocator allocator_;
  DlpackManagedTensor* held_[4] = {};
  char error_[512] = "";
};

PyObject* finish(dw_status status) {
  if (status != DW_OK) return raise_status(status);
  Py_RETURN_TRUE;
}

/// The same for a call with workspace: what the framework's allocator could not give is its own error, which callers catch.
PyObject* finish(dw_status status, CallWorkspace const& workspace) {
  if (status == DW_OK || workspace.error()[0] == '\0') return finish(status);
  PyErr_SetString(state.out_of_memory, workspace.error());
  return nullptr;
}

// ---- Operations: True when done, False when the device is not ours ----

PyObject* fp8_fp4_gemm_nt(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("fp8_fp4_gemm_nt", count, 10)) return nullptr;
  TensorArgument d;
  if (!d.read(args[4], "d")) return nullptr;
  Place place;
  if (!place.find(d.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  TensorArgument a, scale_a, b, scale_b, c;
  RecipeArgument recipe, recipe_a, recipe_b;
  if (!a.read(args[0], "a") || !scale_a.read(args[1], "scale_a") || !b.read(args[2], "b") ||
      !scale_b.read(args[3], "scale_b") || !c.read_optional(args[5], "c") ||
      !recipe.read(args[6], "recipe", 3) || !recipe_a.read(args[7], "recipe_a", 2) ||
      !recipe_b.read(args[8], "recipe_b", 2)) {
    return nullptr;
  }
  int const disable_cast = PyObject_IsTrue(args[9]);
  if (disable_cast < 0) return nullptr;
  CallWorkspace const workspace(d.tensor);
  dw_status status;
  {
    WithoutGil const without_gil;
    dw_gemm_call call{};
    call.size = sizeof call;
    call.a = a.pointer();
    call.scale_a = scale_a.pointer();
    call.b = b.pointer();
    call.scale_b = scale_b.pointer();
    call.c = c.pointer();
    call.d = d.pointer();
    call.recipe = recipe.pointer();
    call.recipe_a = recipe_a.pointer();
    call.recipe_b = recipe_b.pointer();
    call.disable_ue8m0_cast = disable_cast;
    call.stream = place.stream;
    call.workspace = workspace.allocator();
    status = dw_fp8_fp4_gemm_nt(place.context, &call);
  }
  return finish(status, workspace);
}

PyObject* grouped_gemm_nt(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("grouped_gemm_nt", count, 11)) return nullptr;
  TensorArgument d;
  if (!d.read(args[4], "d")) return nullptr;
  Place place;
  if (!place.find(d.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  int const masked = PyObject_IsTrue(args[9]);
  if (masked < 0) return nullptr;
  TensorArgument a, scale_a, b, scale_b, layout;
  RecipeArgument recipe, recipe_a, recipe_b;
  std::int64_t rows = 0;
  if (!a.read(args[0], "a") || !scale_a.read(args[1], "scale_a") || !b.read(args[2], "b") ||
      !scale_b.read(args[3], "scale_b") || !layout.read(args[5], masked ? "masked_m" : "grouped_layout") ||
      !recipe.read(args[6], "recipe", 3) || !recipe_a.read(args[7], "recipe_a", 2) ||
      !recipe_b.read(args[8], "recipe_b", 2) ||
      !read_int64(args[10], masked ? "expected_m" : "alignment", &rows)) {
    return nullptr;
  }
  dw_status status;
  {
    WithoutGil const without_gil;
    dw_grouped_gemm_call call{};
    call.size = sizeof call;
    call.a = a.pointer();
    call.scale_a = scale_a.pointer();
    call.b = b.pointer();
    call.scale_b = scale_b.pointer();
    call.layout = layout.pointer();
    call.d = d.pointer();
    call.recipe = recipe.pointer();
    call.recipe_a = recipe_a.pointer();
    call.recipe_b = recipe_b.pointer();
    call.masked = masked;
    call.rows = rows;
    call.stream = place.stream;
    status = dw_grouped_fp8_fp4_gemm_nt(place.context, &call);
  }
  return finish(status);
}

PyObject* grouped_gemm_alignment(PyObject*, PyObject* const* args, Py_ssize_t count) {
  std::int64_t rows = 0, groups = 0;
  if (!check_count("grouped_gemm_alignment", count, 2) || !read_int64(args[0], "expected_m", &rows) ||
      !read_int64(args[1], "num_groups", &groups)) {
    return nullptr;
  }
  return PyLong_FromLong(dw_grouped_gemm_alignment(rows, groups));
}

PyObject* fp8_einsum(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("fp8_einsum", count, 8)) return nullptr;
  TensorArgument d;
  if (!d.read(args[5], "d")) return nullptr;
  Place place;
  if (!place.find(d.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  char const* const expression = read_text(args[0], "expr");
  if (expression == nullptr) return nullptr;
  TensorArgument a, scale_a, b, scale_b, c;
  RecipeArgument recipe;
  if (!a.read(args[1], "a") || !scale_a.read(args[2], "scale_a") || !b.read(args[3], "b") ||
      !scale_b.read(args[4], "scale_b") || !c.read_optional(args[6], "c") ||
      !recipe.read(args[7], "recipe", 3)) {
    return nullptr;
  }
  CallWorkspace const workspace(d.tensor);
  dw_status status;
  {
    WithoutGil const without_gil;
    dw_einsum_call call{};
    call.size = sizeof call;
    call.expression = expression;
    call.a = a.pointer();
    call.scale_a = scale_a.pointer();
    call.b = b.pointer();
    call.scale_b = scale_b.pointer();
    call.c = c.pointer();
    call.d = d.pointer();
    call.recipe = recipe.pointer();
    call.stream = place.stream;
    call.workspace = workspace.allocator();
    status = dw_fp8_einsum(place.context, &call);
  }
  return finish(status, workspace);
}

// ---- Hyper-connections ----

PyObject* tf32_hc_prenorm_gemm(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("tf32_hc_prenorm_gemm", count, 5)) return nullptr;
  TensorArgument d;
  if (!d.read(args[2], "d")) return nullptr;
  Place place;
  if (!place.find(d.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  TensorArgument a, b, sqr_sum;
  if (!a.read(args[0], "a") || !b.read(args[1], "b") || !sqr_sum.read(args[3], "sqr_sum")) return nullptr;
  std::int64_t num_splits = 0;
  bool const split = args[4] != Py_None;
  if (split && !read_int64(args[4], "num_splits", &num_splits)) return nullptr;
  CallWorkspace const workspace(d.tensor);
  dw_status status;
  {
    WithoutGil const without_gil;
    dw_hc_prenorm_call call{};
    call.size = sizeof call;
    call.a = a.pointer();
    call.b = b.pointer();
    call.d = d.pointer();
    call.sqr_sum = sqr_sum.pointer();
    call.num_splits = split ? &num_splits : nullptr;
    call.stream = place.stream;
    call.workspace = workspace.allocator();
    status = dw_tf32_hc_prenorm_gemm(place.context, &call);
  }
  return finish(status, workspace);
}

// ---- Scale layouts ----

/// The arguments that say what scales are and what they become: (scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast).
struct ScaleArguments {
  TensorArgument scale;
  dw_scale_layout_call call{};

  /// args[0] has been read into `scale`: its device is known before anything else is looked at.
  bool read(PyObject* const* args) {
    call.size = sizeof call;
    if (!read_int64(args[1], "mn", &call.mn) || !read_int64(args[2], "k", &call.k) ||
        !read_int(args[3], "recipe", &call.gran_mn) || !read_int(args[4], "recipe", &call.gran_k)) {
      return false;
    }
    call.num_groups = -1;
    if (args[5] != Py_None) {
      if (!read_int64(args[5], "num_groups", &call.num_groups)) return false;
      if (call.num_groups < 0) call.num_groups = 0;  // which is refused; below 0 means "none" there
    }
    call.disable_ue8m0_cast = PyObject_IsTrue(args[6]);
    call.scale = scale.pointer();
    return call.disable_ue8m0_cast >= 0;
  }
};

PyObject* int_tuple(std::int64_t const* values, int count) {
  PyObject* const tuple = PyTuple_New(count);
  for (int i = 0; tuple != nullptr && i < count; ++i) {
    PyObject* const value = PyLong_FromLongLong(values[i]);
    if (value == nullptr || PyTuple_SetItem(tuple, i, value) != 0) {
      Py_DECREF(tuple);
      return nullptr;
    }
  }
  return tuple;
}

/// None when the scales stay as they are, else (is_int32, shape, strides).
PyObject* layout_result(dw_scale_layout const& layout) {
  if (layout.unchanged) Py_RETURN_NONE;
  PyObject* const shape = int_tuple(layout.shape, layout.ndim);
  PyObject* const strides = int_tuple(layout.strides, layout.ndim);
  PyObject* result = nullptr;
  if (shape != nullptr && strides != nullptr)
    result = Py_BuildValue("(OOO)", layout.is_int32 ? Py_True : Py_False, shape, strides);
  Py_XDECREF(shape);
  Py_XDECREF(strides);
  return result;
}

/// False when the device is not ours; else as layout_result.
PyObject* required_scale_layout(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("required_scale_layout", count, 7)) return nullptr;
  ScaleArguments arguments;
  Place place;
  if (!arguments.scale.read(args[0], "sf") || !place.find(arguments.scale.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  if (!arguments.read(args)) return nullptr;
  dw_scale_layout layout{};
  dw_status const status = dw_required_scale_layout(place.context, &arguments.call, &layout);
  return status == DW_OK ? layout_result(layout) : raise_status(status);
}

PyObject* transform_scale(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("transform_scale", count, 8)) return nullptr;
  ScaleArguments arguments;
  TensorArgument out;
  Place place;
  if (!arguments.scale.read(args[0], "sf") || !place.find(arguments.scale.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  if (!arguments.read(args) || !out.read(args[7], "out")) return nullptr;
  dw_status status;
  {
    WithoutGil const without_gil;
    status = dw_transform_scale(place.context, &arguments.call, &out.tensor, place.stream);
  }
  return finish(status);
}

/// (scale, packed): as required_scale_layout.
PyObject* column_scale_layout(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("column_scale_layout", count, 2)) return nullptr;
  TensorArgument scale;
  Place place;
  if (!scale.read(args[0], "sf") || !place.find(scale.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  int const packed = PyObject_IsTrue(args[1]);
  if (packed < 0) return nullptr;
  dw_scale_layout layout{};
  dw_status const status = packed ? dw_packed_scale_layout(place.context, &scale.tensor, &layout)
                                  : dw_mn_major_scale_layout(place.context, &scale.tensor, &layout);
  return status == DW_OK ? layout_result(layout) : raise_status(status);
}

PyObject* write_scale_layout(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("write_scale_layout", count, 2)) return nullptr;
  TensorArgument scale, out;
  Place place;
  if (!scale.read(args[0], "sf") || !out.read(args[1], "out") || !place.find(out.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  dw_status status;
  {
    WithoutGil const without_gil;
    status = dw_write_scale_layout(place.context, &scale.tensor, &out.tensor, place.stream);
  }
  return finish(status);
}

// ---- Logits of the indexer ----

/// (q, kv, kv_scale, weights, start, end, compressed, clean, logits) -> served.
PyObject* fp8_mqa_logits(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("fp8_mqa_logits", count, 9)) return nullptr;
  TensorArgument q, kv, kv_scale, weights, start, end, logits;
  Place place;
  if (!q.read(args[0], "q") || !place.find(q.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  if (!kv.read(args[1], "kv") || !kv_scale.read(args[2], "kv_scale") || !weights.read(args[3], "weights") ||
      !start.read(args[4], "cu_seq_len_k_start") || !end.read(args[5], "cu_seq_len_k_end") ||
      !logits.read(args[8], "logits")) {
    return nullptr;
  }
  int const compressed = PyObject_IsTrue(args[6]), clean = PyObject_IsTrue(args[7]);
  if (compressed < 0 || clean < 0) return nullptr;
  dw_status status;
  {
    WithoutGil const without_gil;
    dw_mqa_logits_call call{};
    call.size = sizeof call;
    call.q = q.pointer();
    call.kv = kv.pointer();
    call.kv_scale = kv_scale.pointer();
    call.weights = weights.pointer();
    call.start = start.pointer();
    call.end = end.pointer();
    call.logits = logits.pointer();
    call.compressed = compressed;
    call.clean = clean;
    call.stream = place.stream;
    status = dw_fp8_mqa_logits(place.context, &call);
  }
  return finish(status);
}

/// (q, kv_cache, weights, context_lens, block_table, schedule_meta or None, indices or None, logits) -> served.
PyObject* fp8_paged_mqa_logits(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("fp8_paged_mqa_logits", count, 8)) return nullptr;
  TensorArgument q, kv_cache, weights, context_lens, block_table, schedule, indices, logits;
  Place place;
  if (!q.read(args[0], "q") || !place.find(q.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  if (!kv_cache.read(args[1], "kv_cache") || !weights.read(args[2], "weights") ||
      !context_lens.read(args[3], "context_lens") || !block_table.read(args[4], "block_table") ||
      !schedule.read_optional(args[5], "schedule_meta") || !indices.read_optional(args[6], "indices") ||
      !logits.read(args[7], "logits")) {
    return nullptr;
  }
  dw_status status;
  {
    WithoutGil const without_gil;
    dw_paged_mqa_logits_call call{};
    call.size = sizeof call;
    call.q = q.pointer();
    call.kv_cache = kv_cache.pointer();
    call.weights = weights.pointer();
    call.context_lens = context_lens.pointer();
    call.block_table = block_table.pointer();
    call.schedule = schedule.pointer();
    call.indices = indices.pointer();
    call.logits = logits.pointer();
    call.stream = place.stream;
    status = dw_fp8_paged_mqa_logits(place.context, &call);
  }
  return finish(status);
}

/// (context_lens, block_kv, indices or None, schedule) -> served.
PyObject* paged_mqa_logits_metadata(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("paged_mqa_logits_metadata", count, 4)) return nullptr;
  TensorArgument context_lens, indices, schedule;
  Place place;
  int page = 0;
  if (!context_lens.read(args[0], "context_lens") || !place.find(context_lens.tensor)) return nullptr;
  if (place.context == nullptr) Py_RETURN_FALSE;
  if (!read_int(args[1], "block_kv", &page) || !indices.read_optional(args[2], "indices") ||
      !schedule.read(args[3], "schedule")) {
    return nullptr;
  }
  dw_status status;
  {
    WithoutGil const without_gil;
    status = dw_paged_mqa_logits_metadata(place.context, context_lens.pointer(), page, indices.pointer(),
                                          schedule.pointer(), place.stream);
  }
  return finish(status);
}

// ---- Contexts and settings ----

PyObject* setup(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("setup", count, 7)) return nullptr;
  auto const* const exchange =
      static_cast<DlpackExchange const*>(PyCapsule_GetPointer(args[0], kExchangeCapsule));
  if (exchange == nullptr) return nullptr;
  if (exchange->header.version.major != kExchangeMajor || exchange->from_python == nullptr) {
    PyErr_Format(PyExc_RuntimeError,
                 "torch has version %u.%u of DLPack's exchange interface, expected %u.x with conversion "
                 "without an owner",
                 exchange->header.version.major, exchange->header.version.minor, kExchangeMajor);
    return nullptr;
  }
  if (!PyTuple_Check(args[2]) || PyTuple_Size(args[2]) != DW_INTERNAL) {
    PyErr_SetString(PyExc_TypeError, "errors: expected a class for each status");
    return nullptr;
  }
  for (int i = DW_BAD_ARGUMENT; i <= DW_INTERNAL; ++i) {
    state.errors[i] = PyTuple_GetItem(args[2], i - DW_BAD_ARGUMENT);
    Py_INCREF(state.errors[i]);
  }
  PyObject** const kept[] = {&state.tensor_type, &state.type_error, &state.decide, &state.accepts_type,
                             &state.out_of_memory};
  PyObject* const given[] = {args[1], args[3], args[4], args[5], args[6]};
  for (int i = 0; i < 5; ++i) {
    Py_INCREF(given[i]);
    *kept[i] = given[i];
  }
  state.exchange = exchange;
  Py_RETURN_NONE;
}

PyObject* create_context(PyObject*, PyObject* device) {
  char const* const name = read_text(device, "device");
  if (name == nullptr) return nullptr;
  if (state.num_contexts == kMaxContexts) {
    PyErr_Format(PyExc_RuntimeError, "more than %d contexts", kMaxContexts);
    return nullptr;
  }
  dw_context* context = nullptr;
  dw_status status;
  {
    WithoutGil const without_gil;
    status = dw_context_create(name, &context);
  }
  if (status != DW_OK) return raise_status(status);
  if (state.num_contexts == kMaxContexts) {  // other threads made some meanwhile
    dw_context_destroy(context);
    PyErr_Format(PyExc_RuntimeError, "more than %d contexts", kMaxContexts);
    return nullptr;
  }
  state.contexts[state.num_contexts] = context;
  return PyLong_FromLong(state.num_contexts++);
}

dw_context* context_of(PyObject* handle) {
  long const value = PyLong_AsLong(handle);
  if (value == -1 && PyErr_Occurred() != nullptr) return nullptr;
  if (value >= 0 && value < state.num_contexts && state.contexts[value] != nullptr)
    return state.contexts[value];
  PyErr_Format(PyExc_ValueError, "%ld is not a handle of a context", value);
  return nullptr;
}

/// (device, target) of a context: ("cuda:0", "sm_90a").
PyObject* context_names(PyObject*, PyObject* handle) {
  dw_context* const context = context_of(handle);
  if (context == nullptr) return nullptr;
  return Py_BuildValue("(ss)", dw_context_device(context), dw_context_target(context));
}

PyObject* sm_count(PyObject*, PyObject* handle) {
  dw_context* const context = context_of(handle);
  return context == nullptr ? nullptr : PyLong_FromLong(dw_context_sm_count(context));
}

PyObject* set_pdl(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("set_pdl", count, 2)) return nullptr;
  dw_context* const context = context_of(args[0]);
  if (context == nullptr) return nullptr;
  int const on = PyObject_IsTrue(args[1]);
  if (on < 0) return nullptr;
  dw_status const status = dw_context_set_pdl(context, on);
  if (status != DW_OK) return raise_status(status);
  Py_RETURN_NONE;
}

/// After each kernel, on the thread that warms up: Python's callback, and its signals.
struct WarmUpCaller {
  PyObject* progress;  // null: none

  static int call(void* user, dw_warmup_progress const* at) {
    ++at_exit.returning;
    if (at_exit.closing && pthread_equal(pthread_self(), at_exit.closer) == 0) {
      --at_exit.returning;
      return 1;
    }
    PyGILState_STATE const gil = PyGILState_Ensure();
    --at_exit.returning;
    PyObject* const progress = static_cast<WarmUpCaller*>(user)->progress;
    bool ok = PyErr_CheckSignals() == 0;
    if (ok && progress != nullptr) {
      PyObject* const result = PyObject_CallFunction(progress, "nns", static_cast<Py_ssize_t>(at->done),
                                                     static_cast<Py_ssize_t>(at->total), at->kernel);
      ok = result != nullptr;
      Py_XDECREF(result);
    }
    PyGILState_Release(gil);
    return ok ? 0 : 1;
  }
};

/// (handle, text of a config or None, path or None, tp, progress or None).
PyObject* warmup(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("warmup", count, 5)) return nullptr;
  dw_context* const context = context_of(args[0]);
  if (context == nullptr) return nullptr;
  char const* text[2] = {};
  for (int i = 0; i < 2; ++i) {
    if (args[1 + i] == Py_None) continue;
    text[i] = read_text(args[1 + i], "model_config");
    if (text[i] == nullptr) return nullptr;
  }
  int tp = 0;
  if (!read_int(args[3], "tp", &tp)) return nullptr;
  WarmUpCaller caller{args[4] == Py_None ? nullptr : args[4]};
  dw_model_sizes sizes{};
  sizes.size = sizeof sizes;
  dw_warmup_result result{};
  result.size = sizeof result;
  dw_status status;
  {
    WithoutGil const without_gil;
    status = text[1] != nullptr ? dw_model_sizes_from_file(text[1], &sizes)
                                : dw_model_sizes_from_config(text[0], &sizes);
    if (status == DW_OK) status = dw_warmup(context, &sizes, tp, WarmUpCaller::call, &caller, &result);
  }
  if (PyErr_Occurred() != nullptr) return nullptr;  // of the callback, or a signal
  if (status != DW_OK) return raise_status(status);
  return Py_BuildValue(
      "(nnnnnd)", static_cast<Py_ssize_t>(result.kernels), static_cast<Py_ssize_t>(result.in_memory),
      static_cast<Py_ssize_t>(result.from_archives), static_cast<Py_ssize_t>(result.from_cache),
      static_cast<Py_ssize_t>(result.compiled), result.seconds);
}

PyObject* kernel_counts(PyObject*, PyObject* handle) {
  dw_context* const context = context_of(handle);
  if (context == nullptr) return nullptr;
  dw_kernel_counts counts{};
  counts.size = sizeof counts;
  dw_status const status = dw_context_kernel_counts(context, &counts);
  if (status != DW_OK) return raise_status(status);
  return Py_BuildValue("(nnnnn)", static_cast<Py_ssize_t>(counts.loaded),
                       static_cast<Py_ssize_t>(counts.compiled),
                       static_cast<Py_ssize_t>(counts.from_archives),
                       static_cast<Py_ssize_t>(counts.from_cache), static_cast<Py_ssize_t>(counts.late));
}

PyObject* raise_notes(PyObject*, PyObject* handle) {
  dw_context* const context = context_of(handle);
  if (context == nullptr) return nullptr;
  dw_status const status = dw_context_raise_notes(context);
  if (status != DW_OK) return raise_status(status);
  Py_RETURN_NONE;
}

PyObject* set_option(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (!check_count("set_option", count, 2)) return nullptr;
  char const* text[2] = {};
  for (int i = 0; i < 2; ++i) {
    if (i == 1 && args[i] == Py_None) continue;
    text[i] = read_text(args[i], i == 0 ? "name" : "value");
    if (text[i] == nullptr) return nullptr;
  }
  dw_status const status = dw_set_option(text[0], text[1]);
  if (status != DW_OK) return raise_status(status);
  Py_RETURN_NONE;
}

/// Asks `decide` again for every device.
PyObject* forget(PyObject*, PyObject*) {
  forget_devices();
  Py_RETURN_NONE;
}

/// In the child of a fork: the parent's contexts (threads, driver handles) do not work here and are left alone.
PyObject* forget_after_fork(PyObject*, PyObject*) {
  forget_devices();
  for (dw_context*& context : state.contexts) context = nullptr;
  state.num_contexts = 0;
  at_exit.inside = at_exit.returning = 0;  // of threads that are not here
  Py_RETURN_NONE;
}

/// At exit: waits for calls of other threads, none of which begins any more, and ends all contexts with what they still build.
/// Where a call takes longer than that (an emulated one may), contexts are left to the end of the process.
PyObject* close(PyObject*, PyObject*) {
  at_exit.closer = pthread_self();
  at_exit.closing = true;
  forget_devices();
  int const count = std::exchange(state.num_contexts, 0);
  {
    WithoutGil const without_gil;
    constexpr int kMilliseconds = 10000;
    for (int i = 0; i < kMilliseconds && at_exit.inside > 1; ++i) usleep(1000);  // 1: this one
    for (int i = 0; i < count && at_exit.inside == 1; ++i) {
      dw_context_destroy(state.contexts[i]);
      state.contexts[i] = nullptr;
    }
    // Threads that wait for the GIL get it now: later they would be unwound.
    for (int i = 0; i < 1000 && at_exit.returning > 0; ++i) usleep(1000);
  }
  Py_RETURN_NONE;
}

PyObject* version(PyObject*, PyObject*) { return PyUnicode_FromString(dw_version()); }

PyCFunction fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"setup", fast(setup), METH_FASTCALL,
     "setup(exchange_api, tensor_type, errors, type_error, decide, accepts_type, out_of_memory)"},
    {"create_context", create_context, METH_O, "create_context(device) -> handle"},
    {"context_names", context_names, METH_O, "context_names(handle) -> (device, target)"},
    {"sm_count", sm_count, METH_O, "sm_count(handle) -> int"},
    {"set_pdl", fast(set_pdl), METH_FASTCALL, "set_pdl(handle, on)"},
    {"raise_notes", raise_notes, METH_O,
     "raise_notes(handle): raises what kernels have noted since the last call"},
    {"warmup", fast(warmup), METH_FASTCALL,
     "warmup(handle, config or None, path or None, tp, progress(done, total, kernel) or None) -> (kernels, "
     "in_memory, from_archives, from_cache, compiled, seconds)"},
    {"kernel_counts", kernel_counts, METH_O,
     "kernel_counts(handle) -> (loaded, compiled, from_archives, from_cache, late)"},
    {"set_option", fast(set_option), METH_FASTCALL, "set_option(name, value or None)"},
    {"forget", forget, METH_NOARGS, "forget(): asks again which devices are served"},
    {"forget_after_fork", forget_after_fork, METH_NOARGS, "forget_after_fork()"},
    {"close", close, METH_NOARGS, "close(): ends all contexts"},
    {"version", version, METH_NOARGS, "version() -> str"},
    {"fp8_fp4_gemm_nt", fast(fp8_fp4_gemm_nt), METH_FASTCALL,
     "fp8_fp4_gemm_nt(a, scale_a, b, scale_b, d, c, recipe, recipe_a, recipe_b, disable_ue8m0_cast) -> "
     "served"},
    {"grouped_gemm_nt", fast(grouped_gemm_nt), METH_FASTCALL,
     "grouped_gemm_nt(a, scale_a, b, scale_b, d, layout, recipe, recipe_a, recipe_b, masked, rows) -> "
     "served"},
    {"grouped_gemm_alignment", fast(grouped_gemm_alignment), METH_FASTCALL,
     "grouped_gemm_alignment(rows, groups) -> rows"},
    {"fp8_einsum", fast(fp8_einsum), METH_FASTCALL,
     "fp8_einsum(expression, a, scale_a, b, scale_b, d, c, recipe) -> served"},
    {"tf32_hc_prenorm_gemm", fast(tf32_hc_prenorm_gemm), METH_FASTCALL,
     "tf32_hc_prenorm_gemm(a, b, d, sqr_sum, num_splits) -> served"},
    {"required_scale_layout", fast(required_scale_layout), METH_FASTCALL,
     "required_scale_layout(scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast) -> (is_int32, "
     "shape, "
     "strides), None when unchanged, False when not served"},
    {"transform_scale", fast(transform_scale), METH_FASTCALL,
     "transform_scale(scale, mn, k, gran_mn, gran_k, num_groups, disable_ue8m0_cast, out) -> served"},
    {"column_scale_layout", fast(column_scale_layout), METH_FASTCALL,
     "column_scale_layout(scale, packed) -> as required_scale_layout"},
    {"write_scale_layout", fast(write_scale_layout), METH_FASTCALL,
     "write_scale_layout(scale, out) -> served"},
    {"fp8_mqa_logits", fast(fp8_mqa_logits), METH_FASTCALL,
     "fp8_mqa_logits(q, kv, kv_scale, weights, start, end, compressed, clean, logits) -> served"},
    {"fp8_paged_mqa_logits", fast(fp8_paged_mqa_logits), METH_FASTCALL,
     "fp8_paged_mqa_logits(q, kv_cache, weights, context_lens, block_table, schedule_meta, indices, logits) "
     "-> "
     "served"},
    {"paged_mqa_logits_metadata", fast(paged_mqa_logits_metadata), METH_FASTCALL,
     "paged_mqa_logits_metadata(context_lens, block_kv, indices, schedule) -> served"},
    {"run_launches", fast(run_launches), METH_FASTCALL,
     "run_launches(launches, folder or None, [(name, address, bytes, address of marks or 0), ...]) -> "
     "report"},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "deepwell._native",
                          "From Python tensors to Deepwell's C interface.",
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace
}  // namespace deepwell::python

PyMODINIT_FUNC PyInit__native() {
  deepwell::python::forget_devices();
  return PyModule_Create(&deepwell::python::definition);
}
