#!/usr/bin/env bash
# Builds the libFuzzer programs with clang and runs one: tools/fuzz.sh NAME SECONDS [CORPUS]; what it finds lies in build/fuzz/found.
# NAME: ptx_parse, ptx_run, launch_file, safetensors or archive. CXX chooses the compiler; one process, lowest priority.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 seconds=$2 corpus=${3:-build/fuzz/corpus/$1}
seeds=tests/fuzz/corpus/${name/ptx_*/ptx}
cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="${CXX:-clang++}" -DDEEPWELL_FUZZ=ON > /dev/null
ninja -C build/fuzz "fuzz_$name"
mkdir -p "$corpus" build/fuzz/found
folders=("$corpus")
[ ! -d "$seeds" ] || folders+=("$seeds")
dictionary=()
for file in tests/fuzz/${name/ptx_*/ptx}.dict; do [ ! -f "$file" ] || dictionary=("-dict=$file"); done
exec nice -n 19 "build/fuzz/fuzz_$name" -fork=1 -ignore_crashes=1 -ignore_ooms=1 -ignore_timeouts=1 -timeout=20 -rss_limit_mb=3000 \
  -max_len=3000 "-max_total_time=$seconds" "${dictionary[@]}" -artifact_prefix=build/fuzz/found/ "${folders[@]}"
