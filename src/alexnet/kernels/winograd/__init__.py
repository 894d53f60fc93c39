"""Convolutions of stride 1 by Winograd's method, F(4×4, 3×3) and F(4×4, 5×5); CPU, float32.

operator.py        `convolve`, which the networks call: limits, backend, custom operators, autograd
reference.py       the method in plain PyTorch, stage by stage; start reading here
cook_toom.py       the matrices Aᵀ, G and Bᵀ
cpu.py             forward and backward pass on the CPU: slices of the batch, matrix products
cpu_tiles.py       Numba kernels of the input and output transforms and their adjoints
cpu_transforms.py  products with the matrices, written out as sums

On a GPU, `convolve` calls `F.conv2d`, and cuDNN chooses the algorithm.
"""
