"""An HTTP server that answers as a registry gone wrong, which a real one cannot be made to do."""

import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class Nonsense:
    """Answers every request alike, but 401 where ``login`` (``user:password``) is missing. ``url``: where.

    ``delay``: seconds before it answers. ``drip``: seconds before each byte of the body.
    """

    def __init__(
        self, status: int, body: bytes, delay: float = 0.0, login: str | None = None, drip: float = 0.0
    ) -> None:
        self.status, self.body, self.delay, self.drip = status, body, delay, drip
        self.asked = 0
        wanted = None if login is None else f"Basic {b64encode(login.encode()).decode()}"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                outer.asked += 1
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                time.sleep(outer.delay)
                allowed = wanted in (None, self.headers.get("Authorization"))
                self.send_response(outer.status if allowed else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                if not outer.drip:
                    self.wfile.write(outer.body)
                    return
                for byte in outer.body:
                    time.sleep(outer.drip)
                    self.wfile.write(bytes([byte]))

            do_GET = do_POST = do_PUT = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that gave up waiting is what some of the tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/apis/ccompat/v7"

    def __enter__(self) -> "Nonsense":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
