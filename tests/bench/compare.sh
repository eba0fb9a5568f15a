#!/usr/bin/env bash
# Monocle against PyTorch on the same machine: alternates `monocle bench` with torch_train.py and prints a table.
#
#   tests/bench/compare.sh [NETWORK...] [--rounds N] [--steps N] [--batch N] [--python PYTHON]... [--device D]
#                          [--opponent auto|cpu|cuda] [--modes M,M...] [--program FILE]
#
# Every --python that has torch is an opponent of its own [python3], on a CPU where our device is one, else through CUDA or ROCm, in
# fp32; where it has no GPU it is refused, unless --opponent cpu insists. Of its modes (eager in both layouts, compiled where the
# release can, and on a GPU a CUDA graph in both layouts) the best counts. A number is the median of the rounds [5]. MiB: by how
# much the process grew; against a GPU, the most that buffers and tensors took there. Reference BLAS is refused as an opponent, and
# one that is not known is marked.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "${MONOCLE_PYTHON:-/usr/bin/python3}" "$here/compare.py" "$@"
