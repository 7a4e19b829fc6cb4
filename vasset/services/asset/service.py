"""The port ``Library``: a user's finished downloads, quota and totals."""

from __future__ import annotations

from vasset.domain.errors import InvalidInput
from vasset.domain.history import HistoryEntry, Page, Statistics
from vasset.domain.ports import LibraryStore
from vasset.domain.quota import Quota
from vasset.domain.user import Identity

MAX_PER_PAGE = 100
MAX_PAGE = 100_000
MAX_QUERY_CHARACTERS = 200
MAX_ID = 2**63 - 1


class LibraryService:
    def __init__(self, store: LibraryStore) -> None:
        self._store = store

    async def history(
        self, identity: Identity, *, page: int = 1, per_page: int = 20, query: str | None = None
    ) -> Page[HistoryEntry]:
        """Raises ``InvalidInput`` for a page that cannot be."""
        if not (1 <= page <= MAX_PAGE and 1 <= per_page <= MAX_PER_PAGE):
            raise InvalidInput(f"page must be 1 to {MAX_PAGE} and per_page 1 to {MAX_PER_PAGE}")
        if query is not None and len(query) > MAX_QUERY_CHARACTERS:
            raise InvalidInput(f"the search text is longer than {MAX_QUERY_CHARACTERS} characters")
        return await self._store.history(identity.user_id, page=page, per_page=per_page, query=query or None)

    async def entry(self, identity: Identity, history_id: int) -> HistoryEntry:
        return await self._store.entry(identity.user_id, _known(history_id))

    async def delete(self, identity: Identity, history_id: int) -> HistoryEntry:
        """The answer still names the file: whoever holds the disk may remove it now, else the janitor does."""
        return await self._store.delete(identity.user_id, _known(history_id))

    async def quota(self, identity: Identity) -> Quota:
        return await self._store.quota(identity.user_id, identity.role)

    async def statistics(self, identity: Identity) -> Statistics:
        """Everybody's totals for an administrator."""
        return await self._store.statistics(None if identity.is_admin else identity.user_id)


def _known(history_id: int) -> int:
    """Row 0 is nobody's: an id no database can hold is simply not found."""
    return history_id if 0 < history_id <= MAX_ID else 0
