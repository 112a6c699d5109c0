"""Vermilion: which program, on which operating system, opened this connection?

The library: parsers and ``scan``, without Kafka, scapy or a command line. ``TLS.parse`` takes the
bytes of a TCP stream, ``QUIC.parse`` UDP payloads, ``scan`` a capture file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vermilion.library import QUIC, TLS
    from vermilion.scanner import scan
    from vermilion_fingerprint.cursor import Malformed, NeedMore

__all__ = ["QUIC", "TLS", "Malformed", "NeedMore", "scan"]


def __getattr__(name: str) -> object:
    """The library's names, when they are asked for: an image of one service has not what they need."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vermilion import library, scanner
    from vermilion_fingerprint import cursor

    homes = {"QUIC": library, "TLS": library, "scan": scanner, "Malformed": cursor, "NeedMore": cursor}
    found: object = getattr(homes[name], name)
    globals()[name] = found
    return found
