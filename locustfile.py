"""Load from real journeys: register, parse, submit, watch by WebSocket, fetch the file with Range, history, quota.

    make load URL=http://127.0.0.1:8080 LOCUST_ARGS="--run-time 60s"

The videos come from ``--video-url``, or from a small origin this file starts on 127.0.0.1:8099; then the server under load must be
allowed to reach it: ``VASSET_EGRESS_ALLOW=127.0.0.1:8099``. Steps of users are set by ``--steps 10,50,100 --step-seconds 30``.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
import threading
import time
from argparse import ArgumentParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from locust import HttpUser, LoadTestShape, between, events, task
from locust.exception import StopUser
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

ORIGIN_PORT = 8099
VIDEO_BYTES = 2 * 2**20
PASSWORD = "load test 1"
WATCH_SECONDS = 60.0


class Origin(BaseHTTPRequestHandler):
    """Any path is a 2 MiB file that begins like an MP4, with ranges and a strong validator."""

    protocol_version = "HTTP/1.1"
    body = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + random.Random(7).randbytes(VIDEO_BYTES - 24)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        start, end = 0, len(self.body) - 1
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and "," not in wanted:
            first, _, last = wanted[6:].partition("-")
            start = int(first or 0)
            end = min(end, int(last)) if last else end
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(self.body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(end - start + 1))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"load-1"')
        self.end_headers()
        if with_body:
            self.wfile.write(self.body[start : end + 1])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@events.init_command_line_parser.add_listener
def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--video-url", default="", help="a page or file every journey downloads; default: the built-in origin"
    )
    parser.add_argument("--steps", default="10,25,50", help="users of each step, comma-separated")
    parser.add_argument("--step-seconds", type=float, default=20.0, help="length of a step")


@events.init.add_listener
def start_origin(environment: Any, **_: Any) -> None:
    if not environment.parsed_options or environment.parsed_options.video_url:
        return
    server = ThreadingHTTPServer(("127.0.0.1", ORIGIN_PORT), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    logging.getLogger(__name__).info(
        "origin on 127.0.0.1:%d; the server needs VASSET_EGRESS_ALLOW=127.0.0.1:%d", *[ORIGIN_PORT] * 2
    )


class Steps(LoadTestShape):
    """More users at every step, then the end."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        options = self.runner.environment.parsed_options if self.runner else None
        if options is None:
            return None
        if options.run_time and self.get_run_time() > options.run_time:
            return None
        users = [int(step) for step in options.steps.split(",")]
        step = int(self.get_run_time() // options.step_seconds)
        return (users[step], max(1.0, users[step] / 5)) if step < len(users) else None


class Viewer(HttpUser):
    """One person with an account of their own."""

    wait_time = between(0.2, 1.0)

    def on_start(self) -> None:
        self.history_ids: list[int] = []
        body = {"email": f"load-{secrets.token_hex(6)}@example.com", "password": PASSWORD, "nickname": "load"}
        while True:
            with self.client.post("/api/v1/auth/register", json=body, catch_response=True) as answer:
                if answer.status_code != 429:
                    break
                answer.success()  # more people at once than one core hashes passwords for: told to come again
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        if answer.status_code >= 400:
            raise StopUser
        self.client.headers["Authorization"] = f"Bearer {answer.json()['data']['access_token']}"

    @property
    def video_url(self) -> str:
        chosen = self.environment.parsed_options.video_url
        return chosen or f"http://127.0.0.1:{ORIGIN_PORT}/video-{random.randrange(20)}.mp4"

    @task(4)
    def look_around(self) -> None:
        self.client.get("/api/v1/quota")
        self.client.get("/api/v1/history?page=1&per_page=20", name="/api/v1/history")
        self.client.get("/api/v1/downloads", name="/api/v1/downloads")

    @task(2)
    def parse(self) -> None:
        self.client.post("/api/v1/parse", json={"url": self.video_url})

    @task(3)
    def download_and_watch(self) -> None:
        body = {"url": self.video_url, "mode": "quick_download", "quality": "best", "format": "original"}
        with self.client.post(
            "/api/v1/download", json=body, headers={"Idempotency-Key": secrets.token_hex(16)}, catch_response=True
        ) as answer:
            if answer.status_code == 429:  # the day's quota: an answer, not a fault
                answer.success()
                return
            if answer.status_code != 202:
                answer.failure(f"HTTP {answer.status_code}")
                return
            data = answer.json()["data"]
        if self._watch(data["task_id"]) == "completed":
            self.history_ids.append(data["history_id"])

    @task(2)
    def fetch_a_piece(self) -> None:
        if not self.history_ids:
            return
        start = random.randrange(VIDEO_BYTES // 2)
        url = f"/api/v1/download/file?history_id={random.choice(self.history_ids)}"
        with self.client.get(
            url, headers={"Range": f"bytes={start}-{start + 65_535}"}, name="/api/v1/download/file", catch_response=True
        ) as answer:
            if answer.status_code != 206 or len(answer.content) != 65_536:
                answer.failure(f"HTTP {answer.status_code}, {len(answer.content)} bytes")

    @task(1)
    def statistics(self) -> None:
        self.client.get("/api/v1/stats")

    def _watch(self, task_id: str) -> str | None:
        """From ticket to terminal frame; reported to locust as one request of type WS."""
        ticket = self.client.post("/api/v1/ws/ticket").json()["data"]["ticket"]
        host = urlsplit(self.host or "")
        started, phase, problem = time.perf_counter(), None, None
        try:
            with connect(
                f"ws://{host.netloc}/api/v1/ws",
                subprotocols=["vasset.v1", f"ticket.{ticket}"],  # type: ignore[list-item]  # plain strings are subprotocols
                origin=f"http://{host.netloc}",  # type: ignore[arg-type]
                compression=None,
                proxy=None,
            ) as socket:
                phase = self._until_terminal(socket, task_id, started + WATCH_SECONDS)
        except (WebSocketException, OSError, TimeoutError) as error:
            problem = error
        self.environment.events.request.fire(
            request_type="WS",
            name="watch to the end",
            response_time=(time.perf_counter() - started) * 1000,
            response_length=0,
            exception=problem or (None if phase else TimeoutError("no terminal frame")),
            context={},
        )
        return phase

    @staticmethod
    def _until_terminal(socket: Any, task_id: str, deadline: float) -> str | None:
        while (left := deadline - time.perf_counter()) > 0:
            message = json.loads(socket.recv(timeout=left))
            frames = message["tasks"] if message["event"] == "snapshot" else [message["task"]]
            for frame in frames:
                if frame["task_id"] == task_id and frame["phase"] in {"completed", "failed", "cancelled"}:
                    return str(frame["phase"])
        return None
