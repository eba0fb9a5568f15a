#!/usr/bin/env bash
# Time a picture must stay the same, within 15 %, from batch 32 to 256, and over 1, 2, 4 and 8 times the data.
#
#   tests/bench/scale.sh [NETWORK...] [--device D] [--program FILE] [--rounds N] [--python PYTHON]     networks: [lenet]
#
# The sizes take turns of 1024 pictures within one process (FILE is build/tests/bench/bench_scale), N times [9]; the median of each
# counts. With a PYTHON that has torch, its batches are measured in turn, in processes of their own, for comparison: what it takes
# decides nothing.
set -u
shopt -s lastpipe # judge notes its failures in this shell
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$here/../../build/tests/bench/bench_scale device=auto rounds=9 python="" networks=() failed=0
while [ $# -gt 0 ]; do
    case $1 in
    --device) device=$2; shift ;;
    --program) program=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --python) python=$2; shift ;;
    -*) echo "scale.sh: unknown option $1" >&2; exit 2 ;;
    *) networks+=("$1") ;;
    esac
    shift
done

# turns NETWORK BATCH:PICTURES...
turns() {
    "$program" "$1" "$device" "$rounds" 1024 "${@:2}"
}

# Of what measured a step: microseconds a picture
a_picture() {
    python3 -c 'import json, sys; print("%.2f" % (1e6 / json.loads(sys.stdin.read())["img_per_s"]))'
}

# judge WHAT LIMIT: from lines "SIZE MICROSECONDS", the medians and by how many % the largest is above the least
judge() {
    python3 -c '
import statistics, sys
times = {}
for line in sys.stdin:
    size, time = line.split()
    times.setdefault(size, []).append(float(time))
middle = [statistics.median(times[size]) for size in times]
worst, limit = 100 * (max(middle) / min(middle) - 1), float(sys.argv[2])
print("%s us a picture: %s; within %.1f %%%s" % (
    sys.argv[1], "  ".join("%.1f" % time for time in middle), worst, "" if worst <= limit else "  TOO MUCH"))
sys.exit(worst > limit)' "$1" "$2" || failed=1
}

for network in "${networks[@]:-lenet}"; do
    turns "$network" 32:1024 64:1024 128:1024 256:1024 |
        judge "$(printf '%-13s batch 32, 64, 128, 256:     ' "$network")" 15
    [ -z "$python" ] || for ((round = 0; round < rounds; round++)); do
        for batch in 32 64 128 256; do
            echo "$batch $("$python" "$here/torch_train.py" "$network" eager --batch $batch | a_picture)"
        done
    done | judge "$(printf '%-13s batches, PyTorch:            ' "$network")" inf
    turns "$network" 64:1024 64:2048 64:4096 64:8192 |
        judge "$(printf '%-13s data 1, 2, 4, 8 times 1024: ' "$network")" 15
done
exit $failed
