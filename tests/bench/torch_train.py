#!/usr/bin/env python3
"""Training steps of PyTorch on the networks that `monocle bench` measures, for compare.sh: one network in one mode a process.

  torch_train.py NETWORK MODE [--device D] [--threads N] [--steps N] [--batch N]   D: cpu, or cuda (which ROCm answers to as well)
  torch_train.py --describe                                                        version, BLAS and GPU alone

MODE: eager (NCHW), eager-nhwc, compile; on cuda also graph and graph-nhwc, a whole step replayed as a CUDA graph. Prints one object
of JSON: model, mode, device, batch, ms (median), ms_best, img_per_s, torch, blas, blas_grade (fine, reference, unknown), gpu (null:
none), compile, and memory. A step clears gradients, computes forward, cross-entropy and backward, and updates by SGD (momentum 0.9,
weight decay 5e-4) on one synthetic batch; each is waited for, and TF32 is off. peak_growth_mib is the peak of resident memory
beyond what the process had before the network was built; device_mib (cuda) the most that tensors took after three steps, in which
cuDNN tries what it later leaves out.
"""
import argparse
import json
import os
import time
from statistics import median

import torch
import torch.nn as nn
import torch.nn.functional as F

import blas

MODES = {"cpu": ("eager", "eager-nhwc", "compile"), "cuda": ("eager", "eager-nhwc", "compile", "graph", "graph-nhwc")}
WARM_STEPS = 3


class Residual(nn.Module):
    """Two 3x3 convolutions with normalisation, and a 1x1 on the way around where shapes differ."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        same = stride == 1 and inputs == outputs
        self.around = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return F.relu(self.body(x) + self.around(x))


class Inverted(nn.Module):
    """MobileNetV2's block: widen by 1x1, depthwise 3x3, narrow by 1x1, and around it where shapes agree."""

    def __init__(self, inputs, outputs, stride, widen):
        super().__init__()
        wide = inputs * widen
        layers = [] if widen == 1 else [nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
                   nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.body, self.skip = nn.Sequential(*layers), stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.skip else self.body(x)


def stem(width, act):
    return [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), act]


def head(width):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def lenet():
    return nn.Sequential(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 49, 512), nn.ReLU(), nn.Linear(512, 10))


def resnet(widths, blocks):
    layers, inputs = stem(widths[0], nn.ReLU()), widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(Residual(inputs, width, 2 if stage > 0 and block == 0 else 1))
            inputs = width
    return nn.Sequential(*layers, *head(inputs))


def vgg11():
    layers, inputs = [], 3
    for width in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if width == 0:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def mobilenet_v2():
    layers, inputs = stem(32, nn.ReLU6()), 32
    for widen, width, blocks, stride in ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                                         (6, 320, 1, 1)):
        for block in range(blocks):
            layers.append(Inverted(inputs, width, stride if block == 0 else 1, widen))
            inputs = width
    layers += [nn.Conv2d(inputs, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
    return nn.Sequential(*layers, *head(1280))


NETWORKS = {  # name: constructor, input, batch
    "mlp": (mlp, (1, 28, 28), 128),
    "lenet": (lenet, (1, 28, 28), 128),
    "resnet20": (lambda: resnet((16, 32, 64), 3), (3, 32, 32), 128),
    "resnet18": (lambda: resnet((64, 128, 256, 512), 2), (3, 32, 32), 64),
    "vgg11": (vgg11, (3, 32, 32), 64),
    "mobilenet_v2": (mobilenet_v2, (3, 32, 32), 64),
}


def memory(key):
    """Resident memory of the process in MiB: VmRSS now, VmHWM at most."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(key))


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
    except OSError:
        pass


def describe():
    torch.randn(64, 64) @ torch.randn(64, 64)  # loads what it is served by
    library = os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so")
    name, grade = blas.identify(torch.__config__.show(), blas.server(library))
    return {"torch": torch.__version__, "blas": name, "blas_grade": grade, "gpu": gpu(), "compile": hasattr(torch, "compile")}


def gpu():
    if not torch.cuda.is_available():
        return None
    api = "ROCm %s" % torch.version.hip if getattr(torch.version, "hip", None) else "CUDA %s" % torch.version.cuda
    return "%s, %s" % (torch.cuda.get_device_name(), api)


def captured(step, optimiser):
    """A step as a graph whose replay does it again. What comes before a capture belongs on another stream."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_STEPS):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    graph = torch.cuda.CUDAGraph()
    optimiser.zero_grad(set_to_none=True)  # so that gradients are of the graph's own memory
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(name, mode, device, steps, batch):
    make, shape, usual = NETWORKS[name]
    batch, kind, nhwc, cuda = batch or usual, mode.partition("-")[0], mode.endswith("-nhwc"), device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    reset_peak()
    before = memory("VmRSS:")
    torch.manual_seed(1)
    model, x, y = make().to(device), torch.randn(batch, *shape).to(device), torch.randint(0, 10, (batch,)).to(device)
    if nhwc:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    forward = torch.compile(model) if kind == "compile" else model

    def step():
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(forward(x), y).backward()
        optimiser.step()

    wait = torch.cuda.synchronize if cuda else lambda: None
    run = captured(step, optimiser) if kind == "graph" else step
    for _ in range(WARM_STEPS):
        run()
    wait()
    if cuda and kind != "graph":
        torch.cuda.reset_peak_memory_stats()
    times, begun = [], time.perf_counter()
    while len(times) < steps if steps else len(times) < 5 or (time.perf_counter() - begun < 2 and len(times) < 200):
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    middle = median(times)
    result = {"model": name, "mode": mode, "device": device, "batch": batch, "steps": len(times), "ms": middle * 1e3,
              "ms_best": min(times) * 1e3, "img_per_s": batch / middle, "peak_growth_mib": max(memory("VmHWM:") - before, 0)}
    if cuda:
        result["device_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return result


def main():
    parser = argparse.ArgumentParser(description="training steps of PyTorch")
    parser.add_argument("network", nargs="?", choices=NETWORKS)
    parser.add_argument("mode", nargs="?", choices=MODES["cuda"], default="eager")
    parser.add_argument("--describe", action="store_true")
    parser.add_argument("--device", choices=MODES, default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--batch", type=int, default=0)
    given = parser.parse_args()
    if not given.describe and not given.network:
        parser.error("a network, please")
    if given.mode not in MODES[given.device]:
        parser.error("%s needs --device cuda" % given.mode)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("this PyTorch (%s) finds no GPU: torch.cuda.is_available() is false" % torch.__version__)
    torch.set_num_threads(given.threads)
    result = {} if given.describe else measure(given.network, given.mode, given.device, given.steps, given.batch)
    result.update(describe())
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
