"""What every request passes first: the check of its host, the security headers, the metrics.

Host names are checked because of DNS rebinding: a page on the internet whose name is made to point
to 127.0.0.1 could otherwise use this server from the browser of a person who visits the page. Of a
request only `scope["path"]` and the Host header are read, never a URL put together from both. Of
this package only `limits` and `metrics` are imported.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alexnet.serving.limits import RefusedRequest
from alexnet.serving.metrics import ServingMetrics

LOCAL_HOSTS = "127.0.0.1", "localhost", "[::1]"
"""Host names that are always allowed."""
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing is loaded from elsewhere and no script in the page itself runs. Pictures that the person
chose (blob:) and that the server sent in JSON (data:) may be shown."""
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HEADERS = [(k.lower().encode(), v.encode()) for k, v in SECURITY_HEADERS.items()]
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9]([a-z0-9_.-]{0,253}[a-z0-9])?)(:\d{1,5})?")
METHODS = "GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"


class RequestGuard:
    """ASGI middleware around the whole app. `paths` are those that metrics are kept for."""

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: Collection[str],
        metrics: ServingMetrics,
        paths: Collection[str],
    ) -> None:
        self.app, self.metrics = app, metrics
        self.allowed = frozenset(host.lower() for host in (*LOCAL_HOSTS, *allowed_hosts))
        self.paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on; in both cases count it and add the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), [500]  # 500 if no answer begins

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        try:
            self.check(scope)
        except RefusedRequest as refusal:
            await send_refusal(refusal, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)
        finally:
            self._count(scope, status[0], time.perf_counter() - began)

    def check(self, scope: Scope) -> None:
        """Raise RefusedRequest for a request that is not meant for this server."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        host = read_host([value for name, value in headers if name == b"host"])
        if host not in self.allowed:
            raise RefusedRequest(
                421,
                "host",
                f"the request is for the host {host}, which is not allowed here; if it is yours, "
                f"start the server with --allow-host {host}",
            )
        sites = {value for name, value in headers if name == b"sec-fetch-site"}
        if scope["method"] not in ("GET", "HEAD") and not sites <= {b"same-origin", b"none"}:
            raise RefusedRequest(403, "other_site", "a page of another site sent this request")

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count under known names only: a client must not be able to make up labels."""
        path = scope["path"]
        path = next((known for known in self.paths if _matches(known, path)), "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.add(path, method, str(status))
        self.metrics.seconds.observe(seconds, path)


def _matches(known: str, path: str) -> bool:
    """Whether a path is a known one; one such as /v1/images/{position} may end in anything."""
    before, brace, _ = known.partition("{")
    return path.startswith(before) if brace else path == known


def read_host(values: list[bytes]) -> str:
    """Return the host name of the Host headers of a request, in lower case, without a port.

    Raises RefusedRequest (400) if there is not exactly one that is well formed.
    """
    text = values[0].decode("latin-1").lower() if len(values) == 1 else ""
    match = _HOST.fullmatch(text)
    if match is None:
        raise RefusedRequest(400, "host", "the request has no valid Host header")
    return match[1].rstrip(".")


async def send_refusal(refusal: RefusedRequest, send: Send) -> None:
    """Send a refusal as JSON."""
    body = json.dumps(refusal.to_dict()).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
