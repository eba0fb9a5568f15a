#!/usr/bin/env bash
# Monocle against PyTorch on the same processor: alternates `monocle bench` with torch_train.py and prints a table.
#
#   tests/bench/compare.sh [NETWORK...] [--rounds N] [--steps N] [--python PYTHON]... [--device D] [--modes M,M...] [--program FILE]
#
# Every --python that has torch is an opponent of its own [python3]; of its modes (eager in both layouts, and compiled where the
# release can) the best counts. A number is the median of the rounds [5]. Reference BLAS is refused as an opponent.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec "${MONOCLE_PYTHON:-/usr/bin/python3}" "$here/compare.py" "$@"
