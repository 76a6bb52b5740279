"""What the node asks of its own process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc takes no more


def prepare_process() -> None:
    """`keep_large_buffers` and `send_from_another_thread`: call it before rclpy is loaded."""
    keep_large_buffers()
    send_from_another_thread()


def keep_large_buffers() -> bool:
    """Lets malloc keep freed memory of up to 256 MB instead of giving it back after each frame.

    Images and clouds are made and freed at the camera's rate. By default each gets fresh pages from the
    kernel, and to have them zeroed takes longer than to fill them. Call it before other threads
    start: rclpy's do when it is loaded.

    Returns:
        False where the C library is not glibc; then nothing changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) & mallopt(_M_TRIM_THRESHOLD, 256 << 20)
    # By default each thread has memory of its own in pieces of 64 MB, and gives an empty one back whatever
    # the threshold. The first thread's is one piece without end: all threads take from that.
    return bool(kept & mallopt(_M_ARENA_MAX, 1))


def send_from_another_thread() -> None:
    """Lets `publish` return when Fast DDS holds the message, and a thread of Fast DDS send it.

    By default `publish` writes the message out to every subscriber first, under Python's lock: some 1.5 ms
    for a cloud in shared memory, more where a network is slow, and the next frame waits. Whoever chose a mode
    in the environment keeps it; other middleware does not read it. Call it before `rclpy.init`.
    """
    os.environ.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")


def give_memory_back() -> None:
    """Frees what only cycles of references hold, and hands what malloc kept to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)
