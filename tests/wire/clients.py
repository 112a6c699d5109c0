"""Real clients, and which messages of their connections must be told of."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wire.netns import Namespace
from wire.servers import H2, SSHD, end_group

SECONDS = 120
NAME = "www.example.com"
# So long that OpenSSL's hello, too, does not fit into a segment of 524 bytes.
LONG_NAME = ".".join(letter * 63 for letter in "abc") + ".example.org"
Messages = frozenset[tuple[str, str]]

_TCP: Messages = frozenset({("client", "tcp"), ("server", "tcp_server")})
_HTTP = _TCP | {("client", "http"), ("server", "http_server")}
_SSH = _TCP | {("client", "ssh"), ("server", "ssh")}
_TLS13 = _TCP | {("client", "tls"), ("server", "tls_server")}
# Before TLS 1.3 certificates travel in the clear (RFC 8446 section 2).
_TLS12 = _TLS13 | {("server", "tls_certificate")}

_DTLS: Messages = frozenset({("client", "dtls"), ("server", "dtls_server")})
_QUIC: Messages = frozenset({("client", "quic")})

_CURL = "curl --silent --show-error --output {folder}/{copy} --cacert {folder}/ca.pem"
_OPENSSL = "openssl s_client -CAfile {folder}/ca.pem -quiet -verify_return_error"
_GET = b"GET / HTTP/1.0\r\n\r\n"


@dataclass(frozen=True)
class Client:
    """A command line with places to be filled in, and the port that it alone speaks to.

    ``told``: who sends which messages in each of its connections. ``browser``: it makes as many
    connections as it likes, and may leave some unused.
    """

    name: str
    port: int
    line: str
    told: Messages
    stdin: bytes = b""
    browser: bool = False

    def missing(self) -> str | None:
        """What is not installed here; None when it can run."""
        program = self.line.split()[0]
        if program == "ssh" and (SSHD is None or shutil.which("ssh-keygen") is None):
            return "sshd is not installed (openssh-server)"
        if self.port == H2 and shutil.which("nghttpd") is None:
            return "nghttpd is not installed (nghttp2-server)"
        if self.told == _QUIC and shutil.which("caddy") is None:
            return "no server of HTTP/3 is installed (caddy)"
        return None if shutil.which(program) else f"{program} is not installed"

    def command(self, address: str, folder: Path, copy: int) -> list[str]:
        """Its arguments."""
        pin = folder / "server.pin"
        places = {
            "pin": pin.read_text() if pin.exists() else "",
            "address": address, "bracketed": f"[{address}]" if ":" in address else address,
            "folder": folder, "copy": f"{self.name}-{copy}", "name": NAME, "long_name": LONG_NAME,
        }  # fmt: skip
        return [word.format_map(places) for word in shlex.split(self.line)]


CLIENTS = {
    client.name: client
    for client in (
        Client("curl", 443, _CURL + " --resolve {long_name}:443:{address} https://{long_name}/", _TLS13),
        Client("curl-tls1.2", 8443, _CURL + " --tls-max 1.2 --resolve {name}:8443:{address}"
               " https://{name}:8443/large", _TLS12),
        Client("curl-http", 80, _CURL + " --resolve {name}:80:{address} http://{name}/large", _HTTP),
        Client("curl-starttls", 25, _CURL + " --ssl-reqd --resolve {name}:25:{address} smtp://{name}/"
               " --request NOOP", _TLS13),
        Client("openssl", 4433, _OPENSSL + " -connect {bracketed}:4433 -servername {name}", _TLS13, _GET),
        Client("openssl-tls1.2", 4434, _OPENSSL + " -connect {bracketed}:4434 -servername {name} -tls1_2",
               _TLS12, _GET),
        # nghttpd would ask for another hello, with a key share of this group.
        Client("curl-h2", H2, _CURL + f" --http2 --curves P-256 --resolve {{name}}:{H2}:{{address}} https://{{name}}:{H2}/large",
               _TLS13),
        Client("ssh", 22, "ssh -F /dev/null -i {folder}/client_key -o UserKnownHostsFile=/dev/null"
               " -o StrictHostKeyChecking=no -o BatchMode=yes root@{address} true", _SSH),
        Client("chromium", 9443, "chromium --headless --no-sandbox --disable-gpu --no-proxy-server"
               " --disable-background-networking --ignore-certificate-errors"
               " '--host-resolver-rules=MAP {name} {bracketed}' --user-data-dir={folder}/{copy}"
               " --dump-dom https://{name}:9443/", _TLS13, browser=True),
    )
}  # fmt: skip

# Over UDP. A datagram of QUIC's has 1,200 bytes or more (RFC 9000 14); s_server has one client at a time.
DATAGRAM_CLIENTS = {
    client.name: client
    for client in (
        Client("openssl-dtls", 4444, "openssl s_client -dtls1_2 -mtu 256 -CAfile {folder}/ca.pem"
               " -verify_return_error -connect {bracketed}:4444 -servername {name}", _DTLS),
        Client("chromium-h3", 4443, "chromium --headless --no-sandbox --disable-gpu --no-proxy-server"
               " --disable-background-networking --origin-to-force-quic-on={name}:4443"
               " --ignore-certificate-errors-spki-list={pin}"
               " '--host-resolver-rules=MAP {name} {bracketed}' --user-data-dir={folder}/{copy}"
               " --dump-dom https://{name}:4443/", _QUIC, browser=True),
    )
}  # fmt: skip


def run_all(
    where: Namespace, address: str, folder: Path, copies: Mapping[str, int], key_log: Path | None = None
) -> None:
    """Run so many of each client at once; fails when one does not end well.

    ``key_log``: where those that do so write the secrets of their connections.
    """
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}
    if key_log is not None:
        environment["SSLKEYLOGFILE"] = str(key_log)
    started: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
    try:
        for name, often in copies.items():
            client = (CLIENTS | DATAGRAM_CLIENTS)[name]
            for copy in range(often):
                said, log = folder / f"{name}-{copy}.in", folder / f"{name}-{copy}.log"
                said.write_bytes(client.stdin)
                with said.open("rb") as stdin, log.open("wb") as out:
                    process = subprocess.Popen(
                        where.command(client.command(address, folder, copy)),
                        stdin=stdin, stdout=out, stderr=out, env=environment, start_new_session=True,
                    )  # fmt: skip
                started.append((name, log, process))
        for name, log, process in started:
            code = process.wait(SECONDS)
            assert code == 0, f"{name} ended with {code}: {log.read_text()}"
    finally:
        for _, _, process in started:
            end_group(process)
