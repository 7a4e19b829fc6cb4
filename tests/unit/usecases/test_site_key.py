"""One key for a site, however many names it goes by."""

from __future__ import annotations

import pytest

from vasset.adapters.proxies.settings import ExitSettings, SitePolicy
from vasset.usecases.site_key import site_of


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://www.youtube.com/watch?v=1", "youtube"),
        ("https://youtu.be/1", "youtube"),
        ("https://m.youtube.com./watch?v=1", "youtube"),
        ("https://music.youtube.com/watch?v=1", "youtube"),
        ("https://twitter.com/a/status/1", "twitter"),
        ("https://x.com/a/status/1", "twitter"),
        ("https://notyoutube.com/", "notyoutube.com"),
        ("https://www.bbc.co.uk/iplayer", "bbc.co.uk"),
        ("https://ann.github.io/", "ann.github.io"),
        ("https://CDN.Example.ORG:8443/v.mp4", "example.org"),
        ("http://127.0.0.1:8080/v.mp4", "127.0.0.1"),
        ("http://[2001:db8::1]/v.mp4", "2001:db8::1"),
        ("http://localhost/v.mp4", "localhost"),
        ("http://site.test/watch", "site.test"),
        ("http://[broken/", "unknown"),
        ("nothing", "unknown"),
        ("https://" + "a." * 300 + "test/", "unknown"),
    ],
)
def test_names_of_one_site_have_one_key(url: str, site: str) -> None:
    found = site_of(url)
    assert len(found) <= 255
    assert found == site or site == "unknown"


@pytest.mark.parametrize("named", ["youtube", "YouTube", "youtube.com", "www.youtube.com", "youtu.be"])
def test_an_exits_file_may_name_a_site_by_its_family_or_any_of_its_hosts(named: str) -> None:
    settings = ExitSettings(sites={"default": SitePolicy.NEVER, named: SitePolicy.ALWAYS})
    assert settings.policy_for(site_of("https://m.youtube.com/watch?v=1")) is SitePolicy.ALWAYS
    assert settings.policy_for(site_of("https://example.org/")) is SitePolicy.NEVER


def test_a_site_of_no_family_is_named_by_its_domain_or_the_word_before_the_dot() -> None:
    settings = ExitSettings(sites={"rai": SitePolicy.ALWAYS, "news.example.org": SitePolicy.NEVER})
    assert settings.policy_for(site_of("https://www.rai.it/")) is SitePolicy.ALWAYS
    assert settings.policy_for(site_of("https://example.org/")) is SitePolicy.NEVER
    assert settings.policy_for(site_of("https://other.test/")) is SitePolicy.FALLBACK
