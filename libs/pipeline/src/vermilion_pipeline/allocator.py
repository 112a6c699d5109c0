"""How a service's memory is asked for and given back.

glibc's allocator learns from the first large block that is freed: from then on blocks of its size come
from the heap, where one small neighbour that lives on keeps their pages for ever. A service that once
was behind would keep what its fullest batches and fetches took. Source: mallopt(3), malloc_trim(3).

Python keeps what it has freed, too: thousands of tuples, dicts and floats for the next who ask, each of
which holds the 1 MiB that it lies in. Only a full collection lets them go.
"""

import ctypes
import gc
import threading
import time

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# What both are to begin with. To name them stops the learning: large blocks are mapped, and unmapped.
_THRESHOLD = 128 * 1024
# By default eight for each core, each with its own holes; threads here wait for one another anyway.
_ARENAS = 2
_EVERY_SECONDS = 5.0


def give_back() -> bool:
    """Let go of what peaks took, when it is freed and every few seconds. False where malloc is not glibc's.

    To be called when a service begins: what is there then is taken to stay, and not looked at again.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError):
        return False
    settings = {_M_TRIM_THRESHOLD: _THRESHOLD, _M_MMAP_THRESHOLD: _THRESHOLD, _M_ARENA_MAX: _ARENAS}
    taken = all(mallopt(ctypes.c_int(what), ctypes.c_int(value)) == 1 for what, value in settings.items())
    gc.freeze()  # what was imported need not be looked at by each collection

    def tidy() -> None:
        while True:
            time.sleep(_EVERY_SECONDS)
            gc.collect()
            trim(ctypes.c_size_t(0))

    threading.Thread(target=tidy, name="memory", daemon=True).start()
    return taken
