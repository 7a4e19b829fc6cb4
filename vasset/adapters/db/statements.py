"""What a transaction of either database runs its statements on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy.engine import Connection

STATEMENT_TIMEOUT_SECONDS = 10  # REQUIREMENTS G
Result = TypeVar("Result")


class Statements(Protocol):
    async def execute(self, statement: Any, parameters: Any = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class Inline:
    """Statements that answer at once, on the thread of the event loop."""

    connection: Connection

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self.connection.execute(statement, parameters)


class Backend(Protocol):
    """One kind of database; ``Database`` says what each kind of transaction promises."""

    @property
    def is_sqlite(self) -> bool: ...

    def read(self) -> AbstractAsyncContextManager[Statements]: ...

    def glance(self) -> AbstractAsyncContextManager[Statements]: ...

    def write(self) -> AbstractAsyncContextManager[Statements]: ...

    async def inspect(self, look: Callable[[Connection], Result]) -> Result: ...

    async def overhaul(self, change: Callable[[Connection], Result]) -> Result: ...

    def pool_usage(self) -> dict[str, int]: ...

    async def close(self) -> None: ...
