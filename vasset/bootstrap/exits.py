"""Third-party exits from the operator's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vasset.config import Settings
from vasset.domain.errors import Unavailable
from vasset.domain.ports import ProxyPool


def open_exits(
    settings: Settings,
    *,
    check_address: Callable[[str, int], str | None],
    guard_url: Callable[[], str],
    count: Callable[..., None],
) -> ProxyPool | None:
    """None when no file is named. Raises ``Unavailable`` in words when the file cannot be read or is wrong."""
    if settings.exits_file is None:
        return None
    from vasset.adapters.proxies.pool import ExitPool
    from vasset.adapters.proxies.provider import ExitSource, HttpProvider, StaticExits
    from vasset.adapters.proxies.settings import WrongExitSettings, load_exit_settings

    ca_file = str(settings.ca_file) if settings.ca_file is not None else None
    secrets = _secrets(settings)
    try:
        exits = load_exit_settings(settings.exits_file)
        sources: list[ExitSource] = [
            StaticExits(provider, check_address)
            if provider.exits
            else HttpProvider(provider, check_address, guard_url=guard_url, secrets=secrets, ca_file=ca_file)
            for provider in exits.providers
        ]
    except WrongExitSettings as error:
        raise Unavailable(f"the exits file {settings.exits_file} cannot be used: {error}") from None
    return ExitPool(exits, sources, count=count)


def _secrets(settings: Settings) -> dict[str, str]:
    """The files of ``VASSET_SECRETS_DIR`` by name, for ``${name}`` in the exits file."""
    folder = settings.model_config.get("secrets_dir")
    if not isinstance(folder, str) or not Path(folder).is_dir():
        return {}
    return {path.name: path.read_text().strip() for path in Path(folder).iterdir() if path.is_file()}
