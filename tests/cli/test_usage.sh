# Commands, options, help, and what only prints.
. "$(dirname "$0")/lib.sh"

run
expect 2 'usage: monocle COMMAND'
check 'without a command nothing goes to stdout' empty out
run --help
expect 0
prints 'usage: monocle COMMAND' '^  predict +Names the classes'
check '--help says nothing on stderr' empty err
run trian
expect 2 'no command "trian"; did you mean "train"\?'
run frobnicate
expect 2 'no command "frobnicate"' 'monocle --help'

for command in probe train init eval predict summary networks bench completion version; do
    run $command --help
    expect 0
    prints "^usage: monocle $command" '--help  '
    run $command --frobnicate
    expect 2 "^monocle $command: unknown option --frobnicate" "^usage: monocle $command"
done
run train --help
prints '--set KEY.PATH=VALUE' '--resume' '--explain' '--gemm G'

run train
expect 2 'a configuration or a folder of data, please'
run train a b
expect 2 '"b" is too much'
run train --runn x a
expect 2 'unknown option --runn; did you mean --run\?'
run train idx --run
expect 2 '--run needs a value: DIR'
run train idx --quiet=yes
expect 2 '--quiet takes no value'
run train --resume
expect 2 '--resume needs --run DIR'
run train idx --network lenett
expect 2 'there is no network "lenett"; did you mean "lenet"\?'
run eval
expect 2 "one run's folder, please"
run eval x --split tset
expect 2 '--split is train, validation or test, not "tset"'
run predict x
expect 2 'a run and at least one picture or folder'
run predict x y --top 0
expect 2 '--top is a whole number from 1 to 1000, not "0"'
run predict x y --json --csv
expect 2 '--json or --csv, not both'
run summary lenet --batch many
expect 2 '--batch is a whole number from 1 to 1000000, not "many"'
run summary nosuch
expect 2 '"nosuch" is no file, no folder, and no network'

run version
expect 0
prints '^monocle [0-9]+\.[0-9]+\.[0-9]+$'
run --version
expect 0
prints '^monocle '
run networks
expect 0
prints '^mlp ' '^lenet ' '^resnet20 ' '^resnet20a ' '^resnet18 ' '^vgg11 ' '^mobilenet_v2 '
for network in mlp lenet resnet20 resnet20a resnet18 vgg11 mobilenet_v2; do
    run summary $network
    expect 0
    prints "^network $network" '^parameters: [0-9]+ ' 'a training step of 64 samples: about [0-9.]+ MiB'
done
run summary lenet --batch=7
prints '^parameters: 1663370 ' 'a training step of 7 samples'

run init
expect 0
prints '^network: lenet' '^  learning_rate: 0.01 ' '^  momentum: 0.9 '
run init first.yaml
expect 0 'monocle train first.yaml'
run init first.yaml
expect 1 'first.yaml is there already'
run train first.yaml --device native --run r --set data.path=idx --set training.epochs=1 --set training.batch=20
expect 0

for shell in bash zsh fish; do
    run completion $shell
    expect 0
    prints mobilenet_v2 skip-unreadable validation
done
run completion tcsh
expect 2 'bash, zsh or fish, please'
"$program" completion bash >script
offers() { # offers WORD LINE...: completing the last word of the line offers WORD
    bash -c '. ./script; wanted=$1; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _monocle
             for word in "${COMPREPLY[@]}"; do [ "$word" = "$wanted" ] && exit 0; done; exit 1' _ "$@"
}
check 'completion of commands' offers predict monocle pre
check 'completion of options' offers --explain monocle train --ex
check 'completion of networks' offers mobilenet_v2 monocle train --network mo
check 'completion of networks to measure' offers resnet18 monocle bench resnet1
check 'completion of networks to tune' offers resnet18 monocle tune resnet1
check 'completion of files of rows' offers first.yaml monocle tune --import fir
check 'completion of parts' offers validation monocle eval --split va
check 'completion of files' offers first.yaml monocle train fir
finish
