"""The exits file (``VASSET_EXITS_FILE``, YAML): which providers there are and which sites go through them.

.. code-block:: yaml

    providers:
      - name: acme
        url: "https://api.example.com/v1/lease?country={country}&session={session}"
        headers: {Authorization: "Bearer ${ACME_TOKEN}"}   # ${NAME}: a file NAME in VASSET_SECRETS_DIR
        answer: json                                        # json: `fields` are dotted paths; text: one exit a line
        fields: {host: data.0.ip, port: data.0.port, username: data.0.user, password: data.0.pass, expires_in: data.0.ttl}
        country: de
        ttl_seconds: 600
        cost: 0.002
      - name: own
        exits: ["http://user:password@203.0.113.7:8080", "socks5://203.0.113.8:1080"]
    sites:
      default: fallback        # never: go directly · fallback: from the second attempt on · always
      youtube: always
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from vasset.usecases.site_key import matches

DEFAULT = "default"


class WrongExitSettings(ValueError):
    """What is wrong, and where; never a value, which may be a password."""


class SitePolicy(StrEnum):
    NEVER = "never"
    FALLBACK = "fallback"
    ALWAYS = "always"


class AnswerFields(BaseModel):
    """Dotted paths into a JSON answer; numbers index lists. ``exit`` replaces the others when one field holds host:port."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exit: str | None = None
    host: str | None = None
    port: str | None = None
    username: str | None = None
    password: str | None = None
    country: str | None = None
    expires_in: str | None = None

    @model_validator(mode="after")
    def _name_an_exit(self) -> AnswerFields:
        if self.exit is None and (self.host is None or self.port is None):
            raise ValueError("fields must name `exit`, or both `host` and `port`")
        return self


class ProviderSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_-]{1,32}$")
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    answer: Literal["json", "text"] = "json"
    fields: AnswerFields | None = None
    scheme: Literal["http", "socks5"] = "http"
    country: str | None = None
    ttl_seconds: float = Field(600.0, gt=0)
    timeout_seconds: float = Field(10.0, gt=0, le=60)
    cost: float = Field(0.0, ge=0)
    exits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> ProviderSettings:
        if bool(self.url) == bool(self.exits):
            raise ValueError(f"provider {self.name!r} needs either `url` or `exits`")
        if self.url and self.answer == "json" and self.fields is None:
            raise ValueError(f"provider {self.name!r} answers JSON: name its `fields`")
        return self


class ExitSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    providers: tuple[ProviderSettings, ...] = ()
    sites: dict[str, SitePolicy] = Field(default_factory=dict)

    def policy_for(self, site: str) -> SitePolicy:
        """Of a site as ``usecases/site_key.py`` calls it; the file may name it by its family or any of its hosts."""
        named = (policy for name, policy in self.sites.items() if name != DEFAULT and matches(name, site))
        return next(named, self.sites.get(DEFAULT, SitePolicy.FALLBACK))


def load_exit_settings(path: Path) -> ExitSettings:
    """Raises :class:`WrongExitSettings` at start rather than at the first download."""
    try:
        return ExitSettings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        raise WrongExitSettings("; ".join(map(_in_words, error.errors(include_input=False)))) from None
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise WrongExitSettings(f"it is no YAML ({error.problem}{line})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise WrongExitSettings("it is no text in UTF-8") from None
    except OSError as error:
        raise WrongExitSettings(error.strerror or "it cannot be read") from None


def _in_words(problem: ErrorDetails) -> str:
    where = ".".join(map(str, problem["loc"]))
    words = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
    return f"{where}: {words.removeprefix('Value error, ')}" if where else words
