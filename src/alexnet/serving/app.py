"""The routes: the page, its files, and the API. `make_app` returns an ASGI app.

    GET  /                      the page (static/)
    POST /v1/predict            labels with probabilities        ?top=5&views=1|5|10
    POST /v1/similar            nearest images of the index      ?count=6
    POST /v1/features           output of a layer                ?layer=fc7
    POST /v1/explain            crop, heat map, first-layer responses
    GET  /v1/model              what the network is
    GET  /v1/images/{position}  an image of the index
    GET  /healthz, /metrics, /openapi.json

Each handler checks its query, receives the image (`body`), asks the network (`service`) and returns
JSON. Every error is JSON too: {"error": one word, "detail": a sentence}. `server` runs the app.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from alexnet import __version__
from alexnet.images.png import encode_png
from alexnet.predict import Classifier
from alexnet.serving import pictures
from alexnet.serving.body import BodyMemory, receive_image
from alexnet.serving.forward import Answer
from alexnet.serving.guard import RequestGuard
from alexnet.serving.limits import RefusedRequest, ServingLimits
from alexnet.serving.metrics import CONTENT_TYPE, ServingMetrics
from alexnet.serving.neighbors import NearestImages, describe_near
from alexnet.serving.openapi import describe_api
from alexnet.serving.service import InferenceService
from alexnet.terminal import escape_unprintable

STATIC = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The files of the page by their path, with their type."""
MOST_NEIGHBORS = 100
FRESH = {"Cache-Control": "no-cache"}
NEVER_KEPT = {"Cache-Control": "no-store"}


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
        api = _Api(classifier, name, service, neighbors, limits, metrics)
    except BaseException:
        service.close()
        raise
    if start_decoders:
        service.start_decoders()
    return RequestGuard(api.make_routes(), allowed_hosts, metrics, api.paths)


class _Api:
    """The handlers of the routes."""

    def __init__(
        self,
        classifier: Classifier,
        name: str,
        service: InferenceService,
        neighbors: NearestImages | None,
        limits: ServingLimits,
        metrics: ServingMetrics,
    ) -> None:
        self.classifier, self.name, self.service = classifier, name, service
        self.neighbors, self.limits, self.metrics = neighbors, limits, metrics
        self.layers = service.forward.layers
        if neighbors is not None and neighbors.layer not in self.layers:
            raise ValueError(
                f"the index holds outputs of the layer {neighbors.layer}, which this network does "
                f"not have or show; it has {', '.join(self.layers)}"
            )
        self.memory = BodyMemory(limits.total_body_bytes)
        self.paths: list[str] = []
        metrics.watch(
            "alexnet_images_in_work", "Images that are being answered.", lambda: service.in_work
        )
        metrics.watch("alexnet_body_bytes", "Bytes of images in memory.", lambda: self.memory.used)
        facts = {"version": __version__, "model": name}
        metrics.watch("alexnet_info", "Version and network.", lambda: 1, facts)

    def make_routes(self) -> Starlette:
        """Return the app without its guard."""
        posts: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/v1/predict": self.predict,
            "/v1/similar": self.find_similar,
            "/v1/features": self.compute_features,
            "/v1/explain": self.explain,
        }
        gets: dict[str, Callable[[Request], Awaitable[Response]]] = {
            **{path: _serve_file(*file) for path, file in STATIC.items()},
            "/v1/model": self.describe_model,
            "/healthz": self.check_health,
            "/metrics": self.show_metrics,
            "/openapi.json": self.show_openapi,
            "/v1/images/{position}": self.show_image,
        }
        self.paths = [*posts, *gets]
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
            lifespan=self._close_at_the_end,
        )
        app.router.redirect_slashes = False  # redirects are made of the Host header
        return app

    @contextlib.asynccontextmanager
    async def _close_at_the_end(self, app: object) -> AsyncIterator[None]:
        yield
        self.service.close()

    async def ask(
        self, request: Request, finish: Callable[[NDArray[np.uint8], Answer], Any], **wanted: Any
    ) -> Response:
        """Receive the image of a request and answer with what `finish` makes of the answer."""
        self.service.check_room()  # before the body is received
        async with receive_image(request, self.limits, self.memory) as image:
            return make_json(await self.service.ask(image, finish, **wanted))

    async def predict(self, request: Request) -> Response:
        """POST /v1/predict."""
        query = _Query(request, "top", "views")
        top = query.read_number("top", 5, range(1, len(self.classifier.classes) + 1), clip=True)
        views = query.read_number("views", 1, (1, 5, 10))

        def finish(_: object, answer: Answer) -> dict[str, Any]:
            best = answer.probabilities.topk(top)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            classes = self.classifier.classes
            return {"labels": [{"label": classes[i], "probability": p} for i, p in pairs]}

        return await self.ask(request, finish, views=views)

    async def compute_features(self, request: Request) -> Response:
        """POST /v1/features."""
        layer = _Query(request, "layer").read_word("layer", self._default_layer(), self.layers)

        def finish(_: object, answer: Answer) -> dict[str, Any]:
            values = answer.features
            assert values is not None
            return {"layer": layer, "shape": list(values.shape), "values": list_values(values)}

        return await self.ask(request, finish, layer=layer)

    def _default_layer(self) -> str:
        """The layer before the last: fc7 of the paper's network."""
        return list(self.layers)[-2:][0]

    async def find_similar(self, request: Request) -> Response:
        """POST /v1/similar."""
        neighbors = self.neighbors
        if neighbors is None:
            raise RefusedRequest(
                404, "no_index", "the server was started without an index: give it --index INDEX"
            )
        most = range(1, min(MOST_NEIGHBORS, len(neighbors)) + 1)
        count = _Query(request, "count").read_number("count", 6, most, clip=True)

        def finish(_: object, answer: Answer) -> dict[str, Any]:
            assert answer.features is not None
            found = neighbors.find(answer.features, count)
            shown = [
                describe_near(x, neighbors.read_picture(x.position) is not None) for x in found
            ]
            return {"layer": neighbors.layer, "images": shown}

        return await self.ask(request, finish, layer=neighbors.layer)

    async def explain(self, request: Request) -> Response:
        """POST /v1/explain."""
        _Query(request)

        def finish(record: NDArray[np.uint8], answer: Answer) -> dict[str, Any]:
            found, preprocessing = answer.explanation, self.classifier.preprocessing
            assert found is not None
            heat = responses = None
            if found.heat is not None:
                pixels = pictures.color_heat(found.heat, preprocessing.crop)
                heat = {"layer": found.layer, "image": pictures.make_data_url(pixels)}
            if found.responses is not None:
                responses = {
                    "layer": found.first_layer,
                    "kernels": len(found.responses),
                    "image": pictures.make_data_url(pictures.tile_responses(found.responses)),
                }
            crop = pictures.crop_center(record, preprocessing)
            return {
                "label": self.classifier.classes[found.label],
                "crop": pictures.make_data_url(crop),
                "heat_map": heat,
                "responses": responses,
            }

        return await self.ask(request, finish, explain=True)

    async def describe_model(self, request: Request) -> Response:
        """GET /v1/model."""
        preprocessing, index = self.classifier.preprocessing, self.neighbors
        return make_json(
            {
                "name": self.name,
                "version": __version__,
                "classes": list(self.classifier.classes),
                "layers": [{"name": k, "shape": list(v)} for k, v in self.layers.items()],
                "input": {
                    "side": preprocessing.side,
                    "crop": preprocessing.crop,
                    "fit": preprocessing.fit,
                    "upright": preprocessing.upright,
                },
                "device": str(self.classifier.device),
                "index": index and {"images": len(index), "layer": index.layer},
                "limits": {"body_bytes": self.limits.body_bytes, "queue": self.limits.queue},
            },
            headers=FRESH,
        )

    async def show_image(self, request: Request) -> Response:
        """GET /v1/images/{position}."""
        text = request.path_params["position"]
        pixels = None
        if self.neighbors is not None and text.isascii() and text.isdecimal():
            with contextlib.suppress(IndexError):
                pixels = self.neighbors.read_picture(int(text[:18]))
        if pixels is None:
            raise RefusedRequest(404, "no_image", "there is no picture at this position")
        return Response(encode_png(pixels), media_type="image/png", headers=FRESH)

    async def check_health(self, request: Request) -> Response:
        """GET /healthz."""
        is_well = self.service.is_alive
        return make_json(
            {"status": "ok" if is_well else "not answering"}, 200 if is_well else 503, NEVER_KEPT
        )

    async def show_metrics(self, request: Request) -> Response:
        """GET /metrics."""
        return Response(self.metrics.render(), headers={"Content-Type": CONTENT_TYPE, **NEVER_KEPT})

    async def show_openapi(self, request: Request) -> Response:
        """GET /openapi.json."""
        return make_json(describe_api(self.limits.body_bytes), headers=FRESH)


