#!/usr/bin/env python3
"""Does training follow PyTorch's? Run by hand (Debian: apt-get install python3-torch python3-numpy).

  follow.py --follow BUILD/tests/torch/follow --reference torch_train.py [--networks mlp,lenet,...] [--device native,cpu,...]
            [--fashion FOLDER] [--cifar FOLDER] [--steps 20] [--batch 0] [--variant V]

The reference is a script with MODELS, name: (constructor, input shape, batch), whose tensors have the names in the second column
of tests/nn/torch_names.tsv; tests/bench/torch_train.py has others.

For each network: PyTorch's weights go to our names (tests/nn/torch_names.tsv) and into a safetensors file with fixed batches;
both sides train with SGD (rate 0.01, momentum 0.9, weight decay 5e-4). Printed, as relative differences, and in brackets those of
PyTorch in NHWC against PyTorch in NCHW, the control that shows how far equals drift apart:
  logits   of the first batch in evaluation, from the same weights (the order of a flatten included), in norm
  back     the same after training: our trained weights, loaded into PyTorch (strictly), against ours
  grad     the worst gradient of the first step, in norm; a bias whose gradient is zero in exact arithmetic, by its weight's
  loss1    the first step's loss
  losses   the worst of all steps, and how many steps pass before 1e-3 is exceeded
With --double both are held against PyTorch in double precision, so that neither side's rounding is taken for the truth.
Pictures: Fashion-MNIST (IDX) and CIFAR-10 (binary) from the folders; normal noise where there is none. Exits with 1 where losses
differ by more than 1e-3 (or three times the control, if that is more), logits by more than 1e-4, or the first loss by 1e-5.
"""
import argparse, gzip, importlib.util, json, os, struct, subprocess, sys, tempfile
import numpy as np
import torch, torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8}


