"""Claims tasks while there are free slots and runs them; the only place that starts executions.

Who is next is decided by SQL (``claim_next``: the user with the fewest running tasks first), never by the order of messages.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable

from vasset.domain.download import Lease, Task
from vasset.domain.errors import Unavailable
from vasset.domain.ports import TaskStore
from vasset.domain.progress import Waiting
from vasset.usecases.end_tasks import end_tasks
from vasset.usecases.run_download import Ended, RunDownload
from vasset.usecases.site_key import site_of
from vasset.worker.admission import Admission
from vasset.worker.diary import told
from vasset.worker.slots import Slots

DISK_PAUSE_SECONDS = 5.0
REMEMBERED_CLAIMS = 1_000
MAX_UNAVAILABLE_PAUSE_SECONDS = 10.0


class Pool:
    """``run`` polls; ``offer`` claims on a wake-up; both stop for good with ``drain``."""

    def __init__(
        self,
        store: TaskStore,
        start: Callable[[Lease], RunDownload],
        admission: Admission,
        *,
        worker: str,
        slots: Slots,
        lease_seconds: float,
        tasks_per_user: int,
        tasks_per_site: int,
        poll_seconds: float = 1.0,
        on_ended: Callable[[RunDownload, Ended], None] = lambda run, ended: None,
    ) -> None:
        self._store = store
        self._start = start
        self._admission = admission
        self._worker = worker
        self._slots = slots
        self._lease_seconds = lease_seconds
        self._tasks_per_user = tasks_per_user
        self._tasks_per_site = tasks_per_site
        self._poll_seconds = poll_seconds
        self._on_ended = on_ended
        self._runs: dict[str, tuple[RunDownload, asyncio.Task[None]]] = {}
        self._foreseen: OrderedDict[str, None] = OrderedDict()
        self._woken = asyncio.Event()
        self._draining = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._paused_until = 0.0

    @property
    def worker(self) -> str:
        return self._worker

    @property
    def slots(self) -> Slots:
        return self._slots

    @property
    def is_draining(self) -> bool:
        return self._draining.is_set()

    def runs(self) -> list[RunDownload]:
        return [run for run, _ in self._runs.values()]

    def resize(self, slots: int) -> None:
        """Change how many downloads run at a time; running ones are never interrupted."""
        self._slots.resize(slots)
        self._woken.set()

    def wake(self) -> None:
        """Look for due tasks now rather than at the next poll."""
        self._woken.set()

    def nudge(self, task_id: str) -> None:
        """Something was asked of this task: let its execution look at once, and look for new work too."""
        if (running := self._runs.get(task_id)) is not None:
            running[0].nudge()
        self._woken.set()

    def foresaw(self, task_id: str) -> bool:
        """Whether the poll or a hint claimed this task before its wake-up came, which then asks for nothing more; once for each claim."""
        return self._foreseen.pop(task_id, self) is None

    async def offer(self) -> bool:
        """A wake-up arrived: wait for a free slot, then claim whoever is next. True when something was claimed."""
        await self._slots.acquire()
        lease = None
        try:
            if not self.is_draining and self.obstacle() is None:
                lease = await self._claim()
        except Unavailable:
            return False  # the poll goes on asking
        finally:
            if lease is None:
                self._slots.release()
        return lease is not None

    async def run(self) -> None:
        """Claim until drained. Survives SQL being down."""
        unavailable_pause = self._poll_seconds
        while not self.is_draining:
            self._woken.clear()
            try:
                claimed = await self._fill()
                unavailable_pause = self._poll_seconds
            except Unavailable:
                claimed = False
                unavailable_pause = min(MAX_UNAVAILABLE_PAUSE_SECONDS, unavailable_pause * 2)
            if not claimed:
                await self._wait(unavailable_pause)

    def stop_one_for_room(self) -> None:
        """Fail the youngest execution whose child writes to a disk that is too full; the engine's own stop by themselves."""
        for run, _ in reversed(self._runs.values()):
            if run.is_written_by_a_child and run.run_out_of_room():
                return

    def stop_claiming(self) -> None:
        """For good: the beginning of :meth:`drain`."""
        self._draining.set()
        self._woken.set()

    async def drain(self, seconds: float) -> None:
        """Stop claiming, let every execution checkpoint and hand its lease back, cut off what is left after ``seconds``."""
        self.stop_claiming()
        for run, _ in list(self._runs.values()):
            run.drain()
        running = [task for _, task in self._runs.values()]
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            await end_tasks(late)

    async def _fill(self) -> bool:
        """Claim while slots are free; True when it stopped for another reason than an empty queue."""
        while not self.is_draining and self.obstacle() is None and self._slots.free:
            await self._slots.acquire()
            lease = None
            try:
                lease = await self._claim()
            finally:
                if lease is None:
                    self._slots.release()
            if lease is None:
                return False
            self._foreseen[lease.task.id] = None
            if len(self._foreseen) > REMEMBERED_CLAIMS:
                self._foreseen.popitem(last=False)
        return False

    def obstacle(self) -> Waiting | None:
        """Why nothing new starts here, whoever's it is."""
        if asyncio.get_running_loop().time() < self._paused_until:
            return Waiting("disk", "the disk has too little space beside the downloads that are running")
        return self._admission.obstacle()

    def waits_for(self, task: Task) -> Waiting | None:
        """Why this task, which is due, does not start here."""
        if (obstacle := self.obstacle()) is not None:
            return obstacle
        if not self._slots.free:
            return Waiting("slots", f"all {self._slots.size} places for downloads are taken")
        if (site := site_of(task.url)) in self._full_sites():
            return Waiting("site", f"{self._tasks_per_site} downloads from {site} are running already")
        if sum(run.task.user_id == task.user_id for run in self.runs()) >= self._tasks_per_user:
            return Waiting("user", f"{self._tasks_per_user} of your downloads are running already")
        return None

    @property
    def may_be_waited_for(self) -> bool:
        """Whether anything here could keep a due task from starting: cheap, and usually no."""
        if self.obstacle() is not None or not self._slots.free or self._full_sites():
            return True
        return any(count >= self._tasks_per_user for count in Counter(run.task.user_id for run in self.runs()).values())

    async def _claim(self) -> Lease | None:
        async with self._claiming:
            if self.is_draining:
                return None
            lease = await self._store.claim_next(
                worker=self._worker, lease_seconds=self._lease_seconds, per_user_limit=self._tasks_per_user,
                full_sites=self._full_sites(),
            )  # fmt: skip
            if lease is not None:
                run = self._start(lease)
                self._runs[lease.task.id] = (run, asyncio.create_task(self._execute(run), name=f"task {lease.task.id}"))
            return lease

    def _full_sites(self) -> list[str]:
        """Sites that this worker has as many tasks of as it may: another one would hold a slot that other sites could use."""
        sites = Counter(run.site for run, _ in self._runs.values())
        return [site for site, count in sites.items() if count >= self._tasks_per_site]

    async def _execute(self, run: RunDownload) -> None:
        ended = Ended(None)
        try:
            if self.is_draining:
                run.drain()
            ended = await told(run)
        finally:
            if ended.disk_pressure:
                self._paused_until = asyncio.get_running_loop().time() + DISK_PAUSE_SECONDS
            if self._runs.get(run.task.id, (None,))[0] is run:
                del self._runs[run.task.id]
            self._slots.release()
            self._woken.set()
            self._on_ended(run, ended)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
