"""Nothing outside the allow-list becomes a yt-dlp option."""

from __future__ import annotations

import pytest

from vasset.adapters.extract.child.options import ALLOWED_OPTIONS, OptionRefused, base_options, checked, page_options

SETTINGS = {"deno": None}
JOB = {"proxy": "http://u:p@127.0.0.1:1"}


@pytest.mark.parametrize(
    "name",
    [
        "exec_cmd", "netrc_cmd", "netrc_location", "usenetrc_cmd", "cookiefile", "cookiesfrombrowser", "external_downloader",
        "external_downloader_args", "postprocessor_args", "writelink", "writeurllink", "writedesktoplink", "writewebloclink",
        "download_archive", "load_info_filename", "compat_opts", "geo_verification_proxy", "nocheckcertificate",
        "client_certificate", "forceprint", "print_to_file", "match_filter", "http_headers", "source_address",
    ],
)  # fmt: skip
def test_a_dangerous_option_is_refused(name: str) -> None:
    assert name not in ALLOWED_OPTIONS
    with pytest.raises(OptionRefused):
        checked({name: "x"})


@pytest.mark.parametrize("proxy", [None, "", "socks5://127.0.0.1:1"])
def test_no_child_runs_without_the_guard(proxy: str | None) -> None:
    with pytest.raises(OptionRefused):
        base_options({"proxy": proxy}, SETTINGS)


def test_nothing_is_read_from_home_cache_or_network_by_itself() -> None:
    options = base_options(JOB, SETTINGS)
    assert (options["cachedir"], options["usenetrc"], options["enable_file_urls"]) == (False, False, False)
    assert options["remote_components"] == []
    assert options["default_search"] == "error"


def test_a_page_of_a_playlist_is_fifty_entries() -> None:
    assert page_options(JOB | {"playlist_page": 3}, SETTINGS)["playlist_items"] == "101-150"
    assert page_options(JOB | {"playlist_page": -7}, SETTINGS)["playlist_items"] == "1-50"
