#!/usr/bin/env bash
# Tests of the host code as aarch64 executes it: cross-compiled with zig, run by qemu. The tests compare bit for bit with the same
# values as on x86-64. Fails when a program fails, runs no case, or skips one (tools/run_tests.py).
#
# Left out: compile_tests, kernel_tests, kernel_mutations, unit_jit, cli (need a run-time compiler for the processor that qemu shows);
# emu_bugs (100 schedules of 110 programs, an hour in qemu); unit_backend, unit_ops (what they add is drivers and choices, which
# have nothing to do with the processor); the Python tests (need torch for aarch64). One case is left out because qemu cannot show it:
# its vfork is a fork, so that posix_spawn does not learn that a program cannot be started.
set -euo pipefail
cd "$(dirname "$0")/.."

build="${BUILD:-build/aarch64}"
jobs="${JOBS:-$(nproc)}"
programs=(unit_base unit_num unit_plan unit_checkpoint unit_emu unit_ref unit_check unit_capi emu_tests)

tools/setup.sh aarch64
export PATH="$PWD/.venv/bin:$PATH"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE=cmake/zig.cmake -DDEEPWELL_ZIG_ARCH=aarch64 \
  -DDEEPWELL_ZIG_PYTHON="$PWD/.venv/bin/python" \
  "-DCMAKE_CROSSCOMPILING_EMULATOR=$(command -v qemu-aarch64-static);-L;/usr/aarch64-linux-gnu" > /dev/null
ninja -C "$build" -j"$jobs" "${programs[@]}"
GTEST_FILTER=-Subprocess.WhatCannotStartIsAnError python3 tools/run_tests.py "$build" --jobs "$jobs" --filter "^($(IFS='|'; echo "${programs[*]}"))\$"
