"""Code that all kernels share: choice of backend, memory layout, threads, compilers.

`backends`        which implementation runs: a kernel or the PyTorch reference
`layout`          the tensors that kernels read and write: channels_last, sizes, dtypes
`cpu_threads`     compiling with Numba, and splitting a batch among threads
`cpu_intrinsics`  instructions that Numba does not offer: bit casts, bf16, vector copies
`triton_launch`   starting a Triton kernel on the right device

Nothing here imports an operation.
"""
