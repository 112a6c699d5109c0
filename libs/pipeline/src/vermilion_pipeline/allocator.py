"""How a service's memory is asked for and given back.

glibc's allocator learns from the first large block that is freed: from then on blocks of its size come
from the heap, where one small neighbour that lives on keeps their pages for ever. A service that once
was behind would keep what its fullest batches and fetches took. Source: mallopt(3).
"""

import ctypes

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# What both are to begin with. To name them stops the learning: large blocks are mapped, and unmapped.
_THRESHOLD = 128 * 1024
# By default eight for each core, each with its own holes; threads here wait for one another anyway.
_ARENAS = 2


def give_back() -> bool:
    """Let the allocator give large blocks back when they are freed. False where it is not glibc's."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = {_M_TRIM_THRESHOLD: _THRESHOLD, _M_MMAP_THRESHOLD: _THRESHOLD, _M_ARENA_MAX: _ARENAS}
    return all(mallopt(ctypes.c_int(what), ctypes.c_int(value)) == 1 for what, value in settings.items())
