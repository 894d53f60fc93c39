"""Hosts, security headers, and what is counted."""

import pytest
from tests.serving.conftest import BASE, HEADERS

from alexnet.serving.app import make_app
from alexnet.serving.guard import SECURITY_HEADERS, RequestGuard, read_host
from alexnet.serving.limits import RefusedRequest
from alexnet.serving.metrics import ServingMetrics


@pytest.mark.parametrize(
    ("header", "host"),
    [
        (b"127.0.0.1:8000", "127.0.0.1"),
        (b"LOCALHOST", "localhost"),
        (b"localhost.:80", None),
        (b"[::1]:8000", "[::1]"),
        (b"example.com", "example.com"),
    ],
)
def test_the_host_is_read_without_its_port(header, host):
    if host is None:
        with pytest.raises(RefusedRequest):
            read_host([header])
    else:
        assert read_host([header]) == host


@pytest.mark.parametrize(
    "headers",
    [[], [b""], [b"a", b"a"], [b"a b"], [b"localhost@evil"], [b"localhost/"], [b"a:b"], [b"\xff"]],
)
def test_a_malformed_host_is_refused(headers):
    with pytest.raises(RefusedRequest) as caught:
        read_host(headers)
    assert caught.value.status == 400


@pytest.mark.parametrize("path", ["/", "/v1/model", "/nowhere", "/v1/predict", "/page.js"])
def test_every_answer_has_the_security_headers(client, path):
    for answer in (client.get(path), client.get(path, headers={"Host": "evil.example"})):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert not [name for name in answer.headers if name.startswith("access-control")]
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_another_host_is_refused_with_what_to_do(client):
    answer = client.get("/v1/model", headers={"Host": "evil.example:8000"})
    assert answer.status_code == 421
    assert "--allow-host evil.example" in answer.json()["detail"]


def test_hosts_can_be_allowed(classifier):
    from starlette.testclient import TestClient

    app = make_app(classifier, "x", allowed_hosts=("Camera.local",))
    with TestClient(app, base_url="http://camera.local:9") as client:
        assert client.get("/healthz").status_code == 200


def test_a_page_of_another_site_cannot_post(client, png):
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        headers = {**HEADERS, "Sec-Fetch-Site": site}
        assert client.post("/v1/predict", content=png, headers=headers).status_code == status
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/predict", headers=asked).status_code == 405


def test_clients_cannot_make_up_labels_of_metrics():
    metrics = ServingMetrics()

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 404})
        await send({"type": "http.response.body"})

    from starlette.testclient import TestClient

    client = TestClient(
        RequestGuard(app, (), metrics, ["/known", "/images/{number}"]), base_url=BASE
    )
    client.request("BREW", "/unknown")
    client.get("/known")
    client.get("/images/7")
    client.get("/images/8")
    lines = list(metrics.requests.lines())
    assert lines == [
        'alexnet_http_requests_total{path="/images/{number}",method="GET",status="404"} 2',
        'alexnet_http_requests_total{path="/known",method="GET",status="404"} 1',
        'alexnet_http_requests_total{path="other",method="other",status="404"} 1',
    ]
