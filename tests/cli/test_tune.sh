# monocle tune: usage, rows that are kept and used, files that are not what they should be, and workers that hang or crash.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$work/cache # rows of its own; the kernels compiled here are few

# --- Usage
run tune
expect 2 'a network, a configuration, a folder or a run, please'
run tune mlpp
expect 2 '"mlpp" is no file, no folder, and no network; did you mean "mlp"\?'
run tune mlp --budget 0
expect 2 '--budget is a whole number from 1'
run tune mlp --budget soon
expect 2 '--budget is a whole number'
run tune mlp --device nosuch
expect 1 'nosuch'
run tune mlp lenet
expect 2 'one network, configuration, folder or run'

cat >tiny.yaml <<'END'
network:
  name: tiny
  layers: [{conv2d: {filters: 8, kernel: 3, padding: 1}}, relu, flatten, {dense: {units: classes}}]
data: {path: idx}
training: {batch: 20, epochs: 1}
schedule: {kind: constant}
END
rows() { find "$XDG_CACHE_HOME/monocle/tuning" -name '*.jsonl' 2>/dev/null; }
forget() { rm -rf "$XDG_CACHE_HOME/monocle/tuning"; }
explained() { run train tiny.yaml --device "$1" --explain; }

tunes() { # on this device: rows are written and used, exported and imported; damaged files are told and left
    local device=$1
    forget
    explained "$device"
    prints '^node .* by +launches' ' default '
    run tune tiny.yaml --device "$device" --budget 200 --json
    expect 0 '^[0-9]+ of [0-9]+ problems measured'
    prints '"node":"[a-z0-9_.]+","problem":"conv2d' '"problem":"dense_bwd_weight' '"batch":20'
    check 'there is one file of rows' test "$(rows | wc -l)" -eq 1
    explained "$device"
    expect 0
    prints ' conv2d .* tuned ' ' dense .* tuned '
    run tune tiny.yaml --device "$device" --export rows.jsonl
    expect 0 '^0 of [0-9]+ problems measured, [1-9][0-9]* were known'
    check 'what is exported is what is kept' cmp rows.jsonl "$(rows)"
    forget
    run tune --device "$device" --import rows.jsonl --export again.jsonl
    expect 0 'rows taken over from rows.jsonl'
    check 'what is imported is what was exported' cmp rows.jsonl again.jsonl
    explained "$device"
    prints ' dense .* tuned '

    { head -2 rows.jsonl; echo '{"problem": "dense'; } >bad.jsonl
    run tune --device "$device" --import bad.jsonl
    expect 1 'bad.jsonl:3: not a line of a tuning file'
    { head -1 rows.jsonl; echo '{"problem": "dense", "batch": 0, "choice": "tile"}'; } >bad.jsonl
    run tune --device "$device" --import bad.jsonl
    expect 1 'bad.jsonl:2: a row needs problem, batch and choice'
    sed 's/"driver":"/"driver":"other/' rows.jsonl >bad.jsonl
    run tune --device "$device" --import bad.jsonl
    expect 2 'bad.jsonl:1: measured with driver "other'
    run tune --device "$device" --import idx/train-labels-idx1-ubyte
    expect 1 'idx1-ubyte:1: '
    run tune --device "$device" --import missing.jsonl
    expect 1 'missing.jsonl'
    local file
    file=$(rows)
    echo 'no JSON' >"$file"
    explained "$device"
    expect 0 '\.jsonl:1: not a line of a tuning file.*the file is ignored, `monocle tune` makes it anew'
    prints ' default '
}
tunes native
# --- A run goes on with the kernels that it began with
tensors() { tail -c +$(($(od -An -tu8 -N8 "$1/last.safetensors") + 9)) "$1/last.safetensors"; }
differ() { ! cmp -s "$1" "$2"; }
begin() { run train tiny.yaml --device native --quiet --run "$@"; expect 0; }
go_on() { run train --device native --quiet --run "$1" --resume --set training.epochs=2; expect 0; }
begin plain --set training.epochs=2
sed 's/"choice":"[a-z_]*"/"choice":"reference"/' rows.jsonl >slow.jsonl
run tune --device native --import slow.jsonl
begin whole --set training.epochs=2
begin parts
cp -r parts lost
tensors plain >plain.tensors
tensors whole >whole.tensors
check 'the choice of kernels changes bits' differ plain.tensors whole.tensors
forget
go_on parts
check 'nothing is said of other bits' empty err
tensors parts >parts.tensors
check 'the bits are those of an uninterrupted run' cmp whole.tensors parts.tensors
spoil_checkpoint() { LC_ALL=C sed -i "$1" lost/last.safetensors; }
spoil_checkpoint 's/reference/referencf/g'
run train --device native --quiet --run lost --resume --set training.epochs=2
expect 1 'its checksum is [0-9a-f]+, but should be'
spoil_checkpoint "$(sed -n 's/.*its checksum is \([0-9a-f]*\), but should be \([0-9a-f]*\).*/s|\2|\1|/p' err)"
go_on lost
expect 0 'the run computed "[^"]*" with referencf, which is not there any more'

run probe
if ! grep -q PoCL out; then finish; fi # OpenCL without a compiler that is quick enough, or none at all
tunes cpu

# --- A driver that hangs or crashes costs one candidate
[ -d "${MONOCLE_SOURCE-}/kernels" ] || finish
spoil() { # spoil FOLDER STATEMENT: kernels whose product variant does this first
    cp -r "$MONOCLE_SOURCE/kernels" "$1"
    sed -i "/^__kernel void product(/,/^{/ s/^{/{ $2/" "$1/product.cl"
}
spoil crash '*(volatile __global int *)8 = 1;'
spoil hang 'volatile int more = 1; while (more) {}'
spoil wrong 'if (get_global_id(0) < 2) return;'
cat >dense.yaml <<'END'
network: {name: dense, layers: [flatten, {dense: {units: 32}}, relu, {dense: {units: classes}}]}
data: {path: idx}
training: {batch: 20, epochs: 1}
END
for how in crash hang wrong; do
    forget
    run MONOCLE_KERNELS="$how" tune dense.yaml --device cpu --budget 200 --deadline 4
    expect 0 '[1-9][0-9]* have something faster than the default'
    case $how in
    crash) prints '^  product +(crashes: Segmentation fault|ends the process)' ;; # the latter is what a sanitizer makes of it
    hang) prints '^  product +does not come to an end within 4 s' ;;
    wrong) prints '^  product +gives a wrong result: element' ;;
    esac
    prints '^ \* tile'
    check "what the $how costs is kept" grep -q '"choice":"product","failed":' "$(rows)"
    run MONOCLE_KERNELS="$how" train dense.yaml --device cpu --explain
    prints ' dense \+.* tile\([0-9,]+\) +tuned '
done
finish
