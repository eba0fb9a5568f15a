#!/usr/bin/env python3
"""resnet18's 3x3 convolutions at batch 64, each pass alone, against PyTorch's own layer on the same processor.

  layers.py [--rounds N] [--batch N] [--device D] [--python PYTHON] [--program BENCH_CONV2D]

Alternates bench_conv2d of the build with PyTorch, whose better layout counts. Both sides make whatever other form of the weights
they want every time. A side's figure in a round is its fastest call; the table shows medians over the rounds [5].
"""
import argparse
import json
import os
import re
import subprocess
import sys
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
PASSES = ("forward", "data gradient", "weight gradient")
LAYERS = ((32, 64, 64, 1), (32, 64, 128, 2), (16, 128, 128, 1), (16, 128, 256, 2), (8, 256, 256, 1), (8, 256, 512, 2),
          (4, 512, 512, 1))  # size, C, K, stride


def torch_passes(size, C, K, stride, batch):
    """Seconds of each pass in the better layout."""
    import time

    import torch

    def fastest(call):
        call()
        seconds, begun = [], time.perf_counter()
        while len(seconds) < 5 or time.perf_counter() - begun < 0.3:
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    best = [float("inf")] * 3
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(batch, C, size, size).contiguous(memory_format=layout)
        w = torch.randn(K, C, 3, 3).contiguous(memory_format=layout)
        with torch.no_grad():
            dy = torch.randn_like(torch.nn.functional.conv2d(x, w, stride=stride, padding=1))

            def backward(mask):
                return torch.ops.aten.convolution_backward(dy, x, w, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, mask)

            calls = (lambda: torch.nn.functional.conv2d(x, w, stride=stride, padding=1), lambda: backward([True, False, False]),
                     lambda: backward([False, True, False]))
            best = [min(before, fastest(call)) for before, call in zip(best, calls)]
    return best


def lines(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        sys.exit("%s failed:\n%s" % (" ".join(command), done.stderr[-2000:]))
    return done.stdout.strip().splitlines()


def our_passes(program, device, layer, batch):
    """Seconds and variants of each pass."""
    size, C, K, stride = layer
    name = "%2dx%-2d %4d->%-4d 3x3 s%d g1" % (size, size, C, K, stride)
    last = lines([program, device, "auto", str(batch), name])[-1]
    found = re.findall(r"([\d.]+) +([\d.]+) (\S+)", last[len(name):])
    if len(found) != 3:
        sys.exit("%s has no line of %s" % (program, name))
    return [float(row[1]) * 1e-3 for row in found], [row[2] for row in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--python", default="/usr/bin/python3", help="one that has torch")
    parser.add_argument("--program", default=os.path.join(HERE, "../../build/tests/bench/bench_conv2d"))
    parser.add_argument("--torch", help=argparse.SUPPRESS)  # in PyTorch's process: a layer
    given = parser.parse_args()
    if given.torch:
        print(json.dumps(torch_passes(*json.loads(given.torch), given.batch)))
        return
    print("%-22s %-16s %9s %9s %7s  %s" % ("layer", "pass", "ms", "PyTorch's", "ratio", "variant"))
    for layer in LAYERS:
        ours, theirs, variants = [], [], None
        theirs_command = [given.python, os.path.abspath(__file__), "--batch", str(given.batch), "--torch", json.dumps(layer)]
        our_passes(given.program, given.device, layer, given.batch)  # compiles
        for _ in range(given.rounds):
            seconds, variants = our_passes(given.program, given.device, layer, given.batch)
            ours.append(seconds)
            theirs.append(json.loads(lines(theirs_command)[-1]))
        for i, name in enumerate(PASSES):
            a, b = median(row[i] for row in ours), median(row[i] for row in theirs)
            print("%2dx%-2d %4d->%-4d s%d      %-16s %9.3f %9.3f %5.2f x  %s" % (
                layer[0], layer[0], layer[1], layer[2], layer[3], name, a * 1e3, b * 1e3, b / a, variants[i]), flush=True)


if __name__ == "__main__":
    main()
