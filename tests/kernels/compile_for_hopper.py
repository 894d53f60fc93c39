"""Compile the Triton kernels for an H100 or H200, without a GPU, and print each one's stack size.

    python tests/kernels/compile_for_hopper.py        one line per kernel: name, bytes

The compiler puts on the stack, which is in slow memory, the values for which a thread has no
register left. Such a kernel is many times slower, so every size should be 0.
`test_cuda_kernels` runs this script and checks that.
"""

import re
import subprocess
import sys
import tempfile

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from alexnet.kernels.cropping import cuda as cuda_crop
from alexnet.kernels.dropout import cuda as cuda_dropout
from alexnet.kernels.normalization import cuda as cuda_norm
from alexnet.kernels.pooling import cuda as cuda_pool

HOPPER = GPUTarget("cuda", 90, 32)
"""Compute capability 9.0, warps of 32 threads."""

SIZES = "images", "channels", "height", "width", "out_height", "out_width", "units"
TYPES = {
    **dict.fromkeys(("x", "out", "grad_out", "grad_x", "kept"), "*bf16"),
    **dict.fromkeys(SIZES, "i32"),
    **dict.fromkeys(("alpha", "k", "scale"), "fp32"),
    **dict.fromkeys(("indices", "offsets", "key_and_row"), "*i64"),
    **dict.fromkeys(("shifts", "mean"), "*fp32"),
    **dict.fromkeys(("records", "argmax"), "*u8"),
    **dict.fromkeys(("flips", "mask"), "*i1"),
}
"""Triton's types of the kernels' arguments, by their names; `*` marks a pointer to a tensor."""

NORM = {"BETA": 0.75, "N": 5, "RELU": "first", "TOWER": 48, "OCTETS": 12, "THREADS": 128}
POOL = {"POOL": 3, "STRIDE": 2, "RELU_FIRST": True, "PIXELS": 8, "CHANNELS": 128}
CROP = {"SIZE": 224, "SIDE": 256, "RGB": False, "BLOCK": cuda_crop.BLOCK}
DROPOUT = {"LAYER": 6, "THRESHOLD": 2**31, "GROUPS": cuda_dropout.GROUPS}
CONSTANTS = {**NORM, **POOL, **CROP, **DROPOUT}
"""The `tl.constexpr` arguments, as in the networks of the paper."""

KERNELS = (
    *(cuda_norm._forward, cuda_norm._backward),
    *(cuda_pool._max_forward, cuda_pool._max_backward),
    *(cuda_pool._avg_forward, cuda_pool._avg_backward),
    cuda_crop._crop,
    cuda_dropout._fill_keep_mask,
)


def measure_stack(kernel: triton.JITFunction) -> int:
    """Compile the kernel and return the bytes of stack of a thread, as `cuobjdump` reports them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compile_kernel(kernel))
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        report = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.search(r"STACK:(\d+)", report.stdout + report.stderr)[1])


def compile_kernel(kernel: triton.JITFunction) -> bytes:
    """Return the machine code that Triton makes for aligned tensors."""
    names = kernel.arg_names
    constants = {(i,): CONSTANTS[name] for i, name in enumerate(names) if name in CONSTANTS}
    types = {name: "constexpr" if name in CONSTANTS else TYPES[name] for name in names}
    multiples_of_16 = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(names)
        if name == "channels" or types[name].startswith("*")
    }
    return triton.compile(ASTSource(kernel, types, constants, multiples_of_16), HOPPER).asm["cubin"]


if __name__ == "__main__":
    for kernel in KERNELS:
        sys.stdout.write(f"{kernel.__name__} {measure_stack(kernel)}\n")
