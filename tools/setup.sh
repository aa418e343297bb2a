#!/usr/bin/env bash
# Set-up for building and running (`run`), testing (`test`), the Python wheel (`wheel`: all that `pip install .` needs; `release`:
# tools/build_wheel.sh) or tests for aarch64 (`aarch64`): installs what is missing, says so when it may not.
#
#   what                          from              needed by
#   g++ 12, cmake, ninja          Debian packages   run, test
#   header-only libraries         Debian packages   all
#   libfmt, googletest            Debian packages   run, test, aarch64
#   Python's headers              Debian package    test, wheel, release   (skipped where the Python in use has them)
#   qemu-user, glibc of aarch64   Debian packages   aarch64
#   NVRTC                         Python wheel      run, test   (skipped where a toolkit brings one of 12.9 or newer)
#   nvcc and ptxas                Python wheels     test        (skipped where there is a toolkit of 12.9 or newer)
#   zig, cmake, auditwheel        Python wheels     release, aarch64   (for `pip install .`, pip brings what it needs)
#
# DEEPWELL_SETUP=check only says what is missing; it changes nothing and fails if something is. DEEPWELL_PYTHON is the Python whose
# headers are wanted, python3 if it is not set.
set -euo pipefail
cd "$(dirname "$0")/.."

mode="${1:-run}"
case "$mode" in
  run | test | wheel | release | aarch64) ;;
  *)
    echo "setup: expected run, test, wheel, release or aarch64, got '$mode'" >&2
    exit 2
    ;;
esac
action="${DEEPWELL_SETUP:-install}"

# --- programs and libraries -------------------------------------------------------------------------------------------

missing=()
need_command() { command -v "$1" > /dev/null || missing+=("$2"); }
need_command python3 python3
if [ "$mode" != wheel ] && command -v python3 > /dev/null && ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
  missing+=(python3-venv)
fi

headers=(
  "fmt/format.h libfmt-dev"
  "CLI/CLI.hpp libcli11-dev"
  "nlohmann/json.hpp nlohmann-json3-dev"
  "xxhash.h libxxhash-dev"
)
case "$mode" in
  run | test)
    need_command g++ g++
    need_command cmake cmake
    need_command ninja ninja-build
    headers+=("gtest/gtest.h libgtest-dev" "gmock/gmock.h libgmock-dev")
    if command -v g++ > /dev/null; then
      major="$(g++ -dumpversion | cut -d. -f1)"
      if [ "$major" -lt 12 ]; then
        echo "setup: g++ is version $major, 12 or newer is needed (C++20)" >&2
        exit 1
      fi
      probe=""
      for entry in "${headers[@]}"; do
        probe+="#if !__has_include(<${entry% *}>)"$'\n'"@${entry#* }"$'\n'"#endif"$'\n'
      done
      while read -r package; do missing+=("${package#@}"); done < <(printf '%s' "$probe" | g++ -std=c++20 -E -P -x c++ - | grep '^@' || true)
    else
      for entry in "${headers[@]}"; do missing+=("${entry#* }"); done
    fi
    ;;
  *)  # zig gets the headers from where Debian puts them (cmake/dependencies.cmake)
    for entry in "${headers[@]}"; do
      [ -e "/usr/include/${entry% *}" ] || missing+=("${entry#* }")
    done
    ;;
esac

python="${DEEPWELL_PYTHON:-python3}"
case "$mode" in
  test | wheel | release)
    include="$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2> /dev/null || true)"
    case "$include" in
      "") missing+=(python3-dev) ;;
      /usr/include/python3*) [ -e "$include/Python.h" ] || missing+=(python3-dev) ;;
      *)
        if [ ! -e "$include/Python.h" ]; then
          echo "setup: $python has no headers ($include/Python.h is missing), and is not Debian's, so that no package brings them" >&2
          if [ "$mode" != test ]; then exit 1; fi
        fi
        ;;
    esac
    ;;
  aarch64)
    need_command qemu-aarch64-static qemu-user-static
    [ -e /usr/aarch64-linux-gnu/lib/libc.so.6 ] || missing+=(libc6-arm64-cross)
    [ -e /usr/src/googletest/CMakeLists.txt ] || missing+=(googletest)
    ;;
esac

if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$action" != install ] || [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "setup: these Debian packages are missing: ${missing[*]}" >&2
    echo "setup: install them as root, then try again:" >&2
    echo "         apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  # ccache only makes building again faster: no reason to stop where it is missing
  case "$mode" in run | test) command -v ccache > /dev/null || missing+=(ccache) ;; esac
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  log="$(mktemp)"
  if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } > "$log" 2>&1; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    echo "setup: apt-get failed; wanted: ${missing[*]}" >&2
    exit 1
  fi
  rm -f "$log"
fi

# --- Python packages: CUDA's compilers, zig ---------------------------------------------------------------------------

# True when version $1 (as 13.0) is 12.9 or newer.
recent_enough() {
  local major="${1%%.*}" rest="${1#*.}"
  [ "$major" -gt 12 ] || { [ "$major" = 12 ] && [ "${rest%%.*}" -ge 9 ]; }
}

have_nvrtc() {
  if [ -n "${DEEPWELL_NVRTC:-}" ]; then return 0; fi
  local library
  for library in "${CUDA_HOME:-/nonexistent}"/lib64/libnvrtc.so.[0-9]*.[0-9]* /usr/local/cuda*/lib64/libnvrtc.so.[0-9]*.[0-9]*; do
    if [ -e "$library" ] && recent_enough "${library##*/libnvrtc.so.}"; then return 0; fi
  done
  return 1
}

have_nvcc() {
  local nvcc version
  for nvcc in "${CUDA_HOME:-/nonexistent}/bin/nvcc" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc; do
    if [ -x "$nvcc" ]; then
      version="$("$nvcc" --version | sed -n 's/.*release \([0-9]*\.[0-9]*\),.*/\1/p')"
      if [ -n "$version" ] && recent_enough "$version"; then return 0; fi
    fi
  done
  return 1
}

requirements=()
case "$mode" in run | test) have_nvrtc || requirements+=(tools/requirements-run.txt) ;; esac
case "$mode" in test) have_nvcc || requirements+=(tools/requirements-test.txt) ;; esac
case "$mode" in release | aarch64) requirements+=(tools/requirements-wheel.txt) ;; esac

for file in "${requirements[@]:-}"; do
  [ -n "$file" ] || continue
  stamp=".venv/.installed-$(basename "$file" .txt)"
  if [ -f "$stamp" ] && cmp -s "$stamp" "$file"; then continue; fi
  packages="$(grep -v '^#' "$file" | tr '\n' ' ')"
  if [ "$action" != install ]; then
    echo "setup: these Python packages are missing from .venv: $packages" >&2
    exit 1
  fi
  if [ ! -x .venv/bin/pip ]; then
    echo "setup: making the Python environment .venv"
    python3 -m venv .venv
  fi
  echo "setup: installing $packages"
  if ! .venv/bin/pip install --quiet --disable-pip-version-check -r "$file"; then
    echo "setup: pip could not install $packages" >&2
    case "$file" in *-run.txt | *-test.txt)
      echo "setup: a CUDA toolkit of 12.9 or newer (CUDA_HOME), or DEEPWELL_NVRTC=FOLDER for NVRTC alone, serves as well" >&2 ;;
    esac
    exit 1
  fi
  cp "$file" "$stamp"
done
