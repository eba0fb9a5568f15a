# monocle bench: usage, and results that are whole in both forms.
. "$(dirname "$0")/lib.sh"

run bench lenett
expect 2 'there is no network "lenett"; did you mean "lenet"\?'
run bench lenet --batch many
expect 2 '--batch is a whole number from 0 to 1000000, not "many"'
run bench lenet --steps 201
expect 2 '--steps is a whole number from 0 to 200'
run bench lenet --tuning some
expect 2 '--tuning is auto, shipped or off, not "some"'
run bench lenet --recompute of
expect 2 '--recompute is auto, on or off, not "of"'
run bench lenet --all
expect 2 '--all goes with --layers'
run bench lenet --device nosuch
expect 1 'nosuch'
check 'nothing is printed when nothing was measured' empty out

is_json() { command -v python3 >/dev/null || { echo 'skipped: no python3 to read JSON with' >&2; return 0; }; python3 -c "
import json, sys
lines = [json.loads(line) for line in open('out')]
for want in sys.argv[1:]:
    value = lines
    for key in want.split('.'): value = value[int(key)] if isinstance(value, list) else value[key]
    assert value, want
" "$@"; }

empty_folder() { [ -z "$(ls -A "$1")" ]; }
less() { # less A B: of the starts in out
    command -v python3 >/dev/null || return 0
    python3 -c 'import json, sys; start = json.load(open("out"))["start"]; sys.exit(start[sys.argv[1]] >= start[sys.argv[2]])' "$@"
}

for device in native cpu; do
    run bench mlp --device $device --batch 4 --steps 3 --layers
    if [ "$status" -eq 1 ] && grep -q 'no CPU' err; then continue; fi # a machine without OpenCL
    expect 0
    prints '^mlp, batch 4, on ' '^  step +[0-9.]+ ms' '^  pictures +[0-9.]+ a second' \
        '^  of the device [0-9.]+ % of [0-9.]+ GFLOP/s' '^  memory +[0-9.]+ MiB of the device at most' '^  start ' '^  launches ' \
        '^  node +operator' '\(--all\)$'
    run bench mlp --device $device --batch 4 --steps 1 --layers --all
    expect 0
    prints '^  fc1 +dense_bwd_weight' # without --all, who is among the first is a matter of time
    run bench mlp lenet --device $device --batch 2 --steps 2 --json --layers
    expect 0
    check "the JSON of $device is whole" is_json 0.model 0.ms 0.img_per_s 0.work.gflop 0.work.peak_gflop_per_s \
        0.work.peak_gb_per_s 0.work.share_of_peak 0.work.share_of_bandwidth 0.memory.planned_mib \
        0.memory.model_mib 0.memory.device_mib 0.type 0.start.first_step_s 0.launches.per_step 0.layers.0.variant 1.model
    [ $device = native ] || check "and says what a launch costs" is_json 0.launches.host_us_median 0.launches.host_us_mean \
        0.launches.steps_ahead

    mkdir -p scratch
    run TMPDIR=$PWD/scratch bench mlp --device $device --batch 4 --steps 1 --cold
    expect 0
    prints '^  start +cold [0-9.]+ s, warm [0-9.]+ s; here [0-9.]+ s from opening the device'
    check "nothing is left of the folder of $device" empty_folder scratch
    run TMPDIR=$PWD/scratch bench mlp --device $device --batch 4 --steps 1 --cold --json
    expect 0
    check "the JSON of $device has both starts" is_json 0.start.cold_s 0.start.warm_s 0.start.first_step_s
    [ $device = native ] || check 'the start with an empty cache is the slower one' less warm_s cold_s
    run TMPDIR=/proc/nowhere bench mlp --device $device --cold
    expect 1 'cannot make folder /proc/nowhere/monocle-cold-'

    last="monocle bench --cold --device $device, ended by a signal"
    TMPDIR=$PWD/scratch "$program" bench lenet --device $device --batch 64 --cold >out 2>err </dev/null &
    process=$!
    for ((i = 0; i < 1000; i++)); do empty_folder scratch || break; sleep 0.01; done
    kill -TERM $process
    wait $process
    status=$?
    expect 143
    check "nor where a signal comes" empty_folder scratch
done
finish
