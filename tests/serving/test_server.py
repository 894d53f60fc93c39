"""The server at a real port: deadlines, the queue, many clients, signals."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.conftest import picture
from tests.serving.conftest import encode, served, wait_until
from tests.test_predict_guarded import WICKED

from alexnet.commands.serve import Serve
from alexnet.images import decoder_process
from alexnet.serving.limits import ServingLimits
from alexnet.serving.server import open_socket

IMPATIENT = ServingLimits(read_seconds=0.4)
QUICK = ServingLimits(answer_seconds=0.4)


def read_all(connection):
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def make_head(server, length, path="/v1/predict"):
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Content-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def hold_network(service):
    """Make the network wait; return what lets it go on."""
    go, begun = threading.Event(), threading.Event()
    forward = service.forward

    def wait(questions):
        begun.set()
        assert go.wait(30)
        return forward(questions)

    service.forward = wait
    return go, begun


@pytest.fixture
def services(monkeypatch):
    """The services of the apps that are made."""
    from alexnet.serving import app

    made = []

    class Kept(app.InferenceService):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(app, "InferenceService", Kept)
    return made


def test_many_clients_get_the_answers_of_their_own_images_in_batches(classifier):
    images = [encode(picture(k % 3, 300 + k)) for k in range(24)]
    with served(classifier) as server:
        with ThreadPoolExecutor(12) as threads:
            found = list(threads.map(lambda x: server.post("/v1/predict?top=1", x), images))
        for image, (status, _, answer) in zip(images, found, strict=True):
            assert status == 200
            wanted = classifier.predict(image, top=1)
            assert answer["labels"][0]["label"] == wanted.labels[0]
            assert answer["labels"][0]["probability"] == pytest.approx(
                wanted.probabilities[0], 1e-4
            )


def test_a_slow_body_and_slow_headers_are_not_waited_for(classifier, png):
    with (
        served(classifier, IMPATIENT) as server,
        server.connect() as body,
        server.connect() as head,
    ):
        body.sendall(make_head(server, len(png)) + png[:10])
        head.sendall(b"GET /healthz HT")
        answer = read_all(body)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"only 10 bytes of the body arrived in 0.4 seconds" in answer
        assert read_all(head) == b""
        assert server.post("/v1/predict", png)[0] == 200


def test_an_idle_connection_is_closed(classifier):
    with served(classifier, IMPATIENT) as server, server.connect() as connection:
        assert read_all(connection) == b""


@pytest.mark.parametrize("seed", range(3))
def test_bytes_that_are_no_http_end_their_connection_only(classifier, png, seed):
    chance = np.random.default_rng(seed)
    with served(classifier, IMPATIENT) as server:
        for start in (
            b"",
            b"GET / HTTP/1.1\r\n",
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n",
        ):
            with server.connect() as connection:
                connection.sendall(start + chance.bytes(3000) + b"\r\n\r\n")
                assert read_all(connection)[:12] in (b"", b"HTTP/1.1 400")
        assert server.post("/v1/predict", png)[0] == 200


def test_endless_headers_are_refused(classifier):
    with served(classifier, IMPATIENT) as server, server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (1 << 17))
        with contextlib.suppress(ConnectionResetError):  # closed before all of it was read
            assert read_all(connection)[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")


def test_a_full_queue_says_when_to_come_back(classifier, png, services):
    limits = ServingLimits(queue=2)
    with served(classifier, limits) as server:
        go, begun = hold_network(services[0])
        with ThreadPoolExecutor(2) as threads:
            waiting = [threads.submit(server.post, "/v1/predict", png) for _ in range(2)]
            assert begun.wait(30)
            wait_until(lambda: services[0].in_work == 2)
            status, headers, answer = server.post("/v1/predict", png)
            go.set()
            assert [x.result()[0] for x in waiting] == [200, 200]
        assert (status, headers["Retry-After"], answer["error"]) == (503, "1", "busy")
        assert server.post("/v1/predict", png)[0] == 200


def test_an_answer_that_takes_too_long_is_given_up(classifier, png, services):
    with served(classifier, QUICK) as server:
        server.post("/v1/predict", png)  # starts a decoder, which may take longer
        go, _ = hold_network(services[0])
        status, _, answer = server.post("/v1/predict", png)
        go.set()
        assert (status, answer["error"]) == (504, "timeout")
        wait_until(lambda: services[0].in_work == 0)
        assert server.post("/v1/predict", png)[0] == 200


def test_an_image_that_kills_its_decoder_costs_only_itself(classifier, png, monkeypatch):
    monkeypatch.setattr(decoder_process, "PROGRAM", WICKED)
    with served(classifier, ServingLimits(decode_seconds=0.5)) as server:
        with ThreadPoolExecutor(3) as threads:
            bodies = (b"crash", b"hang", png)
            found = list(threads.map(lambda x: server.post("/v1/predict", x), bodies))
        assert [x[0] for x in found] == [422, 422, 200]
        assert [x[2].get("error") for x in found] == ["decoder_crashed", "decoder_hung", None]


def test_a_client_that_leaves_frees_its_place(classifier, png, services):
    with served(classifier) as server:
        for _ in range(3):
            with server.connect() as connection:
                connection.sendall(make_head(server, len(png)) + png)
            with server.connect() as connection:
                connection.sendall(make_head(server, 10 * len(png)) + png)
        wait_until(lambda: services[0].in_work == 0)
        assert server.post("/v1/predict", png)[0] == 200


def test_a_taken_port_is_an_error_that_says_what_to_do():
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port}: .*in use.*--port"):
            open_socket("127.0.0.1", port)
    with pytest.raises(OSError, match="--host"):
        open_socket("no.such.host.invalid", 0)
    with pytest.raises(OSError, match="--port"):
        open_socket("127.0.0.1", 1 << 20)


@pytest.fixture(scope="module")
def command(run):
    """Starts `alexnet serve`; returns its process and address."""
    started = []

    def start(*arguments):
        words = [sys.executable, "-m", "alexnet", "serve", run, "--port", "0", *arguments]
        process = subprocess.Popen(
            list(map(str, words)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return process, line.split(" is served at ")[1].split()[0]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_after_the_answers_under_way(command, number, png):
    process, url = command()
    port = int(url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        connection.sendall(f"{head}Content-Length: {len(png)}\r\n\r\n".encode() + png[:-1])
        time.sleep(0.2)  # the request has begun
        process.send_signal(number)
        time.sleep(0.2)
        connection.sendall(png[-1:])
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert process.wait(60) == 128 + number
    assert process.stderr.read() == ""


def test_the_command_says_who_can_reach_it_and_answers(command, png):
    process, url = command("--host", "0.0.0.0", "--allow-host", "camera.local")
    port = url.rstrip("/").rpartition(":")[2]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/predict?top=1",
        png,
        {"Content-Type": "image/png", "Host": "camera.local"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        assert json.loads(answer.read())["labels"][0]["label"] == "stripes"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "everyone who can reach this machine" in process.stderr.read()


def test_an_error_of_the_command_is_one_line(run, tmp_path):
    words = [sys.executable, "-m", "alexnet", "serve", run, "--index", tmp_path, "--port", "0"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "no index at" in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_options_of_the_command_are_refused(run, tmp_path):
    for options, error, words in (
        ({"run_folder": tmp_path / "none"}, FileNotFoundError, "no trained network"),
        ({"run_folder": run, "pack": tmp_path}, ValueError, "give --index INDEX too"),
        ({"run_folder": run, "queue": 0}, ValueError, "the limit queue is 0"),
    ):
        with pytest.raises(error, match=words):
            Serve(**options, port=0).run()
