#!/bin/sh
# Every program that a GPU is given, by the vendors' offline compilers: what they refuse, and registers, spills and memory of each
# kernel. compilers.sh BUILD [SOURCE...]; fails on a program that is refused, registers spilled, and local memory of more than
# 32 KB. A compiler that is not installed is a visible skip. CLANG, PTXAS and OCLOC name others than those found.
# ptxas is part of NVIDIA's CUDA toolkit. Each record is in BUILD/compilers/TARGET.txt; here, the most of a kernel's programs.
set -eu
build=$(cd "$1" && pwd)
shift
wanted=" $* "
shares=$(nproc)
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../kernels"
folder=$build/compilers
CLANG=${CLANG:-clang-15}
OCLOC=${OCLOC:-ocloc}
[ -n "${PTXAS:-}" ] || PTXAS=$(command -v ptxas || echo /usr/local/cuda/bin/ptxas)
amd_library=${AMD_LIBRARY:-/usr/lib/x86_64-linux-gnu/amdgcn/bitcode}
nvidia_library=${NVIDIA_LIBRARY:-/usr/lib/clc/nvptx64--nvidiacl.bc}
common="-cl-std=CL1.2 -w -I . -D__OPENCL_VERSION__=120" # the runtime defines the version

# Each prints "KERNEL REGISTERS SPILLED PRIVATE LOCAL" a kernel; bytes, but AMD counts spilled registers. "-": not told.
# compile_VENDOR TARGET FILE SCRATCH OPTION...
compile_amd() {
  target=$1 file=$2 scratch=$3
  shift 3
  "$CLANG" -x cl $common -target amdgcn-amd-amdhsa --rocm-device-lib-path="$amd_library" -mcpu="$target" -O3 \
    -Rpass-analysis=kernel-resource-usage "$@" "$file" -o "$scratch.co" 2>"$scratch.log" || return 1
  awk '/ Function Name: / {name = $(NF - 1)} / VGPRs: / {registers = $(NF - 1)} /ScratchSize/ {private = $(NF - 1)}
    /VGPRs Spill: / {spilled = $(NF - 1)} /LDS Size/ {print name, registers, spilled, private, $(NF - 1)}' "$scratch.log"
}

# The assembler makes any newer target of what is written for the oldest, which the first target leaves beside the program.
compile_nvidia() {
  target=$1 file=$2 scratch=$3
  shift 3
  [ -e "$file.ptx" ] ||
    "$CLANG" -x cl $common -target nvptx64-nvidia-nvcl -Xclang -target-cpu -Xclang sm_75 -Xclang -target-feature -Xclang +ptx75 \
      -include "$here/nvidia.h" -O3 -Xclang -mlink-builtin-bitcode -Xclang "$nvidia_library" "$@" -S "$file" -o "$file.ptx" \
      2>"$scratch.log" || return 1
  "$PTXAS" -v "-arch=$target" "$file.ptx" -o "$scratch.cubin" >"$scratch.log" 2>&1 || return 1
  awk '/Compiling entry function/ {name = $7; gsub("\047", "", name)} /bytes stack frame/ {private = $1; spilled = $5 + $9}
    /Used [0-9]+ registers/ {shared = 0; for (i = 2; i <= NF; i++) {if ($i == "registers,") registers = $(i - 1)
      if ($i ~ /^smem/) shared = $(i - 2)} print name, registers, spilled, private, shared}' "$scratch.log"
}

