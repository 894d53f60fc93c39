"""The translation of each operator that torch.export finds in our networks into ONNX operators.

Each function takes the graph, the traced node and the node's arguments, adds ONNX nodes to the
graph, and returns the node's output. Values that depend on the images are names of ONNX tensors
(str); constants are torch tensors. The table OPERATORS, at the end, maps operators to these
functions; `translation` uses it.

Three differences between ONNX and our operators need care:

* Response norm: ONNX's LRN divides alpha by the window size n, and the paper does not; so alpha · n
  is passed. LRN knows no towers: channels are split, normalized and concatenated.
* Pooling that rounds the output size up: the last window is clipped at the edge. This is written as
  padding on the right and at the bottom, which all runtimes interpret alike::

      size 6, pool 3, stride 2     |0 1 2 3 4 5|          windows 012, 234 and 45·
                                                           padding: 1 on the right

* The number of images is unknown: it is −1 in reshapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx

from alexnet.exporting.onnx_graph import OnnxGraph
from alexnet.kernels.runtime.layout import count_windows

Value = str | Tensor
"""The name of an ONNX tensor, or a constant."""


def _conv2d(
    graph: OnnxGraph,
    node: fx.Node,
    x: str,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> str:
    """Convolution; the node gets the layer's name. `pads` lists top, left, bottom, right."""
    return graph.add(
        "Conv",
        x,
        weight,
        *_list_optional(bias),
        name=graph.layer_of(weight),
        group=groups,
        strides=stride,
        pads=[*padding] * 2,
        dilations=dilation,
    )


def _linear(
    graph: OnnxGraph, node: fx.Node, x: str, weight: Tensor, bias: Tensor | None = None
) -> str:
    """x · weightᵀ + bias; the node gets the layer's name."""
    return graph.add(
        "Gemm", x, weight, *_list_optional(bias), name=graph.layer_of(weight), transB=1
    )


def _list_optional(bias: Tensor | None) -> list[Tensor]:
    """The optional last input of Conv and Gemm as a list."""
    return [] if bias is None else [bias]


def _baddbmm(graph: OnnxGraph, node: fx.Node, added: Value, x: Value, y: Value) -> str:
    """Batched matrix products plus a summand: added + x · y."""
    return graph.add("Add", graph.add("MatMul", x, y), added)


def _unary(operator: str, graph: OnnxGraph, node: fx.Node, x: str) -> str:
    """An ONNX operator with one input."""
    return graph.add(operator, x)


def _binary(operator: str, graph: OnnxGraph, node: fx.Node, x: Value, y: Value | float) -> str:
    """An elementwise ONNX operator with two inputs, of which one can be a number."""
    return graph.add(operator, x, torch.tensor(y) if isinstance(y, int | float) else y)


def _square(graph: OnnxGraph, node: fx.Node, x: str) -> str:
    return graph.add("Mul", x, x)


def _rsqrt(graph: OnnxGraph, node: fx.Node, x: str) -> str:
    return graph.add("Reciprocal", graph.add("Sqrt", x))


def _identity(graph: OnnxGraph, node: fx.Node, x: str, *_: Any) -> str:
    """Operators that change nothing here: type conversions to float32, dropout in evaluation."""
    return x


def _ones_like(graph: OnnxGraph, node: fx.Node, x: str) -> Tensor:
    return torch.ones(_get_output_shape(node))


def _sym_size(graph: OnnxGraph, node: fx.Node, x: str, axis: int) -> None:
    """Add no node for the batch size: its users write −1 instead (`_get_output_shape`)."""


def _get_output_shape(node: fx.Node) -> list[int]:
    """Return the shape of a node's output, with −1 for the number of images."""
    return [n if isinstance(n, int) else -1 for n in node.meta["val"].shape]


def _reshape(graph: OnnxGraph, node: fx.Node, x: str, *_: Any) -> str:
    """Reshape to the shape that torch.export recorded."""
    return graph.add("Reshape", x, torch.tensor(_get_output_shape(node)))


