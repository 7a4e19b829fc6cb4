"""One run: users and nemesis side by side, then every fault healed, everything asked for once more, and the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import func, select

from tests.faults.campaign.checker import Verdict, check, summary
from tests.faults.campaign.deployment import Deployment, distributed, embedded
from tests.faults.campaign.history import History
from tests.faults.campaign.nemesis import Nemesis
from tests.faults.campaign.origin import CampaignOrigin, campaign_origin
from tests.faults.campaign.users import TERMINAL, Budget, User
from tests.support.processes import run_vasset
from vasset.adapters.db.database import open_database
from vasset.adapters.db.tables import tasks

SETTLE_SECONDS = 120.0
PER_PAGE = 100
DOCTOR_VISITS = 3
DEPLOYMENTS = {"embedded": embedded, "distributed": distributed}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is: the same ``seed`` gives the same users, wishes and schedule of faults."""

    deployment: str
    seed: int
    tasks: int
    seconds: float
    users: int = 12
    at_a_time: int = 3
    engine: Path | None = None


@dataclass(slots=True)
class Result:
    wanted: Wanted
    verdict: Verdict
    figures: dict[str, Any]

    def line(self) -> str:
        figures, found = self.figures, summary(self.verdict)
        broken = ", ".join(f"{count} {promise}" for promise, count in found.items() if count) or "0 violations"
        return (
            f"{self.wanted.deployment}, seed {self.wanted.seed}: {figures['tasks']['accepted']} tasks, "
            f"{figures['kills']['total']} kills, {figures['faults_total']} other faults in {figures['seconds']:.0f} s; {broken}"
        )


