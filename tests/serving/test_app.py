"""The API, in this process: answers, refusals, and that they agree with the classifier."""

import json
import zlib

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.conftest import CLASSES
from tests.serving.conftest import BASE, HEADERS, Shelf, blank, encode

from alexnet.serving.app import make_app
from alexnet.serving.limits import ServingLimits


def post(client, path, body, **headers):
    return client.post(path, content=body, headers={**HEADERS, **headers})


def test_labels_and_probabilities_are_those_of_the_classifier(client, classifier, png):
    for query, views in (("", 1), ("?views=10", 10), ("?top=2", 1)):
        answer = post(client, f"/v1/predict{query}", png)
        assert answer.status_code == 200
        found = answer.json()["labels"]
        wanted = classifier.predict(png, top=2 if "top" in query else 5, views=views)
        assert [x["label"] for x in found] == list(wanted.labels)
        assert [x["probability"] for x in found] == list(wanted.probabilities)


def test_features_are_those_of_the_classifier(client, classifier, png):
    for query, layer in (("?layer=pool3", "pool3"), ("", "pool3")):
        answer = post(client, f"/v1/features{query}", png).json()
        wanted = classifier.features(png, layer)[0].numpy()
        assert (answer["layer"], tuple(answer["shape"])) == (layer, wanted.shape)
        np.testing.assert_array_equal(np.float32(answer["values"]), wanted.ravel())


def test_similar_images_have_names_labels_distances_and_pictures(client, png):
    answer = post(client, "/v1/similar?count=9", png).json()
    assert answer["layer"] == "pool3"
    first, last = answer["images"][0], answer["images"][-1]
    assert first["name"] == "spots/<b>1</b>.png"
    assert (last["label"], last["distance"]) == (None, 8.0)
    picture_of = client.get(first["image"])
    assert picture_of.headers["Content-Type"] == "image/png"
    assert post(client, "/v1/predict", picture_of.content).status_code == 200
    for path in ("/v1/images/9", "/v1/images/-1", "/v1/images/x", "/v1/images/" + "9" * 5000):
        assert client.get(path).status_code == 404


def test_an_explanation_has_the_crop_the_heat_map_and_the_first_layer(client, classifier, png):
    answer = post(client, "/v1/explain", png).json()
    assert answer["label"] == classifier.predict(png).labels[0]
    assert answer["heat_map"]["layer"] == "conv3"
    assert answer["responses"]["layer"] == "conv1"
    for url in (answer["crop"], answer["heat_map"]["image"], answer["responses"]["image"]):
        assert url.startswith("data:image/png;base64,")


def test_without_an_index_and_without_pictures(classifier, png):
    with TestClient(make_app(classifier, "x"), base_url=BASE) as client:
        answer = post(client, "/v1/similar", png)
        assert answer.status_code == 404
        assert "--index" in answer.json()["detail"]
        assert client.get("/v1/model").json()["index"] is None
    app = make_app(classifier, "x", neighbors=Shelf(with_pictures=False))
    with TestClient(app, base_url=BASE) as client:
        assert post(client, "/v1/similar", png).json()["images"][0]["image"] is None


def test_an_index_of_a_layer_that_the_network_lacks_is_refused(classifier):
    shelf = Shelf()
    shelf.layer = "fc7"
    with pytest.raises(ValueError, match=r"layer fc7, which this network does not .* conv1, "):
        make_app(classifier, "x", neighbors=shelf)


def bomb():
    """Return a small PNG that claims to have 3.6 billion pixels."""
    parts = (b"IHDR", (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])), (b"IDAT", b"x")
    chunks = (
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        for name, data in parts
    )
    return b"".join((b"\x89PNG\r\n\x1a\n", *chunks))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "not_an_image"),
        (encode(blank())[:60], "truncated"),
        (bomb(), "too_many_pixels"),
    ],
    ids=["empty", "html", "truncated", "bomb"],
)
@pytest.mark.parametrize("path", ["/v1/predict", "/v1/similar", "/v1/features", "/v1/explain"])
def test_bytes_that_are_no_image_are_refused_with_the_reason(client, path, body, reason):
    answer = post(client, path, body)
    assert (answer.status_code, answer.json()["error"]) == (422, reason)
    assert len(answer.json()["detail"]) > 10


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "image/png", "Content-Encoding": "gzip"},
    ],
)
def test_another_content_type_is_refused(client, png, headers):
    answer = client.post("/v1/predict", content=png, headers=headers)
    assert answer.status_code == 415


