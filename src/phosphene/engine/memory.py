"""Make the C library reuse freed memory, so that a CPU does not fault the same pages in again at every step."""

import contextlib
import ctypes
import functools
import sys

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


@functools.cache
def keep_freed_memory() -> None:
    """Set glibc, for this process, to reuse large freed blocks instead of returning them to the system; does nothing elsewhere.

    Activations of tens of megabytes are allocated and freed thousands of times per map. By default the kernel maps and
    zeroes each of them anew, which costs a tenth of the time or more (docs/performance.md). The setting holds for the
    process and takes no memory beyond the peak that is reached anyway.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, LARGEST)
            mallopt(M_TRIM_THRESHOLD, LARGEST)
