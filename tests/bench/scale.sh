#!/usr/bin/env bash
# Time a picture must stay the same, within 15 %, from batch 32 to 256, and over 1, 2, 4 and 8 times the data.
#
#   tests/bench/scale.sh [NETWORK...] [--device D] [--program FILE]     networks: [lenet]
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$here/../../build/monocle device=auto networks=() failed=0
while [ $# -gt 0 ]; do
    case $1 in
    --device) device=$2; shift ;;
    --program) program=$2; shift ;;
    -*) echo "scale.sh: unknown option $1" >&2; exit 2 ;;
    *) networks+=("$1") ;;
    esac
    shift
done

# speed NETWORK BATCH PICTURES: microseconds a picture
speed() {
    "$program" bench "$1" --device "$device" --batch "$2" --pictures "$3" --json |
        python3 -c 'import json, sys; print("%.2f" % (1e6 / json.loads(sys.stdin.read())["img_per_s"]))'
}

# judge NETWORK WHAT VALUE...: prints the times and by how much the largest is above the least
judge() {
    python3 - "$@" <<'PYTHON' || failed=1
import sys
network, what, times = sys.argv[1], sys.argv[2], [float(value) for value in sys.argv[3:]]
worst = 100 * (max(times) / min(times) - 1)
print("%-13s %-26s us a picture: %s; within %.1f %%%s" % (
    network, what, "  ".join("%.1f" % t for t in times), worst, "" if worst <= 15 else "  TOO MUCH"))
sys.exit(worst > 15)
PYTHON
}

for network in "${networks[@]:-lenet}"; do
    times=()
    for batch in 32 64 128 256; do times+=("$(speed "$network" $batch $((4 * batch)))"); done
    judge "$network" 'batch 32, 64, 128, 256' "${times[@]}"
    times=()
    for data in 1 2 4 8; do times+=("$(speed "$network" 64 $((1024 * data)))"); done
    judge "$network" 'data 1, 2, 4, 8 times 1024' "${times[@]}"
done
exit $failed
