"""The endpoints, and the heartbeat behind them."""

import time
import urllib.error
import urllib.request

from vermilion_pipeline.health import Health, HealthServer
from vermilion_pipeline.metrics import Metrics


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
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
