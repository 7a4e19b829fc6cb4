"""One product, embedded or distributed, one origin that can hold its breath; it may be killed and started again."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_client import ApiClient, api_client
from tests.support.deployments import Deployment, MakeDeployment, Product
from tests.support.held_ffmpeg import HeldFfmpeg, hold_ffmpeg
from tests.support.lying_origin import LyingOrigin, page, running_lying_origin
from tests.support.media import Media, make_media

EMAIL = "ann@example.test"


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    base = tmp_path_factory.getbasetemp()
    return make_media(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@dataclass
class Stage:
    """Everything one test needs; `healthy` is what it ends with."""

    deployment: Deployment
    origin: LyingOrigin
    media: Media
    ffmpeg: HeldFfmpeg
    settings: dict[str, str] = field(default_factory=dict)
    has_user: bool = False

    @property
    def data_dir(self) -> Path:
        return self.deployment.data_dir

    @asynccontextmanager
    async def running(self, *, held_ffmpeg: bool = False, **settings: str) -> AsyncIterator[tuple[Product, ApiClient]]:
        """The product on this stage's data, and its one user signed in."""
        chosen = {"egress_allow": self.origin.address, "hash_algorithm": "sha256"} | self.settings | settings
        programs = self.ffmpeg.programs if held_ffmpeg else None
        async with self.deployment.running(programs=programs, **chosen) as server, api_client(server.url) as client:
            user = await (client.login(EMAIL) if self.has_user else client.register(EMAIL))
            self.has_user = True
            yield server, user

    def show(self, path: str, name: str = "A title") -> str:
        """A page with one video at `path`; answers the page's URL."""
        self.origin.routes[f"{path}.html"] = page(f'<!doctype html><title>{name}</title><video src="{path}"></video>')
        return self.origin.url(f"{path}.html")

    async def healthy(self) -> None:
        await self.deployment.healthy()

    def finished_files(self) -> list[Path]:
        found = [path for folder in ("tmp", "archive") for path in (self.data_dir / folder).rglob("*")]
        return [path for path in found if path.is_file() and ".work-" not in str(path)]

    def workspaces(self) -> list[Path]:
        return list((self.data_dir / "tmp").glob("*/.work-*"))


@pytest.fixture
async def stage(make_deployment: MakeDeployment, tmp_path: Path, media: Media) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(running_lying_origin())
        data_dir = tmp_path / "data"
        data_dir.mkdir()
        yield Stage(make_deployment(data_dir), origin, media, hold_ffmpeg(tmp_path))


def assert_completed(task: dict[str, Any]) -> None:
    assert task["status"] == "completed", task
