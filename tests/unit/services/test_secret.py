"""The signing key is made once, for one pair of eyes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from vasset.services.auth.secret import signing_secret
from vasset.services.auth.tokens import TokenSigner


def test_parallel_first_starts_agree_on_one_private_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: signing_secret(None, tmp_path / "data"), range(16)))
    assert len(secrets) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret.key"]
    assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o777 == 0o600
    assert signing_secret(None, tmp_path / "data") in secrets


def test_a_configured_key_writes_nothing(tmp_path: Path) -> None:
    assert signing_secret("k" * 32, tmp_path / "data") == b"k" * 32
    assert not (tmp_path / "data").exists()


def test_a_key_others_could_read_is_closed_again(tmp_path: Path) -> None:
    signing_secret(None, tmp_path)
    (tmp_path / "secret.key").chmod(0o644)
    signing_secret(None, tmp_path)
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_damaged_or_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("short")
    with pytest.raises(ValueError, match="damaged"):
        signing_secret(None, tmp_path)
    with pytest.raises(ValueError, match="at least 32"):
        TokenSigner(b"short", clock=FakeClock())
