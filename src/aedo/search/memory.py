"""Memory that is free is given back to the system."""

from __future__ import annotations

import ctypes


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
