"""The size of the toy problem that selectors are tested on: K rows in, n out, C classes."""

K, N, C = 64, 16, 3
