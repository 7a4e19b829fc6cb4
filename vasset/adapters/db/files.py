"""The port ``FileStore``: the rows behind files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import select, text, update

from vasset.adapters.db.database import Database
from vasset.adapters.db.rows import history_from
from vasset.adapters.db.tables import EXPIRING, MISPLACED, REMOVING, download_history
from vasset.domain.download import Mode
from vasset.domain.history import HistoryEntry, PublishedFile

BATCH = 500


class SqlFileStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def expired(self, *, limit: int) -> Sequence[HistoryEntry]:
        async with self._database.write() as transaction:
            begun = select(download_history.c.id).where(text(REMOVING)).order_by(download_history.c.id)
            over = (
                select(download_history.c.id)
                .where(text(EXPIRING), download_history.c.expire_at <= transaction.now)
                .order_by(download_history.c.expire_at, download_history.c.id)
            )
            ids: list[int] = []
            for oldest in (begun, over):
                left = oldest.limit(limit - len(ids)).with_for_update(skip_locked=True)
                ids += [id for id in (await transaction.execute(left)).scalars() if id not in ids]
            marked = await transaction.execute(
                update(download_history)
                .where(download_history.c.id.in_(ids))
                .values(removing=True)
                .returning(download_history)
            )
            return sorted((history_from(row) for row in marked.all()), key=lambda entry: ids.index(entry.id))

    async def forget_file(self, history_id: int, *, reason: str) -> None:
        async with self._database.write() as transaction:
            await transaction.execute(
                update(download_history)
                .where(download_history.c.id == history_id)
                .values(file_path=None, file_owner=None, removing=False, forgotten_reason=reason[:32])
            )

    async def known_paths(self) -> AsyncIterator[tuple[int, str]]:
        """Every row that has a file, by id, in pages: no transaction stays open while the caller looks at its disk."""
        last = 0
        while True:
            page = (
                select(download_history.c.id, download_history.c.file_path)
                .where(download_history.c.id > last, download_history.c.file_path.is_not(None))
                .order_by(download_history.c.id)
                .limit(BATCH)
            )
            async with self._database.read() as transaction:
                rows = (await transaction.execute(page)).all()
            for row in rows:
                yield row.id, row.file_path
            if len(rows) < BATCH:
                return
            last = rows[-1].id

    async def misplaced(self, *, limit: int) -> Sequence[HistoryEntry]:
        statement = (
            select(download_history)
            .where(
                text(MISPLACED),
            )
            .order_by(download_history.c.id)
            .limit(limit)
        )
        async with self._database.read() as transaction:
            return [history_from(row) for row in (await transaction.execute(statement)).all()]

    async def promote(self, history_id: int, file: PublishedFile) -> bool:
        async with self._database.write() as transaction:
            moved = await transaction.execute(
                update(download_history)
                .where(
                    download_history.c.id == history_id,
                    download_history.c.mode == Mode.ARCHIVE,
                    download_history.c.removing.is_(False),
                    download_history.c.file_path.is_not(None),
                )
                .values(file_path=file.relative_path, file_name=file.file_name, file_owner=file.owner)
            )
            return bool(moved.rowcount == 1)