def test_a_body_that_is_too_large_is_refused_with_and_without_a_length(classifier, png):
    app = make_app(classifier, "x", limits=ServingLimits(body_bytes=len(png)))
    with TestClient(app, base_url=BASE) as client:
        assert post(client, "/v1/predict", png).status_code == 200
        answer = post(client, "/v1/predict", png + b"x")
        assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
        assert answer.headers["Connection"] == "close"
        pieces = iter([png, b"x"])
        assert client.post("/v1/predict", content=pieces, headers=HEADERS).status_code == 413


def test_bodies_that_do_not_fit_into_memory_together_are_refused(classifier, png):
    limits = ServingLimits(total_body_bytes=len(png))
    app = make_app(classifier, "x", limits=limits)
    with TestClient(app, base_url=BASE) as client:
        assert post(client, "/v1/predict", png).status_code == 200
        assert post(client, "/v1/predict", png + b"x").status_code == 503
        assert post(client, "/v1/predict", png).status_code == 200  # the memory was given back
        assert "alexnet_body_bytes 0\n" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/predict?top=0", "top is '0', but must be from 1 to 3"),
        ("/v1/predict?top=%FF", "top is"),
        ("/v1/predict?views=3", "must be one of 1, 5, 10"),
        ("/v1/predict?tpo=3", "'tpo' is unknown here; it takes top, views"),
        ("/v1/predict?top=1&top=2", "'top' is there twice"),
        ("/v1/features?layer=fc7", "must be one of conv1, "),
        ("/v1/explain?x", "it takes none"),
    ],
)
def test_a_wrong_query_is_refused_with_what_is_right(client, png, path, words):
    answer = post(client, path, png)
    assert (answer.status_code, answer.json()["error"]) == (400, "query")
    assert words in answer.json()["detail"]


def test_unknown_paths_and_methods_are_json_errors(client):
    assert client.get("/nowhere").json()["error"] == "no_such_path"
    assert client.get("/v1/predict/").status_code == 404  # not redirected
    answer = client.get("/v1/predict")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_the_page_and_its_files_hold_no_address_of_another_server(client):
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/java")):
        answer = client.get(path)
        assert answer.headers["Content-Type"].startswith(kind)
        assert "http" not in answer.text.replace("http-equiv", "")
        assert client.head(path).status_code == 200
    page = client.get("/").text
    assert "style=" not in page  # the policy forbids styles and scripts in the page itself
    assert "<script>" not in page


def test_the_model_is_described(client, classifier):
    found = client.get("/v1/model").json()
    assert found["classes"] == list(CLASSES)
    assert found["input"]["crop"] == classifier.preprocessing.crop
    assert found["index"] == {"images": 9, "layer": "pool3"}
    assert {"name": "fc4", "shape": [3]} in found["layers"]


def test_openapi_describes_every_route(client):
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    static = {"/", "/page.css", "/page.js", "/icon.svg"}
    routes = {route.path for route in client.app.app.routes}
    assert set(described["paths"]) == routes - static
    checker = pytest.importorskip("openapi_spec_validator")
    checker.validate(described)


def test_metrics_count_requests_images_and_batches(client, png):
    post(client, "/v1/predict", png)
    post(client, "/v1/predict", b"?")
    text = client.get("/metrics").text
    assert 'alexnet_http_requests_total{path="/v1/predict",method="POST",status="422"}' in text
    assert 'alexnet_images_total{outcome="unusable"}' in text
    assert "alexnet_batch_images_count" in text
    assert "alexnet_info{version=" in text


def test_names_that_are_not_text_are_json_all_the_same(classifier, png):
    class Odd(Shelf):
        def find(self, features, count):
            return [
                type(x)(x.position, "\udcff\x1b\u202e", x.label, x.distance)
                for x in super().find(features, count)
            ]

    with TestClient(make_app(classifier, "\udcff", neighbors=Odd()), base_url=BASE) as client:
        answer = post(client, "/v1/similar", png)
        assert json.loads(answer.content)["images"][0]["name"] == "\udcff\x1b\u202e"
        assert client.get("/v1/model").status_code == 200
        assert client.get("/metrics").status_code == 200


def test_a_fault_is_answered_without_details(classifier, png, monkeypatch):
    app = make_app(classifier, "x")
    monkeypatch.setattr("alexnet.serving.handlers.pictures.crop_center", lambda *_: 1 / 0)
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        answer = post(client, "/v1/explain", png)
        assert (answer.status_code, answer.json()["error"]) == (500, "fault")
        assert "division" not in answer.text
        assert post(client, "/v1/predict", png).status_code == 200
        assert "alexnet_images_in_work 0\n" in client.get("/metrics").text


def test_after_the_end_nothing_is_answered(classifier, png):
    app = make_app(classifier, "x")
    with TestClient(app, base_url=BASE) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
    client = TestClient(app, base_url=BASE)  # without lifespan
    assert client.get("/healthz").status_code == 503
    assert post(client, "/v1/predict", png).status_code == 503
