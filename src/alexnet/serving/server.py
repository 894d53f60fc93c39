"""Runs the app with uvicorn: listens, closes idle connections, and stops at a signal.

At SIGINT, SIGTERM or SIGHUP no more connections are accepted, requests under way are answered, and
`serve` returns 128 + the signal's number, as `cli` promises. A second signal does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from alexnet.serving.limits import ServingLimits
from alexnet.training.interrupt import SIGNALS


class Http11Protocol(H11Protocol):
    """HTTP/1.1 with a deadline for the headers, which uvicorn does not have.

    The time begins with the connection, or with the first byte of a later request on it.
    """

    header_seconds = ServingLimits.read_seconds
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and stop the clock once they complete the headers."""
        if self._timer is None and self.conn.their_state is h11.IDLE:
            self._start_timer()
        super().data_received(data)
        if self._timer is not None and self.conn.their_state is not h11.IDLE:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.header_seconds, self._close_if_idle)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_if_idle(self) -> None:
        self._timer = None
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


class SignalingServer(uvicorn.Server):
    """A server that remembers the signal that stopped it.

    `on_start` is called once connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_start = on_start
        self.signal: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, and say so."""
        await super().startup(sockets)
        self.on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """While entered, a signal stops the server. Ignored signals stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        watched = [x for x in SIGNALS if signal.getsignal(x) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in watched}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Signal handler: stop; at a second signal, do not wait for answers."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self.signal = self.signal or sig


def open_socket(host: str, port: int) -> socket.socket:
    """Listen at an address. Port 0 means any free one.

    Raises OSError, with what to do, if that is impossible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"cannot listen at {host}, port {port}: {reason}. Name another --port (0: any free "
            "one) or --host"
        ) from error
    return listener


def get_url(listener: socket.socket) -> str:
    """Return the address that a listening socket is reached at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(
    app: ASGIApp,
    listener: socket.socket,
    limits: ServingLimits,
    on_start: Callable[[], None] = lambda: None,
    make_server: Callable[..., SignalingServer] = SignalingServer,
) -> int:
    """Serve an app at a listening socket until a signal comes; return the exit status.

    Tests pass a `make_server` that keeps the server, to stop it without a signal.
    """
    _quiet_uvicorn()
    protocol = type("Protocol", (Http11Protocol,), {"header_seconds": limits.read_seconds})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.answer_seconds) + 1,
    )
    server = make_server(config, on_start)
    server.run(sockets=[listener])
    return 128 + server.signal if server.signal else 0


def _quiet_uvicorn() -> None:
    """Print uvicorn's errors on stderr, and none of its remarks: any client can cause those."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
    logger.propagate = False
