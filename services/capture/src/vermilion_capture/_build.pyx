"""What this extension was compiled from; see vermilion_build."""

cdef extern from *:
    const char* VERMILION_SOURCE_SHA256

SOURCE_SHA256: str = VERMILION_SOURCE_SHA256.decode()
