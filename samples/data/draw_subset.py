#!/usr/bin/env python3
"""Draws the small Fashion-MNIST that is kept beside this script from the official files.

  draw_subset.py OFFICIAL_FOLDER [TARGET_FOLDER]

Of each of the ten classes it takes the first 1,000 training and the first 200 test pictures, in the official order,
and writes them in the official format. The same input gives the same files.
"""
import gzip
import pathlib
import struct
import sys

CLASSES = 10


def read(path, magic):
    """The numbers of the header after the magic, and the bytes behind it."""
    data = gzip.decompress(path.read_bytes())
    if struct.unpack(">I", data[:4])[0] != magic:
        raise SystemExit(f"{path}: not an IDX file of the expected kind")
    axes = magic & 255
    return struct.unpack(f">{axes}I", data[4:4 + 4 * axes]), data[4 + 4 * axes:]


def write(path, magic, shape, body):
    header = struct.pack(f">{1 + len(shape)}I", magic, *shape)
    path.write_bytes(gzip.compress(header + body, 9, mtime=0))


def draw(source, target, part, per_class):
    (count, height, width), pixels = read(source / f"{part}-images-idx3-ubyte.gz", 0x803)
    (labels_count,), labels = read(source / f"{part}-labels-idx1-ubyte.gz", 0x801)
    if count != labels_count:
        raise SystemExit(f"{source}: {count} pictures and {labels_count} labels")
    taken, left = [], [per_class] * CLASSES
    for i, label in enumerate(labels):
        if left[label]:
            left[label] -= 1
            taken.append(i)
    if any(left):
        raise SystemExit(f"{source}: a class of {part} has fewer than {per_class} pictures")
    size = height * width
    body = b"".join(pixels[i * size:(i + 1) * size] for i in taken)
    write(target / f"{part}-images-idx3-ubyte.gz", 0x803, (len(taken), height, width), body)
    write(target / f"{part}-labels-idx1-ubyte.gz", 0x801, (len(taken),), bytes(labels[i] for i in taken))
    print(f"{part}: {len(taken)} of {count}")


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else pathlib.Path(__file__).parent / "fashion-mnist"
    target.mkdir(parents=True, exist_ok=True)
    draw(source, target, "train", 1000)
    draw(source, target, "t10k", 200)


main()
