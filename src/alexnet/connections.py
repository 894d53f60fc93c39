"""Connections between the processes of one job: rank 0 listens, and the others connect to it.

    rank 0    listen ──▶ its port and a random token, which the others get from `World.gather`
    others    connect, then `introduce` themselves with the token
    rank 0    `identify`: who does not know the token is sent away

A message is one line of JSON; nothing is unpickled. `heartbeats` and `packing.sharing` use these
connections; tensors go through `processes` instead.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from contextlib import suppress
from typing import Any

MAX_LINE = 1 << 16
"""Longest message in bytes: a connection that sends more is closed."""
SEND_SECONDS = 1.0
"""Time that sending a short message may take."""


def make_token() -> str:
    """Return a new random token."""
    return secrets.token_hex(16)


def listen(address: str) -> socket.socket:
    """Return a socket that listens on a free port; on loopback only, if the address is that."""
    is_loopback = address in ("localhost", "::1") or address.startswith("127.")
    if is_loopback:
        family = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((address, 0), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """Return a connection to rank 0. Raises OSError if there is none after so many seconds."""
    connection = socket.create_connection((address, port), timeout=seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def introduce(rank: int, token: str) -> dict[str, Any]:
    """Return the message with which a connection begins."""
    return {"hello": rank, "token": token}


def identify(message: dict[str, Any], token: str) -> int | None:
    """Return the rank of who introduces itself; None if it does not know the token."""
    rank, said = message.get("hello"), message.get("token")
    if not isinstance(rank, int) or not isinstance(said, str):
        return None
    knows = secrets.compare_digest(said.encode("utf-8", "surrogatepass"), token.encode())
    return rank if knows else None


class Line:
    """A connection to another process: messages in, messages out, and when it was last heard."""

    def __init__(self, connection: socket.socket, rank: int | None) -> None:
        connection.settimeout(SEND_SECONDS)
        self.socket, self.rank, self.heard = connection, rank, time.monotonic()
        self._received = b""

    def send(self, message: dict[str, Any] | None = None) -> None:
        """Send a message or an empty line. What cannot be sent is lost: the other end is gone."""
        with suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n" if message else b"\n")

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the messages that have come, and whether the connection is still open."""
        try:
            content = self.socket.recv(MAX_LINE)
        except TimeoutError:
            return [], True
        except OSError:
            return [], False
        self.heard = time.monotonic()
        *lines, self._received = (self._received + content).split(b"\n")
        try:
            messages = [json.loads(line) for line in lines if line]
        except (ValueError, RecursionError):
            return [], False
        is_open = bool(content) and len(self._received) < MAX_LINE
        return [message for message in messages if isinstance(message, dict)], is_open
