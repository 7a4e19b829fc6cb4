"""Leasing third-party exits: provider answers are untrusted, leases are sticky, blame leads to rest."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.exit_provider import running_provider
from vasset.adapters.fetch.guard import address_check
from vasset.adapters.proxies.pool import BLAMES_BEFORE_REST, FIRST_REST_SECONDS, ExitPool
from vasset.adapters.proxies.provider import MAX_ANSWER_BYTES, HttpProvider, ProviderFailed, StaticExits
from vasset.adapters.proxies.settings import AnswerFields, ExitSettings, ProviderSettings, SitePolicy, WrongExitSettings
from vasset.bootstrap.exits import open_exits
from vasset.config import Settings
from vasset.domain.errors import DependencyDown, Unavailable
from vasset.telemetry.metrics import Metrics

TASK, OTHER_TASK = "0d9c6f0e-task", "1e2d3c4b-task"


def refuse_private(address: str, port: int) -> str | None:
    return None if ipaddress.ip_address(address).is_global else "not public"


def provider(port: int, **changes: object) -> HttpProvider:
    settings = ProviderSettings.model_validate(
        {
            "name": "acme",
            "url": f"http://127.0.0.1:{port}/lease?country={{country}}&session={{session}}",
            "headers": {"Authorization": "Bearer ${TOKEN}"},
            "fields": {"host": "data.0.ip", "port": "data.0.port", "username": "data.0.user", "expires_in": "ttl"},
            "country": "de",
            "cost": 0.5,
            **changes,
        }
    )
    return HttpProvider(settings, refuse_private, guard_url=lambda: None, secrets={"TOKEN": "canary-token"})


def json_answer(ip: str = "93.184.216.34", port: object = 8080, **more: object) -> tuple[int, bytes]:
    return 200, json.dumps({"data": [{"ip": ip, "port": port, "user": "u:@/"}], **more}).encode()


async def test_reads_an_exit_by_configured_fields() -> None:
    with running_provider(json_answer(ttl=30)) as script:
        found = await provider(script.port).obtain(session="s1")
    assert found.url == "http://u%3A%40%2F@93.184.216.34:8080"
    assert "u:" not in repr(found)
    path, headers = script.requests[0]
    assert path == "/lease?country=de&session=s1"
    assert headers["Authorization"] == "Bearer canary-token"


async def test_reads_plain_text_answers() -> None:
    with running_provider((200, b"93.184.216.34:8080:user:pass\n")) as script:
        found = await provider(script.port, answer="text", fields=None, scheme="socks5").obtain(session="s")
    assert found.url == "socks5://user:pass@93.184.216.34:8080"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("S130 loopback", json_answer("127.0.0.1", 6379)),
        ("S131 metadata", json_answer("169.254.169.254", 80)),
        ("S132 v6 loopback", json_answer("::1", 5432)),
        ("S133 port zero", json_answer(port=0)),
        ("S134 port too large", json_answer(port=99_999)),
        ("port fractional", json_answer(port=80.5)),
        ("port missing", (200, b'{"data":[{"ip":"93.184.216.34"}]}')),
        ("numeric host", json_answer("2130706433")),
        ("hex host", json_answer("0x7f.1")),
        ("single label", json_answer("localhost")),
        ("S136 HTML", (200, b"<html>pay your bill</html>")),
        ("S137 too long", (200, b" " * (MAX_ANSWER_BYTES + 1))),
        ("S138 header injection", json_answer("93.184.216.34\r\nX: y")),
        ("S139 expired", json_answer(ttl=0)),
        ("refused", (402, b"{}")),
        ("redirect", (302, b"")),
        ("a list", (200, b"[]")),
        ("not UTF-8", (200, b"\xff\xfe")),
    ],
)
async def test_refuses_an_unusable_answer_without_repeating_it(name: str, answer: tuple[int, bytes]) -> None:
    with running_provider(answer) as script, pytest.raises(ProviderFailed) as caught:
        await provider(script.port).obtain(session="s")
    assert "canary" not in str(caught.value)
    assert "pay your bill" not in str(caught.value)


async def test_an_unreachable_provider_is_said_so() -> None:
    with running_provider(json_answer()) as script:
        gone = script.port
    with pytest.raises(ProviderFailed, match="acme does not answer"):
        await provider(gone).obtain(session="s")


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:3128", "ftp://93.184.216.34:21", "93.184.216.34", "http://h:1/path"]
)
def test_a_bad_static_exit_stops_the_start(text: str) -> None:
    with pytest.raises(WrongExitSettings, match=r"^exit 1 of own: (its|it is)"):
        StaticExits(ProviderSettings(name="own", exits=(text,)), refuse_private)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("providers: [", "it is no YAML (expected the node content, but found '<stream end>' in line 1)"),
        ("just words", "Input should be a valid dictionary or instance of ExitSettings"),
        (b"\xff\xfe", "it is no text in UTF-8"),
        ("providers: [{name: own, urll: canary}]", "providers.0.urll: there is no such setting"),
        ("providers: [{name: own}]", "providers.0: provider 'own' needs either `url` or `exits`"),
        (
            "providers: [{name: own, exits: ['http://me:canary@10.0.0.1:8080']}]",
            "exit 1 of own: its address is not public",
        ),
        ("providers: [{name: a, url: 'https://x.test/?k=${ACME}', answer: text}]", "there is no file ACME in VASSET_SECRETS_DIR"),
        (None, "No such file or directory"),
    ],
)  # fmt: skip
def test_a_wrong_exits_file_stops_the_start_in_words_without_its_secrets(
    tmp_path: Path, content: str | bytes | None, said: str
) -> None:
    path = tmp_path / "exits.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    settings = Settings(exits_file=path)
    with pytest.raises(Unavailable) as caught:
        open_exits(
            settings,
            check_address=address_check(()),
            guard_url=lambda: "",
            count=Metrics(registry=CollectorRegistry()).exit_used,
        )
    message = caught.value.message
    assert message.startswith(f"the exits file {path} cannot be used: ")
    assert said in message
    assert "canary" not in message


@pytest.mark.parametrize("allowed", ["10.0.0.1", "10.0.0.1:8080", "10.0.0.0/8"])
def test_a_private_exit_can_be_allowed_by_its_operator(tmp_path: Path, allowed: str) -> None:
    path = tmp_path / "exits.yaml"
    path.write_text("providers: [{name: own, exits: ['http://10.0.0.1:8080']}]")
    settings = Settings(exits_file=path)
    assert (
        open_exits(
            settings,
            check_address=address_check((allowed,)),
            guard_url=lambda: "",
            count=Metrics(registry=CollectorRegistry()).exit_used,
        )
        is not None
    )


class Dial:
    """A clock the test turns."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def pool(
    policy: SitePolicy, *exits: str, dial: Dial | None = None, registry: CollectorRegistry | None = None
) -> ExitPool:
    own = ProviderSettings(name="own", exits=exits or ("http://93.184.216.34:1", "http://93.184.216.34:2"), cost=0.25)
    settings = ExitSettings(providers=(own,), sites={"default": policy})
    metrics = Metrics(registry=registry or CollectorRegistry())
    return ExitPool(settings, [StaticExits(own, refuse_private)], monotonic=dial or Dial(), count=metrics.exit_used)


