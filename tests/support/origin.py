"""A real nginx that serves generated media, with ranges, strong ETags and, below ``/slow/``, a throttle."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.media import Media

START_SECONDS = 10.0


@dataclass(frozen=True)
class Origin:
    port: int
    media: Media

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, name: str, *, slow: bool = False) -> str:
        return f"http://{self.address}/{'slow' if slow else 'media'}/{name}"


@contextmanager
def running_origin(folder: Path, media: Media) -> Iterator[Origin]:
    """Start nginx on a free port and stop it again."""
    for _ in range(5):
        port = free_port()
        config = folder / f"nginx-{port}.conf"
        config.write_text(_config(folder, media.folder, port))
        process = subprocess.Popen(
            [_nginx(), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if _answers(process, port):
                yield Origin(port, media)
                return
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)
    raise RuntimeError("nginx did not start: " + (folder / "error.log").read_text()[-500:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        raise RuntimeError("nginx is not installed; install it with `sudo apt-get install nginx-light`")
    return found


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
    return False


def _config(folder: Path, media: Path, port: int) -> str:
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
{temporary}  access_log {folder}/access.log; sendfile on; keepalive_requests 100000;
  types {{ text/html html; video/mp4 mp4; audio/mp4 m4a m4s; video/webm webm; video/mp2t ts;
    application/vnd.apple.mpegurl m3u8; application/dash+xml mpd; }}
  server {{ listen 127.0.0.1:{port};
    location /media/ {{ alias {media}/; }}
    location /slow/ {{ alias {media}/; limit_rate 64k; }}
  }}
}}
"""
