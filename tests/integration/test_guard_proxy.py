"""The loopback forward proxy as Python programs use it: by requests, urllib and curl_cffi, allowed and refused."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from curl_cffi import requests as curl_requests

from vasset import _engine

BODY = bytes(range(256)) * 400


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/to-private":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def origin() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def guard() -> Iterator[_engine.GuardProxy]:
    with _engine.GuardProxy(egress_allow=["127.0.0.1"]) as guard:
        yield guard


def fetch_by_requests(url: str, proxy: str) -> tuple[int, bytes]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, proxies={"http": proxy, "https": proxy}, timeout=20)
        return answer.status_code, answer.content


def fetch_by_urllib(url: str, proxy: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    try:
        with opener.open(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def fetch_by_curl(url: str, proxy: str) -> tuple[int, bytes]:
    answer = curl_requests.get(url, proxies={"http": proxy, "https": proxy}, impersonate="chrome", timeout=20)
    return answer.status_code, answer.content


FETCHERS = [fetch_by_requests, fetch_by_urllib, fetch_by_curl]


@pytest.mark.parametrize("fetch", FETCHERS)
def test_an_allowed_origin_is_reached(fetch: object, guard: _engine.GuardProxy, origin: str) -> None:
    assert callable(fetch)
    credential = guard.issue("task1", max_bytes=None, timeout_seconds=60)
    assert fetch(f"{origin}/file", credential.url) == (200, BODY)
    usage = guard.usage(credential.username)
    assert usage is not None
    assert (usage.connections, usage.denials) == (1, 0)
    assert usage.bytes > len(BODY)


@pytest.mark.parametrize("fetch", FETCHERS)
@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.2/", "http://localhost/", "http://169.254.169.254/latest", "http://10.0.0.1/"],
)
def test_a_private_place_is_refused_in_words(fetch: object, guard: _engine.GuardProxy, url: str) -> None:
    assert callable(fetch)
    credential = guard.issue("task1")
    status, text = fetch(url, credential.url)
    assert status == 403
    assert b"VASSET_EGRESS_ALLOW" in text
    usage = guard.usage(credential.username)
    assert usage is not None
    assert (usage.connections, usage.denials) == (0, 1)


@pytest.mark.parametrize("fetch", FETCHERS)
def test_a_redirect_to_a_private_place_is_refused(fetch: object, guard: _engine.GuardProxy, origin: str) -> None:
    assert callable(fetch)
    credential = guard.issue("task1")
    status, _ = fetch(f"{origin}/to-private", credential.url)
    assert status == 403
    usage = guard.usage(credential.username)
    assert usage is not None
    assert (usage.connections, usage.denials) == (1, 1)


def test_without_credentials_or_after_revoking_nothing_is_served(guard: _engine.GuardProxy, origin: str) -> None:
    credential = guard.issue("task1")
    assert fetch_by_requests(origin, guard.url)[0] == 407
    assert guard.revoke(credential.username)
    assert fetch_by_requests(origin, credential.url)[0] == 407
    assert guard.usage(credential.username) is None


def test_credentials_do_not_show_their_secret(guard: _engine.GuardProxy) -> None:
    credential = guard.issue("task1")
    assert credential.username in repr(credential)
    assert credential.password not in repr(credential)


def test_a_private_third_party_proxy_is_refused(guard: _engine.GuardProxy) -> None:
    with pytest.raises(_engine.EgressDenied, match=r"169\.254\.169\.254"):
        guard.issue("task1", upstream="http://169.254.169.254:8080")


def test_closing_twice_is_harmless() -> None:
    guard = _engine.GuardProxy()
    guard.close()
    guard.close()


def test_a_forked_child_is_told_to_make_its_own() -> None:
    with _engine.GuardProxy() as guard:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of exactly what is tested here
            child = os.fork()
        if child == 0:
            try:
                guard.issue("task1")
            except _engine.EngineError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_one_spelling_per_url_and_reasons_in_words() -> None:
    assert _engine.canonical_url("HTTPS://Example.COM:443/a b".replace(" ", "%20")) == "https://example.com/a%20b"
    assert _engine.canonical_url("http://127.0.0.1:8000/", ["127.0.0.1"]) == "http://127.0.0.1:8000/"
    with pytest.raises(_engine.InvalidRequest, match="unusual spelling"):
        _engine.canonical_url("http://0x7f.1/")
    with pytest.raises(_engine.EgressDenied, match="loopback"):
        _engine.canonical_url("http://127.0.0.1/")
    assert _engine.classify_address("1.1.1.1") is None
    assert _engine.classify_address("::ffff:10.0.0.1") is not None
    with pytest.raises(ValueError, match="not an IP address"):
        _engine.classify_address("localhost")
