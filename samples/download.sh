#!/usr/bin/env bash
# Fetches the full official data sets into data/ (or DEST), checks them, and leaves alone what is there already.
#   samples/download.sh fashion-mnist|mnist|cifar-10|all [DEST]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
what=${1:-}
dest=${2:-data}

fetch() { # FOLDER URL FILE SHA256
  mkdir -p "$dest/$1"
  local file="$dest/$1/$3"
  if [ ! -s "$file" ]; then
    echo "fetching $3"
    if command -v curl >/dev/null; then curl -fL --retry 3 -o "$file.part" "$2/$3"; else wget -O "$file.part" "$2/$3"; fi
    mv "$file.part" "$file"
  fi
  echo "$4  $file" | sha256sum -c --quiet || { echo "$file is not the official file: remove it and try again" >&2; exit 1; }
}

fashion_mnist() {
  local url=http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
  fetch fashion-mnist $url train-images-idx3-ubyte.gz 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
  fetch fashion-mnist $url train-labels-idx1-ubyte.gz a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
  fetch fashion-mnist $url t10k-images-idx3-ubyte.gz 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
  fetch fashion-mnist $url t10k-labels-idx1-ubyte.gz 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
}

mnist() {
  local url=https://ossci-datasets.s3.amazonaws.com/mnist
  fetch mnist $url train-images-idx3-ubyte.gz 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
  fetch mnist $url train-labels-idx1-ubyte.gz 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
  fetch mnist $url t10k-images-idx3-ubyte.gz 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
  fetch mnist $url t10k-labels-idx1-ubyte.gz f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
}

cifar_10() {
  fetch cifar-10 https://www.cs.toronto.edu/~kriz cifar-10-binary.tar.gz \
    c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
  [ -s "$dest/cifar-10/test_batch.bin" ] ||
    tar -xzf "$dest/cifar-10/cifar-10-binary.tar.gz" -C "$dest/cifar-10" --strip-components=1
}

case $what in
fashion-mnist) fashion_mnist ;;
mnist) mnist ;;
cifar-10) cifar_10 ;;
all) fashion_mnist; mnist; cifar_10 ;;
*) sed -n '2,3s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
echo "in $dest/"
