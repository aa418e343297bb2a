// Launch files for the emulator from Python; python/deepwell/_emulate.py is what users see of it.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

namespace deepwell::python {

/// (text of a launch file, folder or None, list of (name, address, bytes, address of the marks or 0)) -> the report's text. Needs no
/// setup(): errors are raised as the classes of deepwell.errors.
PyObject* run_launches(PyObject*, PyObject* const* args, Py_ssize_t count);

}  // namespace deepwell::python
