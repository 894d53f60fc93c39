"""For each operator that torch.export finds in our networks, the ONNX operators that compute it.

Each function gets the graph, the traced node, and its arguments: names where the values depend on
the images, tensors where they do not. It returns the same. The response norm becomes ONNX's LRN,
which divides alpha by the window where the paper does not, and knows no towers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from alexnet.kernels.runtime.layout import count_windows

if TYPE_CHECKING:
    from alexnet.exporting.graph import Graph

Value = str | Tensor


def _convolution(
    graph: Graph,
    node: fx.Node,
    x: str,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> str:
    how: dict[str, Any] = {"strides": stride, "pads": [*padding] * 2, "dilations": dilation}
    return graph.add(
        "Conv", x, weight, *_optional(bias), name=graph.layer(weight), group=groups, **how
    )


def _linear(graph: Graph, node: fx.Node, x: str, weight: Tensor, bias: Tensor | None = None) -> str:
    return graph.add("Gemm", x, weight, *_optional(bias), name=graph.layer(weight), transB=1)


def _optional(bias: Tensor | None) -> list[Tensor]:
    return [] if bias is None else [bias]


def _batches_of_products(graph: Graph, node: fx.Node, added: Value, x: Value, y: Value) -> str:
    return graph.add("Add", graph.add("MatMul", x, y), added)


def _alone(operator: str, graph: Graph, node: fx.Node, x: str) -> str:
    return graph.add(operator, x)


def _pair(operator: str, graph: Graph, node: fx.Node, x: Value, y: Value | float) -> str:
    return graph.add(operator, x, torch.tensor(y) if isinstance(y, int | float) else y)


def _square(graph: Graph, node: fx.Node, x: str) -> str:
    return graph.add("Mul", x, x)


def _inverse_root(graph: Graph, node: fx.Node, x: str) -> str:
    return graph.add("Reciprocal", graph.add("Sqrt", x))


def _same(graph: Graph, node: fx.Node, x: str, *_: Any) -> str:
    return x


def _ones(graph: Graph, node: fx.Node, x: str) -> Tensor:
    return torch.ones(_shape(node))


def _size(graph: Graph, node: fx.Node, x: str, axis: int) -> None:
    """A number of images: those who ask find it themselves, as `_shape` says."""


def _shape(node: fx.Node) -> list[int]:
    """The shape of what a node puts out, −1 where it is the number of images."""
    return [n if isinstance(n, int) else -1 for n in node.meta["val"].shape]


def _reshape(graph: Graph, node: fx.Node, x: str, *_: Any) -> str:
    return graph.add("Reshape", x, torch.tensor(_shape(node)))


def _flatten(graph: Graph, node: fx.Node, x: str, axis: int) -> str:
    return graph.add("Flatten", x, axis=axis)


def _permute(graph: Graph, node: fx.Node, x: str, axes: Sequence[int]) -> str:
    return graph.add("Transpose", x, perm=axes)


def _pad(graph: Graph, node: fx.Node, x: str, sides: Sequence[int]) -> str:
    left, right, top, bottom = sides  # torch names the last axis first
    return graph.add("Pad", x, torch.tensor([0, 0, top, left, 0, 0, bottom, right]))


def _slice(
    graph: Graph, node: fx.Node, x: str, axis: int, first: int, last: int, step: int = 1
) -> str:
    return graph.add("Slice", x, *(torch.tensor([n]) for n in (first, last, axis, step)))


def _windows(graph: Graph, node: fx.Node, x: str, axis: int, size: int, step: int) -> str:
    """Windows along an axis, their pixels along a new last one."""
    axes = len(_shape(node))
    starts = step * torch.arange(_shape(node)[axis])
    found = graph.add("Gather", x, starts[:, None] + torch.arange(size), axis=axis)
    rest = [i for i in range(axes) if i != axis + 1]
    return graph.add("Transpose", found, perm=[*rest, axis + 1])


def _split(graph: Graph, node: fx.Node, x: str, parts: int, axis: int = 0) -> list[str]:
    return graph.add("Split", x, many=parts, axis=axis)


def _concatenate(graph: Graph, node: fx.Node, parts: list[Value], axis: int = 0) -> str:
    return graph.add("Concat", *parts, axis=axis)


def _item(graph: Graph, node: fx.Node, x: str | list[str], index: int) -> str:
    """A part of what was split, or the first of a kernel's two results: nobody reads the second."""
    return x if isinstance(x, str) else x[index]


def _relu_max(graph: Graph, node: fx.Node, x: str, pool: int, stride: int) -> str:
    return _clipped(graph, "MaxPool", node, graph.add("Relu", x), pool, stride)


def _relu_avg(graph: Graph, node: fx.Node, x: str, pool: int, stride: int, relu_first: bool) -> str:
    x = graph.add("Relu", x) if relu_first else x
    x = _clipped(graph, "AveragePool", node, x, pool, stride)
    return x if relu_first else graph.add("Relu", x)


