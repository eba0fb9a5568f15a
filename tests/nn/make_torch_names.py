#!/usr/bin/env python3
"""Makes torch_names.tsv: for every tensor of every network its name here, its name in the PyTorch script that the networks are
compared with, and its shape.   make_torch_names.py torch_train.py > torch_names.tsv

Names here are torchvision's (resnet18, vgg11_bn, mobilenet_v2); the script numbers the members of one nn.Sequential.
"""
import importlib.util, sys


def load(path):
    spec = importlib.util.spec_from_file_location("torch_train", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def from_table(table):
    return lambda parts: [table[parts[0]]] + parts[1:]


def resnet(blocks):
    first, places = 3, []
    for stage, count in enumerate(blocks):
        places += [f"layer{stage + 1}.{i}" for i in range(count)]
    inside = {"c1": "conv1", "b1": "bn1", "c2": "conv2", "b2": "bn2", "down": "downsample"}

    def rename(parts):
        index = int(parts[0])
        if index < 2:
            return [("conv1", "bn1")[index]] + parts[1:]
        if index - first < len(places):
            return [places[index - first], inside[parts[1]]] + parts[2:]
        return ["fc"] + parts[1:]
    return rename


def vgg11(parts):
    return ["classifier.0" if parts[0] == "30" else "features." + parts[0]] + parts[1:]


def mobilenet_v2(parts):
    index = int(parts[0])
    if index < 2:
        return [f"features.0.{index}"] + parts[1:]
    if index >= 20:
        return [{20: "features.18.0", 21: "features.18.1", 25: "classifier.1"}[index]] + parts[1:]
    inside = {0: "0.0", 1: "0.1", 3: "1", 4: "2"} if index == 3 else {0: "0.0", 1: "0.1", 3: "1.0", 4: "1.1", 6: "2", 7: "3"}
    return [f"features.{index - 2}.conv.{inside[int(parts[2])]}"] + parts[3:]


RENAME = {
    "mlp": from_table({"1": "fc1", "3": "fc2", "5": "fc3"}),
    "lenet": from_table({"c1": "conv1", "c2": "conv2", "f1": "fc1", "f2": "fc2"}),
    "resnet20": resnet([3, 3, 3]),
    "resnet18": resnet([2, 2, 2, 2]),
    "vgg11": vgg11,
    "mobilenet_v2": mobilenet_v2,
}


if __name__ == "__main__":
    print("network\tname\ttorch\tshape")
    for network, (make, *_) in load(sys.argv[1]).MODELS.items():
        for name, value in make().state_dict().items():
            shape = ",".join(map(str, value.shape)) or "-"
            print(network, ".".join(RENAME[network](name.split("."))), name, shape, sep="\t")
