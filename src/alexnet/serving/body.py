"""Receiving an image: the raw bytes of a request's body, with limits on type, size and time.

No server gives a deadline for reading a body, so a client that sends a byte now and then could hold
its connection for ever; `receive_image` gives one. `app` calls it. Of this package only `limits` is
imported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from alexnet.serving.limits import RefusedRequest, ServingLimits

ANY_BYTES = "application/octet-stream"


class BodyMemory:
    """Counts the bytes of all images that the server holds, on the thread of the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def take(self, n_bytes: int) -> None:
        """Count bytes that were received. Raises RefusedRequest (503) if they are too many."""
        if self.used + n_bytes > self.limit:
            raise RefusedRequest(
                503, "busy", "too many images are being received: try again in a second", 1
            )
        self.used += n_bytes

    def release(self, n_bytes: int) -> None:
        """Count bytes that are no longer held."""
        self.used -= n_bytes


@asynccontextmanager
async def receive_image(
    request: Request, limits: ServingLimits, memory: BodyMemory
) -> AsyncIterator[bytes]:
    """Receive the body of a request; while entered, its bytes are counted in `memory`.

    Raises RefusedRequest: 415 for a Content-Type that is no image's, 411 or 413 for the length, 408
    if the body has not arrived in `limits.read_seconds`, 503 if there is no memory for it.
    """
    check_headers(request.headers, limits)
    chunks: list[bytes] = []
    size = 0
    try:
        try:
            async with asyncio.timeout(limits.read_seconds):
                async for chunk in request.stream():
                    if size + len(chunk) > limits.body_bytes:
                        raise _make_too_large(limits)
                    memory.take(len(chunk))
                    size += len(chunk)
                    chunks.append(chunk)
        except TimeoutError:
            raise RefusedRequest(
                408,
                "slow",
                f"only {size} bytes of the body arrived in {limits.read_seconds:g} seconds",
            ) from None
        except ClientDisconnect:
            raise RefusedRequest(400, "disconnected", "the client has gone away") from None
        content = b"".join(chunks)
        chunks.clear()
        yield content
    finally:
        memory.release(size)


def check_headers(headers: Headers, limits: ServingLimits) -> None:
    """Raise RefusedRequest if the headers of a request announce a body that is not accepted.

    A Content-Type is demanded even where HTTP would let it be left out: a page of another site can
    send a request without one, but with one only if this server agrees, which it never does.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != ANY_BYTES and not kind.startswith("image/"):
        raise RefusedRequest(
            415,
            "content_type",
            f"the Content-Type is {kind[:80] or 'missing'!r}: send the bytes of the image file "
            f"with Content-Type image/jpeg, another image type, or {ANY_BYTES}",
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RefusedRequest(
            415, "content_encoding", "the body is compressed: send the image file as it is"
        )
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > limits.body_bytes:
        raise _make_too_large(limits)


def _make_too_large(limits: ServingLimits) -> RefusedRequest:
    return RefusedRequest(
        413, "too_large", f"the body has more than {limits.body_bytes / 1e6:,.1f} MB: send less"
    )
