# Sourced by every test_*.sh, with the program and make_data as arguments. Makes a folder with data and works there.
#
#   run [NAME=VALUE...] ARGUMENT...   runs monocle; leaves $status, and its output in ./out and ./err
#   expect STATUS 'pattern'...        the status, and each pattern (grep -E) in stderr; said and counted where it is not so
#   prints 'pattern'...               the same of stdout
#   finish                            ends the script, failing if anything did not hold
set -u
program=$1
make_data=$2
work=$(mktemp -d /tmp/monocle-cli-XXXXXX)
trap 'rm -rf "$work"' EXIT
"$make_data" "$work" || exit 1
cd "$work" || exit 1
unset MONOCLE_DEVICE MONOCLE_KERNELS

failures=0 checks=0 last=

complain() {
    failures=$((failures + 1))
    echo "FAILED: $last"
    echo "  $1"
    sed 's/^/  out: /' out | head -20
    sed 's/^/  err: /' err | head -20
}

run() {
    last="monocle $*"
    local environment=()
    while [[ ${1-} == [A-Z]*=* ]]; do environment+=("$1"); shift; done
    env "${environment[@]}" "$program" "$@" >out 2>err </dev/null
    status=$?
}

contains() {
    local file=$1 pattern
    shift
    for pattern; do
        checks=$((checks + 1))
        grep -Eq -- "$pattern" "$file" || complain "no \"$pattern\" in std$file"
    done
}

expect() {
    checks=$((checks + 1))
    [ "$status" -eq "$1" ] || complain "the exit status is $status, not $1"
    shift
    contains err "$@"
}

prints() { contains out "$@"; }

# check DESCRIPTION COMMAND...: the command succeeds.
check() {
    last=$1
    shift
    checks=$((checks + 1))
    "$@" || complain "does not hold: $*"
}

lacks() { [ ! -e "$1" ]; }
empty() { [ ! -s "$1" ]; }

finish() {
    echo "$checks checks, $failures failed"
    [ "$checks" -gt 0 ] && [ "$failures" -eq 0 ]
    exit
}

# A short run on the small IDX data, natively: `quick ARGUMENT...` after `train`.
quick() { run train "$work/idx" --network mlp --device native --set training.epochs=2 --set training.batch=20 "$@"; }
