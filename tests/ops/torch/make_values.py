#!/usr/bin/python3
"""Writes values.json: operators' problems with the results that PyTorch gives, for tests/ops/test_torch.c.

PyTorch computes in double on inputs that are exact in float, and the results are rounded to float once, so that a
comparison is limited by the operator under test alone. Everything is stored as our operators see it:
  activations NCHW -> NHWC, convolution weights OIHW -> HWIO (kernel height, width, input channels, filters),
  linear weights (out, in) -> (in, out).
Run with Debian's python3-torch (1.13): /usr/bin/python3 tests/ops/torch/make_values.py
"""
import json
import os

import torch
import torch.nn.functional as F

torch.manual_seed(20)
torch.set_default_dtype(torch.float64)
cases = []


def values(*shape):
    """Normal numbers, rounded to a few bits so that they are exact in float and short in the file."""
    return (torch.randn(*shape) * 64).round() / 64


def exact(number):
    """A hyperparameter as float keeps it, so that both sides compute with the same one."""
    return torch.tensor(number, dtype=torch.float32).item()


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def hwio(w):
    return w.permute(2, 3, 1, 0)


def store(tensor):
    kind = {torch.int32: "i32", torch.uint8: "u8"}.get(tensor.dtype, "f32")
    flat = tensor.detach().contiguous().reshape(-1)
    numbers = flat.tolist() if kind != "f32" else [float("%.9g" % v) for v in flat.float().tolist()]
    numbers = [int(v) if float(v).is_integer() else v for v in numbers]
    return {"dtype": kind, "shape": list(tensor.shape) or [1], "values": numbers}


def case(name, op, inputs, outputs, attrs=None, codes=(), step=None, before=None, gradients=None, slack=0):
    """slack: how many roundings of its largest element a result may be off beyond the operator's own error, where its
    inputs are themselves rounded results."""
    row = {"name": name, "op": op, "in": [store(t) for t in inputs], "out": [store(t) for t in outputs], "slack": slack}
    if attrs:
        row["attrs"] = attrs
    if codes:
        row["codes"] = codes
    if step:
        row["step"] = step
    if before is not None:
        row["before"] = [store(t) for t in before]
    if gradients is not None:
        row["gradients"] = [store(t) for t in gradients]
    cases.append(row)


def leaf(*shape):
    return values(*shape).requires_grad_()


BIAS, SCALE_SHIFT, ADD, ACT, DACT = 1, 2, 3, 4, 5
RELU, RELU6, LEAKY_RELU, SIGMOID, TANH = 1, 2, 3, 4, 5


def code(kind, act=0, alpha=0.0):
    return {"code": kind, "act": act, "alpha": alpha}


