#!/usr/bin/env bash
# Installs a build into a folder of its own, and builds and runs a program against what is there: through find_package, and
# through pkg-config. Also: the library exports what the headers declare, and nothing else.
#   tests/install/run.sh BUILD SOURCE COMPILER C_FLAGS
set -euo pipefail
build=$1 source=$2 compiler=$3 flags=$4
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
prefix=$here/prefix

cmake --install "$build" --prefix "$prefix" >"$here/log" || { cat "$here/log"; exit 1; }
"$prefix/bin/monocle" version
nm -D --defined-only "$prefix/bin/monocle" | grep -w pthread_cond_wait >"$here/log" ||
    { echo "monocle does not export pthread_cond_wait"; exit 1; }
libdir=$(dirname "$(find "$prefix" -name 'libmonocle.*' | head -n 1)")

cmake -S "$source/tests/install/consumer" -B "$here/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$compiler" \
  -DCMAKE_C_FLAGS="$flags" >"$here/log" 2>&1 && cmake --build "$here/cmake" >>"$here/log" 2>&1 || { cat "$here/log"; exit 1; }
"$here/cmake/consumer"

export PKG_CONFIG_PATH=$libdir/pkgconfig
static=
[ -e "$libdir/libmonocle.so" ] || static=--static
# shellcheck disable=SC2086,SC2046
"$compiler" $flags -std=c11 -Wall -Wextra -Werror "$source/tests/install/consumer/consumer.c" -o "$here/consumer" \
  $(pkg-config --cflags --libs $static monocle)
LD_LIBRARY_PATH=$libdir "$here/consumer"

# shellcheck disable=SC2086
for header in "$prefix"/include/monocle/*.h; do # each stands alone
  echo "#include <monocle/$(basename "$header")>" |
    "$compiler" $flags -std=c11 -Wall -Wextra -Werror -I "$prefix/include" -fsyntax-only -x c -
done

[ -e "$libdir/libmonocle.so" ] || exit 0
nm -D --defined-only "$libdir/libmonocle.so" | awk '{print $3}' | sort -u >"$here/exported"
sed -n '/^MCL_API/,/;/p' "$prefix"/include/monocle/*.h | grep -oE '\bmcl_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$here/declared"
if ! diff "$here/declared" "$here/exported"; then
  echo "the library exports (>) other functions than the headers declare (<)" >&2
  exit 1
fi
echo "$(wc -l <"$here/declared") functions"
