# Train, eval, predict and resume, as they are meant to go.
. "$(dirname "$0")/lib.sh"

# --- A folder of IDX files, no YAML; the run's folder is made beside others
run train idx --network mlp --device native --set training.epochs=1 --set training.batch=20
expect 0 '^Device native: ' '^Data .*/idx: 4 classes, pictures of 8 x 8 x 1: 108 for training, 12 for validation, 40 for the test' \
    '^Network mlp: [0-9]+ parameters' '^Run runs/mlp$' '^Epoch 1/1  loss ' '^Next: monocle eval runs/mlp'
prints '^best epoch 1: validation loss [0-9.]+, accuracy [0-9.]+ %$' \
    '^best epoch 1: test loss [0-9.]+, accuracy [0-9.]+ % \(40 pictures\)$' \
    '^trained 5 steps in '
for file in config.yaml log.jsonl last.safetensors best.safetensors; do check "the run has $file" test -s runs/mlp/$file; done
run train idx --network mlp --device native --set training.epochs=1 --set training.batch=20 --quiet
expect 0
check 'quiet is quiet' empty err
check 'a second run has a folder of its own' test -s runs/mlp-2/best.safetensors

# --- A run is read from anywhere
cd / || exit 1
here=$work/out there=$work/err
"$program" eval "$work/runs/mlp" --device native >"$here" 2>"$there"
status=$?
cd "$work" || exit 1
last='monocle eval from elsewhere'
expect 0
prints '^test part, 40 pictures: loss [0-9.]+, top-1 [0-9.]+ %, top-5 100.00 %' '^class +precision +recall +F1' '^3  ' '^confusion'
run eval runs/mlp --device native --split train --json --quiet
expect 0
prints '"part": "train"' '"samples": 108' '"confusion": \['
check 'quiet is quiet' empty err
run summary runs/mlp
expect 0
prints '^network mlp'
grep -q "^  path: $work/idx" runs/mlp/config.yaml
check 'config.yaml has an absolute path' test $? -eq 0

# --- Before an epoch is over nothing is the best yet; a long list of files is kept whole
mkdir many
head -c 3073 /dev/zero >many/test_batch.bin
for name in $(seq -f 'data_batch_%080g.bin' 60); do cp many/test_batch.bin "many/$name"; done
run train many --network mlp --device native --set training.batch=10 --set training.max_steps=2 --run short \
    --set "data.train_files=$(cd many && echo data_batch_*)"
expect 0
prints '^last weights: validation loss ' '^last weights: test loss '
check 'config.yaml has all of a long list' grep -qF "data_batch_$(printf %080d 60).bin" short/config.yaml

# --- The network that the size of the pictures chose is named in the run
run train idx --device native --set training.epochs=1 --set training.batch=20 --run chosen --quiet
expect 0
run eval chosen --device native
expect 0

# --- A step limit within the first epoch: no best yet, the last is used
quick --set training.max_steps=3 --run limited
expect 0
prints '^last weights: test loss' '^trained 3 steps'
run eval limited --device native
expect 0

# --- Going on: to the limit and past it, with the bits of a run in one piece; an epoch's last batch is of 8 pictures
quick --run whole --quiet --set training.keep_partial=true --set training.micro_batches=2
quick --run parts --quiet --set training.keep_partial=true --set training.micro_batches=2 --set training.max_steps=7
expect 0
run train --run parts --resume --device native --quiet --set training.max_steps=0
expect 0
"$program" eval whole --device native --json --quiet >whole.json
"$program" eval parts --device native --json --quiet >parts.json
check 'a resumed run ends as one in one piece' cmp -s whole.json parts.json
run train --run whole --resume --device native --set training.epochs=3 --set data.split_seed=5
expect 2 'training_samples' 'or train a new run'
run train --run whole --resume --device native --set training.epochs=3
expect 0 '^Epoch 3/3  loss'

# A run in the background, as $child, that would not end by itself: `first_checkpoint RUN` waits until it has saved, and
# `ended WHAT` until it is gone, with its output where that of `run` is.
first_checkpoint() { for i in $(seq 100); do [ -s "$1/last.safetensors" ] && break; sleep 0.1; done; }
ended() {
    wait $child
    status=$?
    last=$1
    cp begun out && cp said err
}

# --- Told to end: the step is finished and saved. (A shell has what runs in its background ignore Ctrl-C.)
"$program" train idx --network mlp --device native --set training.epochs=100000 --set training.batch=20 --run stopped \
    >begun 2>said &
child=$!
first_checkpoint stopped
run train --run stopped --resume --device native
expect 2 'stopped: another trainer is at work in this folder'
kill -TERM $child
ended 'SIGTERM'
expect 1 'stopped after step [0-9]+, which is saved; go on with: monocle train --run stopped --resume'
run train --run stopped --resume --device native --set training.epochs=1 --quiet
expect 0

