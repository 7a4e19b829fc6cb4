"""One exit as a provider describes it. What a provider answers is untrusted (reliability.md S130–S141)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

SCHEMES = ("http", "socks5")
HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+\Z"
)
NUMERIC_LABEL = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z", re.IGNORECASE)
CREDENTIAL = re.compile(r"[\x21-\x7e]{0,256}\Z")

AddressCheck = Callable[[str, int], str | None]
"""Answers why an IP address is refused at a port, or None when it is public (or allowed by the operator)."""


class UnusableExit(ValueError):
    """The provider's answer does not name a usable exit. The message never repeats the answer."""


@dataclass(frozen=True, slots=True)
class Exit:
    """``repr`` shows no credentials; ``url`` is for the one who connects."""

    scheme: str
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    country: str | None = None
    expires_at: float | None = None
    provider: str = "static"
    cost: float = 0.0

    @property
    def key(self) -> str:
        """Names the exit in scores and breakers; without credentials."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        credentials = ""
        if self.username is not None:
            credentials = quote(self.username, safe="")
            if self.password is not None:
                credentials += ":" + quote(self.password, safe="")
            credentials += "@"
        return f"{self.scheme}://{credentials}{host}:{self.port}"


def checked_exit(candidate: Exit, check_address: AddressCheck) -> Exit:
    """Raise :class:`UnusableExit` unless every part is well-formed and a literal address is public.

    A host name is resolved and classified by the guard when it connects; here it must only be a name.
    """
    if candidate.scheme not in SCHEMES:
        raise UnusableExit(f"its scheme is not one of {', '.join(SCHEMES)}")
    if not 1 <= candidate.port <= 65_535:
        raise UnusableExit("its port is not between 1 and 65535")
    for credential in (candidate.username, candidate.password):
        if credential is not None and not CREDENTIAL.match(credential):
            raise UnusableExit("its credentials hold characters that are not printable ASCII")
    try:
        literal = ipaddress.ip_address(candidate.host)
    except ValueError:
        if not HOST_NAME.match(candidate.host) or NUMERIC_LABEL.match(candidate.host.rsplit(".", 1)[-1]):
            raise UnusableExit("its host is neither an address nor a host name") from None
    else:
        if (refusal := check_address(str(literal), candidate.port)) is not None:
            raise UnusableExit(f"its address is not public ({refusal})")
    return candidate


def parse_exit(text: str, *, provider: str, default_scheme: str = "http") -> Exit:
    """``[scheme://][user:password@]host:port``, or ``host:port:user:password`` as some providers write it."""
    text = text.strip()
    if not text or any(character.isspace() or ord(character) < 0x21 for character in text) or len(text) > 1_024:
        raise UnusableExit("it is empty, too long, or holds white space")
    if "://" not in text:
        pieces = text.split(":")
        if len(pieces) == 4 and "@" not in text:
            text = f"{quote(pieces[2], safe='')}:{quote(pieces[3], safe='')}@{pieces[0]}:{pieces[1]}"
        text = f"{default_scheme}://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UnusableExit("it is not host:port") from None
    if not host or port is None or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise UnusableExit("it is not host:port")
    return Exit(
        scheme=parts.scheme,
        host=host,
        port=port,
        username=unquote(parts.username) if parts.username is not None else None,
        password=unquote(parts.password) if parts.password is not None else None,
        provider=provider,
    )
