"""What a user has: history, quota, statistics."""

from __future__ import annotations

from typing import Protocol

from vasset.domain.history import HistoryEntry, Page, Statistics
from vasset.domain.quota import Quota
from vasset.domain.user import Identity, Role


class LibraryStore(Protocol):
    """The asset service's own tables."""

    async def history(self, user_id: int, *, page: int, per_page: int, query: str | None) -> Page[HistoryEntry]: ...

    async def entry(self, user_id: int, history_id: int) -> HistoryEntry: ...

    async def delete(self, user_id: int, history_id: int) -> HistoryEntry:
        """Hide the row and its task; the file goes by ``FileStore.expired``. Raises ``NotFound``, ``IllegalTransition``."""
        ...

    async def quota(self, user_id: int, role: Role) -> Quota: ...

    async def statistics(self, user_id: int | None) -> Statistics: ...


class Library(Protocol):
    """Asset service: history, files, quota, statistics."""

    async def history(
        self, identity: Identity, *, page: int = 1, per_page: int = 20, query: str | None = None
    ) -> Page[HistoryEntry]: ...

    async def entry(self, identity: Identity, history_id: int) -> HistoryEntry: ...

    async def delete(self, identity: Identity, history_id: int) -> HistoryEntry:
        """Forget the row and its file; cancels nothing: an unfinished task answers ``IllegalTransition``."""
        ...

    async def quota(self, identity: Identity) -> Quota: ...

    async def statistics(self, identity: Identity) -> Statistics: ...
