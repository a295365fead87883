"""Memory of the process: what tensors give back stays at hand for the next ones, or goes back to the system."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of settings in glibc's malloc.h."""
NEVER_TRIM, NEVER_MAP = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, up to its peak; False where the C library is not glibc and knows no such thing.

    glibc gives large blocks back to the system at once.  Every step of a training on CPUs then gets its activations and
    gradients anew, page by page and each one zeroed: 100,000 page faults a step at full size.  Recognition gets what an
    encoder layer or a step of a search writes in the same way.

    What is kept must also be found again.  A large tensor that begins anywhere leaves crumbs of a few bytes around it,
    which glibc hands out to others; the hole it leaves is then too small for the next one of its size, and several of
    them pile up.  Tensors that begin at a page leave none: `aedo/__init__.py` sees to that, where torch is not older
    in the process than aedo.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(M_MMAP_THRESHOLD, NEVER_MAP), mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)])


def give_back() -> None:
    """Let the C library return what is free in its heap; nothing where it has no such call.

    Tensors of ever new sizes leave holes that later ones do not quite fit into: without this a process that
    transcribes for hours grows, though it holds no more than in the beginning.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim  # of glibc
    except (AttributeError, OSError, TypeError):
        return
    trim(0)