def _flatten(graph: OnnxGraph, node: fx.Node, x: str, axis: int) -> str:
    return graph.add("Flatten", x, axis=axis)


def _permute(graph: OnnxGraph, node: fx.Node, x: str, axes: Sequence[int]) -> str:
    return graph.add("Transpose", x, perm=axes)


def _pad(graph: OnnxGraph, node: fx.Node, x: str, sides: Sequence[int]) -> str:
    """Zero padding of the last two axes."""
    left, right, top, bottom = sides  # torch names the last axis first
    return graph.add("Pad", x, torch.tensor([0, 0, top, left, 0, 0, bottom, right]))


def _slice(
    graph: OnnxGraph, node: fx.Node, x: str, axis: int, first: int, last: int, step: int = 1
) -> str:
    return graph.add("Slice", x, *(torch.tensor([n]) for n in (first, last, axis, step)))


def _unfold(graph: OnnxGraph, node: fx.Node, x: str, axis: int, size: int, step: int) -> str:
    """Windows of `size` elements along an axis; the elements of a window go to a new last axis."""
    axes = len(_get_output_shape(node))
    starts = step * torch.arange(_get_output_shape(node)[axis])
    windows = graph.add("Gather", x, starts[:, None] + torch.arange(size), axis=axis)
    rest = [i for i in range(axes) if i != axis + 1]
    return graph.add("Transpose", windows, perm=[*rest, axis + 1])


def _chunk(graph: OnnxGraph, node: fx.Node, x: str, parts: int, axis: int = 0) -> list[str]:
    return graph.add("Split", x, n_outputs=parts, axis=axis)


def _cat(graph: OnnxGraph, node: fx.Node, parts: list[Value], axis: int = 0) -> str:
    return graph.add("Concat", *parts, axis=axis)


def _getitem(graph: OnnxGraph, node: fx.Node, x: str | list[str], index: int) -> str:
    """One output of a Split, or the first result of a kernel.

    Some kernels return two tensors, of which inference uses only the first.
    """
    return x if isinstance(x, str) else x[index]


def _relu_max(graph: OnnxGraph, node: fx.Node, x: str, pool: int, stride: int) -> str:
    """ReLU and max pooling in one kernel."""
    return _pool_rounding_up(graph, "MaxPool", node, graph.add("Relu", x), pool, stride)


def _relu_avg(
    graph: OnnxGraph, node: fx.Node, x: str, pool: int, stride: int, relu_first: bool
) -> str:
    """ReLU and average pooling in one kernel, in either order."""
    x = graph.add("Relu", x) if relu_first else x
    x = _pool_rounding_up(graph, "AveragePool", node, x, pool, stride)
    return x if relu_first else graph.add("Relu", x)


