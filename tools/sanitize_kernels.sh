#!/usr/bin/env bash
# Run NVIDIA's compute-sanitizer over the tests of the CUDA kernels: accesses out of bounds (memcheck), races for
# shared memory (racecheck), reads of what nobody wrote (initcheck). Needs a GPU; a warning of racecheck counts too.
#
#   tools/sanitize_kernels.sh [FILE OR OPTION OF PYTEST ...]
#
# TOOLS names the checks to run, PYTHON the interpreter, LOGS a folder for the full reports.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
TOOLS=${TOOLS:-memcheck racecheck initcheck}
LOGS=${LOGS:-out/sanitizer}
[ $# -gt 0 ] || set -- test/ops/gpu

if ! command -v compute-sanitizer > /dev/null; then
    echo "sanitize_kernels: compute-sanitizer is not on the PATH: it comes with the CUDA toolkit" >&2
    exit 2
fi
if ! reason=$("$PYTHON" -c 'from avperception.pipeline.device.cuda_errors import import_cupy; import_cupy()' 2>&1); then
    echo "sanitize_kernels: ${reason##*$'\n'}" >&2
    exit 2
fi
mkdir -p "$LOGS"

failed=0
for tool in $TOOLS; do
    log="$LOGS/$tool.txt"
    # Python's own allocator would hide where host memory ends.
    PYTHONMALLOC=malloc compute-sanitizer --tool "$tool" --print-limit 50 \
        "$PYTHON" -m pytest -q -p no:cacheprovider -p no:xdist "$@" > "$log" 2>&1
    code=$?
    summary=$(grep -E "(ERROR|RACECHECK) SUMMARY" "$log" | tail -1 | sed 's/^=* *//')
    tests=$(grep -E "^[0-9]+ (passed|failed)|[0-9]+ (passed|failed).* in " "$log" | tail -1)
    echo "$tool: ${summary:-no summary}; tests: ${tests:-none ran}"
    # The counts are all zero in a clean summary.
    if [ $code -ne 0 ] || [ -z "$summary" ] || [[ $summary =~ [1-9] ]] || [[ ! $tests =~ passed ]]; then
        echo "  see $log"
        failed=1
    fi
done
exit $failed
