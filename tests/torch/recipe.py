#!/usr/bin/python3
"""The recipe of samples/configs/fashion-mnist-lenet.yaml in PyTorch: what accuracy it gives there.

  recipe.py FOLDER [--seeds 1,2,3] [--epochs 10] [--batch 64] [--rate 0.03] [--threads N]

FOLDER holds the four IDX files (.gz). A tenth of the training pictures is kept for validation, stratified; the weights of the best
epoch are tested. Prints a line of JSON a seed. Needs python3-torch and python3-numpy.
"""
import argparse, copy, gzip, json, math, time
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 5, padding=2), nn.Conv2d(32, 64, 5, padding=2)
        self.fc1, self.fc2 = nn.Linear(64 * 49, 512), nn.Linear(512, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def read_idx(path):
    raw = gzip.open(path).read()
    rank = raw[3]
    sizes = [int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def split(labels, seed):
    draw = np.random.default_rng(seed)
    validation = np.concatenate(
        [draw.permutation(np.flatnonzero(labels == c))[:round(0.1 * np.sum(labels == c))] for c in range(10)])
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return sum((model(x[i:i + 500]).argmax(1) == y[i:i + 500]).sum().item() for i in range(0, len(x), 500)) / len(x)


def train(seed, data, args):
    x, y, x_test, y_test = data
    train_index, validation_index = split(y, seed)
    mean, deviation = x[train_index].mean() , x[train_index].std()
    tensor = lambda a: torch.from_numpy(((a.astype(np.float32) - mean) / deviation)[:, None].astype(np.float32))
    xt, xv, xs = tensor(x[train_index]), tensor(x[validation_index]), tensor(x_test)
    yt, yv, ys = (torch.from_numpy(a.astype(np.int64)) for a in (y[train_index], y[validation_index], y_test))
    torch.manual_seed(seed)
    model = LeNet()
    optimiser = torch.optim.SGD(model.parameters(), lr=args.rate, momentum=0.9, weight_decay=5e-4)
    steps_per_epoch = len(xt) // args.batch
    total, step, best, best_state = steps_per_epoch * args.epochs, 0, -1, None
    began = time.time()
    for _ in range(args.epochs):
        model.train()
        order = torch.randperm(len(xt))
        for b in range(steps_per_epoch):
            for group in optimiser.param_groups:
                group["lr"] = args.rate * 0.5 * (1 + math.cos(math.pi * step / total))
            index = order[b * args.batch:(b + 1) * args.batch]
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(model(xt[index]), yt[index]).backward()
            optimiser.step()
            step += 1
        validation = accuracy(model, xv, yv)
        if validation > best:
            best, best_state = validation, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    print(json.dumps({"seed": seed, "validation": best, "test": accuracy(model, xs, ys), "seconds": round(time.time() - began, 1),
                      "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.03)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    files = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    loaded = [read_idx(f"{arguments.folder}/{name}-ubyte.gz") for name in files]
    for s in arguments.seeds.split(","):
        train(int(s), loaded, arguments)
