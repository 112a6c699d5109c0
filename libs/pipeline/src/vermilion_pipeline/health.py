"""``/healthz``, ``/readyz`` and ``/metrics`` over HTTP.

The heartbeat is the poll loop's: a process whose loop is stuck answers, and is not healthy.
"""

import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest


class Health:
    """What the loop says of itself."""

    def __init__(self, patience: float = 90.0) -> None:
        """``patience``: seconds without a heartbeat after which the loop counts as stuck."""
        self._patience = patience
        self._beat = time.monotonic()
        self.ready = False
        self.waiting_for = ""
        """What keeps the loop from going on, for ``/readyz``; empty when nothing is known."""

    def beat(self) -> None:
        """The loop is alive."""
        self._beat = time.monotonic()

    def alive(self) -> bool:
        """Whether the loop has been heard of lately."""
        return time.monotonic() - self._beat < self._patience


class HealthServer:
    """Serves until closed, on a thread of its own."""

    def __init__(self, host: str, port: int, health: Health, registry: CollectorRegistry) -> None:
        """Listen on ``host``:``port`` (0: any free one); ``::``: on every address. Raises OSError."""
        pages: dict[str, Callable[[], tuple[int, bytes]]] = {
            "/healthz": lambda: (200, b"ok\n") if health.alive() else (503, b"the poll loop is stuck\n"),
            "/readyz": lambda: (
                (200, b"ready\n")
                if health.ready and health.alive()
                else (503, f"not ready: {health.waiting_for or 'starting, or stuck'}\n".encode())
            ),
            "/metrics": lambda: (200, generate_latest(registry)),
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = pages.get(self.path, lambda: (404, b"not found\n"))()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Probes come every few seconds: not worth a line."""

        self._server = _Server(host, port, Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """Of IPv4 or IPv6 as the address is; of both for ``::``, where the system has both."""

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        if host == "::" and not socket.has_dualstack_ipv6():
            host = "0.0.0.0"  # noqa: S104 (it was asked for every address)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's, which asks the DNS for a name that nobody reads.
        socketserver.TCPServer.server_bind(self)
