"""New passwords follow the rule in words, and a flood of sign-ins is refused instead of queued."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import bcrypt
import pytest

from vasset.domain.errors import InvalidInput, TooManyRequests
from vasset.services.auth.common_passwords import COMMON_PASSWORDS
from vasset.services.auth.passwords import PasswordHasher, check_new_password


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = PasswordHasher(cost=4, workers=1, waiting=3)
    yield hasher
    hasher.close()


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short1a", "at least 8"), ("x1" * 36 + "y", "73 bytes"), ("长" * 24 + "1", "73 bytes"), ("a1" * 1_000, "2000 bytes"),
        ("onlyletters", "one digit"), ("1234567890", "one letter"), ("password1", "attackers"), ("PassWord1!", "attackers"),
        ("a1\0bcdefgh", "cannot be stored"), ("half \ud800 a 1", "cannot be stored"),
    ],
)  # fmt: skip
def test_a_bad_password_is_refused_and_never_repeated(password: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        check_new_password(password)
    assert password not in refused.value.message


@pytest.mark.parametrize(
    "password", ["correct horse 7", "x1" * 36, "长长长长长长长 1", "       a1", "пароль-не-слово-9"]
)
async def test_a_good_password_is_kept_to_the_letter(hasher: PasswordHasher, password: str) -> None:
    stored = await hasher.hash(check_new_password(password))
    assert bcrypt.checkpw(password.encode(), stored.encode())
    assert await hasher.verify(password, stored)
    assert not await hasher.verify(password.strip() + " ", stored)


def test_every_common_password_would_else_be_allowed() -> None:
    assert len(COMMON_PASSWORDS) > 3_000
    assert all(len(password) >= 8 for password in COMMON_PASSWORDS)


async def test_an_unknown_account_costs_the_same_hash(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []

    def checkpw(secret: bytes, stored: bytes) -> bool:
        checked.append(stored[:7])
        return real(secret, stored)

    real = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    stored = await hasher.hash(b"correct horse 7")
    assert not await hasher.verify("correct horse 7", None)
    assert not await hasher.verify("x" * 73, stored)
    assert await hasher.verify("correct horse 7", stored)
    assert checked == [b"$2b$04$"] * 3


async def test_more_hashes_than_may_wait_are_refused_at_once(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(bcrypt, "hashpw", lambda secret, salt: gate.wait(30) and b"done")
    waiting = [asyncio.create_task(hasher.hash(b"x")) for _ in range(4)]
    await asyncio.sleep(0)
    for _ in range(5):
        with pytest.raises(TooManyRequests):
            await hasher.hash(b"x")
    waiting[0].cancel()  # its thread is still busy: no room yet
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await hasher.hash(b"x")
    gate.set()
    assert await asyncio.gather(*waiting[1:]) == ["done"] * 3
    assert await hasher.hash(b"x") == "done"
