"""The servers that recorded programs talk to: HTTPS, HTTP, git over them, package indexes, and sshd.

Run as ``python -m recordings.servers`` on the servers' host; writes ``ready`` into the work folder.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from recordings import upgrading
from recordings.world import HOSTS, TLS12_ONLY, WIRE, WORK, turn_offload_off

Request = socket.socket | tuple[bytes, socket.socket]

HTTP3, DTLS = 4443, 4444
GIT = WORK / "project.git"
PAGE = b"<!doctype html><html lang=en><title>Example</title><p>An example page.</html>\n"
VERSION = {
    "name": "demo",
    "version": "1.0.0",
    "dist": {"tarball": "https://packages.example.org/npm/demo.tgz"},
}
PACKUMENT = {
    "name": "demo",
    "dist-tags": {"latest": "1.0.0"},
    "versions": {"1.0.0": VERSION},
}


class Handler(BaseHTTPRequestHandler):
    """Answers everything shortly."""

    protocol_version = "HTTP/1.1"
    server_version = "example"
    sys_version = ""
    timeout = 5

    def do_GET(self) -> None:
        """Answer a GET."""
        path, _, query = self.path.partition("?")
        if path.endswith("/info/refs"):
            self._advertise(query.removeprefix("service="))
        elif path == "/npm/demo":
            self._answer(200, json.dumps(PACKUMENT).encode(), "application/json")
        elif path == "/pip/demo/":
            self._answer(200, b"<!doctype html><title>demo</title>\n", "text/html")
        elif path == "/cargo/config.json":
            self._answer(200, b'{"dl":"https://packages.example.org/crates"}', "application/json")
        elif path.startswith("/v1/"):
            self._answer(200, b'{"items":[]}\n', "application/json")
        elif path in ("/", "/about"):
            self._answer(200, PAGE, "text/html; charset=utf-8")
        else:
            self._answer(404, b"not found\n", "text/plain")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """Answer a POST."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/git-upload-pack"):
            self._git(["--stateless-rpc"], body, "application/x-git-upload-pack-result")
        else:
            self._answer(201, b'{"created":true}\n', "application/json")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def _advertise(self, service: str) -> None:
        head = f"# service={service}\n"
        if service == "git-upload-pack":
            start = f"{len(head) + 4:04x}{head}0000".encode()
            self._git(
                ["--stateless-rpc", "--advertise-refs"], b"", f"application/x-{service}-advertisement", start
            )
        else:
            self._answer(403, b"read only\n", "text/plain")

    def _git(self, options: list[str], body: bytes, kind: str, start: bytes = b"") -> None:
        environment = {**os.environ, "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        if environment["GIT_PROTOCOL"] == "version=2" and start:
            start = b""
        command = ["git", "upload-pack", *options, str(GIT)]
        done = subprocess.run(command, input=body, capture_output=True, check=False, env=environment)
        self._answer(200, start + done.stdout, kind)

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """HTTP on every address of the host; with TLS, which the address asked decides on."""

    address_family = socket.AF_INET6
    daemon_threads = True
    tls: dict[bool, ssl.SSLContext] | None = None

    def server_bind(self) -> None:
        """Take IPv4, too."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "example", self.server_address[1]

    def finish_request(self, request: Request, client_address: object) -> None:
        """Shake hands in the connection's own thread, then go on as usual."""
        if self.tls and isinstance(request, socket.socket):
            request.settimeout(10)
            old = request.getsockname()[0].removeprefix("::ffff:") == TLS12_ONLY
            try:
                request = self.tls[old].wrap_socket(request, server_side=True)
            except OSError:
                return  # a client may well dislike this server: its hello is recorded
        try:
            super().finish_request(request, client_address)
            if isinstance(request, ssl.SSLSocket):
                request.unwrap()
        except OSError:
            pass
        finally:
            if isinstance(request, ssl.SSLSocket):
                request.close()

    def handle_error(self, request: Request, client_address: object) -> None:
        """Say nothing."""


def contexts(folder: Path) -> dict[bool, ssl.SSLContext]:
    """The TLS settings of today, and (True) those of a server that never learnt TLS 1.3."""
    made = {}
    for old in (False, True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        context.set_alpn_protocols(["http/1.1"])
        if old:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        made[old] = context
    return made


def start_sshd() -> None:
    """Start an sshd that lets the recorded clients in by key, if there is one."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("ssh-keygen") is None:
        return
    for name in ("host_key", "client_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "example", "-f", str(WORK / name)]
        subprocess.run(command, check=True)
    settings = {
        "ListenAddress": "0.0.0.0:22",
        "HostKey": WORK / "host_key",
        "AuthorizedKeysFile": WORK / "client_key.pub",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "UsePAM": "no",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
        "SetEnv": f"HOME={WORK}/home",
    }
    config = WORK / "sshd_config"
    config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    log = str(WORK / "sshd.log")
    subprocess.run([program, "-f", str(config), "-E", log], check=True)


def http3(folder: Path, address: str, port: int) -> list[str | Path]:
    """The command of a server of HTTP/3, with the certificate in ``folder``, which is its home, too.

    Without an address it would answer from any that its host has; so would DTLS's.
    """
    config = folder / "Caddyfile"
    pem = folder / "server.pem"
    page = PAGE.decode().strip()
    config.write_text(
        f"{{\n\tadmin off\n\tauto_https off\n\tservers {{\n\t\tprotocols h1 h2 h3\n\t}}\n}}\n"
        f"https://:{port} {{\n\tbind {address}\n\ttls {pem} {pem}\n\trespond `{page}`\n}}\n"
    )
    return ["env", f"HOME={folder}", "caddy", "run", "--config", config, "--adapter", "caddyfile"]


def dtls(folder: Path, address: str, port: int) -> list[str | Path]:
    """The command of a server of DTLS."""
    listen = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    pem = folder / "server.pem"
    return ["openssl", "s_server", "-dtls", "-accept", listen, "-cert", pem, "-key", pem, "-quiet"]


def main() -> None:
    """Serve until killed."""
    turn_offload_off(WIRE)
    if shutil.which("git"):
        subprocess.run(["git", "init", "-q", "--bare", str(GIT)], check=True)
    start_sshd()
    tls = contexts(WORK)
    for port in (443, 8443, 80, 8080):
        server = Server(("::", port), Handler)
        server.tls = tls if port in (443, 8443) else None
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for port in upgrading.PORTS:
        asked = upgrading.Server(port, tls[False])
        threading.Thread(target=asked.serve_forever, daemon=True).start()
    address = HOSTS["www.example.com"][0]
    for command in (http3(WORK, address, HTTP3), dtls(WORK, address, DTLS)):
        if shutil.which("caddy" if "caddy" in command else "openssl"):
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    time.sleep(2)
    Path(WORK / "ready").touch()
    threading.Event().wait()


if __name__ == "__main__":
    main()
