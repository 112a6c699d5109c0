"""A live capture: blocks of packets off interfaces, which may go down and come back. Linux only."""

import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from vermilion_capture.afpacket import (
    LOOPBACK,
    Options,
    Reader,
    State,
    Wanted,
    attach,
    cut,
    nothing,
    state,
)
from vermilion_capture.frame import CaptureError
from vermilion_capture.losses import Losses, losses
from vermilion_capture.ring import Block
from vermilion_capture.source import Policy, Source

_log = logging.getLogger(__name__)

_ETHERNET, _RAW_IP = 1, 101
# ARPHRD_ETHER, ARPHRD_LOOPBACK; ARPHRD_PPP, ARPHRD_NONE (tun)
_LINK_TYPES = {1: _ETHERNET, LOOPBACK: _ETHERNET, 512: _RAW_IP, 65534: _RAW_IP}
_TICK_SECONDS = 1.0
"""How long quiet interfaces are waited for, and how often each is looked at."""
_BLIND_TICK_SECONDS = 0.2
"""The same while one is down or gone."""
_LAST_SECONDS = 0.05
"""What is in a block that is not full comes by then (afpacket._RETIRE_MS)."""
_ADDED = 14 + 8
"""Bytes that Ethernet's header and two tags add to the MTU: what is longer was never on a wire so."""


class Interface:
    """One interface's packets. ``blind``: since when it is down or gone, seconds since 1970; 0: it is up."""

    def __init__(
        self, name: str, options: Options, group: int | None = None, *, shared: bool, first: bool
    ) -> None:
        """Open it. ``shared``: among workers, in ``group``, or a new one (``group`` then tells which);
        ``first`` of them counts what the interface itself drops. Raises CaptureError, FilterError.
        """
        self.name, self._options, self.group = name, options, group
        self._shared, self._first = shared, first
        self._kernel = self._dropped = self._earlier = 0
        self._before = Losses()
        self._lock = threading.Lock()
        self.blind = 0.0
        now = _state(name)
        self.link_type = _link_type(name, now)
        program: Sequence[tuple[int, int, int, int]] = ()
        self.wanted: Wanted | None = None
        if options.bpf:
            # Only here: it needs libpcap.
            from vermilion_capture.bpf import compile_filter  # noqa: PLC0415

            compiled = compile_filter(options.bpf, self.link_type)
            # The kernel's filter sees a frame without its tag: what asks for one is answered here.
            if "vlan" in options.bpf:
                self.wanted = compiled.matches
            else:
                program = compiled.instructions
        self._program = cut(program, options.snaplen)
        self.reader = Reader(name, now.hardware, options)
        try:
            self._bind(now)
        except OSError as error:
            self.reader.close()
            raise CaptureError(f"{name}: {error.strerror}") from None

    def _bind(self, now: State) -> None:
        """Listen. Raises OSError."""
        if not self._shared:
            attach(self.reader.socket, self._program)
        self.reader.bind(self.name, self._options.promiscuous)
        if self._shared:
            self.group = self.reader.join(self.group)
            # Now, not before: what came between would be seen by every worker.
            attach(self.reader.socket, self._program)
        self._earlier, self._dropped = self._earlier + self._dropped, 0
        self._index, self.longest = now.index, now.mtu + _ADDED
        self._before = losses(self.name)

    def drops(self) -> tuple[int, int]:
        """Packets lost so far: for want of room in the ring, and by the interface. For any thread."""
        with self._lock:
            if self.reader.socket.fileno() >= 0:
                self._kernel += self.reader.dropped()
                if self._first:
                    # Since it was bound: a full backlog shows in two numbers, not read at one moment.
                    self._dropped = max(self._dropped, losses(self.name).since(self._before))
            return self._kernel, self._earlier + self._dropped

    def failed(self) -> None:
        """The socket reports an error. Raises CaptureError unless the interface went down."""
        number = self.reader.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number == errno.ENETDOWN:
            self.look()
        elif number:
            raise CaptureError(f"{self.name}: {os.strerror(number)}")

    def look(self) -> None:
        """See whether it is there, and up; listen again when it was made anew. Raises CaptureError."""
        now = state(self.name)
        there = now is not None and now.up
        if now and there and now.index != self._index:
            if self._shared:
                raise InterfaceReplaced(f"{self.name}: was made anew")
            try:
                if _link_type(self.name, now) != self.link_type:
                    raise CaptureError(f"{self.name}: is of another type now; start the capture again")
                with self._lock:
                    nothing(self.reader.socket)
                    self._bind(now)
            except OSError:
                there = False  # gone again
        if there and self.blind:
            _log.warning("%s is back; nothing was seen of it for %.1f s", self.name, time.time() - self.blind)
            self.blind = 0.0
        elif not there and not self.blind:
            self.blind = time.time()
            _log.warning("%s is down: nothing is seen of it until it is back", self.name)

    def close(self) -> None:
        """Close it; its drops are known."""
        self.drops()
        with self._lock:
            self.reader.close()


