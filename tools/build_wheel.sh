#!/usr/bin/env bash
# Release wheels in dist/, for both processors or the one that is named: tools/build_wheel.sh [x86_64|aarch64]
#
# zig cross-compiles the other processor's. auditwheel judges each from its binaries: which symbols of the C library they need, and
# that nothing else is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "") architectures=(x86_64 aarch64) ;;
  x86_64 | aarch64) architectures=("$1") ;;
  *)
    echo "build_wheel: expected x86_64 or aarch64, got '$1'" >&2
    exit 2
    ;;
esac
tools/setup.sh release
python=.venv/bin/python
platform=manylinux_2_28

mkdir -p dist
for arch in "${architectures[@]}"; do
  raw="build/wheel-$arch/raw"
  rm -rf "$raw"
  "$python" -m build --wheel --no-isolation --outdir "$raw" -C "build-dir=build/wheel-$arch" \
    -C "cmake.define.DEEPWELL_ZIG_ARCH=$arch" -C "wheel.tags=cp310-abi3-${platform}_$arch"
  cp "$raw"/*.whl dist/  # nothing to repair: the wheel has its tag, and brings all that it needs; the check says whether that is so
done

for arch in "${architectures[@]}"; do
  for wheel in dist/deepwell-*-cp310-abi3-"${platform}_$arch".whl; do
    "$python" tools/check_wheel.py "$wheel" "${platform}_$arch"
  done
done
