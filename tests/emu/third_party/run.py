#!/usr/bin/env python3
"""Runs public SM 12.x kernels of others in the emulator: downloads their sources, compiles them to PTX in a scratch folder
outside the tree, runs them with every check on, compares with our definitions. Exit code 1 when any disagrees.

    tests/emu/third_party/run.py --build build/release --scratch ~/deepwell-third-party
"""

import argparse
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import zipfile

PACKAGES = ["flashinfer-python==0.7.2.post1", "apache-tvm-ffi==0.1.15.post2"]
ENABLED = ["F16", "BF16", "FP8_E4M3", "FP8_E5M2", "FP8_E8M0", "FP4_E2M1"]

# Name of the PTX file: a source file of the package, or text that instantiates one kernel of a header.
SPARSE = "flashinfer/attention/sparse_mla_sm120"
PROGRAMS = {
    "nvfp4_mma_layout_probe": "sparse_mla_sm120/nvfp4_mma_layout_probe.cu",
    "hash_topk": "fused_moe/hash_topk.cu",
    "dsv41_fp4_cache_ops": "sparse_mla_sm120/dsv41_fp4_cache_ops.cu",
    "cake_dsv41_fp8_cache_ops": "sparse_mla_sm120/cake_dsv41_fp8_cache_ops.cu",
    "tinygemm2": "tinygemm2.cu",
    "merge": f"""
#include <cuda_bf16.h>
#include <{SPARSE}/execution/merge.cuh>
auto* const kKeep = &flashinfer::sparse_mla_sm120::sparse_mla_decode_dsv4_merge_kernel<8, 512, 64, 8>;
""",
    "decode_bf16": f"""
#include <cuda_bf16.h>
#include <{SPARSE}/execution/decode_launch.cuh>
auto* const kKeep = &flashinfer::sparse_mla_sm120::sparse_mla_decode_dsv41_bf16_kernel<8, false>;
""",
    "decode_bf16_fp4": f"""
#include <cuda_bf16.h>
#include <{SPARSE}/execution/decode_launch.cuh>
auto* const kKeep = &flashinfer::sparse_mla_sm120::sparse_mla_decode_dsv41_bf16_kernel<8, true>;
""",
    "decode_fp8": f"""
#include <cuda_bf16.h>
#include <{SPARSE}/execution/decode_launch.cuh>
using namespace flashinfer::sparse_mla_sm120;
auto* const kKeep = &flashinfer::sparse_mla_sm120::sparse_mla_decode_dsv4_kernel<ModelType::DSV4_1, 8>;
""",
}


def download(scratch: pathlib.Path) -> None:
    wheels = scratch / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        name = package.split("==")[0].replace("-", "_")
        target = scratch / name
        if target.is_dir():
            continue
        print(f"downloading {package}", flush=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, package],
            check=True,
        )
        (wheel,) = wheels.glob(f"{name}-*.whl")
        partial = scratch / (name + ".partial")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(partial)
        partial.rename(target)


def compile_one(name: str, scratch: pathlib.Path, nvcc: str) -> str:
    data = scratch / "flashinfer_python/flashinfer/data"
    ffi = scratch / "apache_tvm_ffi/tvm_ffi"
    source = PROGRAMS[name]
    if source.lstrip().startswith("#include"):
        path = scratch / "sources" / (name + ".cu")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    else:
        path = data / "csrc" / source
    out = scratch / "ptx" / (name + ".ptx")
    if out.exists() and out.stat().st_mtime > path.stat().st_mtime:
        return ""
    includes = [
        data / "csrc",
        data / "include",
        data / "cccl/cub",
        data / "cccl/libcudacxx/include",
        data / "cccl/thrust",
        ffi / "include",
        ffi / "3rdparty/dlpack/include",
        data / "cutlass/include",
        data / "cutlass/tools/util/include",
        data / "spdlog/include",
        data / "csrc/nv_internal",
        data / "csrc/nv_internal/include",
    ]
    command = [
        nvcc,
        "-gencode",
        "arch=compute_120a,code=compute_120a",
        "-std=c++17",
        "-O3",
        "-use_fast_math",
        "--expt-relaxed-constexpr",
        "-DNDEBUG",
        "-ptx",
        *(f"-DFLASHINFER_ENABLE_{e}" for e in ENABLED),
        *(f"-I{i}" for i in includes),
        str(path),
        "-o",
        str(out) + ".partial",
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        return f"{name}: {run.stderr.strip()}"
    os.replace(str(out) + ".partial", out)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", required=True, help="a configured CMake build folder")
    parser.add_argument("--scratch", required=True, help="folder outside the tree for sources and PTX")
    parser.add_argument(
        "--nvcc", default=os.environ.get("NVCC", "/usr/local/cuda/bin/nvcc"), help="nvcc 12.9 or later"
    )
    parser.add_argument("--seeds", default="3")
    parser.add_argument("--only", default="", help="part of a file name or description")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    scratch = pathlib.Path(arguments.scratch).resolve()
    tree = pathlib.Path(__file__).resolve().parents[3]
    if tree == scratch or tree in scratch.parents:
        parser.error("--scratch must be outside the source tree")
    download(scratch)
    (scratch / "ptx").mkdir(exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        failures = [
            text
            for text in pool.map(lambda name: compile_one(name, scratch, arguments.nvcc), PROGRAMS)
            if text
        ]
    if failures:
        print("\n".join(failures), file=sys.stderr)
        return 1
    subprocess.run(["cmake", "--build", arguments.build, "--target", "emu_third_party"], check=True)
    (program,) = [p for p in pathlib.Path(arguments.build).resolve().rglob("emu_third_party") if p.is_file()]
    command = [program, scratch / "ptx", "--seeds", arguments.seeds]
    if arguments.only:
        command += ["--only", arguments.only]
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
