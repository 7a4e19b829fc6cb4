"""Whoever must hear of an alert hears of it: Alertmanager's and Prometheus' own programs read the files as they are committed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ALERTS = {
    "ALERT_SMTP_HOST": "mail.example.org:587",
    "ALERT_SMTP_USER": "vasset",
    "ALERT_SMTP_PASSWORD": "pass word & 100 %",
    "ALERT_MAIL_FROM": "vasset@example.org",
    "ALERT_MAIL_TO": "operators@example.org",
    "ALERT_CHAT_URL": "https://chat.example.org/hooks/key",
    "ALERT_TELEPHONE_URL": "https://telephone.example.org/call?a=1&b=2",
    "ALERT_SMS_URL": "https://sms.example.org/send",
}


def fill_in(deploy: Path, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the start script with ``cat`` for Alertmanager."""
    return subprocess.run(
        [deploy / "prometheus" / "start-alertmanager", deploy / "prometheus" / "alertmanager.yaml", "echo"],
        env={"PATH": os.environ["PATH"], "ALERTMANAGER_CONFIG": str(folder / "filled.yaml"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )


@pytest.fixture
def filled(deploy: Path, tmp_path: Path) -> Path:
    done = fill_in(deploy, tmp_path, ALERTS)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"--config.file={tmp_path / 'filled.yaml'}\n"
    return tmp_path / "filled.yaml"


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_every_placeholder_is_filled_in_as_it_was_given(filled: Path) -> None:
    document = yaml.safe_load(filled.read_text())
    assert document["global"]["smtp_auth_password"] == ALERTS["ALERT_SMTP_PASSWORD"]
    telephone = next(one for one in document["receivers"] if one["name"] == "telephone-and-sms")
    assert [hook["url"] for hook in telephone["webhook_configs"]] == [
        ALERTS["ALERT_TELEPHONE_URL"],
        ALERTS["ALERT_SMS_URL"],
    ]
    assert filled.stat().st_mode & 0o077 == 0, "it holds a password"


def test_the_example_of_the_environment_names_them_all(deploy: Path) -> None:
    wanted = set(re.findall(r"\$\{(ALERT_[A-Z_]+)\}", (deploy / "prometheus" / "alertmanager.yaml").read_text()))
    assert wanted == set(ALERTS)
    assert wanted == set(re.findall(r"^# (ALERT_[A-Z_]+)=", (deploy / "compose.env.example").read_text(), re.MULTILINE))


def test_it_does_not_start_with_nobody_to_tell(deploy: Path, tmp_path: Path) -> None:
    done = fill_in(deploy, tmp_path, {**ALERTS, "ALERT_SMS_URL": "", "ALERT_MAIL_TO": 'a"b'})
    assert done.returncode != 0
    assert "set in compose.env: ALERT_SMS_URL" in done.stderr
    assert "cannot be used in: ALERT_MAIL_TO" in done.stderr
    assert done.stdout == ""


def test_alertmanager_accepts_the_file(filled: Path) -> None:
    done = subprocess.run(
        [tool("amtool"), "check-config", filled], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=ApiErrorRateHigh", "severity=P1"), "telephone-and-sms"),
        (("alertname=RoleDown", "severity=P1"), "telephone-and-sms"),
        (("alertname=DownloadSuccessLow", "severity=P2"), "mail-and-chat"),
        (("alertname=DiskNearlyFull", "severity=P2"), "mail"),
        (("alertname=QueueDeep", "severity=P3"), "chat"),
        (("alertname=FromElsewhere",), "chat"),
    ],
)
def test_each_alert_goes_the_way_of_the_requirements(filled: Path, labels: tuple[str, ...], receiver: str) -> None:
    done = subprocess.run(
        [tool("amtool"), "config", "routes", "test", "--config.file", filled, *labels],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.stdout.split() == [receiver], done.stderr


def test_prometheus_accepts_its_files_and_knows_whom_to_tell(deploy: Path) -> None:
    folder = deploy / "prometheus"
    document = yaml.safe_load((folder / "prometheus.yaml").read_text())
    [alertmanager] = document["alerting"]["alertmanagers"]
    assert alertmanager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    done = subprocess.run(
        [tool("promtool"), "check", "config", folder / "prometheus.yaml"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 rules found" in done.stdout + done.stderr