class InterfaceReplaced(CaptureError):
    """An interface that workers share was deleted and made anew: they have to begin anew, too."""


class LiveCapture:
    """Blocks off interfaces. Iterating gives None when nothing came for a second.

    ``size`` and ``consumed`` are a file's; here they are 0.
    """

    size = consumed = 0

    def __init__(
        self, names: Sequence[str], options: Options | None = None, groups: dict[str, int] | None = None
    ) -> None:
        """Open the interfaces. ``groups``: of workers, by the interface; filled in by the first.

        Raises CaptureError, FilterError.
        """
        self.interfaces: list[Interface] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK) if hasattr(os, "eventfd") else -1
        self._blind, self._since = 0, 0.0
        self.drained = False
        first = not groups
        try:
            for name in dict.fromkeys(names):
                group = groups.get(name) if groups is not None else None
                each = Interface(name, options or Options(), group, shared=groups is not None, first=first)
                self.interfaces.append(each)
                if groups is not None and each.group is not None:
                    groups[name] = each.group
        except Exception:
            self.close()
            raise

    def __iter__(self) -> Iterator[Block | None]:
        """Blocks, until it is stopped. Raises CaptureError."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        by_descriptor = {each.reader.socket.fileno(): each for each in self.interfaces}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN | select.POLLERR)
        looked = told = time.monotonic()
        while True:
            every = _BLIND_TICK_SECONDS if any(each.blind for each in self.interfaces) else _TICK_SECONDS
            ready = dict(poll.poll(every * 1000))
            for descriptor, events in ready.items():
                if descriptor in by_descriptor and events & (select.POLLERR | select.POLLHUP):
                    by_descriptor[descriptor].failed()
            for each in self.interfaces:
                yield from _blocks(each)
            now = time.monotonic()
            if now - looked >= every:
                looked = now
                for each in self.interfaces:
                    each.look()
                self._see(now)
            if self._wake in ready:
                break
            if now - told >= _TICK_SECONDS:
                told = now
                yield None
        for each in self.interfaces:
            nothing(each.reader.socket)
        time.sleep(_LAST_SECONDS)
        for each in self.interfaces:
            yield from _blocks(each)
        self.drained = True

    def _see(self, now: float) -> None:
        if self._since:
            self._blind += int((now - self._since) * 1e6)
        self._since = now if any(each.blind for each in self.interfaces) else 0.0

    def stop(self) -> None:
        """End it: what is here already comes yet. For signal handlers."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    @property
    def drops(self) -> Mapping[str, int]:
        """Packets lost: the ``kernel`` had no room in a ring, the ``interface`` or its driver lost them."""
        both = [each.drops() for each in self.interfaces]
        return {"kernel": sum(kernel for kernel, _ in both), "interface": sum(lost for _, lost in both)}

    @property
    def blind(self) -> int:
        """Microseconds in which one of the interfaces, or more, was down or gone."""
        return self._blind

    def abandon(self) -> None:
        """Close what another process goes on with; nothing is counted."""
        for each in self.interfaces:
            each.reader.close()

    def close(self) -> None:
        """Close all; ``drops`` is known then."""
        for each in self.interfaces:
            each.close()
        if self._wake >= 0:
            os.close(self._wake)
            self._wake = -1


def _blocks(interface: Interface) -> Iterator[Block]:
    # Not more than there may be at once: the others have their turn, too.
    for _ in range(64):
        block = interface.reader.next(interface.link_type, interface.longest, interface.wanted)
        if block is None:
            return
        yield block


def _state(name: str) -> State:
    if not hasattr(socket, "AF_PACKET"):
        raise CaptureError(f"{name}: interfaces are read on Linux only; scan a file that tcpdump wrote")
    now = state(name)
    if now is None:
        there = ", ".join(sorted(each for _, each in socket.if_nameindex()))
        raise CaptureError(f"{name}: no such interface; here are: {there}")
    return now


def _link_type(name: str, now: State) -> int:
    if now.hardware not in _LINK_TYPES:
        raise CaptureError(f"{name}: hardware type {now.hardware} (ARPHRD) is not read")
    return _LINK_TYPES[now.hardware]


class LiveSource(Source):
    """Payload records of one life of a live capture."""

    drains = True

    def __init__(self, capture: LiveCapture, sensor: str, policy: Policy | None = None) -> None:
        self._live = capture
        super().__init__(capture, sensor, policy or Policy(), replayed=False)

    def end(self) -> None:
        """What is in the rings comes yet."""
        self._live.stop()

    @property
    def drained(self) -> bool:
        """It has ended as it was told to, with all that was there."""
        return self._live.drained

    @property
    def blind(self) -> int:
        """Microseconds in which an interface was down or gone."""
        return self._live.blind
