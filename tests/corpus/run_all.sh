#!/usr/bin/env bash
# Every file of the corpus by every compiler for every target; fetches NVRTC 12.9 with its headers the first time. Prints the table of
# README.md, failures on standard error.
#   tests/corpus/run_all.sh BUILD [--only=NAME] [--target=TARGET] [--compiler=NAME]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:?BUILD}
shift
folder=$build/nvrtc/corpus-12.9
if [ ! -d "$folder" ]; then
  .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target "$folder.part" nvidia-cuda-nvrtc-cu12==12.9.86 \
    nvidia-cuda-runtime-cu12==12.9.79 nvidia-cuda-nvcc-cu12==12.9.86 nvidia-cuda-cccl-cu12==12.9.27
  mkdir "$folder.part/include"
  for part in cuda_runtime cuda_nvcc cuda_cccl; do cp -r "$folder.part/nvidia/$part/include/." "$folder.part/include"; done
  mv "$folder.part" "$folder"
fi
exec "$build/corpus_tests" --table --nvrtc="$folder/nvidia/cuda_nvrtc/lib/libnvrtc.so.12=$folder/include" "$@"
