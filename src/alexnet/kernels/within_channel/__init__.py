"""Normalization within each channel over neighboring pixels, as in the 2012 code.

`operator`    `within_channel_norm` and `contrast_norm`: checks, autograd, kernel or reference
`reference`   both in plain PyTorch
`cpu`         the kernel of `within_channel_norm`
"""
