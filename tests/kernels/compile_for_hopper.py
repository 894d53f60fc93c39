"""Compile the Triton kernels for an H100 or H200, which needs none, and print the stack of each.

A stack is where registers go that do not fit: such a kernel is many times slower.
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

FLOATS = "x", "out", "gradient", "kept"
SIZES = "images", "maps", "height", "width", "high", "wide", "units"
TYPES = {
    **dict.fromkeys(FLOATS, "*bf16"),
    **dict.fromkeys(SIZES, "i32"),
    **dict.fromkeys(("alpha", "k", "scale"), "fp32"),
    **dict.fromkeys(("indices", "offsets", "key_and_row"), "*i64"),
    **dict.fromkeys(("shifts", "mean"), "*fp32"),
    **dict.fromkeys(("records", "positions"), "*u8"),
    **dict.fromkeys(("flips", "mask"), "*i1"),
}
NORM = {"BETA": 0.75, "N": 5, "RELU": "first", "TOWER": 48, "OCTETS": 12, "THREADS": 128}
POOL = {"POOL": 3, "STRIDE": 2, "RELU_FIRST": True, "PIXELS": 8, "MAPS": 128}
CROP = {"SIZE": 224, "SIDE": 256, "RGB": False, "BLOCK": cuda_crop.BLOCK}
DROPOUT = {"LAYER": 6, "THRESHOLD": 2**31, "GROUPS": cuda_dropout.GROUPS}
KERNELS = (
    *(cuda_norm._forward, cuda_norm._backward),
    *(cuda_pool._max_forward, cuda_pool._max_backward),
    *(cuda_pool._avg_forward, cuda_pool._avg_backward),
    cuda_crop._crop,
    cuda_dropout._fill_keep_mask,
)


def stack(kernel: triton.JITFunction) -> int:
    """The bytes of stack that the compiled kernel has."""
    constants = {**NORM, **POOL, **CROP, **DROPOUT}
    names = kernel.arg_names
    values = {(names.index(name),): constants[name] for name in names if name in constants}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if name == "maps" or TYPES.get(name, "").startswith("*")
    }
    types = {name: "constexpr" if name in constants else TYPES[name] for name in names}
    made = triton.compile(ASTSource(kernel, types, values, aligned), GPUTarget("cuda", 90, 32))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.search(r"STACK:(\d+)", found.stdout + found.stderr)[1])


if __name__ == "__main__":
    for kernel in KERNELS:
        sys.stdout.write(f"{kernel.__name__} {stack(kernel)}\n")
