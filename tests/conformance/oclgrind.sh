#!/bin/sh
# Every kernel under the OpenCL interpreter oclgrind, on small problems: invalid accesses, data races, uninitialised
# reads, misuse of the API. oclgrind.sh BUILD [OPERATOR...]; fails when anything was reported.
set -eu
build=$(cd "$1" && pwd)
shift
program=$build/tests/conformance/conformance
logs=$build/oclgrind
mkdir -p "$logs"
rm -f "$logs"/*.log "$logs"/*.failed
XDG_CACHE_HOME=$logs/cache
export XDG_CACHE_HOME

[ $# -gt 0 ] || set -- $("$program" --list | grep ' ' | cut -d: -f1) # a view has no variants, and no space in its line

# One process for each operator and way of looking at the device: a convolution takes longer than all else together.
# Without -cl-opt-disable, oclgrind aborts on --uninitialized. Its exit status is the program's; its findings go to stderr,
# because each context empties the file of --log. The local memory is what PoCL gives here: kernels for CPUs use it as a cache.
for op in "$@"; do for as in itself gpu cpu; do echo "$op $as"; done; done | xargs -P "$(nproc)" -L 1 sh -c '
  name=$3-as-$4
  oclgrind --build-options -cl-opt-disable --local-mem-size 1048576 --data-races --uninitialized --check-api \
    "$1" --device opencl --small --bare --op "$3" --as "$4" >"$2/$name.out" 2>"$2/$name.log" || touch "$2/$name.failed"
  [ ! -s "$2/$name.log" ] || touch "$2/$name.failed"
  if [ -e "$2/$name.failed" ]; then
    grep -A 1 "^FAIL" "$2/$name.out"; head -40 "$2/$name.log"; echo "FAIL  $3 as $4"
  else
    echo "ok    $3 as $4: $(tail -n 1 "$2/$name.out")"
  fi' sh "$program" "$logs"

for failed in "$logs"/*.failed; do
  [ ! -e "$failed" ] || exit 1
done
