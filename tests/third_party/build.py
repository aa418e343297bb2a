"""Fetches the third parties' wheels and compiles their units to PTX, below build/third_party."""

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from host_units import HOST_UNITS
from units import FLASHINFER, TVM_FFI, UNITS

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "third_party"
DATA = BUILD / "flashinfer" / "flashinfer" / "data"
FFI = BUILD / "tvm_ffi" / "tvm_ffi"
FLAGS = ["-std=c++17", "-O3", "-use_fast_math", "--expt-relaxed-constexpr", "-DNDEBUG", "-w"]
FLAGS += [
    f"-DFLASHINFER_ENABLE_{name}" for name in ("F16", "BF16", "FP8_E4M3", "FP8_E5M2", "FP8_E8M0", "FP4_E2M1")
]


CURAND = """#ifndef RANDOM_DECLARATIONS
#define RANDOM_DECLARATIONS
struct curandState_t { int unused; };
struct curandStatePhilox4_32_10_t { int unused; };
template <class State> __device__ void curand_init(unsigned long long, unsigned long long, unsigned long long, State*) {}
template <class State> __device__ float curand_uniform(State*) { return 0; }
template <class State> __device__ float curand_normal(State*) { return 0; }
template <class State> __device__ double curand_uniform_double(State*) { return 0; }
template <class State> __device__ double curand_normal_double(State*) { return 0; }
#endif
"""


def fetch():
    """Downloads and unpacks what is not there yet."""
    for package, folder in ((FLASHINFER, "flashinfer"), (TVM_FFI, "tvm_ffi")):
        target = BUILD / folder
        if target.exists():
            continue
        wheels = BUILD / "wheels" / folder
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--only-binary=:all:",
                "-d",
                wheels,
                package,
            ],
            check=True,
        )
        part = BUILD / f"{folder}.part"
        shutil.rmtree(part, ignore_errors=True)
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(part)
        part.rename(target)


def includes():
    folders = [
        DATA / name
        for name in (
            "csrc",
            "include",
            "cccl/cub",
            "cccl/libcudacxx/include",
            "cccl/thrust",
            "cutlass/include",
            "cutlass/tools/util/include",
            "spdlog/include",
            "csrc/nv_internal",
            "csrc/nv_internal/include",
            ".",
        )
    ]
    folders += [FFI / "include", FFI / "3rdparty/dlpack/include", stubs()]
    return [f"-I{folder}" for folder in folders]


def stubs():
    """A folder with the headers that files include and, where they are compiled, do not use: cuRAND is no part of the compiler."""
    folder = BUILD / "stubs"
    folder.mkdir(parents=True, exist_ok=True)
    names = ("curand.h", "curand_kernel.h", "curand_philox4x32_x.h")
    for name in names:
        text = "#pragma once\n" + (CURAND if name != "curand.h" else "")
        if not (folder / name).exists() or (folder / name).read_text() != text:
            (folder / name).write_text(text)
    return folder


def toolkit():
    return subprocess.run(
        [ROOT / "tools" / "toolkit_path.sh"], capture_output=True, text=True, check=True
    ).stdout.strip()


MAIN_TARGET = "sm_120a"


def results_of(target):
    return BUILD / ("results.json" if target == MAIN_TARGET else f"results.{target}.json")


def ptx_of(name, target):
    return BUILD / "ptx" / f"{name}.{target}.ptx"


def compile_unit(unit, target="sm_120a", force=False):
    """PTX of a unit; returns (path, seconds), seconds None where it was there. Raises RuntimeError with the compiler's words."""
    out, arch = ptx_of(unit.name, target), target.removeprefix("sm_")
    if out.exists() and not force:
        return out, None
    out.parent.mkdir(parents=True, exist_ok=True)
    source = DATA / unit.source
    if unit.text:
        source = BUILD / "ptx" / f"{unit.name}.cu"
        source.write_text(unit.text)
    part = out.with_suffix(".part")
    command = [
        f"{toolkit()}/nvcc",
        "-ptx",
        "-gencode",
        f"arch=compute_{arch},code=compute_{arch}",
        *FLAGS,
        *(f"-D{name}" for name in unit.defines),
        *includes(),
        "-o",
        part,
        source,
    ]
    start = time.monotonic()
    _run(command)
    part.rename(out)
    return out, time.monotonic() - start


def host_of(name):
    return BUILD / "host" / name / f"{name}.so"


def compile_host(unit, force=False):
    """A library with a unit's host code, and its PTX; as compile_unit."""
    out = host_of(unit.name)
    if out.exists() and not force:
        return ptx_of(unit.name, "sm_120a"), None
    folder = out.parent
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{unit.name}.cu"
    source.write_text(unit.text)
    command = [
        f"{toolkit()}/nvcc",
        "-shared",
        "-Xcompiler",
        "-fPIC",
        "-cudart",
        "none",
        "-gencode",
        "arch=compute_120a,code=compute_120a",
        *FLAGS,
        *(f"-D{name}" for name in unit.defines),
        *includes(),
        "--keep",
        "--keep-dir",
        folder,
        "-o",
        folder / "part.so",
        source,
    ]
    start = time.monotonic()
    _run(command)
    shutil.copy(folder / f"{unit.name}.ptx", ptx_of(unit.name, "sm_120a"))
    (folder / "part.so").rename(out)
    return ptx_of(unit.name, "sm_120a"), time.monotonic() - start


def fake_runtime():
    """The stand-in for the CUDA runtime, compiled when it is older than its source."""
    source, out = Path(__file__).parent / "fake_runtime.cpp", BUILD / "fake_runtime.so"
    if not out.exists() or out.stat().st_mtime < source.stat().st_mtime:
        part = BUILD / f"fake_runtime.{os.getpid()}.so"  # several processes may find it old
        options = "-std=c++17 -O1 -shared -Xcompiler -fPIC -cudart none".split()
        _run([f"{toolkit()}/nvcc", *options, source, "-o", part])
        part.rename(out)
    return out


def _run(command):
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.nice(10)
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])


def compile_all(pattern="", target="sm_120a"):
    """Units with host code are compiled for sm_120a alone."""
    failed = 0
    for unit in UNITS + (HOST_UNITS if target == "sm_120a" else ()):
        if not re.search(pattern, unit.name):
            continue
        try:
            path, seconds = compile_host(unit) if unit.host else compile_unit(unit, target)
            lines = path.read_text().count("\n")
            print(
                f"{unit.name}: {lines} lines of PTX" + (f", {seconds:.0f} s" if seconds else ""), flush=True
            )
        except RuntimeError as error:
            failed += 1
            print(f"{unit.name}: FAILED\n{error}", flush=True)
    return failed
