"""What one site may take of us, over both deployments: its share of a worker's slots, and no time at all while it is in trouble."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.api_client import ApiClient, api_client
from tests.support.deployments import MakeDeployment
from tests.support.lying_origin import Answer, Asked, Behaviour, held, page, running_lying_origin
from tests.support.media import Media

FILMS = 4


async def statuses(user: ApiClient, task_ids: list[str]) -> list[str]:
    return [(await user.task(task_id))["status"] for task_id in task_ids]


async def test_a_slow_site_takes_its_share_of_slots_and_no_more(
    make_deployment: MakeDeployment, media: Media, tmp_path: Path
) -> None:
    film, gate = media.read("progressive.mp4"), asyncio.Event()
    deployment = make_deployment(tmp_path)
    async with (
        running_lying_origin() as origin,
        deployment.running(egress_allow="127.0.0.1,localhost", tasks_per_site="1", worker_slots="2") as server,
        api_client(server.url) as client,
    ):
        slow: Behaviour = held(film, gate, first_bytes=1_000)
        for number in range(FILMS):
            origin.routes[f"/{number}.html"] = page(f'<title>Film</title><video src="/{number}.mp4"></video>')
            origin.routes[f"/{number}.mp4"] = slow
        origin.routes["/other.html"] = page('<title>Other</title><video src="/other.mp4"></video>')
        origin.routes["/other.mp4"] = held(film, None)
        user = await client.register("ann@example.test")
        waiting = [(await user.submit(origin.url(f"/{number}.html")))["task_id"] for number in range(FILMS)]
        await origin.sent("/0.mp4", 1_000)
        other = (await user.submit(origin.url("/other.html").replace("127.0.0.1", "localhost")))["task_id"]
        assert (await user.ended(other))["status"] == "completed"
        assert await statuses(user, waiting) == ["running"] + ["queued"] * (FILMS - 1)
        assert not [asked for asked in origin.asked if asked.path in {"/1.html", "/2.html", "/3.html"}]
        gate.set()
        assert [(await user.ended(task_id))["status"] for task_id in waiting] == ["completed"] * FILMS
        assert await server.stop() == 0, "\n".join(server.log[-30:])
    await deployment.healthy()


async def test_a_site_in_trouble_is_left_alone_and_one_with_dead_links_is_not(
    make_deployment: MakeDeployment, media: Media, tmp_path: Path
) -> None:
    async def in_trouble(_asked: Asked, answer: Answer) -> None:
        await answer.head("503 Service Unavailable", Content_Length=0)

    deployment = make_deployment(tmp_path)
    async with (
        running_lying_origin() as origin,
        deployment.running(egress_allow="127.0.0.1,localhost") as server,
        api_client(server.url) as client,
    ):
        user = await client.register("ann@example.test")
        for number in range(22):
            origin.routes[f"/{number}.html"] = in_trouble
            dead = origin.url(f"/dead/{number}.html").replace("127.0.0.1", "localhost")
            refused = await user.call("POST", "/api/v1/parse", json={"url": dead})
            assert refused.json["message"] == "The video does not exist or was removed."
        answers = [
            await user.call("POST", "/api/v1/parse", json={"url": origin.url(f"/{number}.html")})
            for number in range(22)
        ]
        assert [answer.status for answer in answers] == [502] * 21 + [503]
        told = answers[-1].json
        assert (told["reason"], told["retryable"]) == ("breaker_open", True)
        assert "keeps failing; it is tried again in" in told["message"]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 30
        assert not origin.requests("/21.html")
        origin.routes["/good.html"] = page('<title>Good</title><video src="/good.mp4"></video>')
        origin.routes["/good.mp4"] = held(media.read("progressive.mp4"), None)
        await user.completed(origin.url("/good.html").replace("127.0.0.1", "localhost"))
    await deployment.healthy()
