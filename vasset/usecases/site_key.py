"""What limits, breaker, exits, pace and metrics call a site: one key, however many names it goes by.

``www.youtube.com``, ``m.youtube.com`` and ``youtu.be`` are one site to whoever counts our requests. Families of extractors that use
several domains have the extractor's name; every other site is its registrable domain by the public suffix list, so that two shops of one
hoster, or two users of one page service, stay two sites. An address without such a domain (an IP, a name in the local network) is its host.

The list comes with the library ``publicsuffixlist``, released weekly; one made by hand is wrong for ``co.uk`` and ``github.io`` at once.
"""

from __future__ import annotations

from functools import cache, lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

MAX_KEY = 255
UNKNOWN = "unknown"
FAMILIES = {
    "youtube": ("youtube.com", "youtu.be", "youtube-nocookie.com", "yt.be"),
    "bilibili": ("bilibili.com", "b23.tv", "bilibili.tv", "biliintl.com"),
    "tiktok": ("tiktok.com", "tiktokv.com"),
    "douyin": ("douyin.com", "iesdouyin.com"),
    "twitter": ("twitter.com", "x.com", "t.co"),
    "instagram": ("instagram.com", "instagr.am"),
    "facebook": ("facebook.com", "fb.watch", "fb.com"),
    "niconico": ("nicovideo.jp", "nico.ms", "nicovideo.me"),
    "twitch": ("twitch.tv",),
    "vimeo": ("vimeo.com",),
    "dailymotion": ("dailymotion.com", "dai.ly"),
    "reddit": ("reddit.com", "redd.it", "redditmedia.com"),
    "soundcloud": ("soundcloud.com", "snd.sc"),
    "vk": ("vk.com", "vk.ru", "vkvideo.ru"),
}
"""By the names yt-dlp's extractors have; only those with several domains, or that an exits file is likely to name."""
_FAMILY_OF = {domain: family for family, domains in FAMILIES.items() for domain in domains}


def site_of(url: str) -> str:
    """The key of the site behind a page's address; ``unknown`` for what is none."""
    try:
        return site_of_host(urlsplit(url).hostname or "")
    except ValueError:
        return UNKNOWN


@lru_cache(maxsize=4_096)
def site_of_host(host: str) -> str:
    host = host.lower().rstrip(".")[:MAX_KEY]
    if not host or _is_address(host):
        return host or UNKNOWN
    domain = _suffixes().privatesuffix(host) or host
    return _FAMILY_OF.get(domain, domain)


def matches(name: str, site: str) -> bool:
    """Whether an operator's ``name`` (``youtube``, ``www.youtube.com``, ``example.org``, ``example``) means ``site``."""
    name = name.lower()
    if "." in name:
        return site_of_host(name) == site
    return name in (site, site.partition(".")[0])


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
