"""Crops of packed records as network input: cropped, mirrored, mean subtracted, colors shifted.

operator.py   `crop`, which augmentation calls: checks, and the choice of backend
reference.py  the same in plain PyTorch, by indexing whole batches; start reading here
cpu.py        Numba kernels, one for RGB and one for YUV 4:2:0 records
cuda.py       a Triton kernel for both
"""
