"""No secret reaches a log line, whatever road it takes (REQUIREMENTS H3, reliability.md P23)."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
import structlog

from vasset.domain.user import TokenPair
from vasset.telemetry.context import request_context, task_context
from vasset.telemetry.log import child_line, configure_logging
from vasset.telemetry.redaction import HIDDEN, redact, redact_text, redact_url

C = "c4n4ry-S3cr3t"  # what must never be seen; every road below carries it
WIDE = "Zk3vT9wQ1xR7yP5uN2mL8kJ4hG6fD0sAqWeRtYuIoPa"  # 43 characters: the size of a token of ours
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiJ{WIDE}.{WIDE}"

TEXTS = {
    "query of a signed media url": f"fetching https://cdn.example/v.mp4?sig={C}&expire=9 failed",
    "query without a known name": f"GET https://cdn.example/v.mp4?{C}",
    "query of a bare key": f"https://cdn.example/seg1.ts?x&y&{C}",
    "fragment": f"https://site.example/watch#{C}",
    "url credentials": f"connecting to https://alice:{C}@site.example/path",
    "url user alone": f"connecting to https://{C}@site.example/path",
    "postgres dsn": f"postgresql+asyncpg://vasset:{C}@db:5432/vasset",
    "amqp url": f"amqp://guest:{C}@rabbit:5672/%2f",
    "redis url without user": f"redis://:{C}@cache:6379/0",
    "socks proxy": f"socks5://u:{C}@10.0.0.1:1080",
    "access log of uvicorn": f'127.0.0.1:5000 - "GET /api/v1/ws?token={C} HTTP/1.1" 101',
    "relative location": f"Location: /api/v1/download/file?ticket={C}",
    "percent-encoded url": f"next=https%3A%2F%2Fcdn.example%2Fv%3Fsig%3D{C}",
    "authorization header": f"Authorization: Bearer {C}",
    "authorization in a dict": f"{{'authorization': 'Bearer {C}', 'accept': '*/*'}}",
    "proxy authorization": f"Proxy-Authorization: Basic {C}",
    "bearer in words": f"the token was Bearer {C}",
    "basic in words": f"sent Basic {C}==",
    "cookie header": f"Cookie: a=b; SID={C}; c=d",
    "set-cookie header": f"Set-Cookie: session={C}; Path=/; HttpOnly",
    "api key header": f"X-Api-Key: {C}",
    "websocket protocol": f"Sec-WebSocket-Protocol: vasset.v1, ticket.{C}",
    "cookie file line": f".example.com\tTRUE\t/\tTRUE\t1893456000\tSAPISID\t{C}",
    "json password": json.dumps({"email": "a@b.org", "password": C}),
    "json password with spaces": json.dumps({"password": f"a {C} b"}),
    "json escaped quote": json.dumps({"password": f'a"{C}'}),
    "json cut short": json.dumps({"password": f"a {C} b"})[:-4],
    "json cut behind a backslash": json.dumps({"password": f"{C} "})[:-3] + "\\",
    "a fragment that is a token": f"see https://site.example/cb#access={C}",
    "repr of a dict": repr({"refresh_token": C}),
    "repr of bytes": repr({"secret_key": C.encode()}),
    "query-like body": f"grant_type=password&username=alice&password={C}",
    "keyword argument": f"login(email='a', password='{C}')",
    "colon": f"password: {C}",
    "camel case": f"accessToken={C}",
    "command line password": f"yt-dlp --username alice --password {C} --",
    "command line user name": f"yt-dlp --username {C} --password x",
    "command line cookies": f"yt-dlp --cookies={C}",
    "command line header": f'yt-dlp --add-header "X-Secret: {C}" --',
    "aws style": f"X-Amz-Signature={C}",
    "jwt": f"token {JWT} refused",
    "jwt in a path": f"/files/{JWT}/x",
    "our refresh token": f"refresh vrt_{WIDE} was spent",
    "our invitation": f"use vin_{WIDE} to join",
    "a ticket on its own": f"redeemed {WIDE}",
    "bcrypt": "stored $2b$10$" + "c4n4ryS3cr3t".ljust(53, "x"),
    "private key": f"-----BEGIN PRIVATE KEY-----\n{C}\n-----END PRIVATE KEY-----",
    "private key cut short": f"-----BEGIN RSA PRIVATE KEY-----\n{C}",
    "repr of tokens": repr(TokenPair(C, C, 1, 1)),
}
CANARIES = (C, WIDE, "c4n4ryS3cr3t")


def assert_clean(text: str) -> None:
    for canary in CANARIES:
        assert canary not in text


@pytest.fixture(params=["json", "console"])
def logged(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Everything that was logged so far; logging is put back afterwards."""
    root = logging.getLogger()
    before, level, hook = root.handlers[:], root.level, sys.excepthook
    stream = io.StringIO()
    configure_logging(format=request.param, level="debug", stream=stream)
    yield stream.getvalue
    root.handlers[:], sys.excepthook = before, hook
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_text_loses_its_secret(text: str) -> None:
    assert_clean(redact_text(text))
    assert HIDDEN in redact_text(text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_secret_in_the_middle_of_a_longer_line_is_lost_too(text: str) -> None:
    assert_clean(redact_text(f"2026-01-01 worker-1: [generic] {text} (attempt 2 of 4)"))


def test_redacting_twice_changes_nothing() -> None:
    for text in TEXTS.values():
        once = redact_text(text)
        assert redact_text(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "task 3f2c queued for user 7 at 12:30:05",
        "https://www.youtube.com/@handle/videos",
        "wrote 1048576 bytes to tmp/3f2c/video.mp4 in 0.25 s: ok",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "3f2c8a52-58a0-42df-8d6d-15d56058beac took over from worker-2",
        "the token was refused",
    ],
)
def test_harmless_text_stays(text: str) -> None:
    assert redact_text(text) == text


