"""Other programs' networks in plain PyTorch, and files of their weights, made as they make them."""

import struct

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CLASSES = 7


def torchvision_alexnet(classes: int = CLASSES) -> nn.Module:
    """torchvision's alexnet, written out with its names: models/alexnet.py."""
    network = nn.Module()
    network.features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    network.avgpool = nn.AdaptiveAvgPool2d(6)
    network.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
        nn.Linear(4096, classes),
    )  # fmt: skip
    return network.eval()


def run_torchvision(network, x):
    """(N, 3, H, W) → (N, classes), as its `forward`."""
    return network.classifier(network.avgpool(network.features(x)).flatten(1))


def normalize(records, side=224):
    """torchvision's ToTensor, CenterCrop and Normalize: uint8 N H W 3 → float N 3 side side."""
    x = torch.from_numpy(records).permute(0, 3, 1, 2).float() / 255
    top = (records.shape[1] - side) // 2
    x = x[:, :, top : top + side, top : top + side]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean[:, None, None]) / std[:, None, None]


SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (CLASSES, 4096),
}
"""Caffe's weights by layer."""


def caffe_weights(seed: int = 0) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases of each layer, which keep the variance of their inputs."""
    chance = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in SHAPES.items():
        weight = torch.randn(shape, generator=chance)
        weight *= (2 / weight[0].numel()) ** 0.5
        weights[name] = weight, torch.randn(shape[0], generator=chance) / 10
    return weights


def run_caffe(weights, x, norm_first):
    """bvlc_alexnet (`norm_first`) or caffenet: BGR images minus the mean → logits.

    alpha is Caffe's: `F.local_response_norm` divides it by the size of the window, as Caffe does.
    """

    def norm_and_pool(x):
        steps = [lambda x: F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0),
                 lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)]  # fmt: skip
        for step in steps if norm_first else steps[::-1]:
            x = step(x)
        return x

    x = norm_and_pool(F.relu(F.conv2d(x, *weights["conv1"], stride=4)))
    x = norm_and_pool(F.relu(F.conv2d(x, *weights["conv2"], padding=2, groups=2)))
    x = F.relu(F.conv2d(x, *weights["conv3"], padding=1))
    x = F.relu(F.conv2d(x, *weights["conv4"], padding=1, groups=2))
    x = F.relu(F.conv2d(x, *weights["conv5"], padding=1, groups=2))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True).flatten(1)
    x = F.relu(F.linear(x, *weights["fc6"]))
    x = F.relu(F.linear(x, *weights["fc7"]))
    return F.linear(x, *weights["fc8"])


# A writer of protocol buffers, as small as the reader.


def varint(value: int) -> bytes:
    """An integer, seven bits a byte."""
    content = b""
    while value > 127:
        content, value = content + bytes([value & 127 | 128]), value >> 7
    return content + bytes([value])


def number(field: int, value: int) -> bytes:
    """A field with an integer."""
    return varint(field << 3) + varint(value)


def content(field: int, value: bytes | str) -> bytes:
    """A field with bytes, a text or a message."""
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def real(field: int, value: float) -> bytes:
    """A field with a float."""
    return varint(field << 3 | 5) + struct.pack("<f", value)


def blob(array, old: bool = False) -> bytes:
    """A BlobProto. Old ones have four dimensions, of which the first are one."""
    array = np.asarray(array, np.float32)
    if old:
        shape = (1,) * (4 - array.ndim) + array.shape
        sizes = b"".join(number(i, n) for i, n in enumerate(shape, 1))
    else:
        sizes = content(7, content(1, b"".join(map(varint, array.shape))))
    return sizes + content(5, array.tobytes())


KINDS = {"Data": 5, "Convolution": 4, "ReLU": 18, "LRN": 15, "Pooling": 17, "InnerProduct": 14,
         "Dropout": 6, "SoftmaxWithLoss": 21}  # fmt: skip
"""Kind of layer → its number in V1LayerParameter."""


def layer(name, kind, blobs=(), parameters=b"", old=False):
    """A layer as a field of NetParameter."""
    arrays = b"".join(content(6 if old else 7, blob(x, old)) for x in blobs)
    fields = {"Convolution": 10, "LRN": 18, "Pooling": 19}
    more = (
        content(fields[kind] + (0 if old else {10: 96, 18: 100, 19: 102}[fields[kind]]), parameters)
        if parameters
        else b""
    )
    if old:
        return content(
            2, content(2, "bottom") + content(4, name) + number(5, KINDS[kind]) + arrays + more
        )
    return content(100, content(1, name) + content(2, kind) + content(3, "bottom") + arrays + more)


LRN = number(1, 5) + real(2, 1e-4) + real(3, 0.75)
POOLING = number(1, 0) + number(2, 3) + number(3, 2)


def caffemodel(weights, norm_first, old=False, lrn=LRN, name="AlexNet", names=None):
    """A .caffemodel of bvlc_alexnet (`norm_first`) or caffenet, in the old or the new format."""

    def convolution(i, pad=0, group=1, stride=1):
        filler = content(7, content(1, "gaussian") + real(6, 0.01))
        sizes = number(1, SHAPES[f"conv{i}"][0]) + number(3, pad) + number(5, group)
        parameters = sizes + number(6, stride) + filler
        yield layer(f"conv{i}", "Convolution", weights[f"conv{i}"], parameters, old)
        yield layer(f"relu{i}", "ReLU", old=old)

    def norm_and_pool(i):
        parts = [
            layer(f"norm{i}", "LRN", (), lrn, old),
            layer(f"pool{i}", "Pooling", (), POOLING, old),
        ]
        yield from parts if norm_first else parts[::-1]

    def connected(i):
        yield layer(
            (names or {}).get(f"fc{i}", f"fc{i}"), "InnerProduct", weights[f"fc{i}"], old=old
        )
        if i < 8:
            yield layer(f"relu{i}", "ReLU", old=old)
            yield layer(f"drop{i}", "Dropout", old=old)

    parts = [
        layer("data", "Data", old=old), *convolution(1, stride=4), *norm_and_pool(1),
        *convolution(2, 2, 2), *norm_and_pool(2), *convolution(3, 1), *convolution(4, 1, 2),
        *convolution(5, 1, 2), layer("pool5", "Pooling", (), POOLING, old),
        *(x for i in (6, 7, 8) for x in connected(i)), layer("loss", "SoftmaxWithLoss", old=old),
    ]  # fmt: skip
    return content(1, name) + b"".join(parts)
