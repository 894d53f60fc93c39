"""A classifier as an app, in this process (`client`) and at a port of its own (`Server`)."""

import contextlib
import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
import warnings

import numpy as np
import pytest
from PIL import Image
from tests.conftest import picture

import alexnet

pytest.importorskip("starlette", reason="needs starlette: pip install 'alexnet[serve]'")
pytest.importorskip("uvicorn", reason="needs uvicorn: pip install 'alexnet[serve]'")

with warnings.catch_warnings():  # it works with httpx, but asks for httpx2
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from alexnet.serving.app import make_app
from alexnet.serving.limits import ServingLimits
from alexnet.serving.neighbors import NearImage

HEADERS = {"Content-Type": "image/png"}
BASE = "http://127.0.0.1:8000"


def encode(pixels, form="PNG"):
    """Return an image file as bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


class Shelf:
    """An index of nine pictures, whose distances are their numbers."""

    layer = "pool3"

    def __init__(self, with_pictures=True):
        self.with_pictures = with_pictures
        self.features = []

    def __len__(self):
        return 9

    def find(self, features, count):
        self.features.append(features)
        names = ["spots/<b>1</b>.png", *(f"spots/{k}.png" for k in range(1, 9))]
        return [NearImage(k, names[k], None if k == 8 else "spots", float(k)) for k in range(count)]

    def read_picture(self, position):
        if position >= 9:
            raise IndexError(position)
        return picture(2, position) if self.with_pictures else None


@pytest.fixture(scope="session")
def classifier(run):
    with alexnet.load(run, device="cpu") as classifier:
        yield classifier


@pytest.fixture(scope="session")
def png():
    return encode(picture(1, 900))


@pytest.fixture(scope="module")
def client(classifier):
    app = make_app(classifier, "a run", neighbors=Shelf())
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield client


class Server:
    """An app served by uvicorn in a thread, at a free port."""

    def __init__(self, app, limits=None):
        from alexnet.serving import server

        self.listener = server.open_socket("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.url = server.get_url(self.listener)
        started = threading.Event()
        arguments = app, self.listener, limits or ServingLimits(), started.set
        self._servers = []
        make = server.SignalingServer

        def keep(*arguments):
            self._servers.append(make(*arguments))
            return self._servers[-1]

        def work():
            server.serve(*arguments, make_server=keep)

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        assert started.wait(30)

    def stop(self):
        self._servers[0].should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()

    def post(self, path, body, headers=HEADERS):
        """Return the status, headers and JSON of an answer."""
        request = urllib.request.Request(self.url + path.lstrip("/"), body, dict(headers))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.headers, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.loads(error.read())

    @contextlib.contextmanager
    def connect(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            yield connection


@contextlib.contextmanager
def served(classifier, limits=None, **options):
    limits = limits or ServingLimits()
    server = Server(make_app(classifier, "a run", limits=limits, **options), limits)
    try:
        yield server
    finally:
        server.stop()


def wait_until(condition, seconds=30):
    """Wait until something becomes true; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def blank(side=32):
    return np.zeros((side, side, 3), np.uint8)
