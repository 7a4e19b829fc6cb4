"""A misspelt setting is refused instead of silently being the default; what others put into the environment passes."""

import pytest

from vasset.config import UnknownSetting, load_settings


@pytest.mark.parametrize(
    ("name", "words"), [("VASSET_WORKER_SLOT", "did you mean VASSET_WORKER_SLOTS"), ("VASSET_XQZ", "configuration.md")]
)
def test_an_unknown_name_is_refused_in_words(monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(UnknownSetting, match=words):
        load_settings()


@pytest.mark.parametrize(
    "name",
    [
        "VASSET_GATEWAY_SERVICE_HOST",
        "VASSET_AUTH_SERVICE_PORT_GRPC",
        "VASSET_AUTH_PORT_9001_TCP_ADDR",
        "VASSET_SERVICE_HOST",
        "VASSET_BIN",
    ],
)
def test_names_of_the_surroundings_pass(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "10.0.0.1")
    if name != "VASSET_SERVICE_HOST":  # a setting of that name is ours
        load_settings()
