"""What a ClientHello in QUIC costs, beside the same one in TLS over TCP; processor time of one core.

PYTHONPATH=tests .venv/bin/python benchmarks/quic.py
"""

import sys
from collections.abc import Callable
from time import process_time

from fingerprint.hellos import extension, hello, records, u16s, vector
from fingerprint.quicpackets import crypto, initial

from vermilion_fingerprint import quic, tls
from vermilion_fingerprint.cursor import Cursor

ROUNDS, TIMES = 7, 1000
# As large as a browser's with a post-quantum key share (X25519MLKEM768).
MESSAGE = hello(
    u16s(0x1301, 0x1302, 0x1303),
    extension(0, vector(b"\0" + vector(b"www.example.com", 2), 2))
    + extension(10, vector(u16s(0x11EC, 0x001D, 0x0017, 0x0018), 2))
    + extension(13, vector(u16s(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601), 2))
    + extension(16, vector(vector(b"h3", 1), 2))
    + extension(43, vector(u16s(0x0304), 1))
    + extension(51, bytes(1260))
    + extension(57, bytes(70))
    + extension(0xFE0D, bytes(240)),
)
DATAGRAMS = [
    initial(crypto(0, MESSAGE[:1000]), 0, pad=1180),
    initial(crypto(1000, MESSAGE[1000:]), 1, pad=1180),
]
STREAM = records(MESSAGE)
DNS = bytes.fromhex("12340100000100000000000003777777076578616d706c6503636f6d0000010001")


def microseconds(what: Callable[[], object]) -> float:
    """Of the fastest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = process_time()
        for _ in range(TIMES):
            what()
        best = min(best, (process_time() - started) / TIMES * 1e6)
    return best


def in_quic() -> str:
    """Two datagrams to a string."""
    connection = quic.Connection(1 << 16)
    connection.take(DATAGRAMS[0], 0, 0)
    (message,) = connection.take(DATAGRAMS[1], 0, 0)
    return quic.fingerprint(message)


def main() -> None:
    """Write a line for each."""
    over_tcp = microseconds(lambda: tls.fingerprint(tls.parse(Cursor(STREAM))))
    sys.stdout.write(
        f"QUIC, {len(MESSAGE)} bytes in two datagrams, to the string: {microseconds(in_quic):.1f} us\n"
        f"the same in TLS over TCP: {over_tcp:.1f} us\n"
        f"a datagram that is none of QUIC's: {microseconds(lambda: quic.begins(DNS)):.2f} us\n"
    )


if __name__ == "__main__":
    main()
