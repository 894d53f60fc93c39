"""ReLU and max or average pooling in one pass over memory.

`operator`      `relu_pool`: checks, autograd, choice between kernel, PyTorch and reference
`reference`     the same in plain PyTorch
`cpu`, `cuda`   the kernels
`cpu_windows`, `cuda_windows`   max pooling of rows and pixels, which `normalization` fuses as well
"""
