# Bad input: a clear message, the proper exit status, nothing half-written, an earlier checkpoint never lost.
. "$(dirname "$0")/lib.sh"

quick --run good --quiet
expect 0

# --- Missing, truncated and corrupt data
run train nowhere --device native
expect 1 'nowhere: no such file or folder'
run train nowhere.yaml --device native
expect 1 'nowhere.yaml: no such file or folder'
mkdir nothing
run train nothing --device native
expect 1 'nothing: expected IDX files, CIFAR-10 batches, or at least two folders of pictures'
cp -r idx cut
head -c 300 idx/train-images-idx3-ubyte.gz >cut/train-images-idx3-ubyte.gz
run train cut --network mlp --device native --run r-cut
expect 1 'cut/train-images-idx3-ubyte.gz: the file is truncated'
cp -r idx short
head -c 100 idx/train-labels-idx1-ubyte >short/train-labels-idx1-ubyte
run train short --network mlp --device native --run r-short
expect 1 'short/train-labels-idx1-ubyte: .*truncated'
cp -r idx junk
head -c 5000 /dev/zero >junk/train-images-idx3-ubyte.gz
run train junk --network mlp --device native --run r-junk
expect 1 'junk/train-images-idx3-ubyte.gz'
cp -r idx gone
rm gone/t10k-labels-idx1-ubyte.gz
run train gone --network mlp --device native --run r-gone
expect 1 'there is .*gone/t10k-images-idx3-ubyte.gz, but no file of its labels'
check 'no run is begun where the data is bad' lacks r-cut
check 'no run is begun where the data is bad' lacks r-junk

# --- Wrong label counts
cp -r idx count
{ printf '\0\0\10\1\0\0\0\170' | head -c 7; printf '\157'
  tail -c +9 idx/train-labels-idx1-ubyte | head -c 111; } >count/train-labels-idx1-ubyte
run train count --network mlp --device native --run r-count
expect 1 'train-images-idx3-ubyte.gz has 120 pictures, but .*train-labels-idx1-ubyte has 111 labels'
check 'no run is begun with wrong counts' lacks r-count

# --- More files than are taken: none is left out silently
run train idx --network mlp --device native --run r-many --set "data.train_files=$(seq -s ', ' -f 'part-%g.gz' 65)"
expect 2 'data.train_files names more than 64 files'
check 'no run is begun with too many files' lacks r-many
run train idx --network mlp --device native --run r-files --set data.test_files=test_batch.bin
expect 2 "idx: train_files and test_files choose among CIFAR-10's batches, but this is a folder of IDX files"
check 'no run is begun with files that nothing reads' lacks r-files

# --- Impossible shapes: the layer's name and both shapes
cat >window.yaml <<END
network:
  layers:
    - conv2d: {name: first, filters: 8, kernel: 31}
    - flatten: {}
    - dense: {units: classes}
data: {path: idx}
END
run train window.yaml --device native --run r-shape
expect 2 'window.yaml:3:7: layer "first" \(conv2d\): a window of \(31, 31\).* does not fit the input \(8, 8, 1\)'
cat >sum.yaml <<END
network:
  layers:
    - conv2d: {filters: 8, kernel: 3, padding: 1}
    - residual:
        name: block
        layers:
          - conv2d: {name: inner, filters: 16, kernel: 3, padding: 1}
    - flatten: {}
    - dense: {units: classes}
data: {path: idx}
END
run train sum.yaml --device native --run r-shape
expect 2 'sum.yaml:[0-9]+:[0-9]+: layer "block' '\(8, 8, 16\)' '\(8, 8, 8\)'
cat >outputs.yaml <<END
network:
  layers:
    - flatten: {}
    - dense: {name: last, units: 7}
data: {path: idx}
END
run train outputs.yaml --device native --run r-shape
expect 2 'layer "last" gives \(7\), but the data has 4 classes'
check 'no run is begun with an impossible network' lacks r-shape
run train idx --network mlp --device native --set training.batch=1000 --run r-shape
expect 2 'the training part has [0-9]+ pictures, fewer than one batch of 1000'

# --- Unknown YAML keys, wrong types, --set
printf 'network: mlp\ndata: {path: idx}\noptimiser:\n  lerning_rate: 0.1\n' >key.yaml
run train key.yaml --device native
expect 2 'key.yaml:4:3: unknown key "lerning_rate"; did you mean "learning_rate"\?'
printf 'network: mlp\ndata: {path: idx}\ntraining:\n  epochs: many\n' >type.yaml
run train type.yaml --device native
expect 2 'type.yaml:4:11: "epochs" must be a whole number from 1 to 1000000, not "many"'
printf 'network: mlp\n  data: [\n' >syntax.yaml
run train syntax.yaml --device native
expect 2 'syntax.yaml:[0-9]+:[0-9]+: '
quick --set training.epoch=3
expect 2 '--set training.epoch: unknown key "epoch"; did you mean "epochs"\?'
quick --set training
expect 2 '--set training: expected key.path=value'
quick --set optimiser.kind=sgdm
expect 2 '"kind" must be sgd, adam or adamw, not "sgdm"'
run train idx --device native --set network=nosuch
expect 2 'there is no network "nosuch"'
quick --gemm fast
expect 2 'gemm.* must be auto, clblast or own, not "fast"'