def test_secrets_are_found_by_the_name_of_their_field_at_any_depth() -> None:
    names = [
        "password",
        "newPassword",
        "access_token",
        "Authorization",
        "Set-Cookie",
        "x-api-key",
        "secret_key",
        "ticket",
    ]
    nested = {"request": [{"headers": dict.fromkeys(names, C)}], "user_id": 7, "session_id": 3}
    clean = redact(nested)
    assert_clean(repr(clean))
    assert clean["user_id"] == 7
    assert clean["session_id"] == 3


def test_a_redacted_url_is_still_a_url() -> None:
    assert redact_url(f"https://u:{C}@h.example/a/b.mp4?x={C}#{C}") == "https://h.example/a/b.mp4"


def test_an_object_nobody_knows_is_written_redacted() -> None:
    class Stranger:
        def __repr__(self) -> str:
            return f"<Stranger password={C!r}>"

    assert_clean(repr(redact({"thing": Stranger(), "things": [Stranger()]})))


def test_a_bottomless_structure_ends() -> None:
    loop: dict[str, object] = {}
    loop["again"] = loop
    assert "…" in repr(redact(loop))


def test_a_huge_line_is_cut_and_cheap() -> None:
    assert len(redact_text("a?" * 1_000_000)) < 20_000
    assert len(redact_text("https://h/?" + "\t".join("x" * 1_000_000))) < 40_000


def test_no_road_into_the_log_carries_a_secret(logged: Callable[[], str]) -> None:
    log = structlog.get_logger("vasset.test")
    for name, text in TEXTS.items():
        log.info(text)
        log.info("event", value=text, nested={"list": [text]})
        logging.getLogger("library").warning("%s happened: %s", name, text)
        child_line("yt-dlp", f"ERROR: {text}")
        try:
            raise RuntimeError(text)
        except RuntimeError as error:
            log.exception("failed")
            logging.getLogger("library").exception("failed")
            sys.excepthook(RuntimeError, error, error.__traceback__)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"password={C}", stacklevel=1)
    with task_context("3f2c", user_id=7, url=f"https://h/v?sig={C}"), request_context("r1"):
        log.info("in context", password=C, cookies={"a": C}, token=C)
    assert_clean(logged())
    assert logged().count("\n") > len(TEXTS) * 6


def test_lines_carry_task_user_and_request(logged: Callable[[], str]) -> None:
    with request_context("r1"), task_context("3f2c", user_id=7, url="https://h.example/v"):
        structlog.get_logger("vasset.test").info("claimed")
    line = logged().strip().splitlines()[-1]
    for expected in ("r1", "3f2c", "7", "https://h.example/v", "claimed"):
        assert expected in line


def test_json_is_one_object_a_line() -> None:
    script = (
        "import logging, structlog\n"
        "from vasset.telemetry.log import configure_logging\n"
        "configure_logging(format='json', level='info')\n"
        "structlog.get_logger('a').info('one\\ntwo', number=1, odd={1: object})\n"
        "logging.getLogger('uvicorn.error').info('started')\n"
        "structlog.get_logger('a').debug('quiet')\n"
        f"raise ValueError('password={C}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert_clean(done.stderr)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["one\ntwo", "started", "uncaught error"]
    assert {"level", "logger", "timestamp"} <= events[0].keys()
