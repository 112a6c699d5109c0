"""What an interface has lost before the packet socket could see it.

Source: rtnetlink(7), struct rtnl_link_stats64 of linux/if_link.h; Documentation/networking/statistics.rst.
"""

import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_RTM_NEWLINK, _RTM_GETLINK, _NLM_F_REQUEST = 16, 18, 1
_IFLA_STATS64 = 23
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_DROPPED, _FIFO, _MISSED = 6, 14, 15
"""Where in rtnl_link_stats64."""
_LONGEST = 1 << 16


class Losses(NamedTuple):
    """Frames lost since the interface was made."""

    missed: int = 0
    """The card or its driver had no room: rx_missed_errors and rx_fifo_errors."""
    dropped: int = 0
    """rx_dropped: a backlog was full, or no protocol of the kernel's took a frame, which was seen here."""
    backlog: int = 0
    """Frames of all interfaces for which a backlog was full (net.core.netdev_max_backlog)."""

    def since(self, before: "Losses") -> int:
        """Frames lost since ``before``; of those dropped, no more than a full backlog accounts for."""
        missed, dropped, backlog = (max(0, now - then) for now, then in zip(self, before, strict=True))
        return missed + min(dropped, backlog)


def losses(name: str) -> Losses:
    """What interface ``name`` has lost; nothing where the kernel does not tell."""
    with suppress(OSError, ValueError, IndexError, struct.error):
        statistics = _statistics(socket.if_nametoindex(name))
        return Losses(statistics[_MISSED] + statistics[_FIFO], statistics[_DROPPED], _backlog())
    return Losses()


def _statistics(index: int) -> tuple[int, ...]:
    """rtnl_link_stats64. By netlink: /sys tells of the network namespace that it was mounted in."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as ask:
        length = _HEADER.size + _LINK.size
        ask.send(_HEADER.pack(length, _RTM_GETLINK, _NLM_F_REQUEST, 1, 0) + _LINK.pack(0, 0, index, 0, 0))
        answer = ask.recv(_LONGEST)
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _RTM_NEWLINK:
        raise ValueError(f"netlink message {kind}")
    at = _HEADER.size + _LINK.size
    while at + _ATTRIBUTE.size <= min(length, len(answer)):
        size, what = _ATTRIBUTE.unpack_from(answer, at)
        if what == _IFLA_STATS64:
            count = (size - _ATTRIBUTE.size) // 8
            return struct.unpack_from(f"={count}Q", answer, at + _ATTRIBUTE.size)
        at += max(_ATTRIBUTE.size, (size + 3) & ~3)
    raise ValueError("no statistics")


def _backlog() -> int:
    """The second number of each processor's line."""
    lines = Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1], 16) for line in lines)
