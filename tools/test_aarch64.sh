#!/usr/bin/env bash
# Tests of the host code as aarch64 executes it: cross-compiled with zig, run by qemu. The tests compare bit for bit with the same
# values as on x86-64.
#
# Only programs that need no run-time compiler, and of those what qemu can do in minutes; the list of what is left out is below.
set -euo pipefail
cd "$(dirname "$0")/.."

build="${BUILD:-build/aarch64}"
jobs="${JOBS:-$(nproc)}"
programs=(unit_base unit_num unit_tensor unit_plan unit_checkpoint unit_emu unit_ref unit_check unit_capi emu_tests)
left_out=()

tools/setup.sh aarch64
export PATH="$PWD/.venv/bin:$PATH"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE=cmake/zig.cmake -DDEEPWELL_ZIG_ARCH=aarch64 \
  -DDEEPWELL_ZIG_PYTHON="$PWD/.venv/bin/python" \
  "-DCMAKE_CROSSCOMPILING_EMULATOR=$(command -v qemu-aarch64-static);-L;/usr/aarch64-linux-gnu"
