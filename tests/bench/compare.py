"""What compare.sh runs; see there. Needs nothing but Python itself."""
import argparse
import json
import math
import os
import re
import subprocess
import sys
from statistics import median

HERE = os.path.dirname(os.path.abspath(__file__))
CPUS = ("native", "CPU")
MODES = {"cpu": ["eager", "eager-nhwc", "compile"], "cuda": ["eager", "eager-nhwc", "compile", "graph", "graph-nhwc"]}
NETWORKS = ("mlp", "lenet", "resnet20", "resnet18", "vgg11", "mobilenet_v2")


def run(command, environment=None):
    """The last line of a command's output as JSON; ends the program where there is none."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=environment)
    if done.returncode != 0 or not done.stdout.strip():
        sys.exit("%s failed:\n%s" % (" ".join(command), done.stderr[-2000:]))
    return json.loads(done.stdout.strip().splitlines()[-1])


def stronger_openblas(blas):
    """OpenBLAS older than a processor takes it for a Prescott of 2004, or leaves AVX-512 unused (PyTorch's mlp then takes 1.5 times
    as long): no opponent. It is told what the processor can do, unless the user has."""
    with open("/proc/cpuinfo") as info:
        flags = next((line.split() for line in info if line.startswith("flags")), [])
    if "OPENBLAS_CORETYPE" in os.environ:
        return None
    if "avx512vl" in flags and re.search(r"Prescott|Haswell|Zen", blas):
        return "SKYLAKEX"
    return "HASWELL" if "avx2" in flags and "Prescott" in blas else None


def opponent_device(wanted, about, python, ours):
    """cpu or cuda; ends the program where that would compare a GPU with a CPU unasked."""
    if wanted == "cuda" and not about["gpu"]:
        sys.exit("%s: its PyTorch %s finds no GPU (torch.cuda.is_available() is false)" % (python, about["torch"]))
    if wanted != "auto":
        return wanted
    if ours["type"] in CPUS:
        return "cpu"
    if not about["gpu"]:
        sys.exit("our device, %s, is no CPU, and the PyTorch %s of %s finds no GPU (torch.cuda.is_available() is false): its "
                 "speed\non the CPU says nothing of ours. A --python with CUDA or ROCm, please, or --opponent cpu to insist" % (
                     ours["device"], about["torch"], python))
    return "cuda"


class Opponent:
    def __init__(self, python, given, ours):
        self.python, self.environment = python, dict(os.environ)
        about = self.describe()
        self.device = opponent_device(given.opponent, about, python, ours)
        if self.device == "cpu":
            about = self.with_a_fair_blas(about)
        insisted = "" if ours["type"] in CPUS else "on the CPU, "
        doubt = " (IS IT FAST?)" if about["blas_grade"] == "unknown" else ""
        self.name = "PyTorch %s, %s" % (about["torch"], about["gpu"] if self.device == "cuda" else insisted + about["blas"] + doubt)
        there = [mode for mode in MODES[self.device] if mode != "compile" or about["compile"]]
        self.modes = [mode for mode in given.modes.split(",") if mode in there] if given.modes else there
        if not self.modes:
            sys.exit("of the modes %s, %s has none on %s: there are %s" % (given.modes, python, self.device, ", ".join(there)))

    def describe(self):
        return run([self.python, os.path.join(HERE, "torch_train.py"), "--describe"], self.environment)

    def with_a_fair_blas(self, about):
        core = stronger_openblas(about["blas"])
        if core:
            self.environment["OPENBLAS_CORETYPE"] = core
            about = self.describe()
        if about["blas_grade"] == "reference":
            sys.exit("%s computes products with the reference BLAS (%s), which is no opponent: install libopenblas0-pthread, and "
                     "let\n`update-alternatives --config libblas.so.3-x86_64-linux-gnu` take it" % (self.python, about["blas"]))
        return about

    def measure(self, network, given):
        command = [self.python, os.path.join(HERE, "torch_train.py"), network]
        extra = ["--device", self.device, "--steps", str(given.steps), "--batch", str(given.batch)]
        return {mode: run(command + [mode] + extra, self.environment) for mode in self.modes}


def bench(network, given, steps, batch):
    return [given.program, "bench", network, "--json", "--device", given.device, "--steps", str(steps), "--batch", str(batch)]


def measure_network(network, opponents, given):
    """Rounds of ours, then each opponent: speeds and memory of each."""
    ours, theirs = [], [{mode: [] for mode in opponent.modes} for opponent in opponents]
    command = bench(network, given, given.steps, given.batch)
    run(command)  # compiles kernels, where they are not in the cache
    for _ in range(given.rounds):
        ours.append(run(command))
        for opponent, results in zip(opponents, theirs):
            for mode, result in opponent.measure(network, given).items():
                results[mode].append(result)
    return ours, theirs


def report(network, ours, results, opponent):
    speed = median(result["img_per_s"] for result in ours)
    mode, rows = max(results.items(), key=lambda item: median(row["img_per_s"] for row in item[1]))
    other = median(row["img_per_s"] for row in rows)
    if opponent.device == "cuda":
        memory, their_memory = (median(place["device_mib"] for place in places)
                                for places in ([result["memory"] for result in ours], rows))
    else:
        memory = median(result["memory"]["peak_growth_mib"] for result in ours)
        their_memory = median(row["peak_growth_mib"] for row in rows)
    print("%-13s %10.1f %10.1f  %6.2f x   %9.1f %9.1f  %6.2f x   %-10s  %s" % (
        network, speed, other, speed / other, memory, their_memory, memory / their_memory if their_memory else 0, mode,
        opponent.name), flush=True)
    return speed / other


def main():
    parser = argparse.ArgumentParser(prog="compare.sh", description="Monocle against PyTorch")
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0, help="measured in each round [what fits in two seconds]")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--python", action="append", help="a Python that has torch; may be repeated [python3]")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--opponent", choices=("auto", "cpu", "cuda"), default="auto", help="PyTorch's device [as ours]")
    parser.add_argument("--modes", help="of PyTorch [all that it has on its device]")
    parser.add_argument("--program", default=os.path.join(HERE, "../../build/monocle"))
    given = parser.parse_args()
    unknown = set(given.networks) - set(NETWORKS)
    if unknown:
        parser.error("no such network: %s; there are %s" % (", ".join(sorted(unknown)), ", ".join(NETWORKS)))
    known = sorted(set(MODES["cpu"] + MODES["cuda"]))
    if given.modes and set(given.modes.split(",")) - set(known):
        parser.error("--modes is a list of %s" % ", ".join(known))
    us = run(bench("mlp", given, 1, 1))
    opponents = [Opponent(python, given, us) for python in given.python or [sys.executable]]
    print("ours: %s, %s" % (us["device"], us["driver"]))
    print("%-13s %10s %10s  %8s   %9s %9s  %8s   %-10s  %s" % (
        "network", "pictures/s", "PyTorch's", "ratio", "MiB", "PyTorch's", "ratio", "its mode", "opponent"))
    ratios = [[] for _ in opponents]
    for network in given.networks or NETWORKS:
        ours, theirs = measure_network(network, opponents, given)
        for i, opponent in enumerate(opponents):
            ratios[i].append(report(network, ours, theirs[i], opponent))
    for opponent, own in zip(opponents, ratios):
        print("geometric mean %.2f x against %s" % (math.exp(sum(map(math.log, own)) / len(own)), opponent.name))


if __name__ == "__main__":
    main()