def load_module(path):
    spec = importlib.util.spec_from_file_location("torch_train", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_names(network):
    with open(os.path.join(HERE, "..", "nn", "torch_names.tsv")) as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    return {torch_name: name for net, name, torch_name, _ in rows if net == network}


def write_safetensors(path, tensors, metadata):
    kinds = {np.dtype(kind): name for name, kind in DTYPES.items()}
    header, at, parts = {"__metadata__": metadata}, 0, []
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize):
        data = value.tobytes()
        header[name] = {"dtype": kinds[value.dtype], "shape": list(value.shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def read_idx(folder, name):
    path = os.path.join(folder, name)
    opened = gzip.open(path + ".gz") if os.path.exists(path + ".gz") else open(path, "rb")
    with opened as file:
        data = file.read()
    rank = data[3]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(struct.unpack(f">{rank}I", data[4:4 + 4 * rank]))


def batches_of(shape, count, batch, options):
    """(count, batch, C, H, W) normalised pictures, (count, batch) labels, where they come from."""
    total = count * batch
    if shape[0] == 1 and options.fashion:
        x = read_idx(options.fashion, "train-images-idx3-ubyte")[:total, None]
        y = read_idx(options.fashion, "train-labels-idx1-ubyte")[:total]
    elif shape[0] == 3 and options.cifar:
        rows = np.fromfile(os.path.join(options.cifar, "data_batch_1.bin"), np.uint8).reshape(-1, 3073)[:total]
        x, y = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    else:
        random = np.random.default_rng(1)
        x, y = random.standard_normal((total, *shape)), random.integers(0, 10, total)
    x = x.astype(np.float64)
    mean, deviation = x.mean((0, 2, 3), keepdims=True), x.std((0, 2, 3), keepdims=True)
    x = ((x - mean) / deviation).astype(np.float32)
    return x.reshape(count, batch, *shape), y.astype(np.int64).reshape(count, batch)


def evaluate_torch(make, state, x, dtype=torch.float32):
    model = make()
    model.load_state_dict(state, strict=True)
    model = model.to(dtype).eval()
    with torch.no_grad():
        return model(torch.from_numpy(x).to(dtype)).numpy()


def train_torch(make, state, x, y, steps, layout, dtype=torch.float32):
    model = make()
    model.load_state_dict(state)
    model = model.to(dtype).to(memory_format=layout)
    pictures = [torch.from_numpy(b).to(dtype).to(memory_format=layout) for b in x]
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    losses, gradients = [], {}
    for t in range(steps):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(pictures[t % len(x)]), torch.from_numpy(y[t % len(x)]))
        loss.backward()
        if t == 0:
            gradients = {name: p.grad.contiguous().numpy().copy() for name, p in model.named_parameters()}
        optimiser.step()
        losses.append(loss.item())
    return np.array(losses), gradients


def relative(a, b):
    return float(np.linalg.norm(a.astype(np.float64) - b) / max(np.linalg.norm(b.astype(np.float64)), 1e-30))


def worst_gradient(ours, theirs, names):
    worst, before = (0, ""), 0
    for name, gradient in theirs.items():
        norm = np.linalg.norm(gradient.astype(np.float64))
        scale = before if name.endswith("bias") and norm < 1e-4 * before else norm
        error = np.linalg.norm(ours["monocle.gradient." + names[name]].astype(np.float64) - gradient) / max(scale, 1e-30)
        worst, before = max(worst, (float(error), names[name])), norm
    return worst


def within(drift):
    """How many steps pass before a loss is off by more than 1e-3."""
    return int(np.argmax(drift > 1e-3)) if (drift > 1e-3).any() else len(drift)


def compare(network, device, options, reference):
    make, shape, batch = reference.MODELS[network]
    names = read_names(network)
    torch.manual_seed(1)
    state = make().state_dict()
    x, y = batches_of(shape, min(options.steps, 8), options.batch or batch, options)
    tensors = {names[name]: value.numpy() for name, value in state.items()}
    tensors["monocle.pictures"] = np.ascontiguousarray(x.transpose(0, 1, 3, 4, 2))
    tensors["monocle.labels"] = y.astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        given, got = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        write_safetensors(given, tensors, {"steps": str(options.steps), "rate": "0.01", "momentum": "0.9", "decay": "5e-4"})
        subprocess.run([options.follow, network, device, given, got] + ([options.variant] if options.variant else []), check=True)
        ours = read_safetensors(got)
    back = {name: torch.from_numpy(ours[names[name]].copy()) for name in state}
    nchw, nhwc = torch.contiguous_format, torch.channels_last
    losses, gradients = train_torch(make, state, x, y, options.steps, nchw, torch.float64 if options.double else torch.float32)
    control, control_gradients = train_torch(make, state, x, y, options.steps, nhwc)
    control_gradients = {"monocle.gradient." + names[name]: value for name, value in control_gradients.items()}
    drift, control_drift = (np.abs(each - losses) / np.abs(losses) for each in (ours["monocle.losses"], control))
    row = {"logits": relative(ours["monocle.logits"], evaluate_torch(make, state, x[0])),
           "back": relative(ours["monocle.trained_logits"], evaluate_torch(make, back, x[0])),
           "grad": worst_gradient(ours, gradients, names), "grad_control": worst_gradient(control_gradients, gradients, names),
           "loss1": float(drift[0]), "losses": float(drift.max()), "within": within(drift),
           "losses_control": float(control_drift.max()), "within_control": within(control_drift)}
    row["good"] = (max(row["logits"], row["back"]) < 1e-4 and row["loss1"] < 1e-5 and
                   row["losses"] < max(1e-3, 3 * row["losses_control"]))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--follow", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--networks", default="mlp,lenet,resnet20,resnet18,vgg11,mobilenet_v2")
    parser.add_argument("--device", default="native")
    parser.add_argument("--fashion")
    parser.add_argument("--cifar")
    parser.add_argument("--variant", default="")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=0)
    options = parser.parse_args()
    reference, good = load_module(options.reference), True
    print(f"{'network':14}{'device':8}{'logits':>9}{'back':>9}{'loss1':>9}{'grad':>9} {'control':>9}{'losses':>9} {'control':>9}"
          f"{'steps':>7} control")
    for network in options.networks.split(","):
        for device in options.device.split(","):
            row = compare(network, device, options, reference)
            good &= row["good"]
            print(f"{network:14}{device:8}{row['logits']:9.1e}{row['back']:9.1e}{row['loss1']:9.1e}{row['grad'][0]:9.1e} "
                  f"({row['grad_control'][0]:7.1e}){row['losses']:9.1e} ({row['losses_control']:7.1e}){row['within']:7d} "
                  f"({row['within_control']:d}){'' if row['good'] else '  DIFFERS'}", flush=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()