def conv2d(name, N, H, W, C, K, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    x, w, b = leaf(N, C, H, W), leaf(K, C // groups, *kernel), leaf(K)
    y = F.conv2d(x, w, b, stride, padding, dilation, groups)
    dy = values(*y.shape)
    y.backward(dy)
    attrs = {"conv.KH": kernel[0], "conv.KW": kernel[1], "conv.stride_h": stride[0], "conv.stride_w": stride[1],
             "conv.pad_h": padding[0], "conv.pad_w": padding[1], "conv.dilation_h": dilation[0],
             "conv.dilation_w": dilation[1], "conv.groups": groups}
    case("conv2d " + name, "conv2d", [nhwc(x), hwio(w), b], [nhwc(y)], attrs, [code(BIAS)])
    case("conv2d dw " + name, "conv2d_bwd_weight", [nhwc(x), nhwc(dy)], [hwio(w.grad)], attrs)
    case("conv2d db " + name, "channel_sum", [nhwc(dy)], [b.grad])
    attrs = dict(attrs, **{"conv.H": H, "conv.W": W})
    case("conv2d dx " + name, "conv2d_bwd_data", [nhwc(dy), hwio(w)], [nhwc(x.grad)], attrs)


def linear(R, C, K):
    x, w, b = leaf(R, C), leaf(K, C), leaf(K)
    y = F.linear(x, w, b)
    dy = values(*y.shape)
    y.backward(dy)
    case("linear", "dense", [x, w.t(), b], [y], codes=[code(BIAS)])
    case("linear dx", "dense_bwd_data", [dy, w.t()], [x.grad])
    case("linear dw", "dense_bwd_weight", [x, dy], [w.grad.t()])
    case("linear db", "channel_sum", [dy], [b.grad])


def batch_norm(N, H, W, C):
    eps, momentum = exact(1e-5), exact(0.1)
    layer = torch.nn.BatchNorm2d(C, eps=eps, momentum=momentum)
    with torch.no_grad():
        layer.weight.copy_(values(C))
        layer.bias.copy_(values(C))
        layer.running_mean.copy_(values(C))
        layer.running_var.copy_(values(C).abs() + 1)
    before = [layer.running_mean.clone(), layer.running_var.clone()]
    x = leaf(N, C, H, W)
    y = layer(x)
    dy = values(*y.shape)
    y.backward(dy)
    mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
    attrs = {"norm.eps": eps, "norm.momentum": momentum}
    scale = layer.weight / torch.sqrt(variance + eps)
    shift = layer.bias - mean * scale
    case("batch norm statistics", "batch_norm_stats", [nhwc(x)], [mean, variance], attrs)
    case("batch norm finish", "batch_norm_finish", [mean, variance, layer.weight, layer.bias], [scale, shift], attrs, slack=8)
    case("batch norm training", "map", [nhwc(x), scale, shift], [nhwc(y)], codes=[code(SCALE_SHIFT)], slack=8)
    case("batch norm running", "batch_norm_track", [mean, variance] + before, [layer.running_mean, layer.running_var],
         dict(attrs, **{"norm.rows": N * H * W}), step={"step": 1}, before=before, slack=8)
    case("batch norm dgamma, dbeta", "batch_norm_bwd_reduce", [nhwc(x), nhwc(dy), mean, variance, scale, shift],
         [layer.weight.grad, layer.bias.grad], attrs, slack=16)
    case("batch norm dx", "batch_norm_bwd_data",
         [nhwc(x), nhwc(dy), mean, variance, scale, shift, layer.weight.grad, layer.bias.grad], [nhwc(x.grad)], attrs, slack=16)
    layer.eval()
    y = layer(x)
    scale = layer.weight / torch.sqrt(layer.running_var + eps)
    shift = layer.bias - layer.running_mean * scale
    case("batch norm evaluation finish", "batch_norm_finish", [layer.running_mean, layer.running_var, layer.weight, layer.bias],
         [scale, shift], attrs, slack=8)
    case("batch norm evaluation", "map", [nhwc(x), scale, shift], [nhwc(y)], codes=[code(SCALE_SHIFT)], slack=8)


def pool_attrs(kernel, stride, padding, count_padding=0):
    return {"pool.KH": kernel[0], "pool.KW": kernel[1], "pool.stride_h": stride[0], "pool.stride_w": stride[1],
            "pool.pad_h": padding[0], "pool.pad_w": padding[1], "pool.count_padding": count_padding}


def max_pool(name, N, H, W, C, kernel, stride, padding):
    x = (values(N, C, H, W) * 2).round() / 2  # halves: with ties
    x.requires_grad_()
    y, flat = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    dy = values(*y.shape)
    y.backward(dy)
    # PyTorch's index counts pixels of the plane; ours counts positions of the window.
    oh = torch.arange(y.shape[2]).reshape(1, 1, -1, 1)
    ow = torch.arange(y.shape[3]).reshape(1, 1, 1, -1)
    row = flat // W - (oh * stride[0] - padding[0])
    column = flat % W - (ow * stride[1] - padding[1])
    index = (row * kernel[1] + column).to(torch.uint8)
    attrs = pool_attrs(kernel, stride, padding)
    case("max pool " + name, "max_pool", [nhwc(x)], [nhwc(y), nhwc(index)], attrs)
    case("max pool dx " + name, "max_pool_bwd", [nhwc(dy), nhwc(index)], [nhwc(x.grad)], dict(attrs, **{"pool.H": H, "pool.W": W}))


def avg_pool(name, N, H, W, C, kernel, stride, padding, count_padding):
    x = leaf(N, C, H, W)
    y = F.avg_pool2d(x, kernel, stride, padding, count_include_pad=bool(count_padding))
    dy = values(*y.shape)
    y.backward(dy)
    attrs = pool_attrs(kernel, stride, padding, count_padding)
    case("average pool " + name, "avg_pool", [nhwc(x)], [nhwc(y)], attrs)
    case("average pool dx " + name, "avg_pool_bwd", [nhwc(dy)], [nhwc(x.grad)], dict(attrs, **{"pool.H": H, "pool.W": W}))


def global_pool(N, H, W, C):
    x = leaf(N, C, H, W)
    y = F.adaptive_avg_pool2d(x, 1)
    dy = values(*y.shape)
    y.backward(dy)
    case("global average pool", "global_avg_pool", [nhwc(x)], [nhwc(y)])
    case("global average pool dx", "global_avg_pool_bwd", [nhwc(dy)], [nhwc(x.grad)], {"pool.H": H, "pool.W": W})


def activation(name, act, function, alpha=0.0):
    x = values(6, 24) * 3
    x[0, :5] = torch.tensor([0.0, 6.0, -6.0, 1.0, -0.0])  # the kinks
    x.requires_grad_()
    y = function(x)
    dy = values(*y.shape)
    y.backward(dy)
    case(name, "map", [x], [y], codes=[code(ACT, act, alpha)])
    case(name + " dx", "map", [dy, y], [x.grad], codes=[code(DACT, act, alpha)], slack=4)


def cross_entropy(R, C, valid):
    x = (values(R, C) * 4).requires_grad_()
    labels = torch.randint(0, C, (R,))
    labels[0] = x[0].argmax()
    loss = F.cross_entropy(x[:valid], labels[:valid], reduction="none")
    F.cross_entropy(x[:valid], labels[:valid]).backward()
    rows = torch.zeros(R)
    rows[:valid] = loss.detach()
    hits = (x.argmax(dim=1) == labels).double()
    hits[valid:] = 0
    step = {"step": 1, "valid_samples": valid, "inverse_valid": 1 / valid}
    case("cross entropy", "softmax_cross_entropy", [x, labels.int()], [rows, hits], step=step)
    case("cross entropy dlogits", "softmax_cross_entropy_bwd", [x, labels.int()], [x.grad], step=step, slack=2)
    case("softmax", "softmax", [x], [F.softmax(x, dim=1)])


def region_attrs(offset, size):
    fill = [0] * (4 - len(size))
    return {"region.rank": len(size), "region.d": list(size) + fill, "region.offset": list(offset) + fill}


def regions():
    x = leaf(2, 5, 6, 3)
    y = x[:, 1:4, 2:6, 1:3]
    dy = values(*y.shape)
    y.backward(dy)
    case("slice", "slice", [x], [y], region_attrs((0, 1, 2, 1), y.shape))
    case("slice dx", "pad", [dy], [x.grad], region_attrs((0, 1, 2, 1), x.shape))
    x = leaf(2, 3, 4, 3)
    y = F.pad(x, (0, 2, 1, 1, 2, 0))  # last axis first: C, W, H
    dy = values(*y.shape)
    y.backward(dy)
    case("pad", "pad", [x], [y], region_attrs((0, 2, 1, 0), y.shape))
    case("pad dx", "slice", [dy], [x.grad], region_attrs((0, 2, 1, 0), x.shape))
    parts = [leaf(2, 3, 4, c) for c in (3, 1, 4)]
    y = torch.cat(parts, dim=3)
    dy = values(*y.shape)
    y.backward(dy)
    case("concat", "concat", parts, [y], {"concat.axis": 3})
    start = 0
    for part in parts:
        case("concat dx", "slice", [dy], [part.grad], region_attrs((0, 0, 0, start), part.shape))
        start += part.shape[3]
    a, b = values(2, 3, 4, 5), values(2, 3, 4, 5)
    case("add", "map", [a, b], [a + b], codes=[code(ADD)])


def optimiser(name, op, make, attrs, rate, steps=5, n=19, betas=None):
    """Several steps from one start; the test feeds each step's results to the next one."""
    parameter = torch.nn.Parameter(values(n))
    start = parameter.detach().clone()
    chosen = make([parameter])
    gradients = [values(n) for _ in range(steps)]
    for gradient in gradients:
        parameter.grad = gradient.clone()
        chosen.step()
    state = chosen.state[parameter]
    kept = {"sgd": ["momentum_buffer"], "adam": ["exp_avg", "exp_avg_sq"]}[op]
    outputs = [parameter]
    for key in kept:
        held = state.get(key)
        outputs.append(held if held is not None else torch.zeros(n))
    family = dict(attrs, **{op + ".n": n})
    corrections = [[1 / (1 - betas[0] ** t), 1 / (1 - betas[1] ** t)] if betas else [0, 0] for t in range(1, steps + 1)]
    case(name, op, [], outputs, family, step={"step": 1, "rate": rate, "corrections": corrections},
         before=[start] + [torch.zeros(n) for _ in kept], gradients=gradients, slack=16 * steps)


def optimisers():
    rate, decay, momentum = exact(0.1), exact(0.01), exact(0.9)

    def sgd(name, m=0.0, d=0.0, nesterov=False, dampening=0.0):
        optimiser(name, "sgd",
                  lambda p: torch.optim.SGD(p, lr=rate, momentum=m, weight_decay=d, nesterov=nesterov, dampening=dampening),
                  {"sgd.momentum": m, "sgd.decay": d, "sgd.nesterov": int(nesterov), "sgd.dampening": dampening}, rate)

    sgd("sgd")
    sgd("sgd weight decay", d=decay)
    sgd("sgd momentum", m=momentum)
    sgd("sgd momentum, weight decay", m=momentum, d=decay)
    sgd("sgd Nesterov", m=momentum, d=decay, nesterov=True)
    sgd("sgd dampening", m=momentum, dampening=0.25)
    betas, eps = (exact(0.9), exact(0.999)), exact(1e-8)
    for name, make, decoupled in (("adam", torch.optim.Adam, 0), ("adamw", torch.optim.AdamW, 1)):
        for d in (0.0, decay):
            attrs = {"adam.beta1": betas[0], "adam.beta2": betas[1], "adam.eps": eps, "adam.decay": d, "adam.decoupled": decoupled}
            optimiser("%s weight decay %g" % (name, d), "adam", lambda p: make(p, lr=rate, betas=betas, eps=eps, weight_decay=d),
                      attrs, rate, betas=betas)


conv2d("3x3", 2, 7, 6, 3, 5, (3, 3), padding=(1, 1))
conv2d("stride", 1, 9, 8, 4, 6, (3, 2), stride=(2, 3), padding=(1, 0))
conv2d("dilation", 1, 9, 10, 2, 3, (3, 3), padding=(2, 2), dilation=(2, 2))
conv2d("groups", 2, 6, 6, 6, 8, (3, 3), stride=(2, 2), padding=(1, 1), groups=2)
conv2d("depthwise", 2, 7, 7, 9, 9, (3, 3), stride=(2, 2), padding=(1, 1), groups=9)
conv2d("depthwise multiplier", 1, 5, 6, 4, 8, (3, 3), padding=(1, 1), groups=4)
conv2d("1x1", 2, 5, 5, 17, 16, (1, 1))
conv2d("1x1 stride", 2, 6, 6, 8, 16, (1, 1), stride=(2, 2))
conv2d("5x5", 1, 12, 12, 1, 6, (5, 5), padding=(2, 2))
linear(7, 33, 10)
batch_norm(3, 4, 5, 6)
max_pool("2x2", 2, 6, 6, 3, (2, 2), (2, 2), (0, 0))
max_pool("3x3 padding", 2, 7, 8, 4, (3, 3), (2, 2), (1, 1))
max_pool("3x2", 1, 7, 7, 17, (3, 2), (1, 3), (0, 1))
avg_pool("2x2", 2, 6, 6, 3, (2, 2), (2, 2), (0, 0), 0)
avg_pool("counting padding", 1, 7, 8, 4, (3, 3), (2, 2), (1, 1), 1)
avg_pool("not counting padding", 1, 7, 8, 4, (3, 3), (2, 2), (1, 1), 0)
global_pool(2, 5, 7, 9)
activation("relu", RELU, F.relu)
activation("relu6", RELU6, F.relu6)
activation("leaky relu", LEAKY_RELU, lambda x: F.leaky_relu(x, 0.125), 0.125)
activation("sigmoid", SIGMOID, torch.sigmoid)
activation("tanh", TANH, torch.tanh)
cross_entropy(7, 10, 5)
regions()
optimisers()

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "values.json")
with open(path, "w") as file:
    file.write('{"torch": "%s", "cases": [\n' % torch.__version__)
    file.write(",\n".join(json.dumps(row, separators=(",", ":")) for row in cases))
    file.write("\n]}\n")
