"""How a Triton kernel is started, and where a pixel is in memory. For every CUDA kernel.

Imported by each operation's `cuda.py`. It must never import one of them.
"""

# mypy: disable-error-code="no-untyped-def"

import torch
import triton
import triton.language as tl


def launch(kernel, grid, written, *arguments):
    """Run `kernel[grid](*arguments)` on the device of `written`, the tensor that it fills.

    Nothing is launched if `written` is empty: CUDA refuses a grid of no programs.
    """
    if written.numel():
        with torch.cuda.device_of(written):
            kernel[grid](*arguments)


@triton.jit
def pixel_offset(image, y, x, height, width, channels):
    """Offset in elements of channel 0 of each pixel, in a channels_last tensor.

        image 0                        image 1
        (0,0) (0,1) … (1,0) (1,1) …    (0,0) …        each pixel: C channels side by side
        └ C ┘ └ C ┘   └ C ┘

    The number of the pixel fits 32 bits; the offset is computed in 64.
    """
    return ((image * height + y) * width + x).to(tl.int64) * channels
