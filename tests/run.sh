#!/usr/bin/env bash
# Builds Monocle with its tests and runs them.
#   tests/run.sh [default|asan|oclgrind|runtimes|compilers] [CTEST OPTION...]
# asan: the same tests under AddressSanitizer and UndefinedBehaviorSanitizer; oclgrind: every kernel under the OpenCL
# interpreter that finds invalid accesses and races; runtimes: every kernel on PoCL, large and small, and on Mesa's rusticl;
# compilers: what GPUs are given, by the vendors' offline compilers (registers, spills, local memory).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
suite=${1:-default}
[ $# -eq 0 ] || shift
case $suite in
default)
  ./samples/build.sh --tests
  exec ctest --test-dir build --output-on-failure -j 2 "$@"
  ;;
asan)
  sanitizers="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
  BUILD=build-asan BUILD_TYPE=RelWithDebInfo ./samples/build.sh --tests -DCMAKE_C_FLAGS="$sanitizers" -DBUILD_SHARED_LIBS=OFF \
    -DMCL_TEST_TIMEOUT=3600 # what takes 8 minutes without sanitizers takes 30 with them
  # Mesa's library leaks and is unloaded before the leak can be told from ours.
  export OCL_ICD_VENDORS=${OCL_ICD_VENDORS:-/etc/OpenCL/vendors/pocl.icd}
  # Up to GCC 13 the runtime takes some thread's variables for a block of old glibc's, and crashes where it looks for leaks in it
  # (Mudlet #9930).
  export ASAN_OPTIONS=detect_leaks=1:intercept_tls_get_addr=0 UBSAN_OPTIONS=print_stacktrace=1
  export LSAN_OPTIONS=suppressions="$PWD/tests/lsan.supp"
  exec ctest --test-dir build-asan --output-on-failure -j 2 "$@"
  ;;
oclgrind)
  EXTRA_PACKAGES=oclgrind ./samples/build.sh --tests
  exec tests/conformance/oclgrind.sh build "$@"
  ;;
runtimes)
  EXTRA_PACKAGES=mesa-opencl-icd ./samples/build.sh --tests
  exec tests/conformance/runtimes.sh build "$@"
  ;;
compilers)
  EXTRA_PACKAGES="clang-15 lld-15 libclc-15 rocm-device-libs intel-opencl-icd" ./samples/build.sh --tests
  exec tests/conformance/compilers.sh build "$@"
  ;;
*)
  sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
  ;;
esac
