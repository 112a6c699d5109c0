"""TLS connections of OpenSSL's for tests of the decryption: what each end sent, and the key log.

``talk`` lets Python's ssl speak with itself; ``openssl_talk`` lets ``openssl s_client`` speak with ``openssl
s_server`` through a relay. Nothing of it is recorded beforehand: secrets and bytes are others each time.
"""

from __future__ import annotations

import atexit
import select
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from fingerprint.flowrecords import CLIENT, SERVER, START, numbered, record
from recordings.world import certificates

from vermilion_fingerprint.decrypt.keylog import KeyLog
from vermilion_pipeline.records import Payload

Said = tuple[bool, bytes]
"""Whether the client says it, and what."""
OPENSSL = shutil.which("openssl")
NO_ENCRYPT_THEN_MAC = 1 << 19  # SSL_OP_NO_ENCRYPT_THEN_MAC


@dataclass
class Talk:
    """What was on the wire, in its order, and the key log of it."""

    sent: list[Said] = field(default_factory=list)
    keys: bytes = b""
    session: ssl.SSLSession | None = None
    resumed: bool = False

    def stream(self, client: bool) -> bytes:
        """What one end sent."""
        return b"".join(data for who, data in self.sent if who == client)

    @property
    def key_log(self) -> KeyLog:
        """Its secrets."""
        log = KeyLog()
        for line in self.keys.splitlines():
            log.add(line)
        return log

    def segments(self, size: int = 1400) -> list[Payload]:
        """Its flow's records: a SYN of each end, then segments of at most so many bytes, 1 ms apart."""
        out = [record(99, flags=2), record(499, flags=18, source=SERVER, target=CLIENT)]
        ends = {True: (CLIENT, SERVER), False: (SERVER, CLIENT)}
        at = {True: 100, False: 500}
        for client, data in self.sent:
            source, target = ends[client]
            for i in range(0, len(data), size):
                part = data[i : i + size]
                time_ = START + 1000 * len(out)
                out.append(record(at[client], part, source=source, target=target, time=time_))
                at[client] += len(part)
        for client in (True, False):
            source, target = ends[client]
            out.append(
                record(at[client], flags=17, source=source, target=target, time=START + 1000 * len(out))
            )
        return numbered(out)

    def pcap(self, size: int = 1400) -> bytes:
        """Its flow as a capture file."""
        out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        for item in self.segments(size):
            ports = (item["src_port"], item["dst_port"])
            tcp = struct.pack(">HHIIBBHHH", *ports, item["seq"], 0, 5 << 4, item["flags"], 65535, 0, 0)
            ip = struct.pack(
                ">BBHHHBBH4s4s",
                69, 0, 40 + len(item["payload"]), 1, 0, 64, 6, 0, item["src_ip"], item["dst_ip"],
            )  # fmt: skip
            frame = bytes(12) + b"\x08\x00" + ip + tcp + item["payload"]
            out += struct.pack("<IIII", *divmod(item["time"], 1_000_000), len(frame), len(frame)) + frame
        return out


@lru_cache
def pem() -> Path:
    """A certificate and its key."""
    folder = Path(tempfile.mkdtemp(prefix="vermilion-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    certificates(folder, ["www.example.com"])
    return folder / "server.pem"


def contexts(
    version: ssl.TLSVersion, ciphers: str = "DEFAULT", *, options: int = 0
) -> tuple[ssl.SSLContext, ssl.SSLContext, Path]:
    """A client's, a server's, and the key log that the client writes."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem())
    client.load_verify_locations(pem().with_name("ca.pem"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.0 and 1.1
        for context in (client, server):
            context.minimum_version = context.maximum_version = version
            context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
            context.options |= options
    log = Path(tempfile.mkstemp(dir=pem().parent)[1])
    client.keylog_filename = str(log)
    return client, server, log


class _End:
    """One end in memory."""

    def __init__(self, context: ssl.SSLContext, *, client: bool, session: ssl.SSLSession | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = "www.example.com" if client else None
        self.tls = context.wrap_bio(self.incoming, self.outgoing, not client, name, session)


def talk(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    said: Iterable[Said] = (),
    ciphers: str = "DEFAULT",
    *,
    options: int = 0,
    made: tuple[ssl.SSLContext, ssl.SSLContext, Path] | None = None,
    session: ssl.SSLSession | None = None,
) -> Talk:
    """A connection in which the ends say what they are given, and close it."""
    client_context, server_context, log = made or contexts(version, ciphers, options=options)
    before = log.stat().st_size
    ends = {
        True: _End(client_context, client=True, session=session),
        False: _End(server_context, client=False, session=None),
    }
    out = Talk()

    def carry() -> None:
        for client in (True, False):
            if data := ends[client].outgoing.read():
                out.sent.append((client, data))
                ends[not client].incoming.write(data)

    waiting = {True, False}
    while waiting:
        for client in (True, False):
            with suppress(ssl.SSLWantReadError):
                if client in waiting:
                    ends[client].tls.do_handshake()
                    waiting.discard(client)
            carry()
    for client, data in said:
        ends[client].tls.write(data)
        carry()
        left = len(data)
        while left > 0:
            left -= len(ends[not client].tls.read(1 << 20))
    for client in (True, False):
        with suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
            ends[client].tls.unwrap()
        carry()
    out.session, out.resumed = ends[True].tls.session, bool(ends[True].tls.session_reused)
    out.keys = log.read_bytes()[before:]
    return out


def openssl_talks(
    clients: Sequence[Sequence[str]], server: Sequence[str], stdin: Sequence[bytes]
) -> list[Talk]:
    """What each ``s_client`` and one ``s_server`` say to each other, through a relay.

    ``stdin``: what a client is told, a line after another, each with a moment before.
    """
    assert OPENSSL is not None
    folder = Path(tempfile.mkdtemp(dir=pem().parent))
    log = folder / "keys"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [OPENSSL, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(pem()), "-key", str(pem())]
    serving = subprocess.Popen(
        [*command, "-quiet", "-keylogfile", str(log), *server],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    out = []
    try:
        for client in clients:
            before = log.stat().st_size if log.exists() else 0
            made = _relayed(port, folder, client, stdin, server)
            made.keys = log.read_bytes()[before:]
            out.append(made)
    finally:
        serving.kill()
        serving.communicate()
    return out


def _relayed(
    port: int, folder: Path, client: Sequence[str], stdin: Sequence[bytes], server: Sequence[str]
) -> Talk:
    assert OPENSSL is not None
    made = Talk()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        command = [OPENSSL, "s_client", "-connect", here, *client]
        speaking = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert speaking.stdin is not None
        near, _ = listener.accept()

    def relay() -> None:
        with near, _connected(port) as far:
            while ready := select.select([near, far], [], [], 20)[0]:
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    made.sent.append((end is near, data))
                    (far if end is near else near).sendall(data)

    carrying = threading.Thread(target=relay)
    carrying.start()
    try:
        for line in stdin:
            time.sleep(0.2)  # s_client looks for its commands at the start of what it reads at once
            speaking.stdin.write(line)
            speaking.stdin.flush()
        if "-www" in server:
            carrying.join(20)  # it closes when it has answered
        time.sleep(0.2)
        speaking.stdin.close()
        carrying.join(20)
        speaking.wait(20)
    finally:
        speaking.kill()
        speaking.wait()
        speaking.stdin.close()
    return made


def _connected(port: int) -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("s_server does not listen")
