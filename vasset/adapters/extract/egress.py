"""Every child job leaves the machine through the guard proxy, under a credential that ends with the job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Credential(Protocol):
    """``url`` is ``http://user:password@127.0.0.1:port``: never logged, never in an argument list."""

    url: str
    username: str


class GuardProxy(Protocol):
    """The part of ``vasset._engine.GuardProxy`` that extraction uses."""

    def issue(
        self,
        label: str,
        *,
        max_bytes: int | None,
        max_connections: int = 64,
        timeout_seconds: float | None,
        upstream: str | None = None,
    ) -> Credential: ...

    def revoke(self, username: str) -> bool: ...


class Egress:
    """Issues one credential a job. ``upstream`` is the task's third-party exit, itself reached through the guard's classifier."""

    def __init__(self, guard: GuardProxy) -> None:
        self._guard = guard

    @contextmanager
    def way_out(
        self, label: str, *, max_bytes: int, timeout_seconds: float, upstream: str | None = None
    ) -> Iterator[str]:
        """The proxy URL a child must use; worthless as soon as the block ends."""
        credential = self._guard.issue(
            label, max_bytes=max_bytes, max_connections=64, timeout_seconds=timeout_seconds, upstream=upstream
        )
        try:
            yield credential.url
        finally:
            self._guard.revoke(credential.username)
