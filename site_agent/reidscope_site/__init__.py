"""What a hospital runs: the attack where the data is, and the one noisy table that leaves."""

import os

# OpenCV reads it when it is loaded: a picture that is a decompression bomb is no photo (a cell),
# not a want of memory that would keep back everybody's table.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 28))
