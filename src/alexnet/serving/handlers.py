"""What each path of the API does: read the query, receive the image, ask the network, return JSON.

`app` puts the handlers of an `ApiHandlers` on its routes. What becomes of the network's answer is
decided by functions called `finish`, which run in a thread of `service`, so that the event loop
does nothing but wait.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from alexnet import __version__
from alexnet.images.png import encode_png
from alexnet.serving import pictures
from alexnet.serving.body import BodyMemory, receive_image
from alexnet.serving.forward import Answer
from alexnet.serving.limits import RefusedRequest, ServingLimits
from alexnet.serving.metrics import CONTENT_TYPE, ServingMetrics
from alexnet.serving.neighbors import NearestImages, describe_near
from alexnet.serving.openapi import describe_api
from alexnet.serving.query import RequestQuery
from alexnet.serving.service import InferenceService

MOST_NEIGHBORS = 100
"""Neighbors that /v1/similar gives at most."""
FRESH = {"Cache-Control": "no-cache"}
"""Headers of what a browser may keep if it asks whether it is still right."""
NEVER_KEPT = {"Cache-Control": "no-store"}
"""Headers of what no browser and no proxy may keep, such as what was said of a person's image."""


class ApiHandlers:
    """The handlers of the API's paths, with what they need: the service, the index, the limits.

    Each takes a request and returns a response, or raises RefusedRequest, which `app` makes an
    answer of. The images that are being answered, and their bytes, are added to the metrics.
    """

    def __init__(
        self,
        name: str,
        service: InferenceService,
        neighbors: NearestImages | None,
        limits: ServingLimits,
        metrics: ServingMetrics,
    ) -> None:
        self.classifier, self.name, self.service = service.classifier, name, service
        self.neighbors, self.limits, self.metrics = neighbors, limits, metrics
        self.layers = service.forward.layers
        if neighbors is not None and neighbors.layer not in self.layers:
            raise ValueError(
                f"the index holds outputs of the layer {neighbors.layer}, which this network does "
                f"not have or show; it has {', '.join(self.layers)}"
            )
        self.memory = BodyMemory(limits.total_body_bytes)
        metrics.watch(
            "alexnet_images_in_work", "Images that are being answered.", lambda: service.in_work
        )
        metrics.watch("alexnet_body_bytes", "Bytes of images in memory.", lambda: self.memory.used)
        facts = {"version": __version__, "model": name}
        metrics.watch("alexnet_info", "Version and network.", lambda: 1, facts)

    async def ask(
        self, request: Request, finish: Callable[[NDArray[np.uint8], Answer], Any], **wanted: Any
    ) -> Response:
        """Receive the image of a request and answer with what `finish` makes of the answer."""
        self.service.check_room()  # before the body is received
        async with receive_image(request, self.limits, self.memory) as image:
            return make_json(await self.service.ask(image, finish, **wanted))

    async def predict(self, request: Request) -> Response:
        """POST /v1/predict: the `top` most probable labels, averaged over `views` crops."""
        query = RequestQuery(request, "top", "views")
        top = query.read_number("top", 5, range(1, len(self.classifier.classes) + 1), clip=True)
        views = query.read_number("views", 1, (1, 5, 10))

        def finish(_: object, answer: Answer) -> dict[str, Any]:
            best = answer.probabilities.topk(top)
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            classes = self.classifier.classes
            return {"labels": [{"label": classes[i], "probability": p} for i, p in pairs]}

        return await self.ask(request, finish, views=views)

    async def compute_features(self, request: Request) -> Response:
        """POST /v1/features: the output of a layer for the center view, flattened."""
        query = RequestQuery(request, "layer")
        layer = query.read_word("layer", self._default_layer(), self.layers)

        def finish(_: object, answer: Answer) -> dict[str, Any]:
            values = answer.features
            assert values is not None
            return {"layer": layer, "shape": list(values.shape), "values": list_values(values)}

        return await self.ask(request, finish, layer=layer)

    def _default_layer(self) -> str:
        """The layer before the last: fc7 of the paper's network."""
        return list(self.layers)[-2:][0]

    async def find_similar(self, request: Request) -> Response:
        """POST /v1/similar: the `count` nearest images of the index, the nearest first."""
        neighbors = self.neighbors
        if neighbors is None:
            raise RefusedRequest(
                404, "no_index", "the server was started without an index: give it --index INDEX"
            )
        most = range(1, min(MOST_NEIGHBORS, len(neighbors)) + 1)
        count = RequestQuery(request, "count").read_number("count", 6, most, clip=True)

        def finish(_: object, answer: Answer) -> dict[str, Any]:
            assert answer.features is not None
            found = neighbors.find(answer.features, count)
            shown = [
                describe_near(x, neighbors.read_picture(x.position) is not None) for x in found
            ]
            return {"layer": neighbors.layer, "images": shown}

        return await self.ask(request, finish, layer=neighbors.layer)

    async def explain(self, request: Request) -> Response:
        """POST /v1/explain: the crop, the heat map and the first-layer responses, as PNG files."""
        RequestQuery(request)

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
        """GET /v1/model: what the network is, what it is given, and what this server accepts."""
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
        """GET /v1/images/{position}: the picture of an image of the index."""
        text = request.path_params["position"]
        pixels = None
        if self.neighbors is not None and text.isascii() and text.isdecimal():
            with contextlib.suppress(IndexError):
                pixels = self.neighbors.read_picture(int(text[:18]))
        if pixels is None:
            raise RefusedRequest(404, "no_image", "there is no picture at this position")
        return Response(encode_png(pixels), media_type="image/png", headers=FRESH)

    async def check_health(self, request: Request) -> Response:
        """GET /healthz: 200 while images are answered, else 503; for whoever watches the server."""
        is_well = self.service.is_alive
        return make_json(
            {"status": "ok" if is_well else "not answering"}, 200 if is_well else 503, NEVER_KEPT
        )

    async def show_metrics(self, request: Request) -> Response:
        """GET /metrics: everything that is counted, in Prometheus' format."""
        return Response(self.metrics.render(), headers={"Content-Type": CONTENT_TYPE, **NEVER_KEPT})

    async def show_openapi(self, request: Request) -> Response:
        """GET /openapi.json: the description of this API for programs."""
        return make_json(describe_api(self.limits.body_bytes), headers=FRESH)


def list_values(values: NDArray[np.float32]) -> list[float | None]:
    """Return numbers as short as float32 can be told apart; null for those that JSON lacks."""
    return [float(f"{x:.9g}") if math.isfinite(x) else None for x in values.ravel().tolist()]


def make_json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON in ASCII: names of classes and files may hold bytes that are not text."""
    body = json.dumps(content, allow_nan=False)
    return Response(body, status, headers or NEVER_KEPT, media_type="application/json")
