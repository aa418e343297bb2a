#!/usr/bin/env bash
# Builds what a GPU machine without this machine's libraries runs: stripped programs that need libc alone, in one folder.
#   tools/gpu/pack.sh [OUT]        OUT: default build/gpu-bin (ignored by git, so carry it by name)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-build/gpu-bin}
build=build/gpu
programs=(deepwell emu_tests gpu_tests bench_gemm_decode bench_grouped_decode bench_hc_prenorm bench_mqa_logits bench_host_time bench_compile_time)

cmake -S . -B "$build" -G Ninja -DDEEPWELL_STATIC=ON -DDEEPWELL_BENCH=ON -DDEEPWELL_TESTS=ON >/dev/null
known=$(ninja -C "$build" -t targets all)
present=()
for program in "${programs[@]}"; do
  if grep -q "^$program: phony\|^$program: CXX_EXECUTABLE_LINKER" <<<"$known"; then
    present+=("$program")
  else
    echo "pack: no target $program in this tree" >&2
  fi
done
[ "${#present[@]}" -gt 0 ] || { echo "pack: nothing to build" >&2; exit 1; }
ninja -C "$build" "${present[@]}"

mkdir -p "$out"
rm -f "${out:?}"/*
for program in "${present[@]}"; do
  strip -o "$out/$program" "$build/$program"
  # Anything but these would be missing on the other machine.
  if foreign=$(ldd "$out/$program" | grep -Ev 'linux-vdso|/ld-linux|libc\.so|libm\.so|libdl\.so|libpthread\.so|librt\.so'); then
    echo "pack: $program needs libraries that a GPU machine may lack:" >&2
    echo "$foreign" >&2
    exit 1
  fi
done
newest=$(objdump -T "$out"/* 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
echo "pack: the programs need ${newest/_/ } or newer"
git rev-parse HEAD >"$out/commit.txt"
git diff --quiet HEAD || echo "with uncommitted changes" >>"$out/commit.txt"
du -sh "$out"