def _relu_norm_max(
    graph: Graph,
    node: fx.Node,
    x: str,
    n: int,
    alpha: float,
    beta: float,
    k: float,
    towers: int,
    pool: int,
    stride: int,
    relu: str,
) -> str:
    x = graph.add("Relu", x) if relu == "first" else x
    x = _norm(graph, x, towers, size=n, alpha=alpha * n, beta=beta, bias=k)
    x = x if pool == stride == 1 else _clipped(graph, "MaxPool", node, x, pool, stride)
    return graph.add("Relu", x) if relu == "last" else x


def _norm(graph: Graph, x: str, towers: int, **how: Any) -> str:
    """ONNX's LRN within each tower. Its even windows are longer on the other side than ours."""
    if how["size"] % 2 == 0:
        raise ValueError(
            f"a norm over {how['size']} maps cannot be exported, only over odd numbers"
        )
    if towers == 1:
        return graph.add("LRN", x, **how)
    parts = graph.add("Split", x, many=towers, axis=1)
    return graph.add("Concat", *[graph.add("LRN", part, **how) for part in parts], axis=1)


def _norm_within_map(
    graph: Graph, node: fx.Node, x: str, n: int, alpha: float, beta: float, k: float
) -> str:
    squares, before = graph.add("Mul", x, x), n // 2
    pads = [before, before, n - 1 - before, n - 1 - before]
    window: dict[str, Any] = {"kernel_shape": [n, n], "pads": pads, "count_include_pad": 1}
    means = graph.add("AveragePool", squares, **window)
    base = graph.add("Add", graph.add("Mul", means, torch.tensor(alpha * n**2)), torch.tensor(k))
    return graph.add("Div", x, graph.add("Pow", base, torch.tensor(beta)))


def _clipped(graph: Graph, operator: str, node: fx.Node, x: str, pool: int, stride: int) -> str:
    """Sizes round up: the windows are clipped, which padding says to every program alike."""
    sides = _input_sides(node)
    sides_out = [count_windows(side, pool, stride) for side in sides]
    return _pool(graph, operator, x, [pool] * 2, [stride] * 2, [0, 0], sides, sides_out)


def _input_sides(node: fx.Node) -> list[int]:
    source: Any = node.args[0]
    return source.meta["val"].shape[2:]


def _pool(
    graph: Graph,
    operator: str,
    x: str,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    sides: Sequence[int],
    sides_out: Sequence[int],
    **how: Any,
) -> str:
    """Pool maps of `sides` to `sides_out`, with as much padding right and below as that takes."""
    axes = zip(window, stride, padding, sides, sides_out, strict=True)
    after = [max(0, (out - 1) * s + w - side - p) for w, s, p, side, out in axes]
    pads = [*padding, *after]
    return graph.add(operator, x, kernel_shape=window, strides=stride, pads=pads, **how)


def _max_pool(
    graph: Graph,
    node: fx.Node,
    x: str,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] = (0, 0),
    *_: Any,
) -> str:
    sides = _input_sides(node), _shape(node)[2:]
    return _pool(graph, "MaxPool", x, window, stride, padding, *sides)


def _avg_pool(
    graph: Graph,
    node: fx.Node,
    x: str,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] = (0, 0),
    rounds_up: bool = False,
    counts_padding: bool = True,
    divisor: int | None = None,
) -> str:
    sides = _input_sides(node), _shape(node)[2:]
    counts = int(counts_padding or divisor is not None)
    how = window, stride, padding, *sides
    average = _pool(graph, "AveragePool", x, *how, count_include_pad=counts)
    if divisor is None:
        return average
    return graph.add("Mul", average, torch.tensor(window[0] * window[1] / divisor))


OPERATORS: dict[str, Callable[..., Any]] = {
    "conv2d": _convolution,
    "linear": _linear,
    "baddbmm": _batches_of_products,
    "relu": partial(_alone, "Relu"),
    "tanh": partial(_alone, "Tanh"),
    "sqrt": partial(_alone, "Sqrt"),
    "rsqrt": _inverse_root,
    "square": _square,
    "add": partial(_pair, "Add"),
    "sub": partial(_pair, "Sub"),
    "mul": partial(_pair, "Mul"),
    "div": partial(_pair, "Div"),
    "pow": partial(_pair, "Pow"),
    "to": _same,
    "contiguous": _same,
    "dropout": _same,
    "ones_like": _ones,
    "sym_size": _size,
    "view": _reshape,
    "reshape": _reshape,
    "flatten": _flatten,
    "permute": _permute,
    "pad": _pad,
    "slice": _slice,
    "unfold": _windows,
    "chunk": _split,
    "cat": _concatenate,
    "getitem": _item,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "normalize_within_channel": _norm_within_map,
    "relu_norm_max": _relu_norm_max,
    "relu_max": _relu_max,
    "relu_avg": _relu_avg,
}
