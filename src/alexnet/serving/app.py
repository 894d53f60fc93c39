"""The routes: the page, its files, and the API. `make_app` returns an ASGI app.

    GET  /                      the page (static/)
    POST /v1/predict            labels with probabilities        ?top=5&views=1|5|10
    POST /v1/similar            nearest images of the index      ?count=6
    POST /v1/features           output of a layer                ?layer=fc7
    POST /v1/explain            crop, heat map, first-layer responses
    GET  /v1/model              what the network is
    GET  /v1/images/{position}  an image of the index
    GET  /healthz, /metrics, /openapi.json

The handlers are in `handlers`. Every error is JSON: {"error": one word, "detail": a sentence}. No
request is read here. `server` runs the app; so can any other server that speaks ASGI.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from alexnet.predict import Classifier
from alexnet.serving.guard import RequestGuard
from alexnet.serving.handlers import FRESH, NEVER_KEPT, ApiHandlers, make_json
from alexnet.serving.limits import RefusedRequest, ServingLimits
from alexnet.serving.metrics import ServingMetrics
from alexnet.serving.neighbors import NearestImages
from alexnet.serving.service import InferenceService
from alexnet.terminal import escape_unprintable

Handler = Callable[[Request], Awaitable[Response]]
"""A function that answers the requests of one path."""
STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The files of the page by their path, with their type."""


def make_app(
    classifier: Classifier,
    name: str,
    *,
    neighbors: NearestImages | None = None,
    limits: ServingLimits | None = None,
    allowed_hosts: Collection[str] = (),
    start_decoders: bool = False,
) -> RequestGuard:
    """Make the ASGI app that serves a classifier.

    `name` is what the page calls the network. `neighbors` is searched by /v1/similar. The network's
    thread ends when the app is shut down (ASGI lifespan). Requests for other hosts than this
    machine's local names and `allowed_hosts` are refused. With `start_decoders` the processes that
    decode images are started at once, not at the first image. Raises ValueError if the network
    lacks the layer of the index.
    """
    name = escape_unprintable(name)  # it may be a folder's, with bytes that are not text
    limits, metrics = limits or ServingLimits(), ServingMetrics()
    service = InferenceService(classifier, limits, metrics)
    try:
        posts, gets = make_routes(ApiHandlers(name, service, neighbors, limits, metrics))
    except BaseException:
        service.close()
        raise
    if start_decoders:
        service.start_decoders()

    @contextlib.asynccontextmanager
    async def close_at_the_end(app: object) -> AsyncIterator[None]:
        yield
        service.close()

    app = Starlette(
        routes=[
            *(Route(path, handler, methods=["POST"]) for path, handler in posts.items()),
            *(Route(path, handler, methods=["GET"]) for path, handler in gets.items()),
        ],
        exception_handlers={
            RefusedRequest: _answer_refusal,
            HTTPException: _answer_http_error,
            500: _answer_fault,
        },
        lifespan=close_at_the_end,
    )
    app.router.redirect_slashes = False  # redirects would be made of the Host header
    return RequestGuard(app, allowed_hosts, metrics, [*posts, *gets])


def make_routes(api: ApiHandlers) -> tuple[dict[str, Handler], dict[str, Handler]]:
    """Return the handlers of POST and of GET, each by its path."""
    posts: dict[str, Handler] = {
        "/v1/predict": api.predict,
        "/v1/similar": api.find_similar,
        "/v1/features": api.compute_features,
        "/v1/explain": api.explain,
    }
    gets: dict[str, Handler] = {
        **{path: _serve_file(*file) for path, file in STATIC.items()},
        "/v1/model": api.describe_model,
        "/v1/images/{position}": api.show_image,
        "/healthz": api.check_health,
        "/metrics": api.show_metrics,
        "/openapi.json": api.show_openapi,
    }
    return posts, gets


def _serve_file(name: str, kind: str) -> Handler:
    """Return a handler for one file of the page, which is read once."""
    content = (files("alexnet.serving") / "static" / name).read_bytes()

    async def show(request: Request) -> Response:
        return Response(content, headers={"Content-Type": kind, **FRESH})

    return show


async def _answer_refusal(request: Request, error: Exception) -> Response:
    """Answer with a refusal. After 408 and 413 the rest of the body is not waited for."""
    assert isinstance(error, RefusedRequest)
    headers = dict(NEVER_KEPT)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status in (408, 413):
        headers["Connection"] = "close"
    return make_json(error.to_dict(), error.status, headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Answer what no route handles: 404 for an unknown path, 405 for a wrong method."""
    assert isinstance(error, HTTPException)
    words = {404: "no_such_path", 405: "wrong_method"}
    word = words.get(error.status_code, "http_error")
    content = {"error": word, "detail": f"{error.detail}. /openapi.json describes the API"}
    return make_json(content, error.status_code, {**NEVER_KEPT, **(error.headers or {})})


async def _answer_fault(request: Request, error: Exception) -> Response:
    """Answer after a fault of this program; the traceback goes to the terminal."""
    return make_json({"error": "fault", "detail": "the server has a fault; see its terminal"}, 500)
