"""Tags that say how a TIFF file's pixels lie in it, and what their numbers mean."""

from __future__ import annotations

# Tags, by their names in the specification
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, STRIP_ROWS, STRIP_COUNTS = 273, 277, 278, 279
PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 317, 322, 323, 324, 325
EXTRA, SAMPLE_FORMAT = 338, 339
JPEG_TABLES, SUBSAMPLING = 347, 530

UNCOMPRESSED, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32946, 32773
LZMA, ZSTD = 34925, 50000
PREDICTABLE = (LZW, DEFLATE, OLD_DEFLATE, LZMA, ZSTD)  # compressions that predictors go with
PACKED = (UNCOMPRESSED, PACKBITS, *PREDICTABLE)  # compressions of bytes, whatever they mean
BY_PILLOW = (JPEG, *PACKED)
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # predictors
WHITE_IS_ZERO, GREY, RGB, MASK, CMYK, YCBCR = 0, 1, 2, 4, 5, 6  # photometric interpretations
COLORS = {WHITE_IS_ZERO: "grey", GREY: "grey", RGB: "RGB", 3: "palette", CMYK: "CMYK"}
COLORS[YCBCR] = "YCbCr"
UNSPECIFIED, PREMULTIPLIED, UNASSOCIATED = 0, 1, 2  # what an extra sample is; the last: alpha
SIGNED, FLOAT = 2, 3  # sample formats
TYPES = {1: "uint", SIGNED: "int", FLOAT: "float"}
