#!/usr/bin/env bash
# The house's rules that a compiler does not check: includes point downwards, OpenCL stays in its folder, every operator has a
# test, an oracle and a native reference, the library neither prints, exits nor aborts, and lines have at most 132 columns.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failures=0
fail() { echo "$*" >&2; failures=$((failures + 1)); }

# cli, samples -> report, train -> data, nn -> graph -> ops -> device -> base
declare -A below=(
  [base]="base"
  [device]="base device"
  [ops]="base device ops"
  [graph]="base device ops graph"
  [nn]="base device ops graph nn"
  [data]="base data"
  [train]="base device ops graph nn data train"
  [report]="base device ops graph nn data report"
  [cli]="base device ops graph nn data train report cli"
)
while IFS=: read -r file _ include; do
  layer=${file#src/}; layer=${layer%%/*}
  target=${include#*\"}; target=${target%%/*}
  case " ${below[$layer]:-} " in
  *" $target "*) ;;
  *) fail "$file: src/$layer may not include from $target/" ;;
  esac
done < <(grep -rnE '^#include "[a-z_]+/' src --include='*.[ch]')

while read -r file; do fail "$file: OpenCL and CLBlast are included in src/device/opencl only"; done < <(
  grep -rlE '#include *<(CL/|clblast)' src include samples tests --include='*.[ch]' |
    grep -v -e '^src/device/opencl/' -e '^tests/device/')
while read -r file; do fail "$file: a sample includes public headers only"; done < <(grep -lE '^#include "' samples/*.c 2>/dev/null)
while read -r line; do fail "$line: the library does not print, exit or abort"; done < <(
  grep -rnE '\b(printf|puts|perror|exit|abort)\(' src --include='*.c' | grep -v -e '^src/cli/' -e 'snprintf' -e 'vsnprintf')

while read -r line; do fail "$line: more than 132 columns"; done < <( # but for Markdown's tables
  find src kernels include samples tests tuning README.md CMakeLists.txt -path samples/data -prune -o \
    \( -name '*.[ch]' -o -name '*.cl' -o -name '*.def' -o -name '*.sh' -o -name '*.py' -o \
       -name '*.cmake' -o -name CMakeLists.txt -o -name '*.md' \) -print0 |
    xargs -0 awk 'length > 132 && !/^\|/ {print FILENAME ":" FNR}')

while read -r line; do fail "$line: launches may be in pieces along dimensions 1 and 2: GROUP_ID, and no get_num_groups"; done < <(
  grep -nE 'get_(group_id|num_groups)\([12]\)' kernels/*.cl kernels/*.h)

for name in $(sed -nE 's/^MCL_OP\(([a-z0-9_]+)\).*/\1/p' src/ops/ops.def); do
  [ "$name" = reshape ] && continue # a view: no work
  family=${name%_bwd*}
  grep -rqE "mcl__op_$name\b" src/ops --include='*.c' || fail "operator $name has no definition"
  grep -rq "$name" src/ops/oracle --include='*.c' || fail "operator $name has no oracle"
  grep -rq "${family}" src/ops/native --include='*.[ch]' --include='*.def' ||
    { case $name in slice | pad | concat) ;; *) fail "operator $name has no native reference" ;; esac; }
  grep -rq "$name" tests/conformance tests/ops --include='*.c' || fail "operator $name is in no test"
done

[ $failures -eq 0 ] && echo "structure: every rule holds"
exit $((failures > 0))
