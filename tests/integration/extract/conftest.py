"""One extractor with real children, one real origin and one hostile one, all behind the engine's own guard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.extraction import PLUGINS, Canary, Site
from tests.support.lying_origin import LyingOrigin, running_lying_origin
from tests.support.media import Media, make_media
from tests.support.origin import running_origin
from vasset._engine import GuardProxy
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
from vasset.adapters.extract.extractor import ChildExtractor


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return make_media(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="session")
def site(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("extract-origin")
    with running_origin(folder, media) as origin:
        yield Site(origin, folder / "access.log")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hostile() -> AsyncIterator[LyingOrigin]:
    """An origin whose answers each test writes itself."""
    async with running_lying_origin() as origin:
        yield origin


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def canary() -> AsyncIterator[Canary]:
    found = Canary()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.hits.append(await reader.read(200))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture(scope="session")
def guard(site: Site, hostile: LyingOrigin) -> Iterator[GuardProxy]:
    """Lets the two origins through by address and port, and nothing else of this machine."""
    with GuardProxy(egress_allow=[site.origin.address, hostile.address]) as proxy:
        yield proxy


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def extractor(guard: GuardProxy) -> AsyncIterator[ChildExtractor]:
    async with open_extractor(guard, ExtractorOptions(plugins=PLUGINS, timeout_seconds=30.0)) as opened:
        yield opened


@pytest.fixture(scope="session")
def plugins() -> Path:
    return PLUGINS


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder
