#!/usr/bin/env bash
# Prints the folder that holds nvcc, to be put in front of PATH: a toolkit's, else the one that set-up put into .venv. Where
# there is none it prints this script's own folder.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
for nvcc in "${CUDA_HOME:-/nonexistent}/bin/nvcc" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc \
  "$here"/../.venv/lib/python3*/site-packages/nvidia/cu13/bin/nvcc; do
  if [ -x "$nvcc" ]; then
    dirname "$nvcc"
    exit 0
  fi
done
echo "$here"
