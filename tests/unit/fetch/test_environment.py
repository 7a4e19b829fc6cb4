"""Which proxies an environment means, and where they are."""

from __future__ import annotations

import pytest

from vasset.adapters.fetch.environment import places, proxy_rules


@pytest.mark.parametrize(
    ("environment", "http", "https"),
    [
        ({"http_proxy": "http://a:1"}, "http://a:1", ""),
        ({"HTTP_PROXY": "http://a:1"}, None, None),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, "", "http://b:2"),
        ({"all_proxy": "socks5h://a:1", "http_proxy": "http://b:2"}, "http://b:2", "socks5h://a:1"),
        ({"VASSET_PROXY": "http://own:1", "http_proxy": "http://b:2", "no_proxy": "*"}, "http://own:1", "http://own:1"),
        ({"no_proxy": "*"}, None, None),
        ({"http_proxy": ""}, None, None),
    ],
)
def test_the_rules_of_an_environment(environment: dict[str, str], http: str | None, https: str | None) -> None:
    rules = proxy_rules(environment)
    assert (rules and rules["http"], rules and rules["https"]) == (http, https)


@pytest.mark.parametrize(
    ("proxy", "place"),
    [
        ("http://user:p%40ss@proxy.corp:3128/", "proxy.corp:3128"),
        ("127.0.0.1:3128", "127.0.0.1:3128"),
        ("socks5h://[::1]:9050", "[::1]:9050"),
        ("socks5://tor", "tor:1080"),
        ("http://proxy.corp", "proxy.corp:8080"),
        ("ftp://proxy.corp", None),
        ("http://a b:1", None),
        ("http://a:99999", None),
    ],
)
def test_where_a_proxy_is(proxy: str, place: str | None) -> None:
    assert places({"http": proxy}) == ([place] if place else [])
