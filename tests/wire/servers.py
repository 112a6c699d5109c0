"""The servers of a town: HTTP, HTTPS and SMTP with STARTTLS in Python, ``openssl s_server``, sshd."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from recordings import upgrading
from recordings.servers import DTLS, HTTP3, Handler, Server, contexts, dtls, http3
from recordings.world import certificates
from wire.netns import Namespace, wait_for

HTTP, HTTPS, S_SERVER, SSH, SMTP, H2 = 80, (443, 8443, 9443), (4433, 4434), 22, 25, 9444
LARGE = bytes(range(256)) * 256
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


class _Pages(Handler):
    """Has a page that many segments carry."""

    def do_GET(self) -> None:  # noqa: N802
        if self.path != "/large":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(LARGE)))
        self.end_headers()
        self.wfile.write(LARGE)


@contextmanager
def serving(where: Namespace, folder: Path, names: list[str]) -> Iterator[None]:
    """Serve in a namespace, with a certificate for ``names`` written into ``folder``.

    What is not installed is left out.
    """
    certificates(folder, names)
    with ExitStack() as stack:
        tls = contexts(folder)
        for port in (HTTP, *HTTPS):
            server = where.run(lambda port=port: Server(("::", port), _Pages))  # type: ignore[misc]
            server.tls = None if port == HTTP else tls
            _start(server, stack)
        _start(where.run(lambda: upgrading.Server(SMTP, tls[False])), stack)
        if shutil.which("openssl"):
            for port in S_SERVER:
                pem = str(folder / "server.pem")
                command = ["openssl", "s_server", "-accept", str(port), "-cert", pem, "-key", pem]
                log = folder / f"s_server-{port}.log"
                stack.enter_context(running(where.command([*command, "-www", "-quiet"]), log))
                _wait_for_listener(where, port)
        if shutil.which("nghttpd"):
            (folder / "large").write_bytes(LARGE)
            pem = str(folder / "server.pem")
            command = ["nghttpd", "-d", str(folder), str(H2), pem, pem]
            stack.enter_context(running(where.command(command), folder / "nghttpd.log"))
            _wait_for_listener(where, H2)
        if SSHD and shutil.which("ssh-keygen"):
            stack.enter_context(running(where.command(_sshd(folder)), folder / "sshd.log"))
            _wait_for_listener(where, SSH)
        yield


def _start(server: BaseServer, stack: ExitStack) -> None:
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()


@contextmanager
def serving_datagrams(where: Namespace, folder: Path, names: list[str], address: str) -> Iterator[None]:
    """Serve HTTP/3 and DTLS at an address in a namespace; what is not installed is left out."""
    certificates(folder, names)
    with ExitStack() as stack:
        for program, port, command in (
            ("caddy", HTTP3, http3(folder, address, HTTP3)),
            ("openssl", DTLS, dtls(folder, address, DTLS)),
        ):
            if shutil.which(program):
                stack.enter_context(running(where.command(command), folder / f"{program}.log"))
                _wait_for_listener(where, port, "udp")
        yield


@contextmanager
def running(command: Sequence[str | Path], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command in a process group of its own, which is killed at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        end_group(process)


def end_group(process: "subprocess.Popen[Any]") -> None:
    """Kill a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _sshd(folder: Path) -> list[str | Path]:
    for name in ("host_key", "client_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "example", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    config = folder / "sshd_config"
    config.write_text(
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/client_key.pub\nStrictModes no\n"
        "PermitRootLogin yes\nUsePAM no\nPidFile none\nMaxStartups 100\n"
    )
    # sshd wants its folder below /run, which only the system's start makes.
    start = 'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec "$0" -D -e -f "$1"'
    assert SSHD is not None
    return ["unshare", "--mount", "sh", "-c", start, SSHD, config]


def _wait_for_listener(where: Namespace, port: int, transport: str = "tcp") -> None:
    state = {"tcp": "0A", "udp": "07"}[transport]  # TCP_LISTEN; of UDP, not connected

    def listens() -> bool:
        tables = [Path(f"/proc/{where.pid}/net") / name for name in (transport, f"{transport}6")]
        rows = [line.split() for table in tables for line in table.read_text().splitlines()]
        return any(row[1].endswith(f":{port:04X}") and row[3] == state for row in rows)

    wait_for(listens, f"a server on port {port}")
