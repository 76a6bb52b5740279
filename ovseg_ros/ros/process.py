"""What the node asks of its own process."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc takes no more


def keep_large_buffers() -> bool:
    """Lets malloc keep freed memory of up to 256 MB instead of giving it back after each frame.

    Images and clouds are made and freed at the camera's rate. By default each gets fresh pages from the
    kernel, and to have them zeroed takes longer than to fill them.

    Returns:
        False where the C library is not glibc; then nothing changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) & mallopt(_M_TRIM_THRESHOLD, 256 << 20))