async def test_a_task_keeps_its_exit_and_another_gets_the_next() -> None:
    exits = pool(SitePolicy.ALWAYS)
    first = await exits.lease(TASK, "site", attempt=1)
    again = await exits.lease(TASK, "site", attempt=1)
    other = await exits.lease(OTHER_TASK, "site", attempt=1)
    assert first == again
    assert first is not None
    assert other is not None
    assert other.url != first.url


async def test_uses_and_costs_are_counted_by_provider() -> None:
    registry = CollectorRegistry()

    def counted(result: str) -> float | None:
        return registry.get_sample_value("exit_uses_total", {"provider": "own", "result": result})

    exits = pool(SitePolicy.ALWAYS, registry=registry)
    for task_id in (TASK, OTHER_TASK):
        lease = await exits.lease(task_id, "site", attempt=1)
        assert lease is not None
        await exits.report(lease, "site", succeeded=task_id == TASK, blamed=task_id == OTHER_TASK)
    assert (counted("leased"), counted("blamed"), counted("failed")) == (2, 1, None)
    assert registry.get_sample_value("exit_cost_total", {"provider": "own"}) == 0.5


async def test_policy_decides_who_goes_through_an_exit() -> None:
    assert await pool(SitePolicy.NEVER).lease(TASK, "site", attempt=9) is None
    fallback = pool(SitePolicy.FALLBACK)
    assert await fallback.lease(TASK, "site", attempt=1) is None
    assert await fallback.lease(TASK, "site", attempt=2) is not None


async def test_a_blamed_exit_rests_longer_each_time_and_comes_back() -> None:
    dial = Dial()
    exits = pool(SitePolicy.ALWAYS, "http://93.184.216.34:1", dial=dial)

    async def blame() -> None:
        for _ in range(BLAMES_BEFORE_REST):
            lease = await exits.lease(TASK, "site", attempt=1)
            assert lease is not None
            await exits.report(lease, "site", succeeded=False, blamed=True)

    await blame()
    with pytest.raises(DependencyDown):
        await exits.lease(TASK, "site", attempt=1)
    assert await exits.lease(TASK, "elsewhere", attempt=1) is not None, "a ban by one site is not a ban by another"
    dial.seconds += FIRST_REST_SECONDS
    await blame()
    dial.seconds += FIRST_REST_SECONDS
    with pytest.raises(DependencyDown):
        await exits.lease(OTHER_TASK, "site", attempt=1)
    dial.seconds += FIRST_REST_SECONDS
    assert await exits.lease(OTHER_TASK, "site", attempt=1) is not None


async def test_a_failure_that_is_not_the_exits_fault_costs_score_only() -> None:
    exits = pool(SitePolicy.ALWAYS, "http://93.184.216.34:1")
    for _ in range(BLAMES_BEFORE_REST * 2):
        lease = await exits.lease(TASK, "site", attempt=1)
        assert lease is not None
        await exits.report(lease, "site", succeeded=False, blamed=False)
    assert min(exits.scores().values()) < 0.5
    assert await exits.lease(TASK, "site", attempt=1) is not None


def test_a_provider_must_say_where_its_answer_holds_the_exit() -> None:
    with pytest.raises(ValueError, match="fields"):
        ProviderSettings(name="acme", url="https://example.com")
    with pytest.raises(ValueError, match="host"):
        AnswerFields(port="p")
