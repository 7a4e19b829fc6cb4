"""The lines parent and child exchange: one JSON object each, of bounded size. Standard library only: the child imports it."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any

MAX_MESSAGE_BYTES = 16 * 2**20
MAX_CONTROL_BYTES = 64 * 2**10
READ_BYTES = 64 * 2**10


class MessageTooLarge(Exception):
    """A message is larger than the channel carries."""


def encode(message: Mapping[str, Any], *, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """One line. Raises :class:`MessageTooLarge`; lone surrogates survive as JSON escapes."""
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    if len(line) > limit:
        raise MessageTooLarge(f"a message of {len(line)} bytes is larger than the {limit} bytes a child may send")
    return line


def decode(line: bytes) -> dict[str, Any]:
    """The object on one line; anything else raises ``ValueError``."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    return message


class LineSocket:
    """The child's end: blocking, one line at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffered = bytearray()

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the parent is gone."""
        while (end := self._buffered.find(b"\n")) < 0:
            if len(self._buffered) > MAX_MESSAGE_BYTES:
                raise MessageTooLarge("the parent sent an endless line")
            block = self._connection.recv(READ_BYTES)
            if not block:
                return None
            self._buffered += block
        line = bytes(self._buffered[:end])
        del self._buffered[: end + 1]
        return decode(line)

    def send(self, message: Mapping[str, Any]) -> None:
        self._connection.sendall(encode(message))
