"""The endpoints, and the heartbeat behind them."""

import socket
import time
import urllib.error
import urllib.request

import pytest

from vermilion_pipeline.health import Health, HealthServer
from vermilion_pipeline.metrics import Metrics


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_endpoints() -> None:
    metrics, health = Metrics("test"), Health(patience=0.2)
    server = HealthServer("127.0.0.1", 0, health, metrics.registry)
    try:
        assert get(server.port, "/healthz") == (200, "ok\n")
        assert get(server.port, "/readyz") == (503, "not ready: starting, or stuck\n")
        health.waiting_for = "the registry"
        assert get(server.port, "/readyz") == (503, "not ready: the registry\n")
        health.ready = True
        assert get(server.port, "/readyz")[0] == 200
        metrics.count({("parse_errors", "tls", "length"): 2})
        assert (
            'vermilion_parse_errors_total{field="length",protocol="tls"} 2.0'
            in get(server.port, "/metrics")[1]
        )
        assert get(server.port, "/none")[0] == 404
        deadline = time.monotonic() + 5
        while health.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert get(server.port, "/healthz") == (503, "the poll loop is stuck\n")
        assert get(server.port, "/readyz")[0] == 503
        health.beat()
        assert get(server.port, "/healthz")[0] == 200
    finally:
        server.close()


def answers(host: str) -> set[str]:
    """The loopback addresses at which a server of ``host`` answers."""
    server = HealthServer(host, 0, Health(), Metrics("test").registry)
    found = set()
    try:
        for loopback in ("127.0.0.1", "[::1]"):
            try:
                assert get(server.port, "/healthz", loopback) == (200, "ok\n")
            except urllib.error.URLError:
                continue
            found.add(loopback)
    finally:
        server.close()
    return found


def test_it_listens_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers("0.0.0.0") == {"127.0.0.1"}  # noqa: S104
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    assert answers("::1") == {"[::1]"}
    assert answers("::") == {"127.0.0.1", "[::1]"}
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert answers("::") == {"127.0.0.1"}
