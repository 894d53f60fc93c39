"""The binary codes nearest to others by Hamming distance: the number of bits that differ.

`operator`    `find_nearest_codes`: checks, blocks of queries, kernel or reference
`reference`   the same in plain NumPy
`cpu`         the kernels: distances by XOR and population count; the k smallest by counting
"""