# --- Ctrl-C is for the job in front, not for one that was told to ignore it
(trap '' INT; exec "$program" train idx --network mlp --device native --set training.epochs=100000 --set training.batch=20) \
    >begun 2>said &
child=$!
first_checkpoint runs/mlp-3
kill -INT $child
sleep 0.2
check 'an ignored Ctrl-C ends nothing' kill -0 $child
kill -TERM $child
ended 'SIGTERM after an ignored SIGINT'
expect 1 'stopped after step [0-9]+, which is saved; go on with: monocle train --run runs/mlp-3 --resume'
run train idx --network mlp --device native --set training.batch=4000 --quiet
expect 2 'make batch smaller'
check 'a run that does not begin leaves no folder' lacks runs/mlp-4

# --- Pictures: a run, its cache beside it, eval from the cache, predict
small='--network mlp --device native --set training.epochs=8 --set training.batch=8 --set data.height=16 --set data.test=0.2'
run train pictures $small --run pics/first
expect 0 '^Data .*/pictures: 3 classes, pictures of 16 x 16 x 3: '
check 'decoded pictures are kept beside the run' bash -c 'ls pics/picture-cache/*.cache >/dev/null'
cp pics/picture-cache/*.cache before
run eval pics/first --device native
expect 0
prints '^bright ' '^dark ' '^grey '
check 'eval decodes nothing again' cmp -s before pics/picture-cache/*.cache
run predict pics/first pictures/dark/06.JPG pictures/bright --device native
expect 0 '^Device native: '
prints '^pictures/dark/06.JPG: dark [0-9.]+ %$' '^pictures/bright/00.JPG: bright [0-9.]+ %$' '^pictures/bright/11.png: '
mkdir -p mixed/folder.jpg && cp pictures/dark/06.JPG mixed/.hidden.JPG && cp pictures/dark/06.JPG mixed/shown.JPG
run predict pics/first mixed --device native --csv --top 1 --quiet
expect 0
check 'of a folder, its pictures that are not hidden' test "$(cut -d , -f 1 out | xargs)" = 'file mixed/shown.JPG'
run predict pics/first/best.safetensors pictures/dark/06.JPG --device native --csv --top 2 --quiet
expect 0
prints '^file,rank,class,probability$' '^pictures/dark/06.JPG,1,dark,0\.[0-9]{6}$' '^pictures/dark/06.JPG,2,'
run predict pics/first pictures/dark/06.JPG --device native --json --top 9 --quiet
expect 0
prints '"file": "pictures/dark/06.JPG"' '"class": "dark"' '"class": "bright"'
if cp pictures/dark/06.JPG $'caf\xe9.jpg' 2>/dev/null; then # not where file names must be UTF-8
    run predict pics/first $'caf\xe9.jpg' --device native --json --quiet
    expect 0
    prints '"file": "caf.*\.jpg"' '"class": "dark"'
fi

# --- A picture that goes bad in the middle of a run: the steps before it are kept, and the run goes on when it is back
cp -r pictures going
"$program" train going --network mlp --device native --set training.epochs=100000 --set training.batch=8 --set data.height=16 \
    --set data.residence=stream --set data.cache_megabytes=0 --set data.validation=0 --run streamed >begun 2>said &
child=$!
first_checkpoint streamed
for picture in going/dark/*; do : >"$picture"; done
ended 'a picture that goes bad'
expect 1 'going/dark/.*; step [0-9]+ is saved'
cp pictures/dark/* going/dark/
run train --run streamed --resume --device native --quiet --set training.epochs=1
expect 0

# --- The plan
quick --explain --run explained
expect 0
prints '^node +operator +output +variant +by +launches' '^-- compute' '^fc1 +dense \+bias \+relu +\(20, 512\)' \
    'no product goes to a library' 'a batch of 20 needs [0-9.]+ MiB at its peak' \
    '^each picture more takes [0-9.]+ MiB, evaluation included; a batch of [0-9]+, all there are, fits the device.s [0-9]+ MiB$'
check '--explain begins no run' lacks explained

# --- A terminal: the bar keeps to its width
if command -v script >/dev/null && script -qec true /dev/null >/dev/null 2>&1; then
    script -qec "stty cols 60; TERM=xterm '$program' train idx --network mlp --device native --set training.batch=20 \
        --set training.epochs=4 --run terminal" /dev/null </dev/null >typed 2>&1
    status=$?
    last='training on a terminal'
    cp typed out
    expect 0
    prints 'Epoch [0-9]+/4 \[[#.]+\]  loss'
    tr '\r' '\n' <typed | sed 's/\x1b\[K//g' | grep -E '^Epoch .*\[' >bars
    check 'no bar is wider than the terminal' bash -c '! grep -Eq "^.{60}" bars'
else
    echo 'skipped: there is no pseudo-terminal here'
fi
finish
