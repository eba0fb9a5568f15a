#!/usr/bin/env bash
# Time a picture must stay the same, within 15 %, from batch 32 to 256, and over 1, 2, 4 and 8 times the data.
#
#   tests/bench/scale.sh [NETWORK...] [--device D] [--program FILE] [--rounds N] [--python PYTHON]     networks: [lenet]
#
# The sizes are measured in turn, N times [3]; the median of each counts. With a PYTHON that has torch, its batches are measured in
# the same rounds, for comparison: what it takes decides nothing.
set -u
shopt -s lastpipe # judge notes its failures in this shell
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$here/../../build/monocle device=auto rounds=3 python="" networks=() failed=0
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

# Of what measured a step: microseconds a picture
a_picture() {
    python3 -c 'import json, sys; print("%.2f" % (1e6 / json.loads(sys.stdin.read())["img_per_s"]))'
}

# speed NETWORK BATCH PICTURES
speed() {
    "$program" bench "$1" --device "$device" --batch "$2" --pictures "$3" --json | a_picture
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

scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
for network in "${networks[@]:-lenet}"; do
    : >"$scratch/own" && : >"$scratch/torch"
    for ((round = 0; round < rounds; round++)); do
        for batch in 32 64 128 256; do
            echo "$batch $(speed "$network" $batch $((4 * batch)))" >>"$scratch/own"
            [ -z "$python" ] || echo "$batch $("$python" "$here/torch_train.py" "$network" eager --batch $batch | a_picture)" \
                >>"$scratch/torch"
        done
    done
    judge "$(printf '%-13s batch 32, 64, 128, 256:     ' "$network")" 15 <"$scratch/own"
    [ -z "$python" ] || judge "$(printf '%-13s batches, PyTorch:            ' "$network")" inf <"$scratch/torch"
    for ((round = 0; round < rounds; round++)); do
        for data in 1 2 4 8; do echo "$data $(speed "$network" 64 $((1024 * data)))"; done
    done | judge "$(printf '%-13s data 1, 2, 4, 8 times 1024: ' "$network")" 15
done
exit $failed
