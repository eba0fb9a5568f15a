#!/bin/sh
# Every variant on each OpenCL driver that needs no hardware: PoCL, PoCL that allows small work-groups only, and Mesa's rusticl
# on llvmpipe, whose groups, local memory and compiler are unlike PoCL's. runtimes.sh BUILD [CONFORMANCE OPTION...]
# A driver that is not installed is a visible skip; one that finds no device fails.
set -u
build=$(cd "$1" && pwd) || exit 2
shift
program=$build/tests/conformance/conformance
XDG_CACHE_HOME=$build/test-cache
POCL_CACHE_DIR=$build/test-cache/pocl
RUSTICL_ENABLE=llvmpipe
export XDG_CACHE_HOME POCL_CACHE_DIR RUSTICL_ENABLE
mkdir -p "$POCL_CACHE_DIR" "$build/runtimes"
failed=0

# on NAME ICD OPTION...: two at a time, since each takes one core
on() {
  name=$1 icd=/etc/OpenCL/vendors/$2
  shift 2
  if [ ! -e "$icd" ]; then
    echo "SKIP  $name: no $icd"
    return
  fi
  printf '%s\n' itself gpu cpu | OCL_ICD_VENDORS=$icd xargs -P 2 -I @as@ sh -c '
    name=$1 program=$2 out=$3
    shift 3
    if "$program" --device opencl --as @as@ "$@" >"$out" 2>&1; then
      echo "ok    $name: $(tail -n 1 "$out")"
    else
      grep -A 1 -e "^FAIL" -e "^SKIP" "$out" || tail -n 20 "$out"
      echo "FAIL  $name, see $out"
      exit 1
    fi' sh "$name as @as@" "$program" "$build/runtimes/$name-as-@as@.out" "$@" || failed=1
}

on pocl pocl.icd "$@"
POCL_MAX_WORK_GROUP_SIZE=256 && export POCL_MAX_WORK_GROUP_SIZE
on pocl-groups-of-256 pocl.icd "$@"
# llvmpipe leaves a kernel's loops after 65,535 rounds, all loops of a work-item counted together: long sums come out short, and
# what an item of many results comes to last is never written. And it compiles a kernel in tens of seconds: each fourth problem of a
# variant.
on rusticl rusticl.icd --largest 3000 --every 4 "$@"
exit $failed
