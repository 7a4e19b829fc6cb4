"""Domain objects and rows with everything filled in that the test at hand does not care about."""

from __future__ import annotations

import itertools
from typing import Any

from sqlalchemy import func, insert, select

from vasset.adapters.db.database import Database
from vasset.adapters.db.tables import users
from vasset.domain.download import Mode, Submission
from vasset.domain.history import PublishedFile
from vasset.domain.media import Container
from vasset.domain.user import Role

_numbers = itertools.count(1)


async def add_user(database: Database, *, role: Role = Role.FREE) -> int:
    """An account that cannot sign in."""
    async with database.write() as transaction:
        added = await transaction.execute(
            insert(users)
            .values(
                email=f"user{next(_numbers)}@example.org", password_hash="none", nickname="Somebody", role=int(role),
                created_at=transaction.now, updated_at=transaction.now,
            )
            .returning(users.c.id)
        )  # fmt: skip
        return int(added.scalar_one())


def submission(user_id: int, **changes: Any) -> Submission:
    asked: dict[str, Any] = {
        "user_id": user_id, "url": "https://videos.example/watch?v=1", "mode": Mode.QUICK, "quality": "best",
        "container": Container.MP4,
    }  # fmt: skip
    return Submission(**{**asked, **changes})


def published(task_id: str, *, size_bytes: int = 10) -> PublishedFile:
    return PublishedFile(f"tmp/{task_id}/Title.mp4", "Title.mp4", size_bytes, "ab" * 32, "blake3")


async def count(database: Database, table: Any, *where: Any) -> int:
    async with database.read() as transaction:
        return int((await transaction.execute(select(func.count()).select_from(table).where(*where))).scalar_one())
