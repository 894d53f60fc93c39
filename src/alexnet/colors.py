"""The color conversion of JPEG (full-range Y'CbCr, here called YUV), in both directions.

Everything that makes or reads `yuv420` records takes its coefficients from here: the records
(`images.records`), their crops on CPU and GPU (`kernels.cropping`) and exported networks
(`exporting.preprocessing_graph`, `exporting.torch_program`). Source: JFIF 1.02, which uses the luma
of ITU-R BT.601. It imports nothing.

The forward direction is in integers, so that packs are the same bytes on every machine. For one
pixel, and for the sums of the four pixels of a 2×2 block:

    Y = (Y_OF_RED * r + Y_OF_GREEN * g + Y_OF_BLUE * b + 2^15) >> 16
    U = (U_OF_RED * Σr + U_OF_GREEN * Σg + U_OF_BLUE * Σb + 2^17 - 1) >> 18, plus 128
    V = (V_OF_RED * Σr + V_OF_GREEN * Σg + V_OF_BLUE * Σb + 2^17 - 1) >> 18, plus 128

The backward direction is in floats, neither rounded nor clipped:

    R = Y                           + RED_OF_V * (V - 128)
    G = Y + GREEN_OF_U * (U - 128)  + GREEN_OF_V * (V - 128)
    B = Y + BLUE_OF_U * (U - 128)
"""

Y_OF_RED, Y_OF_GREEN, Y_OF_BLUE = 19595, 38470, 7471
"""0.299, 0.587 and 0.114, times 2^16."""
U_OF_RED, U_OF_GREEN, U_OF_BLUE = -11059, -21709, 32768
"""-0.168736, -0.331264 and 0.5, times 2^16."""
V_OF_RED, V_OF_GREEN, V_OF_BLUE = 32768, -27439, -5329
"""0.5, -0.418688 and -0.081312, times 2^16."""
RED_OF_V, GREEN_OF_U, GREEN_OF_V, BLUE_OF_U = 1.402, -0.344136286, -0.714136286, 1.772

TO_LUMA = [[Y_OF_RED], [Y_OF_GREEN], [Y_OF_BLUE]]
TO_CHROMA = [[U_OF_RED, V_OF_RED], [U_OF_GREEN, V_OF_GREEN], [U_OF_BLUE, V_OF_BLUE]]
TO_RGB = [[0, GREEN_OF_U, BLUE_OF_U], [RED_OF_V, GREEN_OF_V, 0]]
"""The same coefficients as matrices that rows are multiplied by: (r, g, b) by the first two, which
give Y and (U, V) before rounding; (U - 128, V - 128) by the last, which gives what is added to Y.
"""
