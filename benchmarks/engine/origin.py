"""nginx on loopback over HTTP and TLS 1.3, serving files and one HLS list from memory-backed storage.

Below ``/slow/`` a connection gets 8 MiB/s, below ``/late/`` the first byte comes 60 ms after the request, below
``/slow-late/`` both: nginx asks ``benchmarks.engine.wait`` for leave first. Sixteen loopback addresses serve the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.engine.wait import WAIT_SECONDS, running_wait

MEBIBYTE = 1 << 20
FRAGMENT_BYTES = 200 * 1024
START_SECONDS = 10.0
HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 17))
Pace = Literal["", "slow", "late", "slow-late"]
NGINX_PLACES = "/usr/sbin:/usr/local/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Served:
    """A name below the root and the SHA-256 its bytes have."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Origin:
    folder: Path
    http_port: int
    https_port: int

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def url(self, name: str, *, tls: bool = False, pace: Pace = "", host: str = HOSTS[0]) -> str:
        place = f"https://{host}:{self.https_port}" if tls else f"http://{host}:{self.http_port}"
        return f"{place}/{pace}{'/' if pace else ''}{name}"

    def add_file(self, name: str, size: int) -> Served:
        """Random bytes: nothing on the way can compress or deduplicate them."""
        digest = hashlib.sha256()
        with (self.root / name).open("wb") as file:
            for _ in range(size // MEBIBYTE):
                block = os.urandom(MEBIBYTE)
                digest.update(block)
                file.write(block)
        return Served(name, size, digest.hexdigest())

    def add_fragments(self, count: int) -> Served:
        """``list.m3u8`` and its fragments; the digest is that of the fragments joined in order."""
        digest = hashlib.sha256()
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:4", "#EXT-X-PLAYLIST-TYPE:VOD"]
        for index in range(count):
            block = b"\x47" + os.urandom(FRAGMENT_BYTES - 1)
            digest.update(block)
            (self.root / fragment_name(index)).write_bytes(block)
            lines += ["#EXTINF:4.0,", fragment_name(index)]
        (self.root / "list.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
        return Served("list.m3u8", count * FRAGMENT_BYTES, digest.hexdigest())


def fragment_name(index: int) -> str:
    return f"fragment-{index:04d}.ts"


@contextmanager
def running_origin(folder: Path, *, http2: bool = False) -> Iterator[Origin]:
    """Start nginx on two free ports and stop it again."""
    origin = Origin(folder, _free_port(), _free_port())
    origin.root.mkdir()
    _certificates(folder)
    nginx = shutil.which("nginx") or shutil.which("nginx", path=NGINX_PLACES)
    if nginx is None:
        raise SystemExit("nginx is not installed; install it with `sudo apt-get install nginx-light`")
    command = [nginx, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    with running_wait(WAIT_SECONDS) as wait_port:
        (folder / "nginx.conf").write_text(_config(origin, wait_port, http2=http2))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_until_it_answers(origin, process)
            yield origin
        finally:
            process.terminate()
            process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(origin: Origin, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", origin.https_port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nginx did not start: {(origin.folder / 'error.log').read_text()[-500:]}")


def _certificates(folder: Path) -> None:
    """An authority and a certificate for 127.0.0.1 signed by it: rustls refuses an authority as a server's own."""
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for arguments in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=benchmark-authority",
        f"req -new {key} -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ):
        subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)


def _config(origin: Origin, wait_port: int, *, http2: bool) -> str:
    folder = origin.folder
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    addresses = "".join(f"    listen {host}:{origin.http_port};\n" for host in HOSTS)
    return f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
{temporary}  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  types {{
    video/mp4 mp4 m4s; video/mp2t ts; application/vnd.apple.mpegurl m3u8; application/dash+xml mpd; text/html html;
  }}
  upstream wait {{ server 127.0.0.1:{wait_port}; keepalive 64; }}
  server {{
{addresses}    listen 127.0.0.1:{origin.https_port} ssl{" http2" if http2 else ""};
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key; ssl_protocols TLSv1.3;
    root {origin.root};
    location /slow/ {{ alias {origin.root}/; limit_rate 8m; }}
    location /late/ {{ alias {origin.root}/; auth_request /wait; }}
    location /slow-late/ {{ alias {origin.root}/; auth_request /wait; limit_rate 8m; }}
    location = /wait {{
      internal; proxy_pass http://wait; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
  }}
}}
"""
