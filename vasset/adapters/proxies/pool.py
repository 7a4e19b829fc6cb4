"""Leases an exit per task and remembers how each one behaves.

A task keeps its exit from extraction to the last byte, because media URLs are bound to the address that asked for them. An exit
that is blamed loses score; three blames in a row rest it for a while, longer each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from vasset.adapters.proxies.exit import Exit
from vasset.adapters.proxies.provider import ExitSource, ProviderFailed
from vasset.adapters.proxies.settings import ExitSettings, SitePolicy
from vasset.domain.errors import DependencyDown
from vasset.domain.ports import ProxyLease

log = structlog.get_logger(__name__)

BLAMES_BEFORE_REST = 3
FIRST_REST_SECONDS = 60.0
LONGEST_REST_SECONDS = 3_600.0
SCORE_WEIGHT = 0.2
MAX_REMEMBERED = 10_000
TRIES_PER_LEASE = 4


@dataclass(slots=True)
class Health:
    """Score is a moving average of success in [0, 1]; per site, since being banned by one says nothing about another."""

    score: float = 1.0
    blames: int = 0
    rests: int = 0
    rest_until: float = 0.0


class UseCounter(Protocol):
    """``result``: ``leased``, ``failed`` (the provider gave none) or ``blamed`` (a site refused it)."""

    def __call__(self, provider: str, result: str, cost: float = 0.0) -> None: ...


def _uncounted(provider: str, result: str, cost: float = 0.0) -> None:
    """For pools that nobody measures."""


@dataclass(slots=True)
class ExitPool:
    """``ProxyPool`` over several sources, tried in order of configuration."""

    settings: ExitSettings
    sources: Sequence[ExitSource]
    monotonic: Callable[[], float] = time.monotonic
    count: UseCounter = _uncounted
    _health: dict[tuple[str, str], Health] = field(default_factory=dict)
    _leases: dict[str, Exit] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def lease(self, task_id: str, site: str, *, attempt: int) -> ProxyLease | None:
        """The task's exit, the same one again while it is alive and not blamed.

        Raises ``DependencyDown`` when the policy demands an exit and no provider gives a rested one.
        """
        policy = self.settings.policy_for(site)
        if not self.sources or policy is SitePolicy.NEVER or (policy is SitePolicy.FALLBACK and attempt < 2):
            return None
        async with self._lock:
            held = self._leases.get(task_id)
            if held is None or self._is_over(held) or self._is_resting(held, site):
                held = await self._obtain(task_id, site)
                if held is None:
                    if policy is SitePolicy.FALLBACK:
                        return None
                    raise DependencyDown(
                        f"No exit is available for {site}, which is only reached through one; it will be tried again.",
                        retry_after_seconds=30.0,
                    )
                self._remember(task_id, held)
        return ProxyLease(id=f"{task_id}:{held.key}", exit=held.key, url=held.url, country=held.country)

    async def report(self, lease: ProxyLease, site: str, *, succeeded: bool, blamed: bool) -> None:
        """End of a task's use of its exit. ``blamed``: the site refused this exit (403, 429, a bot check), not the task."""
        task_id = lease.id.partition(":")[0]
        held = self._leases.pop(task_id, None)
        if held is None:
            return
        health = self._health.setdefault((site, held.key), Health())
        health.score += SCORE_WEIGHT * ((1.0 if succeeded else 0.0) - health.score)
        if succeeded:
            health.blames = health.rests = 0
        if not blamed:
            return
        health.blames += 1
        self.count(held.provider, "blamed")
        if health.blames >= BLAMES_BEFORE_REST:
            rest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**health.rests)
            health.rest_until = self.monotonic() + rest
            health.blames, health.rests = 0, health.rests + 1
            log.info("exit rested", site=site, provider=held.provider, seconds=rest)

    def scores(self) -> Mapping[tuple[str, str], float]:
        return {key: health.score for key, health in self._health.items()}

    async def _obtain(self, task_id: str, site: str) -> Exit | None:
        for source in self.sources:
            for turn in range(TRIES_PER_LEASE):
                try:
                    found = await source.obtain(session=f"{task_id}-{turn}")
                except ProviderFailed as error:
                    log.warning("no exit", problem=str(error))
                    self.count(source.name, "failed")
                    break
                self.count(source.name, "leased", found.cost)
                if not self._is_resting(found, site):
                    return found
        return None

    def _is_over(self, held: Exit) -> bool:
        return held.expires_at is not None and self.monotonic() >= held.expires_at

    def _is_resting(self, held: Exit, site: str) -> bool:
        health = self._health.get((site, held.key))
        return health is not None and self.monotonic() < health.rest_until

    def _remember(self, task_id: str, held: Exit) -> None:
        self._leases[task_id] = held
        while len(self._leases) > MAX_REMEMBERED:
            self._leases.pop(next(iter(self._leases)))
        while len(self._health) > MAX_REMEMBERED:
            self._health.pop(next(iter(self._health)))
