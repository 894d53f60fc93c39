"""Response normalization across channels (section 3.3), fused with ReLU and max pooling.

`operator`      `norm_pool` and `response_norm`: checks, autograd, kernel or reference
`reference`     the same in plain PyTorch
`cpu`, `cuda`   the kernels
`cpu_powers`    x ** -beta and 1 / x; the kernel of `within_channel` uses them too
"""
