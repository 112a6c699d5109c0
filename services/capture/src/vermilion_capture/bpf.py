"""Filter expressions as tcpdump takes them (pcap-filter(7)), compiled by libpcap.

A program runs in the kernel on a packet socket (SO_ATTACH_FILTER) or here, on a file's frames.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cypcap

from vermilion_capture.frame import MAX_CAPTURED
from vermilion_pipeline.errors import VermilionError

_LONGEST = 4096
"""Characters of an expression."""
_DLT_RAW = 12
# libpcap compiles for its own numbers (DLT_), which are a file's (LINKTYPE_) but for raw IP's.
_DLT = {101: _DLT_RAW, 14: _DLT_RAW}


class FilterError(VermilionError):
    """An expression that is no filter: says which, and what is wrong with it."""


class Instruction(NamedTuple):
    """One instruction (``struct sock_filter`` of linux/filter.h)."""

    code: int
    if_true: int
    if_false: int
    operand: int


class Filter:
    """A compiled expression for frames of one link type.

    ``expression``: its text. ``instructions``: the program. Link types are LINKTYPE_ numbers.
    """

    def __init__(self, expression: str, link_type: int) -> None:
        """Compile. Raises FilterError."""
        self.expression = expression
        if len(expression) > _LONGEST:
            raise FilterError(f"filter of {len(expression)} characters: at most {_LONGEST} are taken")
        if "\0" in expression:
            raise FilterError(f"filter {expression!r:.80}: a NUL character ends it early; take it out")
        try:
            # Net masks are known only of interfaces' own networks; only `broadcast` needs them.
            self._program = cypcap.compile(
                _DLT.get(link_type, link_type), MAX_CAPTURED, expression, True, cypcap.NETMASK_UNKNOWN
            )
        except (cypcap.Error, UnicodeEncodeError) as error:
            why = error.args[-1] if isinstance(error, cypcap.Error) else error
            raise FilterError(
                f"filter {expression!r:.80} on link type {link_type}: {why}; "
                "the language is pcap-filter(7)'s, e.g. 'tcp port 443 and net 192.0.2.0/24'"
            ) from None
        self.instructions: Sequence[Instruction] = tuple(Instruction(*each) for each in self._program)

    def matches(self, data: bytes, wire_length: int) -> bool:
        """Whether the frame, ``data`` of it captured, is wanted."""
        return bool(self._program.offline_filter(cypcap.Pkthdr(0, len(data), wire_length), data))


def compile_filter(expression: str, link_type: int) -> Filter:
    """Compile a filter expression for frames of a link type. Raises FilterError."""
    return Filter(expression, link_type)
