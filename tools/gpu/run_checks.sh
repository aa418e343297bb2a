#!/usr/bin/env bash
# Runs on a GPU machine without network: checks the operations, the instruction cases and the sanitizers on its GPU with
# the programs that tools/gpu/pack.sh made, and writes the results as a few files.
#   tools/gpu/run_checks.sh BIN RESULTS [STEP...]
#     STEP: machine doctor check repeat cases device memcheck racecheck synccheck bench (default: all but bench)
# RESULTS gets summary.json (every step with its exit code, seconds and counts), check.jsonl, bench.jsonl and log.txt.
# Exit code 1 when a step failed. Each step may take STEP_SECONDS (240).
set -uo pipefail
[ $# -ge 2 ] || { sed -n '2,8p' "$0"; exit 2; }
bin=$(cd "$1" && pwd) || exit 2
mkdir -p "$2" || exit 2
results=$(cd "$2" && pwd)
shift 2
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(machine doctor check repeat cases device memcheck racecheck synccheck)
cd "$(dirname "$0")/../.."
limit=${STEP_SECONDS:-240}
rows=$(mktemp)
log=$results/log.txt
: >"$log"

# NVRTC of the toolkit or of a wheel such as torch brings; the folder that holds it.
if [ -z "${DEEPWELL_NVRTC:-}" ]; then
  found=$(python3 - <<'PY'
import glob, os, site, sys
roots = [p for p in sys.path + site.getsitepackages() if os.path.isdir(p)]
for root in roots:
    for pattern in ("nvidia/cu13/lib/libnvrtc.so.13*", "nvidia/cuda_nvrtc/lib/libnvrtc.so.1*"):
        hits = sorted(p for p in glob.glob(os.path.join(root, pattern)) if "builtins" not in p)
        if hits:
            print(os.path.dirname(hits[0]))
            sys.exit(0)
PY
  )
  [ -n "$found" ] && export DEEPWELL_NVRTC=$found
fi
export DEEPWELL_CACHE_DIR=${DEEPWELL_CACHE_DIR:-$(mktemp -d)}
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1)

# step NAME OUTPUT COMMAND...: OUTPUT gets standard output ("-": the log).
step() {
  local name=$1 output=$2 start end code
  shift 2
  echo "=== $name: $*" >>"$log"
  start=$(date +%s.%N)
  if [ "$output" = - ]; then
    timeout "$limit" "$@" >>"$log" 2>&1
  else
    timeout "$limit" "$@" >"$output" 2>>"$log"
  fi
  code=$?
  end=$(date +%s.%N)
  printf '%s\t%s\t%s\t%s\n' "$name" "$code" "$(echo "$end $start" | awk '{printf "%.1f", $1 - $2}')" "$*" >>"$rows"
  echo "=== $name: exit code $code" >>"$log"
}

# missing NAME REASON: a step that cannot run is a failed step.
missing() {
  echo "=== $1: $2" >>"$log"
  printf '%s\t%s\t%s\t%s\n' "$1" 127 0 "$2" >>"$rows"
}

sanitize() {
  local tool=$1
  shift
  if [ -z "$sanitizer" ]; then
    missing "$tool" "compute-sanitizer was not found"
    return
  fi
  # Kernels are compiled before: the sanitizer slows the host down too.
  "$bin/deepwell" check --device cuda --quick >>"$log" 2>&1
  step "$tool" - "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 20 "$@" \
    "$bin/deepwell" check --device cuda --quick
}

for name in "${steps[@]}"; do
  case $name in
    machine) step machine - bash -c 'nvidia-smi; nvcc --version; uname -a; echo "NVRTC: $DEEPWELL_NVRTC"' ;;
    doctor) step doctor "$results/doctor.json" "$bin/deepwell" doctor --json ;;
    check) step check "$results/check.jsonl" "$bin/deepwell" check --device cuda --json ;;
    # Launches leave the same bits each time.
    repeat) step repeat - "$bin/deepwell" check --device cuda --quick --repeat 20 ;;
    cases)
      if [ -x "$bin/emu_tests" ]; then
        step cases - "$bin/emu_tests" --device=cuda --cases="$PWD/tests/emu/cases" --gtest_brief=1
      else
        missing cases "emu_tests is not in $bin"
      fi
      ;;
    device)
      if [ -x "$bin/gpu_tests" ]; then
        step device - "$bin/gpu_tests" --gtest_brief=1
      else
        missing device "gpu_tests is not in $bin"
      fi
      ;;
    # The end of a kernel's parameter list is learnt from a call that fails; errors of calls that matter fail the check itself.
    memcheck) sanitize memcheck --report-api-errors no ;;
    # Race checkers do not follow __syncwarp into one lane's arrive: every reader arrives in this build.
    racecheck) DEEPWELL_EVERY_READER_ARRIVES=1 sanitize racecheck ;;
    synccheck) sanitize synccheck ;;
    bench)
      if [ -x "$bin/bench_gemm_decode" ]; then
        step bench "$results/bench.jsonl" "$bin/bench_gemm_decode"
      else
        missing bench "bench_gemm_decode is not in $bin"
      fi
      ;;
    *) missing "$name" "no such step" ;;
  esac
done

python3 - "$rows" "$results" "$bin" <<'PY'
import collections, json, os, subprocess, sys

rows, results, bin_folder = sys.argv[1:]


def text_of(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def statuses(path):
    """How often each status occurs in a file of JSON lines; None when it is not such a file."""
    if not os.path.exists(path):
        return None
    counts = collections.Counter()
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            try:
                counts[json.loads(line).get("status", "none")] += 1
            except ValueError:
                counts["not JSON"] += 1
    return dict(counts)


steps = []
with open(rows, encoding="utf-8") as lines:
    for line in lines:
        name, code, seconds, command = line.rstrip("\n").split("\t", 3)
        steps.append({"name": name, "exit_code": int(code), "seconds": float(seconds), "command": command})
        if name == "check":
            steps[-1]["statuses"] = statuses(os.path.join(results, "check.jsonl"))
            # A run that checked nothing has not passed.
            if not (steps[-1]["statuses"] or {}).get("pass"):
                steps[-1]["exit_code"] = steps[-1]["exit_code"] or 1
commit = os.path.join(bin_folder, "commit.txt")
summary = {
    "gpu": text_of(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]),
    "nvrtc": os.environ.get("DEEPWELL_NVRTC", ""),
    "commit": open(commit, encoding="utf-8").read().split("\n")[0] if os.path.exists(commit) else "",
    "passed": bool(steps) and all(step["exit_code"] == 0 for step in steps),
    "steps": steps,
}
with open(os.path.join(results, "summary.json"), "w", encoding="utf-8") as out:
    json.dump(summary, out, indent=1)
    out.write("\n")
for step in steps:
    print(f"{step['name']:10} exit {step['exit_code']:3}  {step['seconds']:7.1f} s  {step.get('statuses') or ''}")
print("passed" if summary["passed"] else "FAILED; see log.txt")
sys.exit(0 if summary["passed"] else 1)
PY
code=$?
rm -f "$rows"
if [ $code -ne 0 ]; then
  echo "--- end of the log"
  tail -n 60 "$log"
fi
exit $code
