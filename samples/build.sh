#!/usr/bin/env bash
# Installs what is missing (Debian 12 and 13, Ubuntu 22.04 and 24.04) and builds Monocle into build/ (or $BUILD).
#   samples/build.sh [--tests] [CMAKE OPTION...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${BUILD:-build}

packages=(gcc cmake make pkg-config ocl-icd-opencl-dev opencl-headers libclblast-dev pocl-opencl-icd libfyaml-dev
  libjansson-dev libturbojpeg0-dev libspng-dev libxxhash-dev zlib1g-dev)
options=(-DMONOCLE_TESTS=OFF)
if [ "${1:-}" = --tests ]; then
  shift
  packages+=(check librandom123-dev)
  options=(-DMONOCLE_TESTS=ON)
fi

missing=()
for package in "${packages[@]}" ${EXTRA_PACKAGES:-}; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || { echo "Please install: ${missing[*]}" >&2; exit 1; }
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Please install, as root: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "Installing: ${missing[*]}"
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -q &&
         "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
           apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "Installing the packages above failed; the whole log is in $log" >&2
    exit 1
  fi
  rm -f "$log"
fi

echo "Building into $build/"
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE="${BUILD_TYPE:-Release}" "${options[@]}" "$@" >"$build.log" 2>&1 ||
  { cat "$build.log" >&2; exit 1; }
cmake --build "$build" -j "$(nproc)" >>"$build.log" 2>&1 || { tail -n 60 "$build.log" >&2; exit 1; }
rm -f "$build.log"
