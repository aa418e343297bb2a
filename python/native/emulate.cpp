// Launch files for the emulator: host memory by address, errors as deepwell.errors.
#define Py_LIMITED_API 0x030a0000
#include "emulate.hpp"

#include <cstdint>
#include <vector>

#include "deepwell/deepwell.h"
#include "without_gil.hpp"

namespace deepwell::python {
namespace {

PyObject* raise_last(dw_status status) {
  static constexpr char const* kNames[] = {"DeepwellError",  "BadArgumentError", "UnsupportedError",
                                           "ToolchainError", "DeviceError",      "DeepwellError"};
  PyObject* const errors = PyImport_ImportModule("deepwell.errors");
  if (errors == nullptr) return nullptr;
  PyObject* const type =
      PyObject_GetAttrString(errors, kNames[status > DW_OK && status <= DW_INTERNAL ? status : DW_INTERNAL]);
  Py_DECREF(errors);
  if (type == nullptr) return nullptr;
  PyObject* const error = PyObject_CallFunction(type, "ssss", dw_error_message(), dw_error_argument(),
                                                dw_error_got(), dw_error_expected());
  if (error != nullptr) PyErr_SetObject(type, error);
  Py_XDECREF(error);
  Py_DECREF(type);
  return nullptr;
}

bool read_array(PyObject* item, dw_host_array* out) {
  unsigned long long data = 0, bytes = 0, written = 0;
  if (!PyTuple_Check(item) || !PyArg_ParseTuple(item, "sKKK", &out->name, &data, &bytes, &written)) {
    if (PyErr_Occurred() == nullptr) PyErr_SetString(PyExc_TypeError, "arrays: a list of tuples");
    return false;
  }
  out->size = sizeof *out;
  out->data = reinterpret_cast<void*>(static_cast<std::uintptr_t>(data));
  out->bytes = static_cast<std::size_t>(bytes);
  out->written = reinterpret_cast<std::uint8_t*>(static_cast<std::uintptr_t>(written));
  return true;
}

}  // namespace

PyObject* run_launches(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 3 || !PyUnicode_Check(args[0]) || !PyList_Check(args[2])) {
    PyErr_SetString(PyExc_TypeError, "run_launches(launches, folder, arrays)");
    return nullptr;
  }
  char const* const launches = PyUnicode_AsUTF8AndSize(args[0], nullptr);
  if (launches == nullptr) return nullptr;
  char const* const folder = args[1] == Py_None ? nullptr : PyUnicode_AsUTF8AndSize(args[1], nullptr);
  if (folder == nullptr && args[1] != Py_None) return nullptr;
  std::vector<dw_host_array> arrays(static_cast<std::size_t>(PyList_Size(args[2])));
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (!read_array(PyList_GetItem(args[2], static_cast<Py_ssize_t>(i)), &arrays[i])) return nullptr;
  }
  char const* report = nullptr;
  dw_status status;
  {
    WithoutGil const without_gil;
    status = dw_run_launches(launches, folder, arrays.data(), arrays.size(), &report);
  }
  if (status != DW_OK) return raise_last(status);
  return PyUnicode_FromString(report);
}

}  // namespace deepwell::python