@dataclass
class Campaign:
    wanted: Wanted
    deployment: Deployment
    origin: CampaignOrigin
    history: History
    users: list[User]
    nemesis: Nemesis
    begun_at: float = field(default_factory=time.monotonic)
    settled_seconds: float = 0.0

    async def run(self) -> None:
        await self._sign_up()
        await self._learn_the_merge()
        looking = asyncio.create_task(self._look_at_the_disk())
        tormenting = asyncio.create_task(self.nemesis.torment())
        budget = Budget(self.wanted.tasks, time.monotonic() + self.wanted.seconds)
        try:
            async with asyncio.TaskGroup() as group:
                for user in self.users:
                    group.create_task(user.live(budget, at_a_time=self.wanted.at_a_time))
                group.create_task(_until_spent(budget, tormenting))
        finally:
            for task in (tormenting, looking):
                task.cancel()
            await asyncio.gather(tormenting, looking, return_exceptions=True)
        await self._heal()
        await self._settle()
        await self._ask_for_everything()
        await self._doctor()

    async def _sign_up(self) -> None:
        for user in self.users:
            await user.sign_up()

    async def _learn_the_merge(self) -> None:
        """What ffmpeg makes of the two streams when nothing disturbs it; digests of merges are only judged if it is always the same."""
        user, seen, urls = self.users[0], set(), []
        for number in range(2):
            label = f"calm-{number}"
            chosen = self.origin.merged(label)
            urls.append(chosen.url)
            self.history.note("body", url=chosen.url, digests=[], mode="archive_download")
            body = {"url": chosen.url, "mode": "archive_download", "quality": "best", "format": "mp4"}
            accepted = await user.submit(label, body)
            assert accepted is not None
            await user.follow(*accepted, "archive_download")
            _, content = await user.download(accepted[1])
            seen.add(hashlib.sha256(content or b"").hexdigest())
        if len(seen) == 1:
            self.origin.merged_digest = seen.pop()
            for url in urls:
                self.history.note("body", url=url, digests=[self.origin.merged_digest], mode="archive_download")

    async def _look_at_the_disk(self) -> None:
        """Every file that can be seen outside a workspace is hashed once, soon after it appears."""
        seen: set[str] = set()
        while True:
            await asyncio.sleep(0.3)
            for path, digest in await asyncio.to_thread(_new_files, self.deployment.files, seen):
                self.history.note("on_disk", path=path, digest=digest)

    async def _heal(self) -> None:
        self.deployment.heal()
        self.origin.proxy.heal()
        self.deployment.disarm()
        await asyncio.sleep(0.3)
        await self.deployment.all_ready()

    async def _settle(self) -> None:
        """Until every task has ended; whoever is paused is resumed by its user."""
        begun = time.monotonic()
        while time.monotonic() - begun < SETTLE_SECONDS:
            unfinished = 0
            for user in self.users:
                for task in await self._tasks_of(user):
                    if task["status"] == "paused":
                        await user.wish("resume", task["task_id"])
                    unfinished += task["status"] not in TERMINAL
            if not unfinished:
                break
            await asyncio.sleep(0.5)
        self.settled_seconds = time.monotonic() - begun

    async def _ask_for_everything(self) -> None:
        for user in self.users:
            found = await self._tasks_of(user)
            for task in found:
                self.history.note(
                    "final_task", who=user.name, task=task["task_id"], url=task["url"], mode=task["mode"],
                    status=task["status"], attempt=task["attempt"], error=(task["error"] or {}).get("reason"),
                )  # fmt: skip
            for task in found:
                if task["status"] == "completed" and task["mode"] == "archive_download":
                    status, body = await user.download(task["history_id"])
                    digest = hashlib.sha256(body or b"").hexdigest()
                    self.history.note("final_file", task=task["task_id"], status=status, digest=digest)
            quota = await user.ask("/api/v1/quota")
            self.history.note("final_quota", who=user.name, used=quota["daily_used"])
            for frame in await user.snapshot():
                self.history.note("final_frame", task=frame["task_id"], phase=frame["phase"], seq=frame["seq"])

    async def _tasks_of(self, user: User) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            said = await user.ask(f"/api/v1/downloads?page={page}&per_page={PER_PAGE}")
            found += said["items"]
            if len(found) >= said["total"] or not said["items"]:
                return found
            page += 1

    async def _doctor(self) -> None:
        settings = {
            name.removeprefix("VASSET_").lower(): value
            for name, value in self.deployment.environment.items()
            if name.startswith("VASSET_") and name != "VASSET_KILL_AT"
        }
        for _ in range(DOCTOR_VISITS):  # the janitor, who has two seconds a round, may be about to mend it
            code, out, err = await run_vasset("doctor", **settings)
            if code == 0:
                break
            await asyncio.sleep(3.0)
        wrong = [line for line in out.splitlines() if line.startswith("wrong")] or ([err] if code else [])
        self.history.note("doctor", code=code, findings=[{"message": line} for line in wrong])

    async def figures(self, verdict: Verdict) -> dict[str, Any]:
        final = Counter(note["status"] for note in self.history.events if note["what"] == "final_task")
        reasons = Counter(
            note["error"] for note in self.history.events if note["what"] == "final_task" and note["error"]
        )
        executions, executed = await self._executions()
        completed = {
            note["url"]
            for note in self.history.events
            if note["what"] == "final_task" and note["status"] == "completed"
        }
        wanted_bytes = sum(
            self.origin.size_of(note["digests"])
            for note in self.history.events
            if note["what"] == "body" and note["url"] in completed
        )
        kills = dict(self.nemesis.kills)
        places = dict(sorted(self.deployment.fired.items(), key=lambda item: int(item[0][1:])))
        counts = verdict.counts
        resumed = counts["ok resume"] + counts["ok retry"]
        return {
            "seconds": round(time.monotonic() - self.begun_at, 1),
            "tasks": {"accepted": sum(final.values()), **dict(sorted(final.items()))},
            "failed_for": dict(reasons.most_common()),
            "kills": {"total": sum(kills.values()) + sum(places.values()), **kills, "at_places": places},
            "faults_total": sum(self.nemesis.faults.values()),
            "faults": dict(sorted(self.nemesis.faults.items())),
            "recovery_seconds": {
                name: {"median": sorted(found)[len(found) // 2], "longest": max(found), "times": len(found)}
                for name, found in sorted((self.deployment.recoveries | self.nemesis.server_recoveries).items())
                if found
            },
            "gave_up_at_start": self.deployment.gave_up,
            "settled_seconds": round(self.settled_seconds, 1),
            "executions": executions,
            "execution_amplification": round(executions / max(1, executed + resumed), 3),
            "origin_bytes_sent": self.origin.sent_bytes(),
            "bytes_of_completed_files": wanted_bytes,
            "calls": {
                what: {kind: counts[f"{kind} {what}"] for kind in ("invoke", "ok", "fail", "info")}
                for what in ("submit", "read", "cancel", "pause", "resume", "retry", "fetch", "refresh")
            },
            "frames": counts["note frame"],
            "files_hashed": counts["note on_disk"] + counts["note final_file"] + counts["ok fetch"],
            "violations": summary(verdict),
        }

    async def _executions(self) -> tuple[int, int]:
        """Claims in all, and tasks that were claimed at least once."""
        url = self.deployment.environment.get("VASSET_DATABASE_URL")
        url = url or f"sqlite+aiosqlite:///{self.deployment.files.resolve() / 'vasset.db'}"
        database = open_database(url, pool_size=1)
        try:
            async with database.read() as transaction:
                claimed = select(func.coalesce(func.sum(tasks.c.fence), 0), func.count()).where(tasks.c.fence > 0)
                row = (await transaction.execute(claimed)).one()
                return int(row[0]), int(row[1])
        finally:
            await database.close()


async def _until_spent(budget: Budget, tormenting: asyncio.Task[None]) -> None:
    """The nemesis stops when no more tasks begin; what it broke by then must still come right."""
    while time.monotonic() < budget.ends_at and budget.begun < budget.tasks:
        if tormenting.done():
            tormenting.result()  # a nemesis that fell over is no campaign
        await asyncio.sleep(0.2)
    tormenting.cancel()


def _new_files(root: Path, seen: set[str]) -> list[tuple[str, str]]:
    found = []
    for folder in ("tmp", "archive"):
        for path in (root / folder).rglob("*.*"):
            name = str(path.relative_to(root))
            if name in seen or "/.work-" in name or name.endswith((".json", ".new")):
                continue
            with contextlib.suppress(OSError):
                if path.is_file():
                    found.append((name, hashlib.sha256(path.read_bytes()).hexdigest()))
                    seen.add(name)
    return found


@contextlib.asynccontextmanager
async def _set_up(wanted: Wanted, folder: Path, history: History) -> AsyncIterator[Campaign]:
    chance = random.Random(f"{wanted.seed}/users")
    async with contextlib.AsyncExitStack() as stack:
        origin = await stack.enter_async_context(
            campaign_origin(folder / "origin", random.Random(f"{wanted.seed}/bodies"))
        )
        settings = {"VASSET_EGRESS_ALLOW": origin.egress_allow}
        build = DEPLOYMENTS[wanted.deployment]
        deployment = await stack.enter_async_context(build(folder / "product", settings, history, wanted.engine))
        pause_seconds = max(0.25, 0.01 * wanted.users * wanted.at_a_time)  # more who wait ask less often
        connector = aiohttp.TCPConnector(limit=400, force_close=False)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        users = [
            User(f"u{number}", deployment.urls, session, history, origin, random.Random(chance.random()), pause_seconds)
            for number in range(wanted.users)
        ]
        nemesis = Nemesis(wanted.seed, deployment, origin.proxy, history, wanted.engine is not None)
        yield Campaign(wanted, deployment, origin, history, users, nemesis)


async def run(wanted: Wanted, folder: Path) -> Result:
    """Run and judge. The history stays in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "history.jsonl").open("w", buffering=1) as file:
        history = History(file)
        async with _set_up(wanted, folder, history) as campaign:
            await campaign.run()
            verdict = check(history.events)
            return Result(wanted, verdict, await campaign.figures(verdict))
