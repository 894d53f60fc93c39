"""The description of the API that GET /openapi.json gives, in the form of OpenAPI 3.1.

`app` calls `describe_api`; a test compares the paths with the routes of the app. Only data, and
nothing of this package is imported but the version.
"""

from __future__ import annotations

from typing import Any

from alexnet import __version__

Schema = dict[str, Any]

ERRORS = {
    "400": "A parameter of the query is wrong, or the Host header is.",
    "403": "A page of another site sent the request.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The Content-Type is no image's.",
    "421": "The request is for a host that is not allowed here.",
    "422": "The bytes are no image that can be read; `error` says why in a word.",
    "503": "Too many images are waiting; Retry-After says when to try again.",
    "504": "The answer took too long.",
}
"""What each status of an error means, for every path that takes an image."""


def describe_api(limits_body_bytes: int) -> Schema:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "alexnet",
            "version": __version__,
            "description": "A trained network: labels, features and nearest images of an image. "
            f"The body of a POST is the image file itself, of at most {limits_body_bytes} bytes.",
        },
        "paths": {
            "/v1/predict": _post(
                "The most probable labels of an image",
                [
                    _query("top", "Number of labels.", {"type": "integer", "default": 5}),
                    _query(
                        "views",
                        "Crops whose probabilities are averaged.",
                        {"enum": [1, 5, 10], "default": 1},
                    ),
                ],
                {"labels": _list({"label": _TEXT, "probability": _NUMBER})},
            ),
            "/v1/similar": _post(
                "The nearest images of the index",
                [_query("count", "Number of images.", {"type": "integer", "default": 6})],
                {
                    "layer": _TEXT,
                    "images": _list(
                        {
                            "position": {"type": "integer"},
                            "name": _TEXT,
                            "label": {"type": ["string", "null"]},
                            "distance": _NUMBER,
                            "image": {"type": ["string", "null"]},
                        }
                    ),
                },
            ),
            "/v1/features": _post(
                "The output of a layer for the center view, flattened",
                [_query("layer", "Name of the layer.", {"type": "string", "default": "fc7"})],
                {
                    "layer": _TEXT,
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "values": {"type": "array", "items": _NUMBER},
                },
            ),
            "/v1/explain": _post(
                "What the network looked at, as pictures (data: URLs of PNG files)",
                [],
                {
                    "label": _TEXT,
                    "crop": _TEXT,
                    "heat_map": _object_or_null({"layer": _TEXT, "image": _TEXT}),
                    "responses": _object_or_null(
                        {"layer": _TEXT, "kernels": {"type": "integer"}, "image": _TEXT}
                    ),
                },
            ),
            "/v1/model": _get("The network, its input, its layers and the limits of the server"),
            "/v1/images/{position}": {
                "get": {
                    "summary": "An image of the index",
                    "parameters": [
                        {
                            "name": "position",
                            "in": "path",
                            "required": True,
                            "schema": {"type": "integer"},
                        }
                    ],
                    "responses": {
                        "200": {"description": "The image.", "content": {"image/png": {}}},
                        "404": _error("The index has no such image."),
                    },
                }
            },
            "/healthz": _get("Whether images are answered: 200 or 503"),
            "/metrics": {
                "get": {
                    "summary": "Counts and durations in Prometheus' text format",
                    "responses": {
                        "200": {"description": "Metrics.", "content": {"text/plain": {}}}
                    },
                }
            },
            "/openapi.json": _get("This document"),
        },
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": _TEXT, "detail": _TEXT},
                    "required": ["error", "detail"],
                }
            }
        },
    }


_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _object_or_null(properties: Schema) -> Schema:
    return {**_object(properties), "type": ["object", "null"]}


def _list(properties: Schema) -> Schema:
    return {"type": "array", "items": _object(properties)}


def _query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _error(description: str) -> Schema:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _get(summary: str) -> Schema:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "get": {
            "summary": summary,
            "responses": {"200": {"description": summary, "content": content}},
        }
    }


def _post(summary: str, parameters: list[Schema], properties: Schema) -> Schema:
    """Describe a path that takes an image file as its body and answers with JSON."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    answer = {"application/json": {"schema": _object(properties)}}
    return {
        "post": {
            "summary": summary,
            "parameters": parameters,
            "requestBody": {
                "required": True,
                "content": {"image/*": binary, "application/octet-stream": binary},
            },
            "responses": {
                "200": {"description": summary, "content": answer},
                **{status: _error(text) for status, text in ERRORS.items()},
            },
        }
    }