def _relu_norm_max(
    graph: OnnxGraph,
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
    """ReLU, response norm and max pooling in one kernel; `relu` says where the ReLU is."""
    x = graph.add("Relu", x) if relu == "first" else x
    x = _add_response_norm(graph, x, towers, size=n, alpha=alpha * n, beta=beta, bias=k)
    x = x if pool == stride == 1 else _pool_rounding_up(graph, "MaxPool", node, x, pool, stride)
    return graph.add("Relu", x) if relu == "last" else x


def _add_response_norm(graph: OnnxGraph, x: str, towers: int, **attributes: Any) -> str:
    """Response norm within each tower (section 3.3), by ONNX's LRN.

    Raises ValueError for a window of even size n: ONNX centers it differently from our kernel.
    """
    if attributes["size"] % 2 == 0:
        raise ValueError(f"a norm over {attributes['size']} maps cannot be exported; n must be odd")
    if towers == 1:
        return graph.add("LRN", x, **attributes)
    parts = graph.add("Split", x, n_outputs=towers, axis=1)
    return graph.add("Concat", *[graph.add("LRN", part, **attributes) for part in parts], axis=1)


def _within_map(
    graph: OnnxGraph, node: fx.Node, x: str, n: int, alpha: float, beta: float, k: float
) -> str:
    """Response norm over n×n windows within each map: x / (k + alpha · Σx²)^beta."""
    squares, before = graph.add("Mul", x, x), n // 2
    pads = [before, before, n - 1 - before, n - 1 - before]
    window: dict[str, Any] = {"kernel_shape": [n, n], "pads": pads, "count_include_pad": 1}
    means = graph.add("AveragePool", squares, **window)
    base = graph.add("Add", graph.add("Mul", means, torch.tensor(alpha * n**2)), torch.tensor(k))
    return graph.add("Div", x, graph.add("Pow", base, torch.tensor(beta)))


def _pool_rounding_up(
    graph: OnnxGraph, operator: str, node: fx.Node, x: str, pool: int, stride: int
) -> str:
    """Pool with an output size that is rounded up; windows are clipped at the edge."""
    input_size = _get_input_size(node)
    output_size = [count_windows(size, pool, stride) for size in input_size]
    windows = [pool] * 2, [stride] * 2, [0, 0]
    return _add_pool(graph, operator, x, *windows, input_size, output_size)


def _get_input_size(node: fx.Node) -> list[int]:
    """Return the height and width of the maps that a node is given."""
    source: Any = node.args[0]
    return source.meta["val"].shape[2:]


def _add_pool(
    graph: OnnxGraph,
    operator: str,
    x: str,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    input_size: Sequence[int],
    output_size: Sequence[int],
    **attributes: Any,
) -> str:
    """Pool maps of size `input_size` to `output_size`, both (height, width).

    The maps are padded on the right and at the bottom as far as the output size needs.
    """
    axes = zip(window, stride, padding, input_size, output_size, strict=True)
    after = [max(0, (out - 1) * s + w - size - p) for w, s, p, size, out in axes]
    pads = [*padding, *after]
    return graph.add(operator, x, kernel_shape=window, strides=stride, pads=pads, **attributes)


def _max_pool(
    graph: OnnxGraph,
    node: fx.Node,
    x: str,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] = (0, 0),
    *_: Any,
) -> str:
    """torch's own max pooling."""
    sizes = _get_input_size(node), _get_output_shape(node)[2:]
    return _add_pool(graph, "MaxPool", x, window, stride, padding, *sizes)


def _avg_pool(
    graph: OnnxGraph,
    node: fx.Node,
    x: str,
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] = (0, 0),
    rounds_up: bool = False,
    counts_padding: bool = True,
    divisor: int | None = None,
) -> str:
    """torch's own average pooling, which may divide by a number of its own."""
    sizes = _get_input_size(node), _get_output_shape(node)[2:]
    counts = int(counts_padding or divisor is not None)
    windows = window, stride, padding
    average = _add_pool(graph, "AveragePool", x, *windows, *sizes, count_include_pad=counts)
    if divisor is None:
        return average
    return graph.add("Mul", average, torch.tensor(window[0] * window[1] / divisor))


OPERATORS: dict[str, Callable[..., Any]] = {
    # torch's operators
    "conv2d": _conv2d,
    "linear": _linear,
    "baddbmm": _baddbmm,
    "relu": partial(_unary, "Relu"),
    "tanh": partial(_unary, "Tanh"),
    "sqrt": partial(_unary, "Sqrt"),
    "rsqrt": _rsqrt,
    "square": _square,
    "add": partial(_binary, "Add"),
    "sub": partial(_binary, "Sub"),
    "mul": partial(_binary, "Mul"),
    "div": partial(_binary, "Div"),
    "pow": partial(_binary, "Pow"),
    "to": _identity,
    "contiguous": _identity,
    "dropout": _identity,
    "ones_like": _ones_like,
    "sym_size": _sym_size,
    "view": _reshape,
    "reshape": _reshape,
    "flatten": _flatten,
    "permute": _permute,
    "pad": _pad,
    "slice": _slice,
    "unfold": _unfold,
    "chunk": _chunk,
    "cat": _cat,
    "getitem": _getitem,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    # our kernels
    "normalize_within_channel": _within_map,
    "relu_norm_max": _relu_norm_max,
    "relu_max": _relu_max,
    "relu_avg": _relu_avg,
}
