"""The proxies of a person's environment, for the command line alone: a server's exits are named in its own settings.

``http_proxy`` counts in small letters only, as for curl: in capitals it is what a web server makes of a request's ``Proxy:`` header.
``no_proxy`` is read by the engine, which makes the choice for every hop. ``VASSET_PROXY`` outranks all of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Rules = dict[Literal["http", "https", "except"], str]

DEFAULT_PORTS = {"http": 8080, "socks5": 1080, "socks5h": 1080, "socks": 1080}


def proxy_rules(environment: Mapping[str, str]) -> Rules | None:
    """As ``Request`` takes them; ``None`` when everything is asked directly."""
    own = environment.get("VASSET_PROXY")
    if own:
        return {"http": own, "https": own}
    anything = environment.get("all_proxy") or environment.get("ALL_PROXY") or ""
    http = environment.get("http_proxy") or anything
    https = environment.get("https_proxy") or environment.get("HTTPS_PROXY") or anything
    if not http and not https:
        return None
    excepted = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return {"http": http, "https": https, "except": excepted}


def places(rules: Rules) -> list[str]:
    """Where the proxies are, as the egress policy takes it: who names a proxy on this machine or network means it."""
    return sorted({place for place in (_place(rules.get("http", "")), _place(rules.get("https", ""))) if place})


def _place(proxy: str) -> str | None:
    scheme, mark, rest = proxy.strip().partition("://")
    if not mark:
        scheme, rest = "http", scheme
    authority = rest.partition("/")[0].rpartition("@")[2]
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = authority, str(DEFAULT_PORTS.get(scheme.lower(), 0))
    is_plain = host and all(letter.isalnum() or letter in ".-_[]:" for letter in host)
    return f"{host}:{port}" if is_plain and 0 < int(port) < 2**16 else None