# IGC starts again with narrower vectors where registers would spill; the narrowest is what runs. It links what is not there.
compile_intel() {
  target=$1 file=$2 scratch=$3
  shift 3
  rm -rf "$scratch.dump"
  mkdir "$scratch.dump"
  IGC_ShaderDumpEnable=1 IGC_DumpToCustomDir=$scratch.dump/ "$OCLOC" compile -file "$file" -device "$target" \
    -out_dir "$scratch.dump" -options "$common $*" >"$scratch.log" 2>&1 || return 1
  for undefined in "$scratch.dump"/*Intel_Symbol_Table_Void_Program*; do [ ! -e "$undefined" ] || return 1; done
  for width in 32 16 8; do
    for assembly in "$scratch.dump"/*simd${width}_entry_*.asm; do
      [ -e "$assembly" ] || continue
      awk '/^\/\/\.kernel / {name = $2} /numGRF=/ {registers = $0; sub(/.*numGRF=/, "", registers); sub(/,.*/, "", registers)}
        /^\/\/\.spill size/ {spilled = $3} /^\/\/\.private memory size/ {private = $4}
        END {print name, registers, spilled + 0, private + 0, "-"}' "$assembly"
    done
  done | awk '{last[$1] = $0} END {for (name in last) print last[name]}'
  rm -rf "$scratch.dump"
}

# compile_share VENDOR TARGET SHARE: one of so many shares of the programs; one record a kernel, "refused" in place of its numbers
# where there is no program.
compile_share() {
  scratch=$folder/$2.$3
  awk -v wanted="$wanted" -v shares="$shares" -v share="$3" \
    '(wanted == "  " || index(wanted, " " $2 " ")) && count++ % shares == share' "$sources/programs" |
    while read -r program source constants; do
      if compile_"$1" "$2" "$sources/$program" "$scratch" $constants >"$scratch.found"; then
        sed "s|\$| $source $constants|" "$scratch.found"
      else
        echo "refused - - - - $source $constants"
        cp "$scratch.log" "$folder/$2-$program.log"
      fi
    done >"$scratch.txt"
}

compile_all() {
  share=0
  while [ $share -lt "$shares" ]; do
    compile_share "$1" "$2" $share &
    share=$((share + 1))
  done
  wait
  cat "$folder/$2".[0-9]*.txt >"$folder/$2.txt"
  rm -f "$folder/$2".[0-9]*
}

report() {
  awk -v target="$1" '$1 == "refused" {bad = 1; $1 = $2 = $3 = $4 = $5 = ""; print "FAIL  " target " refuses" $0; next}
    $3 > 0 || ($5 != "-" && $5 > 32768) {bad = 1; print "FAIL  " target ": " $0}
    {programs[$1]++; for (i = 2; i <= 5; i++) if (!(($1, i) in most) || $i + 0 > most[$1, i] + 0) most[$1, i] = $i}
    END {for (name in programs)
        printf "%-10s %-32s %3d programs  %4s registers  %4s spilled  %5s private  %6s local\n", target, name, programs[name],
          most[name, 2], most[name, 3], most[name, 4], most[name, 5] | "sort"
      close("sort"); exit bad || !NR}' "$folder/$1.txt"
}

# on VENDOR COMPILER LIBRARY TARGET...
failed=0 asked=0
on() {
  vendor=$1 compiler=$2 library=$3
  shift 3
  tools="$CLANG $compiler"
  [ "$vendor" != intel ] || tools=$compiler
  for tool in $tools; do
    command -v "$tool" >/dev/null && continue
    echo "SKIP  $vendor: no $tool"
    return
  done
  if [ ! -e "$library" ]; then
    echo "SKIP  $vendor: no $library"
    return
  fi
  asked=$((asked + 1))
  for target; do
    compile_all "$vendor" "$target"
    report "$target" || failed=1
  done
}

rm -rf "$folder"
mkdir -p "$folder/few"
"$build/tests/conformance/gpu_programs" "$folder" >"$folder/programs"
"$build/tests/conformance/gpu_programs" "$folder/few" few-registers >"$folder/few/programs"
sources=$folder
on amd "$CLANG" "$amd_library" gfx906 gfx90a gfx1030
on nvidia "$PTXAS" "$nvidia_library" sm_75 sm_80 sm_90
sources=$folder/few
on intel "$OCLOC" / skl dg2
if [ $asked -eq 0 ]; then
  echo "FAIL  no vendor's compiler is installed: nothing was compiled" >&2
  exit 1
fi
exit $failed