# --- Unreadable pictures: named; skipped only if asked
echo 'no picture' >pictures/grey/bad.jpg
small='--device native --quiet --set training.epochs=1 --set training.batch=8 --set data.height=16 --network mlp'
run train pictures $small --run r-pictures
expect 1 'pictures/grey/bad.jpg: neither a JPEG nor a PNG'
check 'no run is begun with an unreadable picture' lacks r-pictures
run train pictures $small --run skipped --set data.skip_unreadable=true
expect 0 'left out: .*pictures/grey/bad.jpg: neither'
run predict skipped pictures/grey --device native
expect 1 'pictures/grey/bad.jpg: neither a JPEG nor a PNG'
run predict skipped pictures/grey --device native --skip-unreadable
expect 0 'left out: pictures/grey/bad.jpg'
prints 'pictures/grey/00.JPG: '
run predict skipped pictures/none.png --device native
expect 1 'pictures/none.png: No such file'
run predict skipped idx --device native
expect 1 'idx: no pictures'

# --- Missing, truncated and corrupt checkpoints
run eval nowhere --device native
expect 1 'nowhere: there is no such folder of a run'
run eval nothing --device native
expect 1 'nothing has no config.yaml'
run predict nothing pictures/dark --device native
expect 1 'nothing has neither best.safetensors nor last.safetensors'
run train --run nothing --resume --device native
expect 1 'nothing has no config.yaml'
damage() { # damage RUN FILE: the same length, one byte changed near the end
    local size
    size=$(stat -c %s "$1/$2")
    printf '\125\252' | dd of="$1/$2" bs=1 seek=$((size - 1000)) conv=notrunc status=none
}
cp -r good torn
head -c 50000 good/best.safetensors >torn/best.safetensors
run eval torn --device native
expect 1 'torn/best.safetensors: .*truncated'
cp -r good damaged
damage damaged best.safetensors
run eval damaged --device native
expect 1 'damaged/best.safetensors: the file is damaged'
damage damaged last.safetensors
cp damaged/last.safetensors kept
cp damaged/log.jsonl kept-log
run train --run damaged --resume --device native --set training.epochs=4
expect 1 'damaged/last.safetensors: the file is damaged'
check 'a damaged checkpoint stays for those who look' cmp -s kept damaged/last.safetensors
check 'nor is the log cut' cmp -s kept-log damaged/log.jsonl

# --- A run that is there already
cp good/last.safetensors kept
quick --run good
expect 2 'good holds a run already: go on with --resume'
check 'the checkpoint is as it was' cmp -s kept good/last.safetensors

# --- No space on disk
limited() { (ulimit -f "$1"; shift; "$@"; echo "$status" >limited-status); status=$(cat limited-status); }
limited 200 quick --run full
expect 1 'cannot write .*full/(best|last).safetensors: no space left on device'
check 'no checkpoint is half there' lacks full/best.safetensors
check 'nor a temporary one' bash -c '! ls -A full | grep -q tmp'
cp -r good grown
limited 200 run train --run grown --resume --device native --set training.epochs=4
expect 1 'cannot write .*grown/(best|last).safetensors: no space left on device'
check 'the earlier checkpoint is not lost' cmp -s kept grown/last.safetensors
run train --run grown --resume --device native --set training.epochs=4
expect 0
last='results that cannot be written'
for arguments in "--help" "version" "train --help" "eval good --device native" "predict skipped pictures/dark --device native"; do
    "$program" $arguments >/dev/full 2>err
    status=$?
    last="monocle $arguments >/dev/full"
    expect 1 'the output could not be written: No space left on device'
done
last='monocle init into a closed pipe'
{ sleep 0.3; "$program" init 2>err; echo $? >closed; } | true
status=$(cat closed)
expect 1 'the output could not be written: Broken pipe'

# --- A device that does not exist
quick --device nosuch
expect 1 'no device fits "nosuch"; there is: .*native'
quick --device 97:3
expect 1 'no device fits "97:3"'
run MONOCLE_DEVICE=nosuch train idx --network mlp
expect 1 'no device fits "nosuch"'
none=OCL_ICD_VENDORS=/nonexistent
run $none train idx --network mlp --device gpu
expect 1 'no device fits "gpu"; there is: native .*no OpenCL driver is installed'
run $none train idx --network mlp --set training.epochs=1 --set training.batch=20 --run plain
expect 0 '^Device native: .*no OpenCL driver is installed'

# --- Numbers that run away
quick --set optimiser.learning_rate=1e5 --run nan
origin='[a-z0-9]+ \([a-z0-9_]+(, backward)?\)'
expect 1 "step [0-9]+: the first NaN or infinity comes out of $origin; the state is that of step [0-9]+"
check 'the last good state is saved' test -s nan/last.safetensors
finish