class _Query:
    """The parameters of a request's query, each at most once. Others than `known` are refused."""

    def __init__(self, request: Request, *known: str) -> None:
        self.values: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name not in known or name in self.values:
                allowed = f"it takes {', '.join(known)}" if known else "it takes none"
                problem = "is there twice" if name in known else "is unknown here"
                raise _make_bad_query(f"the parameter {name[:40]!r} {problem}; {allowed}")
            self.values[name] = value

    def read_number(
        self, name: str, default: int, allowed: range | tuple[int, ...], clip: bool = False
    ) -> int:
        """Return a whole number. With `clip`, one above the largest allowed becomes that."""
        text = self.values.get(name, str(default))
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
        if clip and number > allowed[-1]:
            return allowed[-1]
        if number not in allowed:
            wanted = (
                f"from {allowed[0]} to {allowed[-1]}"
                if isinstance(allowed, range)
                else f"one of {', '.join(map(str, allowed))}"
            )
            raise _make_bad_query(f"{name} is {text[:40]!r}, but must be {wanted}")
        return number

    def read_word(self, name: str, default: str, allowed: Collection[str]) -> str:
        """Return one of the allowed words."""
        word = self.values.get(name, default)
        if word not in allowed:
            raise _make_bad_query(
                f"{name} is {word[:40]!r}, but must be one of {', '.join(allowed)}"
            )
        return word


def list_values(values: NDArray[np.float32]) -> list[float | None]:
    """Return numbers as short as float32 can be told apart; null for those that JSON lacks."""
    return [float(f"{x:.9g}") if math.isfinite(x) else None for x in values.ravel().tolist()]


def _make_bad_query(detail: str) -> RefusedRequest:
    return RefusedRequest(400, "query", detail)


def make_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON in ASCII: names of classes and files may hold bytes that are not text."""
    body = json.dumps(content, allow_nan=False)
    return Response(body, status, headers or NEVER_KEPT, media_type="application/json")


def _serve_file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
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
