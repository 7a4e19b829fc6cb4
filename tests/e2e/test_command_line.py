"""`vasset get`, `doctor` and `--help` without a server: files, one line of JSON, exit codes, resuming."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lying_origin import held, page, running_lying_origin
from tests.support.media import SECONDS
from tests.support.origin import Origin
from tests.support.processes import run_vasset, vasset_command, vasset_environment

pytestmark = pytest.mark.xdist_group("command_line")


def test_help_answers_without_importing_anything_heavy() -> None:
    script = (
        "import sys\nfrom vasset.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic', 'yt_dlp', 'grpc', 'uvicorn', 'vasset._engine'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    for command in ("serve", "get", "fetch", "doctor", "version"):
        assert command in done.stdout


async def test_get_prints_one_line_of_json_about_the_file(origin: Origin, tmp_path: Path) -> None:
    code, out, err = await run_vasset(
        "get", origin.url("progressive_mp4.html"), "-o", str(tmp_path), "--json",
        egress_allow=origin.address, hash_algorithm="sha256",
    )  # fmt: skip
    assert code == 0, err
    assert out.count("\n") == 1
    result = json.loads(out)
    assert set(result) == {"path", "size", "hash", "hash_algorithm", "title", "duration", "seconds"}
    content = Path(result["path"]).read_bytes()
    assert content == origin.media.read("progressive.mp4")
    assert (result["hash_algorithm"], result["hash"]) == ("sha256", hashlib.sha256(content).hexdigest())
    assert result["title"].startswith("A plain page")
    assert result["size"] == len(content)
    assert list(tmp_path.iterdir()) == [Path(result["path"])], "unfinished files were left behind"


async def test_get_merges_separate_streams_and_never_replaces_a_file(origin: Origin, tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        code, out, err = await run_vasset(
            "get", origin.url("separate.mpd"), "-o", str(tmp_path), "--json", egress_allow=origin.address
        )
        assert code == 0, err
        result = json.loads(out)
        assert result["duration"] is None or abs(result["duration"] - SECONDS) < 0.5  # the manifest need not say
        names.add(Path(result["path"]).name)
    assert names == {"separate.mp4", "separate (2).mp4"}


async def test_get_takes_several_addresses_and_one_failure_stops_none(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(name) for name in ("progressive_mp4.html", "gone.html", "separate.mpd")]
    code, out, err = await run_vasset("get", *urls, "-o", str(tmp_path), "--json", egress_allow=origin.address)
    assert code == 4, err
    first, missing, last = map(json.loads, out.splitlines())
    assert missing["url"] == urls[1]
    assert "error" in missing
    assert {Path(first["path"]).suffix, Path(last["path"]).suffix} == {".mp4"}
    assert sorted(tmp_path.iterdir()) == sorted([Path(first["path"]), Path(last["path"]), *tmp_path.glob(".vasset")])


async def test_fetch_takes_several_addresses_and_one_failure_stops_none(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(name) for name in ("progressive.mp4", "gone.mp4", "progressive.mp4")]
    code, _, err = await run_vasset("fetch", *urls, "-q", "-o", f"{tmp_path}/", egress_allow=origin.address)
    assert code == 4, err
    content = origin.media.read("progressive.mp4")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.mp4")} == {
        "progressive.mp4": content, "progressive (2).mp4": content,
    }  # fmt: skip
    code, _, err = await run_vasset("fetch", *urls[:2], "-o", "only-one.mp4", egress_allow=origin.address)
    assert (code, "once for each address" in err) == (2, True)


async def test_get_prints_the_path_alone_for_people(origin: Origin, tmp_path: Path) -> None:
    code, out, err = await run_vasset(
        "get", origin.url("progressive_mp4.html"), "-o", str(tmp_path), egress_allow=origin.address
    )
    assert code == 0, err
    assert out == f"{next(tmp_path.iterdir())}\n"


async def test_interrupting_says_how_to_resume_and_the_same_command_goes_on(tmp_path: Path) -> None:
    body = os.urandom(3_000_000)
    gate = asyncio.Event()
    async with running_lying_origin() as origin:
        origin.routes["/page"] = page('<title>Held</title><video src="/video.mp4"></video>')
        origin.routes["/video.mp4"] = held(_as_mp4(body), gate, first_bytes=2_000_000)
        arguments = ("get", origin.url("/page"), "-o", str(tmp_path), "--json")
        process = await asyncio.create_subprocess_exec(
            *vasset_command(*arguments),
            env=vasset_environment(egress_allow=origin.address),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await origin.sent("/video.mp4", 2_000_000)
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 130
        assert "Run the same command again" in err.decode()
        assert "Traceback" not in err.decode()
        gate.set()
        code, out, error = await run_vasset(*arguments, egress_allow=origin.address)
        assert code == 0, error
        assert Path(json.loads(out)["path"]).read_bytes() == _as_mp4(body)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("get", "file:///etc/passwd"), 3, "http"),
        (("get", "http://127.0.0.1:9/x"), 3, "127.0.0.1"),
        (("get", "http://user:secret@example.com/"), 3, ""),
        (("get", "http://example.com/", "--quality", "best; rm"), 3, "quality"),
        (("get", "http://example.com/", "--format", "exe"), 3, "format"),
        (("get",), 2, "Usage: "),
        (("nonsense",), 2, "nonsense"),
    ],
)  # fmt: skip
async def test_a_refusal_is_one_sentence_and_an_exit_code(
    arguments: tuple[str, ...], code: int, word: str, tmp_path: Path
) -> None:
    output = ("-o", str(tmp_path)) if arguments[0] == "get" and len(arguments) > 1 else ()
    found, out, err = await run_vasset(*arguments, *output)
    assert found == code, err
    assert word in err
    assert "Traceback" not in err
    assert "secret" not in err
    assert out == ""


async def test_programs_get_a_refusal_as_json(tmp_path: Path) -> None:
    code, out, err = await run_vasset("get", "http://127.0.0.1:9/x", "-o", str(tmp_path), "--json")
    assert (code, err) == (3, "")
    assert json.loads(out)["error"]["code"] == "egress_refused"


async def test_a_failing_site_is_one_sentence_without_yt_dlps_words(tmp_path: Path) -> None:
    code, out, err = await run_vasset("get", "http://127.0.0.1:9/x", "-o", str(tmp_path), egress_allow="127.0.0.1:9")
    assert (code, out, err) == (4, "", "vasset: The connection to the site failed; try again later.\n")


async def test_a_missing_tool_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *vasset_command("get", "http://example.com/", "-o", str(tmp_path)),
        env=vasset_environment() | {"PATH": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 6
    assert err.decode().strip() == "vasset: ffmpeg is not installed; install it with `sudo apt-get install ffmpeg`."


async def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    code, _, err = await run_vasset("doctor", "--data-dir", str(tmp_path), worker_slots="many")
    assert code == 2
    assert err.startswith("vasset: VASSET_WORKER_SLOTS:")


async def test_a_secret_that_is_too_short_is_told_with_the_remedy(tmp_path: Path) -> None:
    code, _, err = await run_vasset("doctor", "--data-dir", str(tmp_path), secret_key="short")
    assert code == 2
    assert err == "vasset: VASSET_SECRET_KEY: is shorter than 32 bytes; make one with `openssl rand -hex 32`\n"


@pytest.mark.parametrize("text", ["port: [1\n", "- a\n", "\t"])
async def test_a_settings_file_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    code, out, err = await run_vasset("doctor", "--config", str(tmp_path / "settings.yaml"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "settings.yaml cannot be read" in err


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("egress_allow", "10.0.0.1/8"),
        ("database_url", "mysql://user:secret@host/x"),
        ("queue_url", "kafka://user:secret@host"),
        ("cache_url", "http://user:secret@host"),
        ("port", "abc"),
    ],
)
async def test_every_wrong_setting_is_one_sentence_with_its_name(setting: str, value: str, tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0") if setting != "port" else ("serve",)
    code, out, err = await run_vasset(*arguments, "--data-dir", str(tmp_path), **{setting: value})
    assert (code in {2, 3}, out, err.count("\n")) == (True, "", 1)
    assert err.startswith(f"vasset: VASSET_{setting.upper()}: ")
    assert "secret" not in err


async def test_doctor_examines_no_folder_that_is_not_there(tmp_path: Path) -> None:
    code, out, err = await run_vasset("doctor", "--data-dir", str(tmp_path / "nowhere"))
    assert (code, out) == (1, "")
    assert "--data-dir" in err
    assert not (tmp_path / "nowhere").exists()


async def test_doctor_finds_nothing_wrong_with_nothing(tmp_path: Path) -> None:
    code, out, err = await run_vasset("doctor", "--data-dir", str(tmp_path))
    assert code == 0, err
    assert "agree" in out


def _as_mp4(body: bytes) -> bytes:
    """Bytes that look like an MP4 from outside."""
    return b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + body


@pytest.mark.parametrize("command", ["get", "fetch"])
async def test_a_stream_to_standard_output_is_refused_in_words(command: str, tmp_path: Path) -> None:
    code, out, words = await run_vasset(command, "http://127.0.0.1:1/f.mp4", "-o", "-")
    assert code != 0
    assert out == ""
    assert "no stream" in words


@pytest.mark.parametrize(("number", "is_taken"), [("0", False), ("64", True), ("65", False), ("auto", True)])
async def test_what_the_engine_takes_as_connections_is_what_the_command_says(
    number: str, is_taken: bool, tmp_path: Path
) -> None:
    target = tmp_path / "f.mp4"
    code, _, words = await run_vasset("fetch", "http://10.0.0.1/f", "-o", str(target), "--connections", number)
    assert (code == 3) is is_taken, words  # 3: the address was refused, so the number was not
    if not is_taken:
        assert code == 2
