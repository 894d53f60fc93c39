"""Compile the Triton kernels for an H100 or H200, which needs no GPU, and print their stack sizes.

Numbers that do not fit the registers of a thread are kept on its stack, in memory: a kernel with a
stack is many times slower. `test_cuda_kernels` runs this as a script.
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

FLOATS = "x", "out", "grad_out", "grad_x", "kept"
SIZES = "images", "channels", "height", "width", "out_height", "out_width", "units"
TYPES = {
    **dict.fromkeys(FLOATS, "*bf16"),
    **dict.fromkeys(SIZES, "i32"),
    **dict.fromkeys(("alpha", "k", "scale"), "fp32"),
    **dict.fromkeys(("chosen", "places", "draw"), "*i64"),
    **dict.fromkeys(("shifts", "mean"), "*fp32"),
    **dict.fromkeys(("records", "argmax"), "*u8"),
    **dict.fromkeys(("flips", "mask"), "*i1"),
}
NORM = {"BETA": 0.75, "N": 5, "RELU": "first", "TOWER": 48, "OCTETS": 12, "THREADS": 128}
POOL = {"POOL": 3, "STRIDE": 2, "RELU_FIRST": True, "PIXELS": 8, "CHANNELS": 128}
CROP = {"SIZE": 224, "SIDE": 256, "RGB": False, "BLOCK": cuda_crop.BLOCK}
DROPOUT = {"LAYER": 6, "LEAST": 2**31, "GROUPS": cuda_dropout.GROUPS}
KERNELS = (
    *(cuda_norm._forward, cuda_norm._backward),
    *(cuda_pool._max_forward, cuda_pool._max_backward),
    *(cuda_pool._avg_forward, cuda_pool._avg_backward),
    cuda_crop._crop,
    cuda_dropout._kept_units,
)


def measure_stack(kernel: triton.JITFunction) -> int:
    """Compile a kernel and return the bytes of its stack."""
    constants = {**NORM, **POOL, **CROP, **DROPOUT}
    names = kernel.arg_names
    values = {(names.index(name),): constants[name] for name in names if name in constants}
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(names)
        if name == "channels" or TYPES.get(name, "").startswith("*")
    }
    types = {name: "constexpr" if name in constants else TYPES[name] for name in names}
    compiled = triton.compile(ASTSource(kernel, types, values, aligned), GPUTarget("cuda", 90, 32))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.search(r"STACK:(\d+)", done.stdout + done.stderr)[1])


if __name__ == "__main__":
    for kernel in KERNELS:
        sys.stdout.write(f"{kernel.__name__} {measure_stack(kernel)}\n")
