"""What the gateway counts about itself. Labels are route templates, methods and statuses: bounded, never a URL or a user."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

REQUESTS = Counter("http_requests_total", "Answered HTTP requests.", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_duration_seconds",
    "Time from the request's head to the end of its answer, file bodies included.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 60.0),
)
SOCKETS = Gauge("websocket_connections", "Open progress connections.")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    REQUESTS.labels(method if method in METHODS else "other", route, str(status)).inc()
    SECONDS.labels(route).observe(seconds)


def render() -> tuple[bytes, str]:
    """The whole registry of this process, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
