#!/usr/bin/env bash
# Run NVIDIA's compute-sanitizer over the tests of the CUDA kernels: accesses out of bounds (memcheck), races for
# shared memory (racecheck), reads of what nobody wrote (initcheck). Needs a GPU; a warning of racecheck counts too.
#
#   tools/sanitize_kernels.sh [TEST FILE OR FOLDER ...] [OPTION OF PYTEST ...]
#
# Each check of each test file is a process of its own, JOBS of them at once. TOOLS names the checks to run, PYTHON the
# interpreter, LOGS a folder for the full reports.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export LOGS=${LOGS:-out/sanitizer}
TOOLS=${TOOLS:-memcheck racecheck initcheck}
JOBS=${JOBS:-$(nproc)}

places=()
while [ $# -gt 0 ] && [[ $1 != -* ]]; do
    places+=("$1")
    shift
done
[ ${#places[@]} -gt 0 ] || places=(test/ops/gpu)

if ! command -v compute-sanitizer > /dev/null; then
    echo "sanitize_kernels: compute-sanitizer is not on the PATH: it comes with the CUDA toolkit" >&2
    exit 2
fi
if ! reason=$("$PYTHON" -c 'from avperception.pipeline.device.cuda_errors import import_cupy; import_cupy()' 2>&1); then
    echo "sanitize_kernels: ${reason##*$'\n'}" >&2
    exit 2
fi
if ! files=$(find "${places[@]}" -name 'test_*.py' | sort) || [ -z "$files" ]; then
    echo "sanitize_kernels: no test file in ${places[*]}" >&2
    exit 2
fi
mkdir -p "$LOGS"

# check TOOL FILE [OPTION ...]: one check of one file, told in one line.
check() {
    local tool=$1 file=$2 log summary tests code
    shift 2
    log="$LOGS/$tool.$(tr / . <<< "${file%.py}").txt"
    # Python's own allocator would hide where host memory ends.
    PYTHONMALLOC=malloc compute-sanitizer --tool "$tool" --print-limit 50 \
        "$PYTHON" -m pytest -q -p no:cacheprovider -p no:xdist "$file" "$@" > "$log" 2>&1
    code=$?
    summary=$(grep -E "(ERROR|RACECHECK) SUMMARY" "$log" | tail -1 | sed 's/^=* *//')
    tests=$(grep -E "^[0-9]+ (passed|failed)|[0-9]+ (passed|failed).* in " "$log" | tail -1)
    echo "$tool $file: ${summary:-no summary}; tests: ${tests:-none ran}"
    # The counts are all zero in a clean summary.
    if [ $code -ne 0 ] || [ -z "$summary" ] || [[ $summary =~ [1-9] ]] || [[ ! $tests =~ passed ]]; then
        echo "  see $log"
        return 1
    fi
}
export -f check

for tool in $TOOLS; do
    for file in $files; do printf '%s\0%s\0' "$tool" "$file"; done
done | xargs -0 -n 2 -P "$JOBS" bash -c 'check "${@: -2}" "${@:1:$#-2}"' _ "$@" || exit 1
