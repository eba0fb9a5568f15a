#!/usr/bin/env bash
# compare.sh without a GPU and without PyTorch: whom it takes for an opponent, with a program and Pythons that only answer; and what
# torch_train.py refuses, with a torch that has nothing.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo 'skipped: there is no python3'; exit 77; }
work=$(mktemp -d /tmp/monocle-bench-XXXXXX) && trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0

# expect STATUS PATTERN COMMAND...: the status, and the pattern (grep -E) in what it prints
expect() {
    local wanted=$1 pattern=$2 status=0
    shift 2
    "$@" >out 2>&1 || status=$?
    [ "$status" -eq "$wanted" ] && grep -Eq -- "$pattern" out && return
    failures=$((failures + 1))
    echo "FAILED: $*: status $status, not $wanted, or no \"$pattern\" in:"
    head -20 out
}

# answers NAME: a program that prints what it reads here; "MODE" is its third argument
answers() {
    { echo '#!/bin/sh'; echo 'sed "s/MODE/$3/" <<END'; cat; echo END; } >"$1"
    chmod +x "$1"
}
python() { # python NAME BLAS GRADE GPU
    answers "$1" <<<'{"torch": "2.0", "blas": "'"$2"'", "blas_grade": "'"$3"'", "gpu": '"$4"', "compile": false, "mode": "MODE", \
"img_per_s": 50, "peak_growth_mib": 8, "device_mib": 4}'
}
program() { # program NAME TYPE
    answers "$1" <<<'{"device": "Lens", "driver": "1", "type": "'"$2"'", "img_per_s": 100, \
"memory": {"peak_growth_mib": 2, "device_mib": 3}}'
}
python plain OpenBLAS fine null
python slow /usr/lib/blas/libblas.so.3 reference null
python strange 'unknown BLAS' unknown null
python card OpenBLAS fine '"Card, CUDA 12"'
program gpu GPU
program cpu CPU
compare() { MONOCLE_PYTHON=$(command -v python3) "$here/compare.sh" mlp --rounds 1 "$@"; }

expect 1 'our device, Lens, is no CPU, and the PyTorch 2.0 of ./plain finds no GPU' \
    compare --program ./gpu --python ./plain
expect 0 '^mlp +100.0 +50.0 +2.00 x +2.0 +8.0 .* PyTorch 2.0, on the CPU, OpenBLAS$' \
    compare --program ./gpu --python ./plain --opponent cpu
expect 0 '^mlp +100.0 +50.0 +2.00 x +3.0 +4.0 +0.75 x +eager +PyTorch 2.0, Card, CUDA 12$' \
    compare --program ./gpu --python ./card
expect 0 'graph-nhwc +PyTorch' compare --program ./gpu --python ./card --modes graph-nhwc
expect 0 ' PyTorch 2.0, OpenBLAS$' compare --program ./cpu --python ./card
expect 1 './plain: its PyTorch 2.0 finds no GPU' compare --program ./cpu --python ./plain --opponent cuda
expect 1 'of the modes graph, ./plain has none on cpu: there are eager, eager-nhwc$' \
    compare --program ./cpu --python ./plain --modes graph
expect 2 '--modes is a list of compile, eager, ' compare --program ./cpu --python ./plain --modes grahp
expect 1 'the reference BLAS \(/usr/lib/blas/libblas.so.3\), which is no opponent' compare --program ./cpu --python ./slow
expect 0 '^mlp .* PyTorch 2.0, unknown BLAS \(IS IT FAST\?\)$' compare --program ./cpu --python ./strange

mkdir -p torch/nn
echo 'class cuda: is_available = staticmethod(lambda: False)
__version__ = "0"' >torch/__init__.py
echo 'class Module: pass' >torch/nn/__init__.py
touch torch/nn/functional.py
torch_train() { PYTHONPATH=$work python3 -B "$here/torch_train.py" "$@"; }
expect 2 'graph needs --device cuda' torch_train mlp graph
expect 2 'this PyTorch \(0\) finds no GPU' torch_train mlp graph --device cuda
expect 2 'a network, please' torch_train
expect 2 'invalid choice' torch_train mlp --device opencl

blas() { PYTHONPATH=$here python3 -B - "$@"; }
expect 0 '^done$' blas <<'END'
from types import SimpleNamespace
from blas import identify

def library(**functions):
    return lambda path: SimpleNamespace(**functions)

generic = "Intel(R) MKL-DNN v2.6.3\nLAPACK is enabled (usually provided by MKL)\nBLAS_INFO=generic, LAPACK_INFO=generic"
wheel = "Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64"
core = library(openblas_get_corename=lambda: b"Zen")
for config, path, load, wanted in (
        (generic, "/usr/lib/blas/libblas.so.3.11.0", library(), ("/usr/lib/blas/libblas.so.3.11.0", "reference")),
        (generic, "/usr/lib64/libcblas.so.3", library(), ("/usr/lib64/libcblas.so.3", "reference")),
        (generic, "/usr/lib/openblas-pthread/libblas.so.3", core, ("OpenBLAS (Zen)", "fine")),
        (generic, "/usr/lib/atlas/libblas.so.3", library(), ("ATLAS", "fine")),
        (generic, "/opt/libsatlas.so", library(ATL_buildinfo=None), ("ATLAS", "fine")),
        (generic, "/usr/lib/libblas.so.3", library(bli_info_get_version_str=None), ("BLIS", "fine")),
        (generic, "/usr/lib/libflexiblas.so.3", library(), ("/usr/lib/libflexiblas.so.3", "unknown")),
        (generic, None, library(), ("unknown BLAS", "unknown")),
        ("", None, library(), ("unknown BLAS", "unknown")),
        ("BLAS_INFO=open, BUILD_TYPE=Release", None, library(), ("OpenBLAS", "fine")),
        ("BLAS_INFO=mkl, BUILD_TYPE=Release", None, library(), ("MKL", "fine")),
        (wheel, "/torch/lib/libtorch_cpu.so", library(), ("MKL", "fine"))):
    assert identify(config, path, load) == wanted, (config, path, identify(config, path, load))
print("done")
END

echo "$failures failed"
[ $failures -eq 0 ]
