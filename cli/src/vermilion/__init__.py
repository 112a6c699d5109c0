"""Vermilion: which program, on which operating system, opened this connection?

The library: parsers and ``scan``, without Kafka, scapy or a command line. ``TLS.parse`` takes the
bytes of a TCP stream, ``scan`` a capture file.
"""

from vermilion.library import TLS
from vermilion.scanner import scan
from vermilion_fingerprint.cursor import Malformed, NeedMore

__all__ = ["TLS", "Malformed", "NeedMore", "scan"]
