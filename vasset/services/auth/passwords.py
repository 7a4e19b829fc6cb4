"""bcrypt behind a bounded pool: hashing costs 75 ms of a core, so a flood of sign-ins must be refused, not queued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from vasset.domain.errors import InvalidInput, TooManyRequests
from vasset.services.auth.common_passwords import is_common

MAX_BYTES = 72  # bcrypt reads no further; truncating silently would make long passwords equal
MIN_CHARACTERS = 8

Result = TypeVar("Result")


def check_new_password(password: str) -> bytes:
    """The bytes to hash. Raises ``InvalidInput`` that says which rule failed; never repeats the password."""
    secret = _bytes(password)
    if secret is None or b"\0" in secret:
        raise InvalidInput("the password holds a character that cannot be stored; use letters, digits and signs")
    if len(secret) > MAX_BYTES:
        raise InvalidInput(f"the password is {len(secret)} bytes long in UTF-8; at most {MAX_BYTES} are possible")
    if len(password) < MIN_CHARACTERS:
        raise InvalidInput(f"the password has {len(password)} characters; it needs at least {MIN_CHARACTERS}")
    if not (any(letter.isalpha() for letter in password) and any(letter.isdigit() for letter in password)):
        raise InvalidInput("the password needs at least one letter and one digit")
    if is_common(password):
        raise InvalidInput("this password is among the first that attackers try; choose another one")
    return secret


class PasswordHasher:
    """Close it to end its threads."""

    def __init__(self, *, cost: int = 10, workers: int = 1, waiting: int = 8) -> None:
        self._cost = cost
        self._capacity = workers + waiting
        self._pending = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="bcrypt")
        # Verifying against this costs the same as against a real hash, and nothing matches it.
        self._dummy = f"$2b${cost:02d}${'.' * 53}".encode()

    async def hash(self, secret: bytes) -> str:
        """Raises ``TooManyRequests`` when too many hashes wait already."""
        return (await self._run(lambda: bcrypt.hashpw(secret, bcrypt.gensalt(self._cost)))).decode()

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password fits. Without a hash (unknown account) it takes just as long and answers False."""
        secret = _bytes(password)
        known = password_hash is not None and secret is not None and len(secret) <= MAX_BYTES
        against = password_hash.encode() if known and password_hash else self._dummy
        tried = secret if known and secret else b"x"
        matches = await self._run(lambda: bcrypt.checkpw(tried, against))
        return matches and known

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._pending >= self._capacity:
            raise TooManyRequests("too many sign-ins at once; try again in a second", retry_after_seconds=1)
        self._pending += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._finished)  # also when the waiter gave up: the thread is busy until then
        return await asyncio.shield(future)

    def _finished(self, future: asyncio.Future[Result]) -> None:
        self._pending -= 1
        if not future.cancelled():
            future.exception()  # looked at, so that an abandoned one warns nobody


def _bytes(password: str) -> bytes | None:
    try:
        return password.encode()
    except UnicodeEncodeError:
        return None
