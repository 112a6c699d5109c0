"""Servers that speak in the clear until a client asks for TLS: SMTP, IMAP, POP3, FTP and PostgreSQL.

They say no more than a client needs to hear before and after it asks.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
from collections.abc import Callable
from typing import NamedTuple

PATIENCE_SECONDS = 5
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


class Dialogue(NamedTuple):
    """What a server says first, and its answer to a line: the reply, and whether TLS begins behind it."""

    greeting: bytes
    answer: Callable[[bytes], tuple[bytes, bool]]


def smtp(line: bytes) -> tuple[bytes, bool]:
    """RFC 5321 and 3207."""
    if line.startswith(b"EHLO"):
        return b"250-mail.example.com\r\n250-8BITMIME\r\n250 STARTTLS\r\n", False
    if line.startswith(b"STARTTLS"):
        return b"220 go ahead\r\n", True
    return (b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 ok\r\n"), False


def imap(line: bytes) -> tuple[bytes, bool]:
    """RFC 9051."""
    tag, _, command = line.partition(b" ")
    listed = b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n" if b"CAPABILITY" in command else b""
    return listed + tag + b" OK done\r\n", command.startswith(b"STARTTLS")


def pop3(line: bytes) -> tuple[bytes, bool]:
    """RFC 1939 and 2595."""
    listed = b"STLS\r\nUSER\r\n.\r\n" if line.startswith(b"CAPA") else b""
    return b"+OK done\r\n" + listed, line.startswith(b"STLS")


def ftp(line: bytes) -> tuple[bytes, bool]:
    """RFC 959 and 4217. ``AUTH SSL``, which curl asks for first, is refused."""
    if line.startswith(b"AUTH TLS"):
        return b"234 go ahead\r\n", True
    if line.startswith(b"FEAT"):
        return b"211-Features\r\n AUTH TLS\r\n211 End\r\n", False
    return (b"504 not that one\r\n" if line.startswith(b"AUTH") else b"200 ok\r\n"), False


DIALOGUES = {
    25: Dialogue(b"220 mail.example.com ESMTP\r\n", smtp),
    143: Dialogue(b"* OK IMAP4rev1 ready\r\n", imap),
    110: Dialogue(b"+OK POP3 ready\r\n", pop3),
    21: Dialogue(b"220-Welcome\r\n220 ftp.example.com ready\r\n", ftp),
}
POSTGRESQL = 5432


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: Server

    def handle(self) -> None:
        """Speak until TLS, and then until the client has gone."""
        self.request.settimeout(PATIENCE_SECONDS)
        try:
            if self.server.server_address[1] == POSTGRESQL:
                self._postgresql()
            else:
                self._text(DIALOGUES[self.server.server_address[1]])
        except OSError:
            pass  # the client has what it wanted
        finally:
            self.request.close()  # the encrypted one: the plain one's owner knows nothing of it

    def _postgresql(self) -> None:
        if self.request.recv(8) == SSL_REQUEST:
            self.request.sendall(b"S")
            self._encrypted().recv(1)

    def _text(self, dialogue: Dialogue) -> None:
        stream, encrypted = self.request, False
        stream.sendall(dialogue.greeting)
        while line := _line(stream):
            reply, upgrade = dialogue.answer(line.upper())
            stream.sendall(reply)
            if upgrade and not encrypted:
                stream, encrypted = self._encrypted(), True
        stream.close()

    def _encrypted(self) -> ssl.SSLSocket:
        encrypted = self.server.tls.wrap_socket(self.request, server_side=True)
        self.request = encrypted
        return encrypted


def _line(stream: ssl.SSLSocket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := stream.recv(1)):
        line += byte
    return line


class Server(socketserver.ThreadingTCPServer):
    """A server on one of the ports above, on every address of the host, IPv4 too."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        """``tls``: what it shows to those who ask."""
        self.tls = tls
        super().__init__(("::", port), Handler)


PORTS = (*DIALOGUES, POSTGRESQL)
