#!/usr/bin/env bash
# Builds Monocle and trains LeNet on the Fashion-MNIST pictures that come with it.
#   samples/quickstart.sh [RUN FOLDER]      default: runs/quickstart
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
run=${1:-runs/quickstart}
./samples/build.sh
rm -rf "$run"
./build/monocle train samples/configs/quickstart.yaml --run "$run"
echo "      monocle is ./build/monocle; on pictures of your own, one folder a class: ./build/monocle train FOLDER"
