"""A database as it looks after years: many downloads of many users, one of whom has a tenth of them all.

The rows are made by the database itself: a million take seconds.
"""

from __future__ import annotations

from sqlalchemy import insert, select, text

from vasset.adapters.db.database import Database
from vasset.adapters.db.tables import user_totals
from vasset.adapters.db.totals import recount

HEAVY_USER = 1
ROWS_AT_A_TIME = 50_000  # a statement may take ten seconds


async def fill(database: Database, *, downloads: int, users: int, queued: int = 0, counted: bool = True) -> None:
    """Into a database without downloads, whose users, if there are any, are counted in: ``downloads`` ended ones (most completed, with a file), then ``queued`` that wait. Users count from 1.

    ``counted=False`` is for a schema from before there were totals. The heavy user has a tenth of what ended. What waits is spread over all users evenly.
    """
    numbers = (
        "WITH RECURSIVE numbers(n) AS (SELECT FIRST UNION ALL SELECT n + 1 FROM numbers WHERE n < LAST)"
        if database.is_sqlite
        else "WITH numbers(n) AS (SELECT generate_series(FIRST, LAST))"
    )
    ago = (
        "datetime('now', '-' || abs({total} - n) || ' seconds') || '.000000'"
        if database.is_sqlite
        else "now() - abs({total} - n) * interval '1 second'"
    ).format(total=downloads + queued)
    today = "date('now')" if database.is_sqlite else "(now() AT TIME ZONE 'UTC')::date"
    identity = "printf('%08d-0000-4000-8000-000000000000', n)"
    if not database.is_sqlite:
        identity = "lpad(n::text, 8, '0') || '-0000-4000-8000-000000000000'"
    owner = f"CASE WHEN n <= {downloads} AND n % 10 = 0 THEN {HEAVY_USER} ELSE 1 + n % {users} END"
    status = (
        f"CASE WHEN n > {downloads} THEN 'queued' WHEN n % 20 IN (1, 10) AND n % 7 = 0 THEN 'failed' WHEN n % 50 = 2 THEN 'cancelled' "
        "ELSE 'completed' END"
    )
    statements = [
        f"""INSERT INTO users (email, password_hash, nickname, role, created_at, updated_at)
            {numbers} SELECT 'filled' || n || '@example.org', 'none', 'Somebody', 0, {ago}, {ago} FROM numbers
            WHERE n > (SELECT count(*) FROM users)""",
        f"""INSERT INTO download_history (user_id, task_id, url, title, mode, status, file_path, file_name, file_size,
              created_at, completed_at, removing)
            {numbers} SELECT {owner}, {identity}, 'https://videos.example/watch?v=' || n, 'A film, part ' || n,
              'archive_download', {status},
              CASE WHEN {status} = 'completed' THEN 'archive/' || n || '.mp4' END, 'part ' || n || '.mp4', 1000,
              {ago}, CASE WHEN {status} <> 'queued' THEN {ago} END, false FROM numbers ORDER BY n""",
        f"""INSERT INTO tasks (id, user_id, history_id, url, site, mode, quality, container, status, phase, intent, attempt,
              fence, woken_at, debits, quota_day, downloaded_bytes, created_at, updated_at, completed_at)
            {numbers} SELECT {identity}, {owner}, n, 'https://videos.example/watch?v=' || n, 'videos.example',
              'archive_download', 'best', 'mp4', {status}, {status}, 'go_on', 1, 1, {ago}, 1, {today}, 1000,
              {ago}, {ago}, CASE WHEN {status} <> 'queued' THEN {ago} END FROM numbers""",
    ]
    async with database.write() as transaction:
        if not database.is_sqlite:
            # There a trigger that changes one row again and again in one transaction gets slower and slower.
            await transaction.execute(text("SET LOCAL statement_timeout = 0"))
            await transaction.execute(text("SET LOCAL session_replication_role = replica"))
        for statement, rows in zip(statements, (users, downloads + queued, downloads + queued), strict=True):
            for first in range(1, rows + 1, ROWS_AT_A_TIME):
                last = min(rows, first + ROWS_AT_A_TIME - 1)
                await transaction.execute(text(statement.replace("FIRST", str(first)).replace("LAST", str(last))))
        if counted and not database.is_sqlite:
            totals = recount()
            names = [column.name for column in totals.c]
            await transaction.execute(insert(user_totals).from_select(names, select(totals)))
    await database.overhaul(lambda connection: connection.execute(text("ANALYZE")) and None)
