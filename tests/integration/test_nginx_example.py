"""deploy/nginx/vasset.conf before a real nginx: it sends the files the gateway points at, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.origin import free_port

EXAMPLE = Path(__file__).parents[2] / "deploy" / "nginx" / "vasset.conf"
CONTENT = bytes(range(256)) * 400
pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


class Gateway(BaseHTTPRequestHandler):
    """What the real gateway answers with ``VASSET_ACCEL_REDIRECT_PREFIX=/_files``, and an echo of what nginx passed on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path.startswith("/api/v1/download/file"):
            self.send_header("X-Accel-Redirect", "/_files/archive/1/20260101/a%20film.mp4")
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Disposition", 'attachment; filename="a film.mp4"')
            self.send_header("ETag", '"abc"')
            body = b""
        else:
            seen = ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "Upgrade", "Connection")
            body = "\n".join(f"{name}: {self.headers.get(name, '')}" for name in seen).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example as it is committed, with ports, names and paths of this machine put in."""
    folder = tmp_path_factory.mktemp("nginx")
    film = folder / "data" / "archive" / "1" / "20260101" / "a film.mp4"
    film.parent.mkdir(parents=True)
    film.write_bytes(CONTENT)
    _certificate(folder)
    gateway = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    port, plain = free_port(), free_port()
    text = EXAMPLE.read_text()
    for old, new in (
        ("127.0.0.1:8080", f"127.0.0.1:{gateway.server_port}"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/letsencrypt/live/videos.example.org", str(folder)),
        ("/var/log/nginx/vasset.log", str(folder / "access.log")),
        ("alias /data/vasset/;", f"alias {folder}/data/;"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    user = "user root;" if os.getuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "vasset.conf").write_text(text)
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ {temporary} include {folder}/vasset.conf; }}\n"
    )
    command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(f"https://127.0.0.1:{port}/", process)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
        gateway.shutdown()
        gateway.server_close()
    assert "ticket" not in (folder / "access.log").read_text()


def _certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "videos.example.org")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=10, context=trusting) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            get(url)
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            threading.Event().wait(0.02)


def test_nginx_sends_the_file_the_gateway_points_at(front: str) -> None:
    status, headers, body = get(f"{front}/api/v1/download/file?history_id=1&ticket=secret")
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Type"] == "video/mp4"
    assert "a film.mp4" in headers["Content-Disposition"]


def test_nginx_answers_ranges_under_its_own_tag(front: str) -> None:
    """nginx drops the gateway's ETag with X-Accel-Redirect and gives its own, which is as strong and as stable."""
    address = f"{front}/api/v1/download/file?history_id=1"
    tag = get(address)[1]["ETag"]
    assert not tag.startswith("W/")
    status, headers, body = get(address, Range="bytes=100-199", If_Range=tag)
    assert (status, headers["Content-Range"], body) == (206, f"bytes 100-199/{len(CONTENT)}", CONTENT[100:200])
    status, _, body = get(address, Range="bytes=100-199", If_Range='"of another version"')
    assert (status, body) == (200, CONTENT)


def test_the_files_cannot_be_reached_past_the_gateway(front: str) -> None:
    assert get(f"{front}/_files/archive/1/20260101/a%20film.mp4")[0] == 404


@pytest.mark.parametrize("path", ["metrics", "readyz", "healthz"])
def test_what_is_for_operators_stays_inside(front: str, path: str) -> None:
    assert get(f"{front}/{path}")[0] == 404


def test_the_gateway_learns_who_asks_and_how(front: str) -> None:
    status, headers, body = get(f"{front}/api/v1/quota")
    seen = dict(re.findall(r"^(\S+): (.*)$", body.decode(), re.MULTILINE))
    assert status == 200
    assert (seen["X-Forwarded-For"], seen["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_websocket_is_passed_on(front: str) -> None:
    body = get(f"{front}/api/v1/ws", Upgrade="websocket", Connection="Upgrade")[2].decode()
    assert "Upgrade: websocket" in body
    assert "Connection: upgrade" in body
