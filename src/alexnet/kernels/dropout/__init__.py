"""Masks of dropout, drawn by a counter-based random number generator.

operator.py   `keep_mask`, which the dropout layer calls, and the choice of backend
reference.py  Philox4x32-10 and the mask in plain PyTorch; start reading here
cpu.py        the same as a Numba kernel
cuda.py       the same as a Triton kernel
"""
