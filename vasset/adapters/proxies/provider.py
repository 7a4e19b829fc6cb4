"""Where exits come from: a provider's HTTP API described by configuration, or a list in the configuration itself."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol
from urllib.parse import quote

import requests

from vasset.adapters.proxies.exit import AddressCheck, Exit, UnusableExit, checked_exit, parse_exit
from vasset.adapters.proxies.settings import AnswerFields, ProviderSettings, WrongExitSettings

MAX_ANSWER_BYTES = 64 * 1024
SECRET = re.compile(r"\$\{([^}]*)\}?")


class ProviderFailed(RuntimeError):
    """The provider did not give an exit. The message names the provider, never its answer or credentials."""


class ExitSource(Protocol):
    name: str

    async def obtain(self, *, session: str) -> Exit:
        """A new exit. Raises :class:`ProviderFailed`."""
        ...


class StaticExits:
    """A fixed list, dealt in turn. Raises :class:`WrongExitSettings`, which says which one cannot be used."""

    def __init__(self, settings: ProviderSettings, check_address: AddressCheck) -> None:
        self.name = settings.name
        self._exits = []
        for number, text in enumerate(settings.exits, start=1):
            try:
                found = parse_exit(text, provider=settings.name, default_scheme=settings.scheme)
                priced = replace(found, country=settings.country, cost=settings.cost)
                self._exits.append(checked_exit(priced, check_address))
            except UnusableExit as error:
                raise WrongExitSettings(f"exit {number} of {settings.name}: {error}") from None
        self._next = 0

    async def obtain(self, *, session: str) -> Exit:
        chosen = self._exits[self._next % len(self._exits)]
        self._next += 1
        return chosen


class HttpProvider:
    """Asks the provider's API through the egress guard; reads at most 64 KiB and believes nothing it does not check."""

    def __init__(
        self,
        settings: ProviderSettings,
        check_address: AddressCheck,
        *,
        guard_url: Callable[[], str | None],
        secrets: Mapping[str, str],
        ca_file: str | None = None,
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._check_address = check_address
        self._guard_url = guard_url
        self._headers = {name: _fill(value, secrets) for name, value in settings.headers.items()}
        self._url = _fill(settings.url or "", secrets)
        self._verify: str | bool = ca_file or True

    async def obtain(self, *, session: str) -> Exit:
        try:
            body = await asyncio.to_thread(self._fetch, session)
            found = self._read(body)
            return checked_exit(found, self._check_address)
        except UnusableExit as error:
            raise ProviderFailed(f"exit provider {self.name} gave an unusable exit: {error}") from None
        except (requests.RequestException, OSError, ValueError) as error:
            raise ProviderFailed(f"exit provider {self.name} does not answer ({type(error).__name__})") from None

    def _fetch(self, session: str) -> bytes:
        settings = self._settings
        url = self._url.replace("{country}", quote(settings.country or "", safe="")).replace(
            "{session}", quote(session, safe="")
        )
        guard = self._guard_url()
        with requests.Session() as http:
            http.trust_env = False  # NO_PROXY in the environment would walk around the guard
            if guard is not None:
                http.proxies = {"http": guard, "https": guard}
            with http.get(
                url,
                headers={"Accept-Encoding": "identity", **self._headers},
                timeout=settings.timeout_seconds,
                verify=self._verify,
                stream=True,
                allow_redirects=False,
            ) as answer:
                if answer.status_code != requests.codes.ok:
                    raise ProviderFailed(f"exit provider {self.name} answered HTTP {answer.status_code}")
                body = answer.raw.read(MAX_ANSWER_BYTES + 1, decode_content=False)
        if len(body) > MAX_ANSWER_BYTES:
            raise ProviderFailed(f"exit provider {self.name} answered more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)

    def _read(self, body: bytes) -> Exit:
        settings = self._settings
        text = body.decode("utf-8")
        if settings.answer == "text":
            lines = text.strip().splitlines()
            if not lines:
                raise UnusableExit("the answer is empty")
            found = parse_exit(lines[0], provider=self.name, default_scheme=settings.scheme)
            return _with(found, settings, country=None, expires_in=None)
        if settings.fields is None:
            raise UnusableExit("no fields are configured")
        return self._read_fields(json.loads(text), settings.fields)

    def _read_fields(self, answer: Any, fields: AnswerFields) -> Exit:
        settings = self._settings
        expires_in = _number(_dig(answer, fields.expires_in))
        country = _text(_dig(answer, fields.country))
        if fields.exit is not None:
            found = parse_exit(
                _text(_dig(answer, fields.exit)) or "", provider=self.name, default_scheme=settings.scheme
            )
            return _with(found, settings, country=country, expires_in=expires_in)
        host, port = _text(_dig(answer, fields.host)), _number(_dig(answer, fields.port))
        if host is None or port is None or port != int(port):
            raise UnusableExit("the answer lacks host or port")
        found = Exit(
            scheme=settings.scheme,
            host=host,
            port=int(port),
            username=_text(_dig(answer, fields.username)),
            password=_text(_dig(answer, fields.password)),
            provider=self.name,
        )
        return _with(found, settings, country=country, expires_in=expires_in)


def _with(found: Exit, settings: ProviderSettings, *, country: str | None, expires_in: float | None) -> Exit:
    if expires_in is not None and expires_in <= 0:
        raise UnusableExit("it has expired already")
    life = min(settings.ttl_seconds, expires_in) if expires_in is not None else settings.ttl_seconds
    return Exit(
        scheme=found.scheme,
        host=found.host,
        port=found.port,
        username=found.username,
        password=found.password,
        country=country or settings.country,
        expires_at=time.monotonic() + life,
        provider=settings.name,
        cost=settings.cost,
    )


def _fill(text: str, secrets: Mapping[str, str]) -> str:
    for name, value in secrets.items():
        text = text.replace("${" + name + "}", value)
    if (missing := SECRET.search(text)) is not None:
        raise WrongExitSettings(f"there is no file {missing[1]} in VASSET_SECRETS_DIR")
    return text


def _dig(answer: Any, path: str | None) -> Any:
    if path is None:
        return None
    for step in path.split("."):
        if isinstance(answer, dict):
            answer = answer.get(step)
        elif isinstance(answer, list) and step.isdigit() and int(step) < len(answer):
            answer = answer[int(step)]
        else:
            return None
    return answer


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < 1e9 else None
