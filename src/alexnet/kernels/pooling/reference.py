"""ReLU and pooling in plain PyTorch: what the kernels of this folder must compute.

Also used on devices without a kernel, and where PyTorch is faster than the kernel. Called by
`operator`; must import neither it nor a kernel.
"""

import torch.nn.functional as F
from torch import Tensor


def relu_pool_reference(
    x: Tensor, *, pool: int, stride: int, kind: str = "max", order: str = "relu-pool"
) -> Tensor:
    """ReLU and pooling, as `operator.relu_pool` describes it. (N, C, H, W) → (N, C, H', W').

    Windows of pool × pool pixels start every `stride` pixels; in the paper 3 and 2, so that they
    overlap (section 3.4). Those at the lower and right border are clipped:

        6 pixels, pool 3, stride 2 → 3 windows      0 1 2 3 4 5
                                          window 0  └───┘
                                          window 1      └───┘
                                          window 2          └─   2 pixels instead of 3

    An average divides by the number of pixels inside the image.
    """
    if order == "relu-pool":
        x = F.relu(x)
    if kind == "max":
        x = F.max_pool2d(x, pool, stride, ceil_mode=True)
    else:
        x = F.avg_pool2d(x, pool, stride, ceil_mode=True, count_include_pad=False)
    return F.relu(x) if order == "pool-relu" else x
