"""Killed, frozen and failing processes end the others; real processes, without torch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from alexnet.heartbeats import EXIT_LOST, GRACE, LIMIT, read_limit, start_watch

SECONDS = 2.0
SLOW = 20.0
"""Seconds more than stated that a machine busy with other things may take."""
Job = list[subprocess.Popen[str]]


@contextmanager
def start_job(
    folder: Path, size: int, seconds: float = SECONDS, address: str = ""
) -> Iterator[Job]:
    """Start so many processes that watch each other, and wait until all are ready."""
    job = []
    for rank in range(size):
        place = {"RANK": str(rank), "WORLD_SIZE": str(size), LIMIT: str(seconds)}
        if address:
            place["MASTER_ADDR"] = address
        command = [sys.executable, "-m", "tests.watched", str(folder)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        job.append(subprocess.Popen(command, env=os.environ | place, text=True, **streams))  # type: ignore[call-overload]
    try:
        for process in job:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        yield job
    finally:
        for process in job:
            process.kill()
            process.communicate()


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Write a line to a process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def check_others_end(job: Job, lost: int, words: str, within: float) -> None:
    """All but one process end in time with the status of a loss, and say which was lost."""
    began = time.monotonic()
    for rank, process in enumerate(job):
        if rank != lost:
            _, errors = process.communicate(timeout=within + SLOW)
            assert process.returncode == EXIT_LOST
            assert f"rank {lost} on host {socket.gethostname()} (process {job[lost].pid})" in errors
            assert words in errors
            assert errors.count("alexnet:") == 1
    assert time.monotonic() - began < within + SLOW


@pytest.mark.parametrize(("size", "lost"), [(2, 0), (2, 1), (4, 0), (4, 2)])
def test_a_killed_process_ends_the_others_at_once(tmp_path: Path, size: int, lost: int) -> None:
    with start_job(tmp_path, size, seconds=1000) as job:
        job[lost].send_signal(signal.SIGKILL)
        check_others_end(job, lost, "it was killed, or it crashed", GRACE)


@pytest.mark.parametrize(("size", "lost"), [(2, 0), (2, 1), (4, 0), (4, 2)])
def test_a_frozen_process_ends_the_others_after_the_limit(
    tmp_path: Path, size: int, lost: int
) -> None:
    with start_job(tmp_path, size) as job:
        job[lost].send_signal(signal.SIGSTOP)
        check_others_end(job, lost, "has not answered for 2 seconds", SECONDS + GRACE)
        job[lost].send_signal(signal.SIGCONT)
        _, errors = job[lost].communicate(timeout=SLOW)
        assert job[lost].returncode == EXIT_LOST
        assert "It ends: the others have gone on without it" in errors


@pytest.mark.parametrize(("size", "lost"), [(2, 0), (2, 1), (4, 0), (4, 2)])
def test_a_process_that_ends_with_an_error_tells_it_to_the_others(
    tmp_path: Path, size: int, lost: int
) -> None:
    with start_job(tmp_path, size, seconds=1000) as job:
        tell(job[lost], "fail photos.pack: checksum differs")
        words = "ended with an error: photos.pack: checksum differs"
        check_others_end(job, lost, words, GRACE)
        assert job[lost].wait(SLOW) == 1


@pytest.mark.parametrize("first", [0, 1, 2])
def test_processes_that_say_goodbye_end_nobody(tmp_path: Path, first: int) -> None:
    with start_job(tmp_path, 3) as job:
        order = [first, *(rank for rank in range(3) if rank != first)]
        for rank in order:
            tell(job[rank], "leave")
            assert job[rank].wait(SLOW) == 0
            time.sleep(0.2)
        assert all(process.stderr and process.stderr.read() == "" for process in job)


def test_a_process_that_ends_without_a_goodbye_is_noticed(tmp_path: Path) -> None:
    with start_job(tmp_path, 2, seconds=1000) as job:
        tell(job[1], "exit")
        check_others_end(job, 1, "ended without a message", GRACE)


def test_a_job_that_is_stopped_as_a_whole_goes_on_after_it(tmp_path: Path) -> None:
    with start_job(tmp_path, 3) as job:
        for process in job:
            process.send_signal(signal.SIGSTOP)
        time.sleep(2 * SECONDS)
        for process in job:
            process.send_signal(signal.SIGCONT)
        time.sleep(SECONDS / 2)
        for process in job:
            tell(process, "leave")
        assert [process.wait(SLOW) for process in job] == [0, 0, 0]


def test_strangers_who_connect_are_sent_away(tmp_path: Path) -> None:
    with start_job(tmp_path, 2) as job:
        first = json.loads((tmp_path / "0").read_text())
        for content in (
            b'{"hello": 1, "token": "no"}\n',
            b'{"lost": 0, "why": "so"}\n',
            b'{"hello": 1, "token": "\\ud800"}\n{"lost": 1}\n',
            b"[1]\n\xff\n",
            b"[" * 50_000 + b"\n",
            b"x" * (1 << 20),
        ):
            stranger = socket.create_connection(("localhost", first["port"]))
            with stranger, suppress(ConnectionError):
                stranger.sendall(content)
                stranger.settimeout(SLOW)
                assert stranger.recv(1) == b""
        time.sleep(SECONDS)
        assert [process.poll() for process in job] == [None, None]


def test_nodes_at_other_addresses_are_watched_too(tmp_path: Path) -> None:
    with start_job(tmp_path, 2, seconds=1000, address="127.0.0.2") as job:
        job[1].send_signal(signal.SIGKILL)
        check_others_end(job, 1, "it was killed", GRACE)


def test_a_limit_of_zero_turns_the_watch_off(tmp_path: Path) -> None:
    with start_job(tmp_path, 2, seconds=0) as job:
        job[1].send_signal(signal.SIGKILL)
        time.sleep(1)
        assert job[0].poll() is None


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_limit_that_is_no_time_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(ValueError, match=f"{LIMIT} is '{text}', but must be a number of seconds"):
        read_limit()


def test_one_process_alone_is_not_watched() -> None:
    assert start_watch(0, 1, lambda value: [value]) is None


def test_rank_0_that_cannot_be_reached_is_named() -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
    hub = {"rank": 0, "host": "first", "pid": 7, "port": port, "token": "", "seconds": 1.0}
    with pytest.raises(ConnectionError, match=r"cannot reach rank 0 on host first \(process 7\)"):
        start_watch(1, 2, lambda value: [hub, value])
