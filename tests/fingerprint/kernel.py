"""Gives segments to the kernel's own TCP, in a network namespace of its own, and tells what arrives.

Standard input: a list of cases, each a list of [sequence number, hex]. Standard output: the bytes
that the server's socket gives of each, as hex.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys

from scapy.layers.inet import IP, TCP

OURS, PEER, PORT = "192.0.2.1", "192.0.2.2", 4433
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
ISN = 1_000_000


def tunnel() -> int:
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"wire", IFF_TUN | IFF_NO_PI))
    for command in (f"addr add {OURS}/24 dev wire", "link set wire up"):
        subprocess.run(["ip", *command.split()], check=True)
    return device


def answer(device: int, port: int, flags: str) -> TCP:
    while True:
        packet = IP(os.read(device, 65536))
        if TCP in packet and packet[TCP].dport == port and packet[TCP].flags == flags:
            found: TCP = packet[TCP]
            return found


def arrives(device: int, server: socket.socket, port: int, case: list[tuple[int, str]]) -> bytes:
    start = IP(src=PEER, dst=OURS) / TCP(sport=port, dport=PORT, window=65535)

    def send(flags: str, seq: int, ack: int = 0, data: bytes = b"") -> None:
        packet = start.copy()
        packet[TCP].flags, packet[TCP].seq, packet[TCP].ack = flags, seq, ack
        os.write(device, bytes(packet / data))

    send("S", ISN)
    ack = answer(device, port, "SA").seq + 1
    send("A", ISN + 1, ack)
    with server.accept()[0] as connection:
        for seq, data in case:
            send("A", ISN + 1 + seq, ack, bytes.fromhex(data))
        connection.settimeout(0.05)
        found = b""
        most = max(seq + len(data) // 2 for seq, data in case)
        try:
            while len(found) < most and (part := connection.recv(4096)):
                found += part
        except TimeoutError:
            pass
    return found


if __name__ == "__main__":
    device = tunnel()
    with socket.create_server((OURS, PORT)) as server:
        found = [arrives(device, server, 40000 + i, case) for i, case in enumerate(json.load(sys.stdin))]
    json.dump([each.hex() for each in found], sys.stdout)
