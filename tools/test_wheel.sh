#!/usr/bin/env bash
# Builds this machine's wheel, installs it into a clean virtual environment and runs the Python tests against what was installed.
#   tools/test_wheel.sh [WHEEL]        WHEEL: test this one instead of building one
# TORCH is the torch to test with (2.13.0), PYTHON the interpreter that makes the environment (python3).
set -euo pipefail
cd "$(dirname "$0")/.."
torch="${TORCH:-2.13.0}"
wheel="${1:-}"
if [ -z "$wheel" ]; then
  tools/build_wheel.sh "$(uname -m)"
  wheel="$(ls -t dist/deepwell-*-"manylinux_2_28_$(uname -m)".whl | head -n 1)"
fi
environment="build/wheel-test/torch-$torch"
if [ ! -f "$environment/.installed" ]; then
  rm -rf "$environment"
  "${PYTHON:-python3}" -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check "torch==$torch" 'numpy>=1.26' 'pytest>=8' 'jsonschema>=4' 'nvidia-cuda-nvrtc==13.0.88'
  touch "$environment/.installed"
fi
"$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheel"
"$environment/bin/deepwell" doctor --device emu:sm_120a
# From a folder that is not the checkout's root, so that nothing but the wheel is found.
cd tests
DEEPWELL_WHEEL="$(cd .. && realpath "$wheel")" "../$environment/bin/python" -m pytest -q -p no:cacheprovider --ignore=python/gpu python
