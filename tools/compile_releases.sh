#!/usr/bin/env bash
# Compiles the kernels with several releases of NVRTC, each fetched into a folder of its own, for every target: a release that
# does not compile one of them fails.
#   tools/compile_releases.sh BUILD [SET] [RELEASE...]     SET: representative (default) or all
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?BUILD}
set=${2:-representative}
shift $(($# < 2 ? $# : 2))
releases=("$@")
[ ${#releases[@]} -gt 0 ] || releases=(12.9.86 13.0.88 13.5.37)
for release in "${releases[@]}"; do
  folder=$build/nvrtc/$release
  package=nvidia-cuda-nvrtc
  [ "${release%%.*}" -ge 13 ] || package=nvidia-cuda-nvrtc-cu12
  if [ ! -d "$folder" ]; then
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target "$folder.part" "$package==$release"
    mv "$folder.part" "$folder"
  fi
  library=$(find "$folder" -name 'libnvrtc.so.[0-9]*' | head -n 1)
  for target in sm_120a sm_121a sm_120f sm_90a; do
    echo "NVRTC $release, $target"
    DEEPWELL_NVRTC=$library "$build/deepwell" compile --set "$set" --target "$target" --no-store --json | tail -n 1
  done
done
