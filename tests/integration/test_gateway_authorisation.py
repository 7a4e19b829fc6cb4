"""Nobody gets in without a right: every route of the contract × every kind of caller. A new route is in the matrix by itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import jwt
import pytest
import pytest_asyncio
from fastapi import APIRouter
from multidict import CIMultiDict
from sqlalchemy import delete
from starlette.routing import Route

from tests.support.gateway import PASSWORD, SECRET, RunningGateway, User, running_gateway
from vasset.adapters.db.tables import user_sessions, users
from vasset.domain.download import Task
from vasset.gateway import app as gateway_app
from vasset.gateway.access import Access
from vasset.gateway.route import ApiRoute

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLIC = {
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/static/{name:path}"),
    ("HEAD", "/static/{name:path}"),
}
BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/auth/password": {"current_password": "correct horse 7", "new_password": "another horse 8"},
    "/api/v1/auth/users/{user_id}/role": {"role": "admin"},
    "/api/v1/parse": {"url": "https://site.test/v/1"},
    "/api/v1/download": {"url": "https://site.test/v/1"},
}
OWNED = {"/api/v1/download/file", "/api/v1/download/ticket"}


@dataclass
class Stage:
    gateway: RunningGateway
    owner: User
    stranger: User
    task: Task
    session_id: int

    def routes(self) -> list[tuple[str, str]]:
        """Method and template of every HTTP route that is not public."""
        found = [
            (method, route.path)
            for route in self.gateway.app.router.routes
            if isinstance(route, ApiRoute)
            for method in sorted(route.methods or ())
        ]
        return [pair for pair in found if pair not in PUBLIC]

    async def ask(self, method: str, template: str, headers: dict[str, str], more: str = "") -> tuple[int, bytes]:
        """The route with the owner's ids filled in, as the owner would call it, and ``more`` after its parameters."""
        path = template.format(
            task_id=self.task.id, history_id=self.task.history_id, session_id=self.session_id, user_id=self.owner.id
        )
        if template == "/api/v1/download/file":
            path += f"?history_id={self.task.history_id}"
        if more:
            path += ("&" if "?" in path else "?") + more
        body = {"history_id": self.task.history_id} if template == "/api/v1/download/ticket" else BODIES.get(template)
        async with self.gateway.http.request(method, self.gateway.base + path, headers=headers, json=body) as answer:
            return answer.status, await answer.read()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with running_gateway(tmp_path_factory.mktemp("matrix"), revocation_seconds=0.5) as gateway:
        await gateway.sign_up()
        owner, stranger = await gateway.sign_up(), await gateway.sign_up()
        task = await gateway.finished(owner, b"private bytes")
        claims = jwt.decode(owner.access_token, options={"verify_signature": False})
        yield Stage(gateway, owner, stranger, task, claims["sid"])


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def forged(owner: User) -> dict[str, dict[str, str]]:
    """What attackers send instead of the owner's token (reliability.md T1–T30)."""
    good = jwt.decode(owner.access_token, options={"verify_signature": False})
    head, payload, signature = owner.access_token.split(".")

    def signed(headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """With the right key: what a bug in the signer, or an older version, could have made."""
        claims = {name: value for name, value in {**good, **changes}.items() if value is not ...}
        start = f"{encoded({'alg': 'HS256', 'typ': 'JWT', **(headers or {})})}.{encoded(claims)}"
        mac = hmac.new(SECRET, start.encode(), hashlib.sha256).digest()
        return f"{start}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"

    tokens = {
        "alg none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}.",
        "alg None": f"{encoded({'alg': 'None', 'typ': 'JWT'})}.{payload}.{signature}",
        "RS256 head": f"{encoded({'alg': 'RS256', 'typ': 'JWT'})}.{payload}.{signature}",
        "HS512": jwt.encode(good, SECRET * 2, algorithm="HS512"),
        "no exp": signed(exp=...),
        "exp text": signed(exp="2099"),
        "exp 1e308": signed(exp=1e308),
        "expired": signed(exp=int(time.time()) - 60),
        "nbf future": signed(nbf=int(time.time()) + 3600),
        "iat future": signed(iat=int(time.time()) + 3600),
        "sub number": signed(sub=int(good["sub"])),
        "sub other": signed(sub=str(int(good["sub"]) + 1)),
        "sub missing": signed(sub=...),
        "sid unknown": signed(sid=10**9),
        "sid text": signed(sid="1"),
        "aud wrong": signed(aud="other"),
        "aud list": signed(aud=["other", "another"]),
        "aud missing": signed(aud=...),
        "iss wrong": signed(iss="other"),
        "typ refresh": signed(typ="refresh"),
        "crit": signed(headers={"crit": ["x"], "x": 1}),
        "refresh as access": owner.refresh_token,
        "trailing dot": owner.access_token + ".",
        "padding": owner.access_token + "=",
        "signature cut": owner.access_token[:-4],
        "payload changed": f"{head}.{encoded({**good, 'sub': '1'})}.{signature}",
        "empty parts": "..",
        "4 KiB": "a" * 4096,
    }
    headers = {name: {"Authorization": f"Bearer {token}"} for name, token in tokens.items()}
    headers |= {
        "anonymous": {},
        "empty": {"Authorization": ""},
        "basic": {"Authorization": "Basic " + base64.b64encode(b"a:b").decode()},
        "no scheme": {"Authorization": owner.access_token},
        "no-break space": {"Authorization": f"Bearer\u00a0{owner.access_token}"},
        "two tokens": {"Authorization": f"Bearer {owner.access_token} {owner.access_token}"},
        "user id header": {"X-User-ID": str(owner.id), "X-Forwarded-User": str(owner.id)},
        "cookie": {"Cookie": f"access_token={owner.access_token}"},
    }
    return headers


@pytest.mark.parametrize("more", ["token=canary-secret", "=", "page", "%00"])
async def test_a_parameter_that_a_route_does_not_take_is_refused_not_ignored(stage: Stage, more: str) -> None:
    """A token in a URL ends in logs, in histories and in Referer: nobody shall believe that it works (reliability.md T28)."""
    caller = stage.owner.headers
    for method, template in stage.routes():
        if method == "HEAD" or (more == "page" and template in {"/api/v1/downloads", "/api/v1/history"}):
            continue
        status, answer = await stage.ask(method, template, caller, more)
        assert status == 400, (method, template, status, answer)
        assert b"canary" not in answer
    assert (await stage.ask("GET", "/api/v1/auth/me", caller))[0] == 200  # and nothing was done: the session still is


async def test_the_matrix_knows_every_route(stage: Stage) -> None:
    routes = stage.routes()
    assert len(routes) >= 25
    contract = stage.gateway.app.openapi()["paths"]
    listed = {(method.upper(), path) for path, operations in contract.items() for method in operations}
    assert set(routes) <= listed
    for path, operations in contract.items():
        for method, operation in operations.items():
            assert bool(operation.get("security")) == ((method.upper(), path) not in PUBLIC), (method, path)


async def test_only_the_listed_routes_are_public(stage: Stage) -> None:
    public = {
        (method, route.path)
        for route in stage.gateway.app.router.routes
        if isinstance(route, ApiRoute) and route.access is Access.PUBLIC
        for method in route.methods or ()
    }
    assert public == PUBLIC


async def test_an_unmarked_route_is_closed_and_a_foreign_one_stops_the_start(stage: Stage) -> None:
    router = APIRouter(route_class=ApiRoute)

    @router.get("/new")
    async def new() -> None: ...

    [route] = router.routes
    assert isinstance(route, ApiRoute)
    assert route.access is Access.SIGNED_IN
    with pytest.raises(TypeError, match="open to everybody"):
        gateway_app._refuse_foreign_routes([Route("/open", new)])


async def test_every_forgery_is_401_on_every_route(stage: Stage) -> None:
    for method, template in stage.routes():
        for name, headers in forged(stage.owner).items():
            status, body = await stage.ask(method, template, headers)
            assert status == 401, (method, template, name, status, body)
            if method != "HEAD":
                assert json.loads(body)["code"] == 40101
    profile = await stage.gateway.call("GET", "/api/v1/auth/me", stage.owner)
    assert profile[0] == 200  # nothing of all this ended the owner's own session


async def test_two_authorization_headers_are_refused(stage: Stage) -> None:
    headers = CIMultiDict([("Authorization", f"Bearer {stage.owner.access_token}")] * 2)
    async with stage.gateway.http.get(stage.gateway.base + "/api/v1/auth/me", headers=headers) as answer:
        assert answer.status == 401


async def test_a_stranger_sees_of_the_owners_things_what_he_sees_of_nothing(stage: Stage) -> None:
    """Routes that name a thing answer 404, byte for byte as for a thing that never was."""
    nothing = replace(stage.task, id="0" * 32, history_id=10**12)
    unknown = replace(stage, task=nothing, session_id=10**12)
    for method, template in stage.routes():
        names_a_thing = ("{" in template and "user_id" not in template) or template in OWNED
        status, body = await stage.ask(method, template, stage.stranger.headers)
        if names_a_thing:
            other_status, other_body = await unknown.ask(method, template, stage.stranger.headers)
            assert (status, _anonymous(body)) == (other_status, _anonymous(other_body)), (method, template)
            assert status == 404, (method, template, body)
        assert b"private bytes" not in body
        assert stage.task.id.encode() not in body
        if template in {"/api/v1/auth/logout", "/api/v1/auth/password"}:
            stage.stranger = await stage.gateway.sign_up()
    assert (await stage.gateway.call("GET", f"/api/v1/downloads/{stage.task.id}", stage.owner))[1]["data"][
        "status"
    ] == "completed"


@pytest.mark.parametrize("how", ["logout", "password", "revoked", "deleted"])
async def test_an_ended_session_is_refused_on_every_route(stage: Stage, how: str) -> None:
    gateway = stage.gateway
    user = await gateway.sign_up()
    if how == "logout":
        await gateway.call("POST", "/api/v1/auth/logout", user)
    elif how == "password":
        body = {"email": user.email, "password": PASSWORD}
        elsewhere = (await gateway.call("POST", "/api/v1/auth/login", json=body))[1]["data"]["access_token"]
        headers = {"Authorization": f"Bearer {elsewhere}"}
        await gateway.call("POST", "/api/v1/auth/password", headers=headers, json=BODIES["/api/v1/auth/password"])
    elif how == "revoked":
        [session] = (await gateway.call("GET", "/api/v1/auth/sessions", user))[1]["data"]
        await gateway.call("DELETE", f"/api/v1/auth/sessions/{session['id']}", user)
    else:
        async with gateway.database.write() as transaction:
            await transaction.execute(delete(user_sessions).where(user_sessions.c.user_id == user.id))
            await transaction.execute(delete(users).where(users.c.id == user.id))
        deadline = time.monotonic() + 5
        while (await gateway.call("GET", "/api/v1/auth/me", user))[0] != 401:
            assert time.monotonic() < deadline
    for method, template in stage.routes():
        assert (await stage.ask(method, template, user.headers))[0] == 401, (method, template)


async def test_losing_the_whole_cache_revives_no_session(stage: Stage) -> None:
    user = await stage.gateway.sign_up()
    await stage.gateway.call("POST", "/api/v1/auth/logout", user)
    stage.gateway.cache._entries.clear()
    assert (await stage.gateway.call("GET", "/api/v1/auth/me", user))[0] == 401


def _anonymous(body: bytes) -> bytes:
    return re.sub(rb'"request_id":"[^"]*"', b"", body)
